// Request bodies as data: what is decoded, what is refused before JSON.parse sees it, and that no refusal quotes the input.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { isPurserError, PurserError } from '../../src/lib/errors.ts';
import { decodeBody } from '../../src/server/http/body.ts';
import { checkJsonLimits } from '../../src/server/http/json-limits.ts';

const LIMITS = { maxDepth: 300, maxValues: 1_000 };
const CANARY = 'canary-b5f1';
const decode = (text: string | Buffer, type = 'application/json') => decodeBody(Buffer.from(text), type, LIMITS);
const isInvalid = (error: unknown): boolean => isPurserError(error, 'ERR_REQUEST_INVALID') && !`${error.message} ${error.hint}`.includes(CANARY);

describe('decodeBody()', () => {
  const accepted: readonly (readonly [text: string, expected: unknown, type?: string])[] = [
    ['', {}], ['null', {}], ['{}', {}],
    ['{"a":1,"a":2}', { a: 2 }],
    ['{"a":null,"b":{"c":null}}', { a: null, b: { c: null } }],
    [' {"a":[1,-2.5e3,true,false,"x\\"y\\u00e4"]} ', { a: [1, -2500, true, false, 'x"yä'] }],
    ['{"a":9007199254740991,"b":0.1,"c":1e2,"d":1.7976931348623157e308}', { a: Number.MAX_SAFE_INTEGER, b: 0.1, c: 100, d: Number.MAX_VALUE }],
    ['a=1&b=x%20y', { a: '1', b: 'x y' }, 'application/x-www-form-urlencoded'],
    ['{"a":1}', { a: 1 }, 'application/x-www-form-urlencoded'],
    ['{"a":1}', { a: 1 }, 'text/plain'],
    [`{"deep":${'['.repeat(299)}${']'.repeat(299)}}`, undefined],
    ['{"a":"__proto__","constructor":1}', { a: '__proto__', constructor: 1 }],
  ];
  for (const [text, expected, type] of accepted) {
    test(`decodeBody() takes ${JSON.stringify(text.slice(0, 60))}${type === undefined ? '' : ` as ${type}`}`, () => {
      const value = decode(text, type);
      if (expected !== undefined) assert.deepEqual({ ...value }, expected);
    });
  }

  const refused: readonly (readonly [name: string, body: string | Buffer, type?: string])[] = [
    ['an array', `["${CANARY}"]`], ['a string', `"${CANARY}"`], ['a number', '1'], ['text that is no JSON', CANARY], ['a cut object', `{"a":"${CANARY}`],
    ['something behind the end', `{"a":1} ${CANARY}`], ['invalid UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])],
    ['a byte order mark', '\uFEFF{}'], ['301 levels', `{"a":${'['.repeat(300)}${']'.repeat(300)}}`],
    ['a hundred thousand levels', '['.repeat(100_000)], ['a hundred thousand unclosed objects', '{"a":'.repeat(100_000)],
    ['a million keys', `{${Array.from({ length: 1_000_000 }, (_, index) => `"${index}":0`).join()}}`],
    ['too many numbers', `{"a":[${'1,'.repeat(1_001)}1]}`], ['too many literals', `{"a":[${'true,'.repeat(1_001)}true]}`],
    ['too many empty objects', `{"a":[${'{},'.repeat(1_001)}{}]}`],
    ['a number of 65 digits', `{"a":${'1'.repeat(65)}}`], ['an integer above 2^53', '{"a":9007199254740993}'], ['an infinite number', '{"a":1e999}'],
    ['a number with 18 digits', '{"a":0.123456789012345678}'], ['a megabyte of digits', `{"a":${'9'.repeat(1_000_000)}}`],
    ['a key __proto__', '{"__proto__":{"isRoot":true}}'], ['an inner key __proto__', `{"a":[{"b":{"__proto__":"${CANARY}"}}]}`],
    ['an escaped key __proto__', '{"\\u005f_proto__":1}'], ['a form field __proto__', '__proto__=x', 'application/x-www-form-urlencoded'],
    ['a form of too many fields', 'a&'.repeat(1_001), 'application/x-www-form-urlencoded'],
  ];
  for (const [name, body, type] of refused) {
    test(`decodeBody() refuses ${name} without quoting it`, () => assert.throws(() => decode(body, type), isInvalid));
  }

  test('decodeBody() gives what JSON.parse gives for everything within the limits', () => {
    fc.assert(fc.property(fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 4 })), (value) => {
      const text = JSON.stringify(value);
      let decoded;
      try { decoded = decode(text); } catch (error) {
        assert.ok(error instanceof PurserError, 'only a coded refusal');
        return;
      }
      assert.deepEqual({ ...decoded }, JSON.parse(text));
    }));
  });
});

describe('checkJsonLimits()', () => {
  test('checkJsonLimits() ends for any bytes, also for those that are no JSON', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      try { checkJsonLimits(bytes, { maxDepth: 5, maxValues: 20 }); } catch (error) { assert.ok(isPurserError(error, 'ERR_REQUEST_INVALID')); }
    }));
  });

  test('checkJsonLimits() looks at 32 MiB of the worst input in bounded time', () => {
    const bomb = Buffer.alloc(32 * 1024 * 1024, '\\');
    bomb[0] = 0x22;
    const start = process.cpuUsage();
    checkJsonLimits(bomb, LIMITS);
    assert.ok(process.cpuUsage(start).user < 5_000_000);
  });
});
