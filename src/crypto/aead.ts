// XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03). Its 192-bit nonce may be drawn at random for any number of messages and
// writers. Not key-committing: callers choose the key by something authenticated, never by trying several.

import { xchacha20poly1305 } from '@noble/ciphers/chacha.js';

export const KEY_BYTES = 32;
export const NONCE_BYTES = 24;
export const TAG_BYTES = 16;

/** @returns ciphertext ‖ tag. A nonce must never be used twice with one key. */
export function encrypt(key: Uint8Array, nonce: Uint8Array, associatedData: Uint8Array, plaintext: Uint8Array): Uint8Array {
  assertSizes(key, nonce);
  return xchacha20poly1305(key, nonce, associatedData).encrypt(plaintext);
}

/** @returns the plaintext, or undefined when key, nonce, associated data or ciphertext do not belong together */
export function decrypt(key: Uint8Array, nonce: Uint8Array, associatedData: Uint8Array, ciphertext: Uint8Array): Uint8Array | undefined {
  assertSizes(key, nonce);
  try {
    return xchacha20poly1305(key, nonce, associatedData).decrypt(ciphertext);
  } catch {
    return undefined;
  }
}

/** A wrong size is a mistake of the caller and must not pass for a failed decryption. */
function assertSizes(key: Uint8Array, nonce: Uint8Array): void {
  if (key.length !== KEY_BYTES || nonce.length !== NONCE_BYTES) throw new RangeError('key or nonce of the wrong size');
}
