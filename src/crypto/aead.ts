// XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03). Its 192-bit nonce may be drawn at random for any number of messages and
// writers. Not key-committing: callers choose the key by something authenticated, never by trying several.
//
// Section 2.3 of the draft to the letter: HChaCha20 of key and the first 16 bytes of the nonce gives a key for
// ChaCha20-Poly1305 (RFC 8439), whose nonce is four zero bytes and the last 8. The latter is OpenSSL's: twice as fast as
// JavaScript for a password, five times for a certificate.

import { createCipheriv, createDecipheriv } from 'node:crypto';

import { hchacha } from '@noble/ciphers/chacha.js';

export const KEY_BYTES = 32;
export const NONCE_BYTES = 24;
export const TAG_BYTES = 16;

const ALGORITHM = 'chacha20-poly1305';
const OPTIONS = { authTagLength: TAG_BYTES };
/** `expand 32-byte k`. */
const SIGMA = Uint32Array.of(0x61707865, 0x3320646e, 0x79622d32, 0x6b206574);
const DERIVING_BYTES = 16;

/** @returns ciphertext ‖ tag. A nonce must never be used twice with one key. */
export function encrypt(key: Uint8Array, nonce: Uint8Array, associatedData: Uint8Array, plaintext: Uint8Array): Uint8Array {
  const cipher = withSubkey(key, nonce, (subkey, rest) => createCipheriv(ALGORITHM, subkey, rest, OPTIONS));
  cipher.setAAD(associatedData, { plaintextLength: plaintext.length });
  const sealed = new Uint8Array(plaintext.length + TAG_BYTES);
  sealed.set(cipher.update(plaintext));
  cipher.final();
  sealed.set(cipher.getAuthTag(), plaintext.length);
  return sealed;
}

/** @returns the plaintext, or undefined when key, nonce, associated data or ciphertext do not belong together */
export function decrypt(key: Uint8Array, nonce: Uint8Array, associatedData: Uint8Array, ciphertext: Uint8Array): Uint8Array | undefined {
  const decipher = withSubkey(key, nonce, (subkey, rest) => createDecipheriv(ALGORITHM, subkey, rest, OPTIONS));
  const length = ciphertext.length - TAG_BYTES;
  if (length < 0) return undefined;
  decipher.setAAD(associatedData, { plaintextLength: length });
  decipher.setAuthTag(ciphertext.subarray(length));
  const plaintext = decipher.update(ciphertext.subarray(0, length));
  try {
    decipher.final();
  } catch {
    plaintext.fill(0);
    return undefined;
  }
  return new Uint8Array(plaintext.buffer, plaintext.byteOffset, plaintext.length);
}

/** Derives the key and nonce of RFC 8439; OpenSSL copies the key, so that it is erased here at once. */
function withSubkey<T>(key: Uint8Array, nonce: Uint8Array, use: (subkey: Uint8Array, nonce: Uint8Array) => T): T {
  // A wrong size is a mistake of the caller and must not pass for a failed decryption.
  if (key.length !== KEY_BYTES || nonce.length !== NONCE_BYTES) throw new RangeError('key or nonce of the wrong size');
  const keyWords = wordsOf(key);
  const subkeyWords = new Uint32Array(keyWords.length);
  hchacha(SIGMA, keyWords, wordsOf(nonce.subarray(0, DERIVING_BYTES)), subkeyWords);
  const subkey = bytesOf(subkeyWords);
  const rest = new Uint8Array(4 + NONCE_BYTES - DERIVING_BYTES);
  rest.set(nonce.subarray(DERIVING_BYTES), 4);
  try {
    return use(subkey, rest);
  } finally {
    for (const secret of [keyWords, subkeyWords, subkey]) secret.fill(0);
  }
}

/** Little-endian words, whatever the machine's order and the alignment. */
function wordsOf(bytes: Uint8Array): Uint32Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const words = new Uint32Array(bytes.length / 4);
  for (let i = 0; i < words.length; i++) words[i] = view.getUint32(i * 4, true);
  return words;
}

function bytesOf(words: Uint32Array): Uint8Array {
  const bytes = new Uint8Array(words.length * 4);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < words.length; i++) view.setUint32(i * 4, words[i]!, true);
  return bytes;
}
