// The rule for keys, against a slow and obvious one.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import fc from 'fast-check';

import { isPurserError } from '../../src/lib/errors.ts';
import { assertStorageKey, MAX_KEY_BYTES } from '../../src/storage/storage.ts';

function isAccepted(key: string): boolean {
  try {
    assertStorageKey(key);
    return true;
  } catch (error) {
    assert.ok(isPurserError(error, 'ERR_STORAGE_KEY'));
    return false;
  }
}

function isKey(key: string): boolean {
  return Buffer.byteLength(key) <= MAX_KEY_BYTES && Buffer.from(key).toString() === key && !key.includes('\0') && key.split('/').every((segment) => segment !== '');
}

test('assertStorageKey() accepts exactly what its rule says', () => {
  const characters = ['a', 'b', '/', '.', ' ', '~', '!', '0', '\0', '\n', '\x7f', '\u00e9', '\u{1f600}', '\ud800', '\udc00'];
  fc.assert(fc.property(fc.array(fc.constantFrom(...characters), { maxLength: 12 }).map((parts) => parts.join('')), (key) => { assert.equal(isAccepted(key), isKey(key)); }), { numRuns: 2_000 });
  for (const key of ['a'.repeat(MAX_KEY_BYTES), 'a'.repeat(MAX_KEY_BYTES + 1), '\u00e9'.repeat(MAX_KEY_BYTES / 2), `${'\u00e9'.repeat(MAX_KEY_BYTES / 2)}a`]) assert.equal(isAccepted(key), isKey(key));
});
