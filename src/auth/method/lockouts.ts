// Names that failed to log in too often are locked out for a while, also with the right password. Guarantees: no more logins of
// one name are being checked than it has failures left, so that parallel guesses do not get past the threshold; a name is counted
// whether it exists or not; a restart ends no lock; memory and records are bounded.

import { createHash } from 'node:crypto';
import { z } from 'zod';

import type { View } from '../../core/view.ts';
import { PurserError } from '../../lib/errors.ts';
import { decodeRecord, encodeRecord } from '../../lib/json-record.ts';

/** How often, and for how long. */
export interface LockoutRule {
  readonly threshold: number;
  readonly durationSeconds: number;
  /** The failures of a name count no more after this time without another. */
  readonly resetSeconds: number;
  readonly isDisabled: boolean;
}

/**
 * Names that are remembered; past it the longest untouched are forgotten. To get a name forgotten by that takes as many logins of others:
 * with passwords more than an hour of hashing.
 */
const MAX_NAMES = 20_000;
/** Logins of one name that may wait for others of it. */
const MAX_WAITING = 256;
/** Looked at to find one to forget. */
const FORGET_CANDIDATES = 32;

interface Attempts {
  failures: number;
  lastFailure: number;
  lockedAt: number | undefined;
  running: number;
  readonly waiting: (() => void)[];
}

const lockSchema = z.strictObject({ v: z.literal(1), name: z.string(), lockedAt: z.int().nonnegative() });

export class Lockouts {
  readonly #view: View;
  readonly #now: () => number;
  readonly #rule: () => LockoutRule;
  readonly #names = new Map<string, Attempts>();
  #loaded: Promise<void> | undefined;

  /** @param rule as it is tuned now; asked at every login */
  constructor({ view, now, rule }: { readonly view: View; readonly now: () => number; readonly rule: () => LockoutRule }) {
    this.#view = view;
    this.#now = now;
    this.#rule = rule;
  }

