// Typed fields of a request: what Vault's clients send is taken, everything else is refused without quoting it.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { booleanField, durationField, integerField, integerListField, objectField, stringField, stringListField, stringMapField } from '../../src/lib/fields.ts';
import type { JsonValue } from '../../src/lib/json.ts';

const REFUSED = Symbol('refused');
const readers = { stringField, booleanField, integerField, durationField, stringListField, integerListField, stringMapField, objectField };

for (const [reader, value, expected] of [
  ['stringField', 'x', 'x'], ['stringField', '', ''], ['stringField', null, undefined], ['stringField', 5, REFUSED], ['stringField', ['x'], REFUSED],
  ['booleanField', true, true], ['booleanField', 'false', false], ['booleanField', 1, true], ['booleanField', '0', false], ['booleanField', 'yes', REFUSED], ['booleanField', {}, REFUSED],
  ['integerField', 7, 7], ['integerField', '-7', -7], ['integerField', 1.5, REFUSED], ['integerField', '1e3', REFUSED], ['integerField', '', REFUSED], ['integerField', 2 ** 53, REFUSED], ['integerField', true, REFUSED],
  ['durationField', 90, 90], ['durationField', '1h30m', 5400], ['durationField', '1ms', 1], ['durationField', '', 0], ['durationField', '-1s', REFUSED], ['durationField', 'soon', REFUSED], ['durationField', [], REFUSED],
  ['stringListField', ['a', 'b'], ['a', 'b']], ['stringListField', 'a, b', ['a', 'b']], ['stringListField', '', []], ['stringListField', ['a', 1], REFUSED], ['stringListField', {}, REFUSED],
  ['integerListField', [1, '2'], [1, 2]], ['integerListField', '1,2', [1, 2]], ['integerListField', 3, [3]], ['integerListField', ['x'], REFUSED], ['integerListField', [null], REFUSED],
  ['stringMapField', { a: 'b' }, { a: 'b' }], ['stringMapField', { a: 1 }, REFUSED], ['stringMapField', 'a=b', REFUSED],
  ['objectField', { a: [] }, { a: [] }], ['objectField', [], REFUSED], ['objectField', 'x', REFUSED],
] as [keyof typeof readers, JsonValue, unknown][]) {
  test(`${reader}() of ${JSON.stringify(value)} is ${expected === REFUSED ? 'refused' : JSON.stringify(expected)}`, () => {
    const read = () => readers[reader]({ name: value }, 'name');
    if (expected === REFUSED) assert.throws(read, { code: 'ERR_REQUEST_INVALID', message: /^the field name must be [^"]*$/ });
    else assert.deepEqual(read(), expected);
  });
}

test('a field is only what the request itself holds', () => {
  assert.equal(objectField({}, 'constructor'), undefined);
  assert.equal(stringField({}, 'toString'), undefined);
});
