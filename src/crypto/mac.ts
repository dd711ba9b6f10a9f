// HMAC-SHA256 (RFC 2104, FIPS 198-1).

import { createHmac } from 'node:crypto';

/** @returns the 32-byte code of `message` under `key` */
export function hmacSha256(key: Uint8Array, message: Uint8Array | string): Uint8Array {
  return createHmac('sha256', key).update(message).digest();
}
