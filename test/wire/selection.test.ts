import test from 'node:test';
import assert from 'node:assert/strict';
import { Buffer } from 'node:buffer';
import fc from 'fast-check';
import { isPurserError } from '../../src/lib/errors.ts';
import type { JsonObject } from '../../src/lib/json.ts';
import type { Encoding, Reference } from '../../src/wire/reference.ts';
import { selectField } from '../../src/wire/selection.ts';

const referenceTo = (field?: string, encoding: Encoding = 'raw'): Reference => ({ path: 'secret/x', isOptional: false, encoding, ...(field === undefined ? {} : { field }) });
const json = (text: string) => JSON.parse(text) as JsonObject;

const DELIVERED: readonly (readonly [string, string, string | undefined, string])[] = [
  ['a string as its UTF-8 bytes', '{"a":"pä\\u0000\\n","b":1}', 'a', 'pä\u0000\n'],
  ['an empty string', '{"a":""}', 'a', ''],
  ['a number', '{"a":1.5}', 'a', '1.5'],
  ['a boolean', '{"a":false}', 'a', 'false'],
  ['an object as compact JSON in stored order', '{"a":{"z":1,"b":[true,null, "x"]}}', 'a', '{"z":1,"b":[true,null,"x"]}'],
  ['a nested field', '{"a":{"b":{"c":"x"}}}', 'a.b.c', 'x'],
  ['the key with dots rather than the nested one', '{"a.b":"exact","a":{"b":"nested"}}', 'a.b', 'exact'],
  ['the key with dots on an inner level', '{"a":{"b.c":"exact","b":{"c":"nested"}}}', 'a.b.c', 'exact'],
  ['a key that starts with a dot', '{".dockerconfigjson":"x"}', '.dockerconfigjson', 'x'],
  ['an element of a list', '{"a":["x","y",{"b":"z"}]}', 'a.2.b', 'z'],
  ['the first element of a list', '{"a":["x"]}', 'a.0', 'x'],
  ['a numeric key of an object', '{"a":{"0":"x"}}', 'a.0', 'x'],
  ['the only field', '{"a":"x"}', undefined, 'x'],
  ['the only field when it is an object', '{"a":{"b":1}}', undefined, '{"b":1}'],
  ['the whole object when there are several fields', '{"b":"x", "a":null}', undefined, '{"b":"x","a":null}'],
  ['the whole object when there are none', '{}', undefined, '{}'],
  ['an own __proto__', '{"__proto__":{"x":"y"}}', '__proto__.x', 'y'],
];

for (const [name, data, field, expected] of DELIVERED) {
  test(`selectField() delivers ${name}`, () => {
    assert.equal(Buffer.from(selectField(json(data), referenceTo(field))).toString('latin1'), Buffer.from(expected).toString('latin1'));
  });
}

const REFUSED: readonly (readonly [string, string, string | undefined, Encoding, string])[] = [
  ['a field that is not there', '{"a":"CANARY"}', 'b', 'raw', 'the secret has no field "b"'],
  ['a field in another case', '{"a":"CANARY"}', 'A', 'raw', 'no field "A"'],
  ['a nested field that is not there', '{"a":{"b":"CANARY"}}', 'a.c', 'raw', 'no field "a.c"'],
  ['a field below a string', '{"a":"CANARY"}', 'a.length', 'raw', 'no field "a.length"'],
  ['a character of a string', '{"a":"CANARY"}', 'a.0', 'raw', 'no field "a.0"'],
  ['a field below null', '{"a":null}', 'a.b', 'raw', 'no field "a.b"'],
  ['a null field', '{"a":null,"b":"CANARY"}', 'a', 'raw', 'no field "a"'],
  ['an only field that is null', '{"a":null}', undefined, 'raw', 'the only field of the secret is null'],
  ['an element that is not there', '{"a":["CANARY"]}', 'a.1', 'raw', 'no field "a.1"'],
  ['a negative index', '{"a":["CANARY"]}', 'a.-1', 'raw', 'no field "a.-1"'],
  ['an index with a leading zero', '{"a":["CANARY"]}', 'a.00', 'raw', 'no field "a.00"'],
  ['the length of a list', '{"a":["CANARY"]}', 'a.length', 'raw', 'no field "a.length"'],
  ['what is inherited', '{"a":"CANARY"}', 'constructor', 'raw', 'no field "constructor"'],
  ['an inherited __proto__', '{"a":{}}', 'a.__proto__', 'raw', 'no field "a.__proto__"'],
  ['half a surrogate pair', '{"a":"CANARY\\ud800"}', 'a', 'raw', 'field "a" is not well-formed Unicode'],
  ['an object that should be base64', '{"a":{"b":"CANARY"}}', 'a', 'base64', 'field "a" is not base64'],
  ['the whole object as hex', '{"a":"CANARY","b":1}', undefined, 'hex', 'the secret is not hex'],
  ['a number as hex', '{"a":12}', 'a', 'hex', 'field "a" is not hex'],
];

for (const [name, data, field, encoding, message] of REFUSED) {
  test(`selectField() refuses ${name}`, () => {
    assert.throws(() => selectField(json(data), referenceTo(field, encoding)), (error: unknown) => {
      assert.ok(isPurserError(error, 'ERR_RESOLVE_FIELD'), String(error));
      assert.ok(error.message.includes(message) && !`${error.message}${error.hint}`.includes('CANARY'), error.message);
      return true;
    });
  });
}

test('selectField() decodes base64 and hex', () => {
  const table = [['base64', '', ''], ['base64', 'AA==', '00'], ['base64', '+/+/', 'fbffbf'], ['hex', '', ''], ['hex', '00fF', '00ff']] as const;
  for (const [encoding, text, hex] of table) assert.equal(Buffer.from(selectField({ a: text, b: 1 }, referenceTo('a', encoding))).toString('hex'), hex, text);
});

test('selectField() refuses anything but canonical base64 and pairs of hexadecimal digits', () => {
  for (const text of ['A', 'AA', 'AA=', 'AB==', 'AA==\n', ' AA==', 'AA==AA==', 'A A==', '-_-_', 'AAA=A', '====', 'Zm9v\nZm9v', 'ä===']) {
    assert.throws(() => selectField({ a: text }, referenceTo('a', 'base64')), { code: 'ERR_RESOLVE_FIELD' }, text);
  }
  for (const text of ['0', '000', '0g', '0x00', '00 ', ' 00', '00\n', '00:00', '\u0130\u0130']) {
    assert.throws(() => selectField({ a: text }, referenceTo('a', 'hex')), { code: 'ERR_RESOLVE_FIELD' }, text);
  }
});

test('selectField() gives back the bytes that were encoded', () => {
  fc.assert(fc.property(fc.uint8Array(), fc.constantFrom('base64' as const, 'hex' as const), (bytes, encoding) => {
    assert.deepEqual(new Uint8Array(selectField({ a: Buffer.from(bytes).toString(encoding) }, referenceTo('a', encoding))), bytes);
  }));
});

for (const [data, field, text] of [[{ only: 'x' }, undefined, '{"only":"x"}'], [{}, undefined, '{}'], [{ a: 'x', b: 1 }, undefined, '{"a":"x","b":1}'], [{ a: 'x"' }, 'a', '"x\\""'], [{ a: 5 }, 'a', '5'], [{ a: { b: true } }, 'a.b', 'true'], [{ a: '\ud800' }, 'a', '"\\ud800"']] as const) {
  test(`selectField() with json gives ${text}`, () => {
    assert.equal(Buffer.from(selectField(data, { ...referenceTo(field), isJson: true })).toString(), text);
  });
}
