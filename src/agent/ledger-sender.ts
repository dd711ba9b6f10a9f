// Carries the spool to the core: batches in order, one at a time, again and again until acknowledged. The core counts a
// batch that arrives twice once, so a lost answer costs nothing.

import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { messageOf } from '../lib/errors.ts';
import { isRefusal } from '../client/response.ts';
import type { UsageBatch } from '../wire/node-protocol.ts';
import type { LedgerSpool } from './ledger-spool.ts';

export interface LedgerSenderOptions {
  readonly spool: LedgerSpool;
  /** Gives the number up to which the core has the spool. */
  readonly send: (batch: UsageBatch) => Promise<number>;
  readonly log: Logger;
  /** Milliseconds that entries gather before they are sent. */
  readonly gatherMs?: number;
  /** Milliseconds before another try, doubled each time up to `maxRetryMs`. */
  readonly retryMs?: number;
  readonly maxRetryMs?: number;
}

/** How long urgent entries gather, in milliseconds: a rotation comes to all containers of a node in one burst. */
const URGENT_MS = 20;

export class LedgerSender {
  readonly #options: Required<LedgerSenderOptions>;
  readonly #stop = new AbortController();
  #isWoken = true;
  #isUrgent = false;
  #wake: () => void = () => undefined;
  #hurry: () => void = () => undefined;
  #loop: Promise<void> | undefined;

  constructor(options: LedgerSenderOptions) {
    this.#options = { gatherMs: 250, retryMs: 500, maxRetryMs: 30_000, ...options };
  }

  start(): void {
    this.#loop ??= this.#run();
  }

  /** Says that there are new entries. @param isUrgent somebody may be watching for them: they gather no longer than a moment */
  wake(isUrgent = false): void {
    this.#isWoken = true;
    this.#isUrgent ||= isUrgent;
    this.#wake();
    if (isUrgent) this.#hurry();
  }

  /** Stops, after one last try to send what is left, `graceMs` at most; what is not sent stays in the spool. */
  async stop(graceMs = 2000): Promise<void> {
    this.#stop.abort();
    this.#wake();
    const until = performance.now() + graceMs;
    const last = async () => {
      await this.#loop;
      while (performance.now() < until && await this.#sendOne());
    };
    await Promise.race([last().catch(() => undefined), sleep(graceMs)]);
  }

  async #run(): Promise<void> {
    let failures = 0;
    while (!this.#stop.signal.aborted) {
      try {
        const isMore = await this.#sendOne();
        failures = 0;
        if (!isMore) await this.#idle();
      } catch (error) {
        if (failures++ === 0) this.#options.log.warn({ err: messageOf(error), pending: this.#options.spool.pending }, 'the usage ledger cannot be sent; it is kept and sent later');
        await this.#pause(Math.min(this.#options.maxRetryMs, this.#options.retryMs * 2 ** Math.min(failures, 16)) * (0.5 + Math.random() / 2));
      }
    }
  }

  /** False when there is nothing to send. */
  async #sendOne(): Promise<boolean> {
    const { spool, send } = this.#options;
    const batch = await spool.batch();
    if (batch === undefined) return false;
    try {
      await spool.acknowledge(await send(batch));
    } catch (error) {
      // A gap before our first entry: the core lost what it had acknowledged. Number 1 cannot leave a gap.
      if (isRefusal(error, 'ERR_NODE_LEDGER') && batch.entries[0]?.seq !== 1) await spool.restart();
      throw error;
    }
    return true;
  }

  async #idle(): Promise<void> {
    if (!this.#isWoken) await new Promise<void>((resolve) => { this.#wake = resolve; });
    this.#isWoken = false;
    if (!this.#isUrgent) await Promise.race([this.#pause(this.#options.gatherMs), new Promise<void>((resolve) => { this.#hurry = resolve; })]);
    if (this.#isUrgent) await this.#pause(Math.min(URGENT_MS, this.#options.gatherMs));
    this.#isUrgent = false;
  }

  async #pause(milliseconds: number): Promise<void> {
    await sleep(milliseconds, undefined, { signal: this.#stop.signal, ref: false }).catch(() => undefined);
  }
}
