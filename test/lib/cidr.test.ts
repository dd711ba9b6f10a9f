// Ranges of addresses: what they hold, and what is no range.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addressRanges, areWithin, isWithin } from '../../src/lib/cidr.ts';
import { isPurserError } from '../../src/lib/errors.ts';

for (const [cidr, address, isInside] of [
  ['192.0.2.0/24', '192.0.2.255', true], ['192.0.2.0/24', '192.0.3.0', false], ['192.0.2.77/24', '192.0.2.1', true],
  ['192.0.2.1', '192.0.2.1', true], ['192.0.2.1/32', '192.0.2.2', false], ['0.0.0.0/0', '203.0.113.9', true],
  ['192.0.2.0/24', '::ffff:192.0.2.9', true], ['192.0.2.0/24', '::FFFF:192.0.3.9', false],
  ['2001:db8::/32', '2001:db8:1::1', true], ['2001:db8::/32', '2001:db9::1', false], ['::1', '::1', true], ['::/0', '192.0.2.1', false], ['0.0.0.0/0', '2001:db8::1', false],
  ['192.0.2.0/24', '', false], ['192.0.2.0/24', 'localhost', false],
] as const) {
  test(`addressRanges() of ${cidr} ${isInside ? 'includes' : 'excludes'} ${JSON.stringify(address)}`, () => {
    assert.equal(addressRanges([cidr], 'x').includes(address), isInside);
  });
}

for (const cidr of ['', 'localhost', '192.0.2.0/33', '192.0.2.0/', '192.0.2.0/-1', '192.0.2.0/024x', '2001:db8::/129', '192.0.2/24', '192.0.2.0/24 ', '1.2.3.4/2/2', '::ffff:192.0.2.1%eth0']) {
  test(`addressRanges() refuses ${JSON.stringify(cidr)}`, () => {
    assert.throws(() => addressRanges([cidr], 'x'), (error) => isPurserError(error, 'ERR_REQUEST_INVALID'));
  });
}

test('isWithin() of no ranges is everywhere', () => {
  assert.equal(isWithin('192.0.2.1', []), true);
  assert.equal(isWithin('', ['192.0.2.1']), false);
});

for (const [cidrs, limits, expected] of [
  [['192.0.2.0/25', '192.0.2.200'], ['192.0.2.0/24'], true], [['192.0.2.0/23'], ['192.0.2.0/24'], false], [['192.0.2.0/24', '203.0.113.1'], ['192.0.2.0/24'], false],
  [['192.0.2.0/24'], ['192.0.2.0/24'], true], [['0.0.0.0/0'], ['::/0'], false], [['2001:db8:1::/48'], ['2001:db8::/32', '::1'], true], [[], ['192.0.2.0/24'], true], [['0.0.0.0/0'], [], true],
] as const) {
  test(`areWithin() of ${cidrs.join(',')} in ${limits.join(',')} is ${expected}`, () => {
    assert.equal(areWithin(cidrs, limits, 'x'), expected);
  });
}
