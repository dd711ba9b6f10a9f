import assert from 'node:assert/strict';
import { test } from 'node:test';

import fc from 'fast-check';

import { selects, type Selectors, type WorkloadFacts } from '../../../src/auth/node/selector.ts';
import { matchesGlob } from '../../../src/lib/glob.ts';

const WEB: WorkloadFacts = { name: 'web-1', image: 'registry/shop/web:2', labels: { team: 'a', tier: 'front' }, service: 'shop_web', stack: 'shop', node: 'n1' };

test('matchesGlob() takes a star as any run of characters and everything else as it is', () => {
  const table: readonly (readonly [pattern: string, value: string, expected: boolean])[] = [
    ['web', 'web', true], ['web', 'Web', false], ['web', 'web1', false], ['web*', 'web', true], ['*', '', true], ['*', 'x/y', true],
    ['a*a', 'a', false], ['a*a', 'aa', true], ['a*b*c', 'a-b-c', true], ['a*b*c', 'acb', false], ['*b*', 'abc', true], ['**', 'x', true],
    ['a*bc*c', 'abc', false], ['reg/*/web:*', 'reg/shop/web:2', true], ['a.c', 'abc', false], ['[ab]', 'a', false], ['', '', true], ['', 'x', false],
  ];
  for (const [pattern, value, expected] of table) assert.equal(matchesGlob(pattern, value), expected, `${pattern} on ${value}`);
});

test('matchesGlob() agrees with a regular expression on any input', () => {
  const text = fc.string({ unit: fc.constantFrom('a', 'b', '*'), maxLength: 8 });
  fc.assert(fc.property(text, text, (pattern, raw) => {
    const value = raw.replaceAll('*', 'c');
    const expected = new RegExp(`^${pattern.replaceAll('*', '.*')}$`).test(value);
    assert.equal(matchesGlob(pattern, value), expected);
  }));
});

test('matchesGlob() stays fast on a pattern that makes backtracking explode', () => {
  const started = performance.now();
  assert.equal(matchesGlob(`${'a*'.repeat(500)}b`, 'a'.repeat(60_000)), false);
  assert.ok(performance.now() - started < 20_000);
});

test('selects() wants every selector and one of each list', () => {
  const table: readonly (readonly [Selectors, boolean])[] = [
    [{ image: ['registry/shop/*'] }, true],
    [{ image: ['other', 'registry/*'], service: ['shop_web'] }, true],
    [{ image: ['registry/*'], service: ['shop_db'] }, false],
    [{ label: { team: ['a', 'b'] } }, true],
    [{ label: { team: ['a'], tier: ['back'] } }, false],
    [{ label: { missing: ['*'] } }, false],
    [{ image_digest: ['*'] }, false],
    [{ node: ['n*'], stack: ['shop'], name: ['web-?'] }, false],
    [{ node: ['n*'], stack: ['shop'], name: ['web-*'] }, true],
    [{ label: { toString: ['*'] } }, false],
  ];
  for (const [selectors, expected] of table) assert.equal(selects(selectors, WEB), expected, JSON.stringify(selectors));
});

test('selects() takes a label that the image brought only for a role that names images', () => {
  const facts: WorkloadFacts = { ...WEB, imageDigest: 'sha256:1', imageLabels: ['team'] };
  const table: readonly (readonly [Selectors, boolean])[] = [
    [{ label: { team: ['a'] } }, false],
    [{ label: { tier: ['front'] } }, true],
    [{ label: { team: ['a'] }, node: ['n1'], name: ['web-*'] }, false],
    [{ label: { team: ['a'] }, image: ['registry/shop/*'] }, true],
    [{ label: { team: ['a'] }, image: ['other/*'] }, false],
    [{ label: { team: ['a'] }, image_digest: ['sha256:1'] }, true],
  ];
  for (const [selectors, expected] of table) assert.equal(selects(selectors, facts), expected, JSON.stringify(selectors));
});
