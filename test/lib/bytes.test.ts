import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';

import { bytesFromBase64, bytesFromHex, constantTimeEqual, hexFromBytes, utf8, wipe } from '../../src/lib/bytes.ts';

describe('bytesFromHex()', () => {
  it('undoes hexFromBytes() and agrees with Buffer', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 70 }), (bytes) => {
      const digits = hexFromBytes(bytes);
      assert.equal(Buffer.from(digits).toString('ascii'), Buffer.from(bytes).toString('hex'));
      assert.deepEqual(bytesFromHex(digits), bytes);
      assert.deepEqual(bytesFromHex(utf8(Buffer.from(bytes).toString('hex').toUpperCase())), bytes);
    }));
  });

  for (const text of ['0', 'abc', '0g', 'g0', ' 0', '0x', '00 ', '@0', '`0', '/0', ':0', 'é']) {
    it(`refuses ${JSON.stringify(text)}`, () => assert.equal(bytesFromHex(utf8(text)), undefined));
  }
});

describe('bytesFromBase64()', () => {
  it('undoes Buffer.toString("base64")', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 70 }), (bytes) => {
      assert.deepEqual(Uint8Array.from(bytesFromBase64(Buffer.from(bytes).toString('base64'))!), bytes);
    }));
  });

  for (const text of ['A', 'AA', 'AA=', 'AB==', 'AAA', 'AAA==', 'AA==\n', ' AA==', '-_8=', 'AA==AA==', 'é']) {
    it(`refuses ${JSON.stringify(text)}`, () => assert.equal(bytesFromBase64(text), undefined));
  }
});

it('constantTimeEqual() compares content and length', () => {
  assert.equal(constantTimeEqual(utf8('same'), utf8('same')), true);
  assert.equal(constantTimeEqual(utf8('same'), utf8('sami')), false);
  assert.equal(constantTimeEqual(utf8('same'), utf8('sam')), false);
  assert.equal(constantTimeEqual(utf8(''), utf8('')), true);
});

it('wipe() overwrites all of every array', () => {
  const [a, b] = [utf8('secret'), new Uint8Array(3).fill(9)];
  wipe(a, b);
  assert.ok([...a, ...b].every((byte) => byte === 0));
});
