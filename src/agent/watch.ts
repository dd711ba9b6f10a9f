// Follows the core's watch stream for as long as the agent lives: reconnects with backoff and jitter, resumes where it
// was, and asks for a full round when the core does not remember the stream.

import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { isPurserError, messageOf } from '../lib/errors.ts';
import type { CoreLink } from './core-link.ts';
import type { Rotation } from './rotation.ts';

export interface WatchFollowerOptions {
  readonly core: Pick<CoreLink, 'watch'>;
  readonly rotation: Pick<Rotation, 'changed' | 'resync'>;
  readonly log: Logger;
  /** Called each time the core is there again. */
  readonly onConnected?: () => void;
  /** Milliseconds before another try, doubled each time up to `maxRetryMs`. */
  readonly retryMs?: number;
  readonly maxRetryMs?: number;
}

/** A revoked node asks seldom: an operator must act first. */
const REVOKED_RETRY_MS = 60_000;

export class WatchFollower {
  readonly #options: Required<WatchFollowerOptions>;
  readonly #stop = new AbortController();
  #stream: string | undefined;
  #after = 0;
  #isConnected = false;
  #loop: Promise<void> | undefined;

  constructor(options: WatchFollowerOptions) {
    this.#options = { retryMs: 100, maxRetryMs: 5000, onConnected: () => undefined, ...options };
  }

  get isConnected(): boolean {
    return this.#isConnected;
  }

  start(): void {
    this.#loop ??= this.#run();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#loop;
  }

  async #run(): Promise<void> {
    const { log, retryMs, maxRetryMs } = this.#options;
    const { signal } = this.#stop;
    let failures = 0;
    while (!signal.aborted) {
      let wait = Math.min(maxRetryMs, retryMs * 2 ** Math.min(failures++, 16));
      try {
        const isRevoked = await this.#follow(() => { failures = 0; });
        if (isRevoked) wait = REVOKED_RETRY_MS;
      } catch (error) {
        if (signal.aborted) break;
        if (isPurserError(error, 'ERR_NODE_REVOKED')) wait = REVOKED_RETRY_MS;
        if (failures <= 1 || wait >= REVOKED_RETRY_MS) {
          const hint = isPurserError(error) ? error.hint : undefined;
          log.warn({ err: messageOf(error), hint }, 'no connection to the core; running containers keep their values');
        }
      }
      this.#isConnected = false;
      await sleep(wait * (0.5 + Math.random() / 2), undefined, { signal }).catch(() => undefined);
    }
  }

  /** @returns true when the node was revoked */
  async #follow(onHello: () => void): Promise<boolean> {
    const { core, rotation, log, onConnected } = this.#options;
    const resume = this.#stream === undefined ? {} : { stream: this.#stream, after: this.#after };
    for await (const frame of core.watch({ ...resume, signal: this.#stop.signal })) {
      switch (frame.type) {
        case 'hello':
          onHello();
          this.#isConnected = true;
          log.info({ resumed: frame.resumed }, 'connected to the core');
          if (!frame.resumed) {
            this.#stream = frame.stream;
            this.#after = frame.seq;
            rotation.resync();
          }
          onConnected();
          break;
        case 'changed':
          this.#after = frame.seq;
          rotation.changed(frame.path, frame.version);
          break;
        case 'heartbeat':
          this.#after = Math.max(this.#after, frame.seq);
          break;
        case 'revoked':
          log.error('this node was revoked; running containers keep their values, no other gets any');
          this.#stream = undefined;
          return true;
      }
    }
    return false;
  }
}
