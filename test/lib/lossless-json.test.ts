// parseLossless() and stringifyLossless(): the same language as JSON.parse, and nothing lost on the way through.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { JsonNumber, isLosslessObject, parseLossless, stringifyLossless } from '../../src/lib/lossless-json.ts';
import type { LosslessValue } from '../../src/lib/lossless-json.ts';

function plain(value: LosslessValue): unknown {
  if (value instanceof JsonNumber) return Number(value.text);
  if (Array.isArray(value)) return value.map(plain);
  return isLosslessObject(value) ? [...value].map(([key, item]) => [key, plain(item)]) : value;
}
// Where a test alters text at random, a key may come to look like a number, and JavaScript's own objects move those to the front.
const sorted = (value: unknown): unknown => !Array.isArray(value) ? value
  : value.map(sorted).sort((a, b) => Array.isArray(a) && Array.isArray(b) && typeof a[0] === 'string' && typeof b[0] === 'string' ? (a[0] < b[0] ? -1 : 1) : 0);
const ordered = (value: unknown): unknown => Array.isArray(value) ? value.map(ordered)
  : typeof value === 'object' && value !== null ? Object.entries(value).map(([key, item]) => [key, ordered(item)]) : value;

test('parseLossless() keeps every number as it is written', () => {
  const text = '{"limit":18446744073709551615,"swap":-9223372036854775808,"f":1.10,"e":1E+400,"z":-0}';
  assert.equal(stringifyLossless(parseLossless(text)), text);
});

test('parseLossless() keeps the order of keys, and numeric and __proto__ keys are keys', () => {
  const text = '{"b":1,"2":2,"a":3,"1":4,"__proto__":{"x":5}}';
  assert.equal(stringifyLossless(parseLossless(text)), text);
});

test('stringifyLossless() indents as JSON.stringify does', () => {
  fc.assert(fc.property(fc.jsonValue(), fc.constantFrom('', '  ', '\t'), (value, indent) => {
    const text = JSON.stringify(value);
    assert.equal(stringifyLossless(parseLossless(text), indent), JSON.stringify(JSON.parse(text), null, indent));
  }));
});

test('parseLossless() reads what JSON.parse reads', () => {
  fc.assert(fc.property(fc.jsonValue(), fc.constantFrom(0, 1, '\t'), (value, space) => {
    const text = JSON.stringify(value, null, space);
    assert.deepEqual(plain(parseLossless(text)), ordered(JSON.parse(text)));
  }));
});

test('parseLossless() refuses what JSON.parse refuses', () => {
  const edit = fc.tuple(fc.jsonValue(), fc.nat(), fc.constantFrom(...'{}[],:"\\/u0129.eE+-tfn \n\u00a0\u0001'));
  fc.assert(fc.property(edit, ([value, at, char]) => {
    const text = JSON.stringify(value);
    const place = at % (text.length + 1);
    const altered = text.slice(0, place) + char + text.slice(place + at % 2);
    let reference: unknown;
    try { reference = ordered(JSON.parse(altered)); } catch { assert.throws(() => parseLossless(altered), SyntaxError, altered); return; }
    try {
      assert.deepEqual(sorted(plain(parseLossless(altered))), sorted(reference));
    } catch (error) {
      assert.match(String(error), /appears twice/, altered);
    }
  }), { numRuns: 2000 });
});

const refused: readonly [string, string, RegExp][] = [
  ['a duplicate key', '{"a":1,"b":{"c":1,"\\u0063":2}}', /^a key appears twice in one object \(line 1, column/],
  ['a document nested too deeply', '['.repeat(1_000_000), /nested too deeply/],
  ['an empty text', '', /ends too early \(line 1, column 1\)/],
  ['an unfinished string', '{\n "secret-word', /a string is not closed \(line 2, column 2\)/],
  ['a string that ends in a backslash', '"\\', /a string is not closed/],
  ['a second document', '{}\n{}', /after the end of the document \(line 2, column 1\)/],
  ['a byte order mark', '\ufeff{}', /a value was expected/],
  ['a comment', '{} // x', /after the end/],
];
for (const [what, text, message] of refused) {
  test(`parseLossless() refuses ${what} and does not quote it`, () => {
    assert.throws(() => parseLossless(text), (error: Error) => error instanceof SyntaxError && message.test(error.message) && !error.message.includes('secret-word'));
  });
}
