// Random identifiers of letters and digits (base62): token ids, accessors, lease ids. Every character is uniform and
// independent: bytes that would favour the first letters are thrown away (rejection sampling).

import { randomBytes } from 'node:crypto';

const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
/** The largest multiple of 62 that fits a byte: larger bytes are rejected. */
const LIMIT = 248;

/** `length` random base62 characters, 5.95 bits each. */
export function randomBase62(length: number): string {
  let text = '';
  while (text.length < length) {
    for (const byte of randomBytes(length + 8)) {
      if (byte < LIMIT && text.length < length) text += ALPHABET.charAt(byte % 62);
    }
  }
  return text;
}
