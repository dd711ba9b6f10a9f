// After a rotation: every record of an older term is encrypted anew under the newest, in the background (core/FORMAT.md section 3, which
// has the failure modes). It works in small batches, each one commit, and rests four times as long as it worked: a busy core slows it
// down, not the other way round. In memory there is one batch and the names on the way down to it.

import { setTimeout as wait } from 'node:timers/promises';
import { z } from 'zod';
import type { Barrier, Renewal } from '../core/barrier.ts';
import type { View } from '../core/view.ts';
import { isPurserError, messageOf } from '../lib/errors.ts';
import { decodeRecord, encodeRecord } from '../lib/json-record.ts';
import type { Family } from '../lib/metrics.ts';
import { single } from '../lib/metrics.ts';

const DONE_KEY = 'reencrypted';
const recordSchema = z.strictObject({ v: z.literal(1), term: z.number().int().min(1) });

const BATCH_RECORDS = 32;
const BATCH_BYTES = 256 * 1024;
/** Records looked at between two rests. */
const BATCH_LOOKS = 128;
const REST_FACTOR = 4;
const MIN_REST_MILLISECONDS = 2;
const MAX_REST_MILLISECONDS = 1_000;
const RETRY_MILLISECONDS = 60_000;
/** Damaged records named in the log, for each walk. */
const MAX_NAMED = 10;

export interface ReencryptionOptions {
  readonly barrier: Barrier;
  readonly view: View;
  readonly log: { info(facts: object, message: string): void; warn(facts: object, message: string): void };
}

export interface ReencryptionStatus {
  /** No record has an older term than this. */
  readonly oldestTerm: number;
  readonly isRunning: boolean;
  /** Of the present walk, or of the last one of this process. */
  readonly checked: number;
  readonly renewed: number;
  readonly unreadable: number;
}

export class Reencryption {
  readonly #options: ReencryptionOptions;
  readonly #closing = new AbortController();
  #oldestTerm: number;
  /** The term of the last walk that came to its end, which leaves a damaged record where it was. */
  #walkedTerm: number;
  #running: Promise<void> | undefined;
  #retry: NodeJS.Timeout | undefined;
  #checked = 0;
  #renewed = 0;
  #unreadable = 0;
  #renewedInAll = 0;

  private constructor(options: ReencryptionOptions, oldestTerm: number) {
    this.#options = options;
    this.#oldestTerm = this.#walkedTerm = oldestTerm;
  }

  /** Goes on where a walk was cut off. @throws ERR_RECORD_INVALID */
  static async open(options: ReencryptionOptions): Promise<Reencryption> {
    const bytes = await options.view.get(DONE_KEY);
    const reencryption = new Reencryption(options, bytes === undefined ? 1 : decodeRecord(bytes, recordSchema, 're-encryption record').term);
    reencryption.start();
    return reencryption;
  }

  /** Begins a walk when there are older terms, and none is under way. Never throws. */
  start(): void {
    if (this.#closing.signal.aborted || this.#options.barrier.isSealed || this.#walkedTerm >= this.#activeTerm) return;
    clearTimeout(this.#retry);
    this.#running ??= this.#run().finally(() => { this.#running = undefined; });
  }

  status(): ReencryptionStatus {
    return { oldestTerm: this.#oldestTerm, isRunning: this.#running !== undefined, checked: this.#checked, renewed: this.#renewed, unreadable: this.#unreadable };
  }

  families(): Family[] {
    return [
      single('purser_barrier_term', 'The term of the data key that encrypts', 'gauge', this.#activeTerm),
      single('purser_barrier_oldest_term', 'No stored record is under an older data key than this', 'gauge', this.#oldestTerm),
      single('purser_reencrypted_records_total', 'Records that were encrypted anew after a rotation', 'counter', this.#renewedInAll),
    ];
  }

  /** Resolves when no walk is under way, whether it came to its end or not. */
  async idle(): Promise<void> {
    await this.#running;
  }

  /** Stops within one batch, while the barrier is still open; the next open() goes on. */
  async close(): Promise<void> {
    this.#closing.abort();
    clearTimeout(this.#retry);
    await this.#running;
  }

  get #activeTerm(): number {
    return this.#options.barrier.keyStatus().term;
  }

  async #run(): Promise<void> {
    try {
      while (this.#walkedTerm < this.#activeTerm) await this.#walk(this.#activeTerm);
    } catch (error) {
      if (this.#closing.signal.aborted || isPurserError(error, 'ERR_BARRIER_SEALED')) return; // the next unseal goes on
      this.#options.log.warn({ reason: messageOf(error) }, 'records could not be encrypted anew; it is tried again in a minute');
      this.#retry = setTimeout(() => this.start(), RETRY_MILLISECONDS).unref();
    }
  }

  async #walk(term: number): Promise<void> {
    const { barrier, log, view } = this.#options;
    this.#checked = this.#renewed = this.#unreadable = 0;
    log.info({ term }, 'records under older data keys are encrypted anew');
    const begun = performance.now();
    await barrier.settled();
    await this.#visitAll();
    this.#walkedTerm = term;
    const facts = { term, checked: this.#checked, renewed: this.#renewed, seconds: Math.round((performance.now() - begun) / 1000) };
    if (this.#unreadable > 0) {
      log.warn({ ...facts, unreadable: this.#unreadable }, 'some records do not open and stay as they are; restore them from a backup');
      return;
    }
    await view.put(DONE_KEY, encodeRecord({ v: 1, term }));
    this.#oldestTerm = term;
    log.info(facts, 'all records are under the newest data key');
  }

  async #visitAll(): Promise<void> {
    let batch: Renewal[] = [];
    let bytes = 0;
    let looks = 0;
    let begun = performance.now();
    for await (const key of this.#options.barrier.keys()) {
      const renewal = await this.#renew(key);
      this.#checked += 1;
      looks += 1;
      if (renewal !== undefined) bytes += batch[batch.push(renewal) - 1]!.bytes;
      if (batch.length < BATCH_RECORDS && bytes < BATCH_BYTES && looks < BATCH_LOOKS) continue;
      await this.#store(batch);
      await this.#rest(performance.now() - begun);
      batch = [];
      bytes = looks = 0;
      begun = performance.now();
    }
    await this.#store(batch);
  }

  /** All at once, so that they share a commit; those that met another write are looked at again. */
  async #store(batch: readonly Renewal[]): Promise<void> {
    const stored = await Promise.all(batch.map((renewal) => renewal.store()));
    for (const [index, { key }] of batch.entries()) {
      let isStored = stored[index];
      while (isStored === false) {
        const again = await this.#renew(key);
        if (again === undefined) break;
        isStored = await again.store();
      }
      if (isStored !== true) continue;
      this.#renewed += 1;
      this.#renewedInAll += 1;
    }
  }

  async #renew(key: string): Promise<Renewal | undefined> {
    try {
      return await this.#options.barrier.renew(key);
    } catch (error) {
      if (!isPurserError(error, 'ERR_BARRIER_OPEN')) throw error;
      if (this.#unreadable++ < MAX_NAMED) this.#options.log.warn({ reason: error.message }, 'a record cannot be encrypted anew');
      return undefined;
    }
  }

  /** @throws when the core is closing */
  async #rest(workedMilliseconds: number): Promise<void> {
    const milliseconds = Math.min(MAX_REST_MILLISECONDS, Math.max(MIN_REST_MILLISECONDS, REST_FACTOR * workedMilliseconds));
    await wait(milliseconds, undefined, { signal: this.#closing.signal });
  }
}
