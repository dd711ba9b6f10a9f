// HMAC-SHA256 (RFC 2104, FIPS 198-1).

import { createHmac, createSecretKey, hash } from 'node:crypto';
import type { KeyObject } from 'node:crypto';

const BLOCK_BYTES = 64;
const HASH_BYTES = 32;
/** Longer messages take the general way. */
const MAX_SHORT_BYTES = 16_384;

/** @returns the 32-byte code of `message` under `key` */
export function hmacSha256(key: Uint8Array, message: Uint8Array | string): Uint8Array {
  return createHmac('sha256', key).update(message).digest();
}

/**
 * One key for many short messages. createHmac makes two objects and looks the algorithm up for each code, which costs more than
 * the hashing; RFC 2104's two hashes in one call each take two thirds of the time.
 */
export class MacKey {
  readonly #key: KeyObject;
  /** The key with the inner padding, then the message. */
  readonly #inner = Buffer.alloc(BLOCK_BYTES + MAX_SHORT_BYTES, 0x36);
  /** The key with the outer padding, then the inner hash. */
  readonly #outer = Buffer.alloc(BLOCK_BYTES + HASH_BYTES, 0x5c);

  /** @param key at most 64 bytes; copied */
  constructor(key: Uint8Array) {
    if (key.length > BLOCK_BYTES) throw new RangeError('the key is longer than a block of SHA-256');
    this.#key = createSecretKey(key);
    for (const [i, byte] of key.entries()) {
      this.#inner[i]! ^= byte;
      this.#outer[i]! ^= byte;
    }
  }

  /** The code of `prefix` ‖ `message` as 64 lower-case hexadecimal digits. Texts count as UTF-8. */
  hex(message: Uint8Array | string, prefix?: Uint8Array): string {
    const most = (prefix?.length ?? 0) + message.length * (typeof message === 'string' ? 3 : 1);
    if (most > MAX_SHORT_BYTES) return createHmac('sha256', this.#key).update(prefix ?? '').update(message).digest('hex');
    let end = BLOCK_BYTES;
    if (prefix !== undefined) {
      this.#inner.set(prefix, end);
      end += prefix.length;
    }
    if (typeof message === 'string') end += this.#inner.write(message, end, 'utf8');
    else {
      this.#inner.set(message, end);
      end += message.length;
    }
    this.#outer.write(hash('sha256', this.#inner.subarray(0, end), 'hex'), BLOCK_BYTES, 'hex');
    this.#inner.fill(0, BLOCK_BYTES, end); // a message may be a secret
    return hash('sha256', this.#outer, 'hex');
  }

  /** A copy of the key, which the caller wipes. */
  export(): Buffer {
    return this.#key.export();
  }
}
