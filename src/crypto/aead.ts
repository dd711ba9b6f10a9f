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

/** @returns ciphertext ‖ tag. A nonce must never be used twice with one key. */
export function encrypt(key: Uint8Array, nonce: Uint8Array, associatedData: Uint8Array, plaintext: Uint8Array): Uint8Array {
  return withSubkey(key, nonce, (subkey, innerNonce) => {
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
  return withSubkey(key, nonce, (subkey, innerNonce) => {
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

/** Lends `use` the subkey and the nonce for it, and wipes the subkey. */
function withSubkey<T>(key: Uint8Array, nonce: Uint8Array, use: (subkey: Uint8Array, nonce: Uint8Array) => T): T {
  // A wrong size is a mistake of the caller and must not pass for a failed decryption.
  if (key.length !== KEY_BYTES || nonce.length !== NONCE_BYTES) throw new RangeError('key or nonce of the wrong size');
  const keyWords = wordsOf(key);
  const subkeyWords = new Uint32Array(KEY_BYTES / 4);
  hchacha(SIGMA, keyWords, wordsOf(nonce.subarray(0, SUBKEY_NONCE_BYTES)), subkeyWords);
  const subkey = bytesOf(subkeyWords);
  const innerNonce = new Uint8Array(12);
  innerNonce.set(nonce.subarray(SUBKEY_NONCE_BYTES), 4);
  try {
    return use(subkey, innerNonce);
  } finally {
    keyWords.fill(0);
    subkeyWords.fill(0);
    subkey.fill(0);
  }
}

/** Little-endian on every machine. */
function wordsOf(bytes: Uint8Array): Uint32Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const words = new Uint32Array(bytes.length / 4);
  for (let i = 0; i < words.length; i++) words[i] = view.getUint32(4 * i, true);
  return words;
}

function bytesOf(words: Uint32Array): Uint8Array {
  const bytes = new Uint8Array(4 * words.length);
  const view = new DataView(bytes.buffer);
  for (const [i, word] of words.entries()) view.setUint32(4 * i, word, true);
  return bytes;
}
