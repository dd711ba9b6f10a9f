// XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03). Its 192-bit nonce may be drawn at random for any number of messages and
// writers. Not key-committing: callers choose the key by something authenticated, never by trying several.
//
// As the draft builds it (section 2.3): HChaCha20 makes a subkey of the first 16 bytes of the nonce, and ChaCha20-Poly1305
// (RFC 8439) does the rest with the other eight. The first is one block of noble's code, the second OpenSSL's, which is twice as
// fast for a password and ten times for a large value. The published vectors and noble's own construction are the tests.

import { createCipheriv, createDecipheriv } from 'node:crypto';

import { hchacha } from '@noble/ciphers/chacha.js';

export const KEY_BYTES = 32;
export const NONCE_BYTES = 24;
export const TAG_BYTES = 16;

const CIPHER = 'chacha20-poly1305';
const OPTIONS = { authTagLength: TAG_BYTES };
const SUBKEY_NONCE_BYTES = 16;
/** "expand 32-byte k", as RFC 8439 section 2.3 begins the state. */
const SIGMA = Uint32Array.of(0x61707865, 0x3320646e, 0x79622d32, 0x6b206574);
/** For the time of one call: every record passes here, and a dozen small arrays for each would cost as much as opening it. */
const keyWords = new Uint32Array(KEY_BYTES / 4);
const nonceWords = new Uint32Array(SUBKEY_NONCE_BYTES / 4);
const subkeyWords = new Uint32Array(KEY_BYTES / 4);
const subkey = new Uint8Array(KEY_BYTES);
/** Its first four bytes stay zero. */
const innerNonce = new Uint8Array(12);

/** @returns ciphertext ‖ tag. A nonce must never be used twice with one key. */
export function encrypt(key: Uint8Array, nonce: Uint8Array, associatedData: Uint8Array, plaintext: Uint8Array): Uint8Array {
  return withSubkey(key, nonce, () => {
    const cipher = createCipheriv(CIPHER, subkey, innerNonce, OPTIONS);
    cipher.setAAD(associatedData, { plaintextLength: plaintext.length });
    const result = new Uint8Array(plaintext.length + TAG_BYTES);
    result.set(cipher.update(plaintext));
    cipher.final();
    result.set(cipher.getAuthTag(), plaintext.length);
    return result;
  });
}

/** @returns the plaintext, or undefined when key, nonce, associated data or ciphertext do not belong together */
export function decrypt(key: Uint8Array, nonce: Uint8Array, associatedData: Uint8Array, ciphertext: Uint8Array): Uint8Array | undefined {
  const length = ciphertext.length - TAG_BYTES;
  if (length < 0) return undefined;
  return withSubkey(key, nonce, () => {
    const decipher = createDecipheriv(CIPHER, subkey, innerNonce, OPTIONS);
    decipher.setAAD(associatedData, { plaintextLength: length });
    decipher.setAuthTag(ciphertext.subarray(length));
    const plaintext = decipher.update(ciphertext.subarray(0, length));
    try {
      decipher.final();
    } catch {
      plaintext.fill(0); // not authentic, so nobody's business
      return undefined;
    }
    return new Uint8Array(plaintext.buffer, plaintext.byteOffset, plaintext.length);
  });
}

/** Runs `use` while `subkey` and `innerNonce` are those of the message, and wipes the subkey. */
function withSubkey<T>(key: Uint8Array, nonce: Uint8Array, use: () => T): T {
  // A wrong size is a mistake of the caller and must not pass for a failed decryption.
  if (key.length !== KEY_BYTES || nonce.length !== NONCE_BYTES) throw new RangeError('key or nonce of the wrong size');
  readWords(key, keyWords);
  readWords(nonce, nonceWords);
  hchacha(SIGMA, keyWords, nonceWords, subkeyWords);
  writeWords(subkeyWords, subkey);
  for (let i = SUBKEY_NONCE_BYTES; i < NONCE_BYTES; i++) innerNonce[i - 12] = nonce[i]!;
  try {
    return use();
  } finally {
    keyWords.fill(0);
    subkeyWords.fill(0);
    subkey.fill(0);
  }
}

/** Little-endian on every machine; as many as `words` has. */
function readWords(bytes: Uint8Array, words: Uint32Array): void {
  for (let i = 0; i < words.length; i++) words[i] = bytes[4 * i]! | bytes[4 * i + 1]! << 8 | bytes[4 * i + 2]! << 16 | bytes[4 * i + 3]! << 24;
}

function writeWords(words: Uint32Array, bytes: Uint8Array): void {
  for (let i = 0; i < bytes.length; i++) bytes[i] = words[i >> 2]! >>> 8 * (i & 3);
}
