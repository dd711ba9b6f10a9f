// Follows the core's watch stream for as long as a node's program lives: reconnects with backoff and jitter, resumes where it
// was, and asks for a full round when the core does not remember the stream.

import { setTimeout as sleep } from 'node:timers/promises';
import { isPurserError, messageOf } from '../../lib/errors.ts';
import type { WatchFrame } from '../../wire/node-protocol.ts';
import type { WatchOptions } from '../core-client.ts';

export interface WatchListener {
  /** The secret at `path` has a new current version; may be said twice. */
  changed(path: string, version: number): void;
  /** Changes may have been missed: everything is to be asked for again. */
  resync(): void;
  /** Each time the core is there again, after resync() if there was one. */
  connected?(): void;
  /** Nothing is heard from here on until connected(). */
  disconnected?(): void;
  /** Each frame; from then on for a while the core is known to be alive. */
  heard?(): void;
  /** Policies, roles, mounts or nodes changed. */
  grantsChanged?(): void;
}

export interface WatchFollowerOptions {
  readonly open: (options: WatchOptions) => AsyncGenerator<WatchFrame, void, undefined>;
  readonly listener: WatchListener;
  readonly log: Readonly<Record<'info' | 'warn' | 'error', (fields: object, message: string) => void>>;
  /** What a lost core means for this program, for the log. */
  readonly onLoss: string;
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
    this.#options = { retryMs: 100, maxRetryMs: 5000, ...options };
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
    const { log, listener, onLoss, retryMs, maxRetryMs } = this.#options;
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
          log.warn({ err: messageOf(error), hint }, `no connection to the core; ${onLoss}`);
        }
      }
      if (this.#isConnected) listener.disconnected?.();
      this.#isConnected = false;
      await sleep(wait * (0.5 + Math.random() / 2), undefined, { signal }).catch(() => undefined);
    }
  }

  /** @returns true when the node was revoked */
  async #follow(onHello: () => void): Promise<boolean> {
    const { open, listener, log, onLoss } = this.#options;
    const resume = this.#stream === undefined ? {} : { stream: this.#stream, after: this.#after };
    for await (const frame of open({ ...resume, signal: this.#stop.signal })) {
      listener.heard?.();
      switch (frame.type) {
        case 'hello':
          onHello();
          this.#isConnected = true;
          log.info({ resumed: frame.resumed }, 'connected to the core');
          if (!frame.resumed) {
            this.#stream = frame.stream;
            this.#after = frame.seq;
            listener.resync();
          }
          listener.connected?.();
          break;
        case 'changed':
          this.#after = frame.seq;
          listener.changed(frame.path, frame.version);
          break;
        case 'heartbeat':
          this.#after = Math.max(this.#after, frame.seq);
          break;
        case 'grants':
          listener.grantsChanged?.();
          break;
        case 'revoked':
          log.error({}, `this node was revoked; ${onLoss}`);
          this.#stream = undefined;
          return true;
      }
    }
    return false;
  }
}
