import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';

import { xchacha20poly1305 } from '@noble/ciphers/chacha.js';
import fc from 'fast-check';

import { decrypt, encrypt } from '../../src/crypto/aead.ts';

interface Vector { readonly source: string; readonly key: string; readonly nonce: string; readonly associatedData: string; readonly plaintext: string; readonly ciphertext: string }

const vectors = JSON.parse(readFileSync(new URL('../vectors/xchacha20-poly1305.json', import.meta.url), 'utf8')) as Vector[];
const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'hex'));

for (const vector of vectors) {
  describe(vector.source, () => {
    const [key, nonce, ad, plaintext, ciphertext] = [vector.key, vector.nonce, vector.associatedData, vector.plaintext, vector.ciphertext].map(hex) as
      [Uint8Array, Uint8Array, Uint8Array, Uint8Array, Uint8Array];

    it('encrypt() gives the published ciphertext and tag', () => {
      assert.equal(Buffer.from(encrypt(key, nonce, ad, plaintext)).toString('hex'), vector.ciphertext);
    });

    it('decrypt() gives the plaintext back', () => {
      assert.equal(Buffer.from(decrypt(key, nonce, ad, ciphertext)!).toString('hex'), vector.plaintext);
    });

    it('decrypt() answers undefined when any byte of any input differs', () => {
      for (const input of [key, nonce, ad, ciphertext]) {
        for (let i = 0; i < input.length; i++) {
          input[i]! ^= 1;
          assert.equal(decrypt(key, nonce, ad, ciphertext), undefined);
          input[i]! ^= 1;
        }
      }
      for (let length = 0; length < ciphertext.length; length++) assert.equal(decrypt(key, nonce, ad, ciphertext.subarray(0, length)), undefined);
    });
  });
}

it('encrypt() and decrypt() agree with noble on any input', () => {
  const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
  fc.assert(fc.property(bytes(32), bytes(24), fc.uint8Array({ maxLength: 200 }), fc.uint8Array({ maxLength: 1_000 }), (key, nonce, ad, plaintext) => {
    const ciphertext = encrypt(key, nonce, ad, plaintext);
    assert.deepEqual(ciphertext, xchacha20poly1305(key, nonce, ad).encrypt(plaintext));
    assert.deepEqual(decrypt(key, nonce, ad, ciphertext), plaintext);
  }));
});

it('encrypt() refuses keys and nonces of another length', () => {
  const [key, nonce, none] = [new Uint8Array(32), new Uint8Array(24), new Uint8Array(0)];
  assert.throws(() => encrypt(key.subarray(1), nonce, none, none));
  assert.throws(() => encrypt(key, nonce.subarray(1), none, none));
  assert.throws(() => decrypt(key.subarray(1), nonce, none, new Uint8Array(16)));
});
