// Bytes and the texts that stand for them. Decoding is strict: one spelling per value, no white space, no silent skipping,
// because a lenient decoder makes two different inputs mean the same key. Nothing here turns secret bytes into a string
// unless its name says so: a string cannot be wiped.

import { timingSafeEqual } from 'node:crypto';

/** Compares in time that depends on the lengths only. Different lengths are unequal. */
export function constantTimeEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}

/** Overwrites key material. Best effort: the runtime may hold copies that nobody can reach. */
export function wipe(...arrays: readonly Uint8Array[]): void {
  for (const array of arrays) array.fill(0);
}

export function utf8(text: string): Uint8Array {
  return Buffer.from(text, 'utf8');
}

/**
 * Hexadecimal digits (ASCII bytes, either case) to bytes, without a string in between.
 * @returns undefined when the length is odd or a byte is not a hexadecimal digit
 */
export function bytesFromHex(digits: Uint8Array): Uint8Array | undefined {
  if (digits.length % 2 !== 0) return undefined;
  const bytes = new Uint8Array(digits.length / 2);
  for (let i = 0; i < bytes.length; i++) {
    const high = hexDigit(digits[2 * i]!);
    const low = hexDigit(digits[2 * i + 1]!);
    if (high < 0 || low < 0) return wipeAndRefuse(bytes);
    bytes[i] = high * 16 + low;
  }
  return bytes;
}

/** Bytes to lower-case hexadecimal digits as ASCII bytes, without a string in between. */
export function hexFromBytes(bytes: Uint8Array): Uint8Array {
  const digits = new Uint8Array(bytes.length * 2);
  bytes.forEach((byte, i) => {
    digits[2 * i] = asciiOfDigit(byte >> 4);
    digits[2 * i + 1] = asciiOfDigit(byte & 15);
  });
  return digits;
}

/**
 * Standard base64 with padding (RFC 4648 section 4), in its only canonical spelling.
 * @returns undefined for anything else
 */
export function bytesFromBase64(text: string): Uint8Array | undefined {
  const bytes = Buffer.from(text, 'base64');
  return bytes.toString('base64') === text ? bytes : wipeAndRefuse(bytes);
}

function hexDigit(ascii: number): number {
  if (ascii >= 0x30 && ascii <= 0x39) return ascii - 0x30;
  const lower = ascii | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x61 + 10 : -1;
}

function asciiOfDigit(digit: number): number {
  return digit < 10 ? 0x30 + digit : 0x61 + digit - 10;
}

function wipeAndRefuse(bytes: Uint8Array): undefined {
  wipe(bytes);
  return undefined;
}
