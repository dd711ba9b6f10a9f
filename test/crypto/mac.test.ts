// HMAC-SHA256 against the published vectors, and the fast way for one key against Node's.

import assert from 'node:assert/strict';
import { createHmac, randomBytes } from 'node:crypto';
import { test } from 'node:test';

import fc from 'fast-check';

import { hmacSha256, MacKey } from '../../src/crypto/mac.ts';

/** RFC 4231, test cases 1 to 4: key, message, code. */
const VECTORS = [
  ['0b'.repeat(20), Buffer.from('Hi There').toString('hex'), 'b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7'],
  [Buffer.from('Jefe').toString('hex'), Buffer.from('what do ya want for nothing?').toString('hex'), '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843'],
  ['aa'.repeat(20), 'dd'.repeat(50), '773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe'],
  ['0102030405060708090a0b0c0d0e0f10111213141516171819', 'cd'.repeat(50), '82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b'],
] as const;

test('both ways give the codes of RFC 4231', () => {
  for (const [key, message, code] of VECTORS) {
    assert.equal(Buffer.from(hmacSha256(Buffer.from(key, 'hex'), Buffer.from(message, 'hex'))).toString('hex'), code);
    assert.equal(new MacKey(Buffer.from(key, 'hex')).hex(Buffer.from(message, 'hex')), code);
  }
});

test('a MacKey gives what createHmac gives, whatever came before', () => {
  const bytes = randomBytes(32);
  const key = new MacKey(bytes);
  const check = (message: string | Uint8Array, prefix: Uint8Array | undefined): void => {
    assert.equal(key.hex(message, prefix), createHmac('sha256', bytes).update(prefix ?? '').update(message).digest('hex'));
  };
  const message = fc.oneof(fc.string({ unit: 'binary', maxLength: 3_000 }), fc.uint8Array({ maxLength: 3_000 }));
  fc.assert(fc.property(message, fc.option(fc.uint8Array({ maxLength: 100 }), { nil: undefined }), check));
  // Around the length where the general way begins, and texts that UTF-8 makes longer.
  for (const length of [16_343, 16_344, 16_345, 16_384, 16_385, 100_000]) check(Buffer.alloc(length, 1), Buffer.alloc(40, 2));
  for (const text of ['\u00e9', '\u20ac', '\u{1f600}', '\ud800']) for (const times of [1, 5_461, 5_462, 20_000]) check(text.repeat(times), undefined);
});

test('a MacKey gives its key back, and takes none that is longer than a block', () => {
  const bytes = randomBytes(64);
  assert.deepEqual(new MacKey(bytes).export(), bytes);
  assert.throws(() => new MacKey(randomBytes(65)), RangeError);
});
