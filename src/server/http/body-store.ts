// Where bodies wait until they are complete: memory that clients decide about, so it is bounded over all of them together. A
// large body gets only half of it, so that a few large ones cannot shut out the small ones, which are all that logins need.

import { PurserError } from '../../lib/errors.ts';

/** Up to this size, in bytes, a body may use all of the memory. */
const SMALL_BODY = 64 * 1024;

/** The memory for all bodies of one class of callers. */
export class BodyStore {
  readonly #capacity: number;
  #used = 0;

  /** @param capacity in bytes */
  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  /** A new, empty body. */
  open(): StoredBody {
    return new StoredBody((bytes, isLarge) => {
      if (bytes > 0 && this.#used + bytes > (isLarge ? this.#capacity / 2 : this.#capacity)) {
        throw new PurserError('ERR_REQUEST_BUSY', 'too many request bodies are on their way', { hint: 'try again in a moment' });
      }
      this.#used += bytes;
    });
  }
}

/** One body as it arrives. One buffer that doubles: a Buffer for every chunk would cost a hundred times what a sender of single bytes sends. */
export class StoredBody {
  readonly #reserve: (bytes: number, isLarge: boolean) => void;
  #buffer: Buffer = Buffer.alloc(0);
  #reserved = 0;
  length = 0;

  constructor(reserve: (bytes: number, isLarge: boolean) => void) {
    this.#reserve = reserve;
  }

  get bytes(): Buffer {
    return this.#buffer.subarray(0, this.length);
  }

  /** @throws ERR_REQUEST_BUSY */
  add(chunk: Buffer): void {
    const length = this.length + chunk.length;
    if (this.length === 0) this.#hold(chunk); // the usual body is one chunk: no copy
    else if (length > this.#buffer.length) this.#hold(Buffer.allocUnsafeSlow(2 * length));
    if (this.length > 0) chunk.copy(this.#buffer, this.length);
    this.length = length;
  }

  /** Gives the memory back. */
  release(): void {
    this.#reserve(-this.#reserved, false);
    this.#reserved = 0;
    this.#buffer = Buffer.alloc(0);
    this.length = 0;
  }

  #hold(buffer: Buffer): void {
    this.#reserve(buffer.length - this.#reserved, buffer.length > SMALL_BODY);
    this.#reserved = buffer.length;
    this.bytes.copy(buffer);
    this.#buffer = buffer;
  }
}
