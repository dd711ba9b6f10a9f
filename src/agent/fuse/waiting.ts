// Opens that wait a moment: a volume is mounted before anyone knows for which container, and its processes may be faster than that news. The reply is
// held back, never the serving thread. Safe for the kernel, because it is bounded three ways: in time, in number, and by a signal to the reader
// (FUSE_INTERRUPT is answered at once); and because a held request that dies with the server is sent again (FUSE_NOTIFY_RESEND, Linux 6.9). Where the
// kernel cannot do that nothing waits.

import type { Container } from './tree.ts';

/** How long an open may wait, in milliseconds. */
export const WAIT_MS = 1000;
const MAX_WAITING = 256;
/** Offset and length of `unique` in a request header. */
const UNIQUE_AT = 8;
const UNIQUE_BYTES = 8;

interface Waiting { readonly request: Buffer; readonly container: Container; readonly until: number }

export class WaitingOpens {
  readonly #waiting = new Map<string, Waiting>();

  get isEmpty(): boolean {
    return this.#waiting.size === 0;
  }

  /** Holds a request back; false when too many wait already. */
  add(request: Buffer, container: Container, now: number): boolean {
    if (this.#waiting.size >= MAX_WAITING) return false;
    this.#waiting.set(uniqueAt(request, UNIQUE_AT), { request: Buffer.from(request), container, until: now + WAIT_MS });
    return true;
  }

  /** The held request whose `unique` stands at `offset` in an interrupt; it waits no longer. */
  interrupted(interrupt: Buffer, offset: number): Buffer | undefined {
    const unique = uniqueAt(interrupt, offset);
    const request = this.#waiting.get(unique)?.request;
    this.#waiting.delete(unique);
    return request;
  }

  /** Ends the waiting of what is over its time or whose container `isDecided`. */
  take(now: number, isDecided: (container: Container) => boolean): Buffer[] {
    const ripe: Buffer[] = [];
    for (const [unique, { request, container, until }] of this.#waiting) {
      if (now < until && !isDecided(container)) continue;
      this.#waiting.delete(unique);
      ripe.push(request);
    }
    return ripe;
  }
}

function uniqueAt(buffer: Buffer, offset: number): string {
  return buffer.toString('latin1', offset, offset + UNIQUE_BYTES);
}
