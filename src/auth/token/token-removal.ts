// How tokens end. Revoking cuts a whole tree off with its first write; then children go before their parent, and what belongs to a
// token (its leases, its cubbyhole) goes before its entry. So whatever a crash leaves is found again: a condemned token is due
// at once, an expired one is, and neither goes before everything below it is gone.

import type { TokenEntry } from './token-record.ts';
import type { TokenRecords } from './token-records.ts';

/** Tokens removed at the same time. */
const PARALLEL = 64;

/** Ends what belongs to a token that is not usable any more; durable when it resolves. Called again after a crash. */
export type OnTokenEnd = (key: string) => Promise<void>;

export class TokenRemoval {
  readonly #records: TokenRecords;
  readonly #now: () => number;
  readonly #onEnd: OnTokenEnd;
  /** Tokens whose last use is under way: they are condemned and yet must not go. */
  readonly #inLastUse = new Set<string>();

  constructor(records: TokenRecords, now: () => number, onEnd: OnTokenEnd) {
    this.#records = records;
    this.#now = now;
    this.#onEnd = onEnd;
  }

  /** Spends a token by `spend`, and keeps it until finishUse(). */
  async duringLastUse(key: string, spend: () => Promise<void>): Promise<void> {
    this.#inLastUse.add(key);
    try {
      await spend();
    } catch (error) {
      this.#inLastUse.delete(key);
      throw error;
    }
  }

  /** Removes a spent token. The sweep does it when the process dies before. */
  async finishUse(key: string): Promise<void> {
    try {
      const entry = await this.#records.load(key);
      if (entry !== undefined && isSpent(entry)) await this.#removeTree(key);
    } finally {
      this.#inLastUse.delete(key);
    }
  }

  /** Revokes a token and its descendants; again to finish what failed half-way. */
  async revokeTree(key: string): Promise<void> {
    await this.#condemn(key);
    await this.#removeTree(key);
  }

  /** Revokes one token and frees its children. @returns false when there is none */
  async revokeOrphan(key: string): Promise<boolean> {
    if (await this.#records.load(key) === undefined) return false;
    for (const child of await this.#records.children(key)) {
      await this.#withEntry(child, (entry) => this.#records.update(entry, { ...entry, parent: null }));
    }
    await this.revokeTree(key);
    return true;
  }

  /** Revokes every token that `selects` names, of all there are. @returns how many */
  async revokeWhere(selects: (key: string) => Promise<boolean>): Promise<number> {
    let count = 0;
    for await (const key of this.#records.keys()) {
      if (this.#inLastUse.has(key) || !await selects(key)) continue;
      await this.revokeTree(key);
      count++;
    }
    return count;
  }

  /** Removes what ended and finishes interrupted revocations; costs nothing for the others. @throws the first failure, after all were tried */
  async sweep(): Promise<number> {
    let count = 0;
    let failure: { readonly error: unknown } | undefined;
    const removeAll = async (keys: readonly string[]): Promise<void> => {
      for (const result of await Promise.allSettled(keys.map((key) => this.#removeIfEnded(key)))) {
        if (result.status === 'rejected') failure ??= { error: result.reason as unknown };
        else if (result.value) count++;
      }
    };
    let waiting: string[] = [];
    for await (const key of this.#records.due()) {
      if (this.#inLastUse.has(key)) continue;
      if (waiting.push(key) < PARALLEL) continue;
      await removeAll(waiting);
      waiting = [];
    }
    await removeAll(waiting);
    if (failure !== undefined) throw failure.error;
    return count;
  }

  /** What has ended stays so: a renewal in between came too late. */
  async #removeIfEnded(key: string): Promise<boolean> {
    const entry = await this.#records.load(key);
    if (entry === undefined || !this.#hasEnded(entry)) return false;
    await this.#removeTree(key);
    return true;
  }

  /** Only when the token is not usable any more: then nothing new can come to belong to it. */
  async #removeTree(key: string): Promise<void> {
    const children = await this.#records.children(key);
    for (let i = 0; i < children.length; i += PARALLEL) {
      await Promise.all(children.slice(i, i + PARALLEL).map((child) => this.#removeTree(child)));
    }
    await this.#onEnd(key);
    await this.#withEntry(key, (entry) => this.#records.remove(entry));
  }

  /** From here on neither the token nor a descendant is usable. */
  #condemn(key: string): Promise<void> {
    return this.#withEntry(key, async (entry) => {
      if (!this.#hasEnded(entry)) await this.#records.update(entry, { ...entry, condemned: true });
    });
  }

  #hasEnded({ condemned, expiresAt }: TokenEntry): boolean {
    return condemned || (expiresAt !== null && expiresAt <= this.#now());
  }

  /** Runs `change` under the lock of the token, when there is one. */
  #withEntry(key: string, change: (entry: TokenEntry) => Promise<void>): Promise<void> {
    return this.#records.locked(key, async () => {
      const entry = await this.#records.load(key);
      if (entry !== undefined) await change(entry);
    });
  }
}

/** Condemned by its last use, not by a revocation. */
export function isSpent({ condemned, usesLeft }: TokenEntry): boolean {
  return condemned && usesLeft === 0;
}
