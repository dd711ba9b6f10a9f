// When the barrier gets a new data key by itself: after so many encryptions or so much time, as sys/rotate/config says. The nonces of
// the barrier (192 bits, random) need no such limit; it bounds how much one key opens. The count is kept in steps, so a crash forgets
// at most COUNT_STEP encryptions, and an idle core writes nothing.

import { z } from 'zod';
import type { Barrier } from '../core/barrier.ts';
import type { View } from '../core/view.ts';
import { isPurserError, PurserError } from '../lib/errors.ts';
import { decodeRecord, encodeRecord } from '../lib/json-record.ts';
import { KeyedLock } from '../lib/keyed-lock.ts';

const STATE_KEY = 'state';
const CHECK_MILLISECONDS = 60_000;
const COUNT_STEP = 1_000;
/** Vault's bounds and default (vault/barrier.go). */
const MIN_OPERATIONS = 1_000_000;
const MAX_OPERATIONS = 3_865_470_566;
const MIN_INTERVAL_SECONDS = 24 * 3_600;

const configFields = {
  maxOperations: z.number().int().min(MIN_OPERATIONS).max(MAX_OPERATIONS),
  /** 0: no limit of time. */
  intervalSeconds: z.number().int().min(0),
  isEnabled: z.boolean(),
};
const recordSchema = z.strictObject({ v: z.literal(1), ...configFields, term: z.number().int().min(1), encryptions: z.number().int().min(0) });

export interface RotationConfig {
  readonly maxOperations: number;
  readonly intervalSeconds: number;
  readonly isEnabled: boolean;
}

const DEFAULT_CONFIG: RotationConfig = { maxOperations: MAX_OPERATIONS, intervalSeconds: 0, isEnabled: true };

export interface KeyRotationOptions {
  readonly barrier: Barrier;
  readonly view: View;
  readonly now: () => number;
  /** There is a new term, by hand or by itself. */
  readonly onNewTerm: () => void;
  /** An automatic rotation happened, or failed. */
  readonly onRotation: (outcome: { readonly term: number } | { readonly error: unknown }) => void;
}

export class KeyRotation {
  readonly #options: KeyRotationOptions;
  readonly #lock = new KeyedLock();
  readonly #timer: NodeJS.Timeout;
  #config: RotationConfig;
  /** Encryptions under the active term before this process. */
  #before: number;
  #stored: number;

  private constructor(options: KeyRotationOptions, config: RotationConfig, before: number) {
    this.#options = options;
    this.#config = config;
    this.#before = this.#stored = before;
    this.#timer = setInterval(() => void this.check(), CHECK_MILLISECONDS).unref();
  }

  /** @throws ERR_RECORD_INVALID */
  static async open(options: KeyRotationOptions): Promise<KeyRotation> {
    const bytes = await options.view.get(STATE_KEY);
    if (bytes === undefined) return new KeyRotation(options, DEFAULT_CONFIG, 0);
    const { maxOperations, intervalSeconds, isEnabled, term, encryptions } = decodeRecord(bytes, recordSchema, 'key rotation record');
    return new KeyRotation(options, { maxOperations, intervalSeconds, isEnabled }, term === options.barrier.keyStatus().term ? encryptions : 0);
  }

  get config(): RotationConfig {
    return this.#config;
  }

  /** The active term, when it was made, and about how many records were encrypted under it. */
  status(): ReturnType<Barrier['keyStatus']> {
    const status = this.#options.barrier.keyStatus();
    return { ...status, encryptions: this.#before + status.encryptions };
  }

  /** Durable when it resolves. @throws ERR_REQUEST_INVALID outside of Vault's bounds */
  configure(config: RotationConfig): Promise<void> {
    const { maxOperations, intervalSeconds } = config;
    if (maxOperations < MIN_OPERATIONS || maxOperations > MAX_OPERATIONS) throw refused(`max_operations must be from ${MIN_OPERATIONS} to ${MAX_OPERATIONS}`);
    if (intervalSeconds < 0 || (intervalSeconds > 0 && intervalSeconds < MIN_INTERVAL_SECONDS)) throw refused('interval must be 0, for none, or at least 24h');
    return this.#exclusively(async () => {
      await this.#store(config);
      this.#config = config;
    });
  }

  /** Adds a term now. */
  rotate(): Promise<number> {
    return this.#exclusively(() => this.#rotate());
  }

  /** Rotates when it is time, and keeps the count; runs every minute. Never throws. */
  async check(): Promise<void> {
    try {
      await this.#exclusively(async () => {
        const { installTime, encryptions } = this.status();
        const { isEnabled, maxOperations, intervalSeconds } = this.#config;
        const isOld = intervalSeconds > 0 && this.#options.now() - Date.parse(installTime) >= intervalSeconds * 1000;
        if (isEnabled && (isOld || encryptions >= maxOperations)) this.#options.onRotation({ term: await this.#rotate() });
        else if (encryptions - this.#stored >= COUNT_STEP) await this.#store(this.#config);
      });
    } catch (error) {
      // Sealed without a close: an opening that failed half way. Nothing to check any more.
      if (isPurserError(error, 'ERR_BARRIER_SEALED')) clearInterval(this.#timer);
      else this.#options.onRotation({ error });
    }
  }

  /** Ends the checks and keeps the count, while the barrier is still open. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#exclusively(async () => {
      if (this.status().encryptions - this.#stored > 1) await this.#store(this.#config); // 1 is this very record of the last time
    });
  }

  async #rotate(): Promise<number> {
    const term = await this.#options.barrier.rotate();
    this.#before = 0;
    this.#options.onNewTerm();
    await this.#store(this.#config);
    return term;
  }

  async #store(config: RotationConfig): Promise<void> {
    const { term, encryptions } = this.status();
    await this.#options.view.put(STATE_KEY, encodeRecord({ v: 1, ...config, term, encryptions }));
    this.#stored = encryptions;
  }

  #exclusively<T>(action: () => Promise<T>): Promise<T> {
    return this.#lock.run(STATE_KEY, action);
  }
}

function refused(message: string): PurserError {
  return new PurserError('ERR_REQUEST_INVALID', message);
}