  /**
   * Runs one login of `name`, and counts it when it fails with ERR_LOGIN_INVALID.
   * @throws ERR_REQUEST_DENIED while the name is locked, ERR_REQUEST_BUSY when too many logins of it wait; what `logIn` throws
   */
  async attempt<T>(name: string, logIn: () => Promise<T>): Promise<T> {
    if (this.#rule().isDisabled) return logIn();
    await this.#load();
    const attempts = await this.#enter(name);
    try {
      const result = await logIn();
      attempts.failures = 0;
      return result;
    } catch (error) {
      if (error instanceof PurserError && error.code === 'ERR_LOGIN_INVALID') await this.#fail(name, attempts);
      throw error;
    } finally {
      attempts.running--;
      // All of them: after a lock nobody must wait for a place that no one will hand on.
      for (const wake of attempts.waiting.splice(0)) wake();
      this.#forgetIdle(name, attempts);
    }
  }

  /** The names that are locked now, sorted. */
  async locked(): Promise<string[]> {
    await this.#load();
    return [...this.#names].filter(([, attempts]) => this.#isLocked(attempts)).map(([name]) => name).sort();
  }

  /** Ends the lock of a name and forgets its failures; unknown names are no error. */
  async unlock(name: string): Promise<void> {
    await this.#load();
    const attempts = this.#names.get(name);
    if (attempts === undefined) return;
    await this.#view.delete(keyOf(name));
    attempts.failures = 0;
    attempts.lockedAt = undefined;
    this.#forgetIdle(name, attempts);
  }

  /** Removes what is over: from memory, and the records, also of names that memory has forgotten. */
  async tidy(): Promise<void> {
    await this.#load();
    for (const [name, attempts] of this.#names) {
      if (attempts.lockedAt !== undefined && !this.#isLocked(attempts)) await this.unlock(name);
      else this.#forgetIdle(name, attempts);
    }
    for await (const [key, { lockedAt }] of this.#records()) if (!this.#isLocked({ lockedAt })) await this.#view.delete(key);
  }

  /** Waits until the name has a failure left that no login under way may use up. */
  async #enter(name: string): Promise<Attempts> {
    for (;;) {
      const attempts = this.#touch(name);
      const { threshold, resetSeconds } = this.#rule();
      if (this.#isLocked(attempts)) throw new PurserError('ERR_REQUEST_DENIED', 'permission denied');
      if (attempts.lockedAt !== undefined) {
        await this.unlock(name);
        continue; // others ran meanwhile
      }
      if (this.#now() >= attempts.lastFailure + resetSeconds * 1000) attempts.failures = 0;
      if (attempts.running < Math.max(1, threshold - attempts.failures)) {
        attempts.running++;
        return attempts;
      }
      if (attempts.waiting.length >= MAX_WAITING) throw new PurserError('ERR_REQUEST_BUSY', 'too many logins at the same time', { hint: 'try again in a few seconds' });
      await new Promise<void>((resolve) => { attempts.waiting.push(resolve); });
    }
  }

  async #fail(name: string, attempts: Attempts): Promise<void> {
    attempts.failures++;
    attempts.lastFailure = this.#now();
    if (attempts.failures < this.#rule().threshold || attempts.lockedAt !== undefined) return;
    attempts.lockedAt = this.#now();
    await this.#view.put(keyOf(name), encodeRecord({ v: 1, name, lockedAt: attempts.lockedAt }));
  }

  #isLocked({ lockedAt }: Pick<Attempts, 'lockedAt'>): boolean {
    const { isDisabled, durationSeconds } = this.#rule();
    return !isDisabled && lockedAt !== undefined && this.#now() < lockedAt + durationSeconds * 1000;
  }

  /** The attempts of a name, which becomes the most recently touched one. */
  #touch(name: string): Attempts {
    const attempts = this.#names.get(name) ?? { failures: 0, lastFailure: 0, lockedAt: undefined, running: 0, waiting: [] };
    this.#names.delete(name);
    if (this.#names.size >= MAX_NAMES) this.#forgetOldest();
    this.#names.set(name, attempts);
    return attempts;
  }

  #forgetIdle(name: string, attempts: Attempts): void {
    const isIdle = attempts.running === 0 && attempts.waiting.length === 0;
    const isOver = attempts.failures === 0 || this.#now() >= attempts.lastFailure + this.#rule().resetSeconds * 1000;
    if (isIdle && isOver && attempts.lockedAt === undefined && this.#names.get(name) === attempts) this.#names.delete(name);
  }

  /** One that is not locked, if there is one among the oldest. */
  #forgetOldest(): void {
    let oldest: string | undefined;
    let count = 0;
    for (const [name, attempts] of this.#names) {
      if (count++ >= FORGET_CANDIDATES) break;
      if (attempts.running > 0) continue;
      if (attempts.lockedAt === undefined) { oldest = name; break; }
      oldest ??= name;
    }
    if (oldest !== undefined) this.#names.delete(oldest);
  }

  #load(): Promise<void> {
    this.#loaded ??= this.#read().catch((error: unknown) => {
      this.#loaded = undefined;
      throw error;
    });
    return this.#loaded;
  }

  async #read(): Promise<void> {
    for await (const [, { name, lockedAt }] of this.#records()) {
      const attempts = this.#touch(name);
      attempts.failures = this.#rule().threshold;
      attempts.lastFailure = lockedAt;
      attempts.lockedAt = lockedAt;
    }
  }

  async *#records(): AsyncGenerator<readonly [key: string, record: z.infer<typeof lockSchema>]> {
    for (const key of await this.#view.list('')) {
      const bytes = await this.#view.get(key);
      if (bytes !== undefined) yield [key, decodeRecord(bytes, lockSchema, 'lock of a user')];
    }
  }
}

/** A name may be anything a stranger sends. */
function keyOf(name: string): string {
  return createHash('sha256').update(name).digest('hex');
}
