// Token records in a View (FORMAT.md), and which of them are usable: a token is usable while its entry is there, neither condemned
// nor expired, and the same holds for all its ancestors. A cached answer never outlives a change; what changes an entry holds
// its lock. One process writes to the view at a time.

import { dueNames, reschedule } from '../../core/due-queue.ts';
import { keysBelow, namesIn } from '../../core/folders.ts';
import type { View, ViewOperation } from '../../core/view.ts';
import { MacKey } from '../../crypto/mac.ts';
import { randomBytes } from '../../crypto/random.ts';
import { PurserError } from '../../lib/errors.ts';
import { encodeRecord } from '../../lib/json-record.ts';
import { KeyedLock } from '../../lib/keyed-lock.ts';
import { Memo } from '../../lib/memo.ts';
import { ReadThroughCache } from '../../lib/read-through-cache.ts';
import { parseAccessor, parseToken } from './token-record.ts';
import type { TokenEntry } from './token-record.ts';

const ID_LABEL = 'purser.token.id.v1\0';
const ACCESSOR_LABEL = 'purser.token.accessor.v1\0';
/** Bounds the walk from a token to its root. */
export const MAX_DEPTH = 1_000;
const CACHED_TOKENS = 10_000;
const REMEMBERED_KEYS = 4_096;

export interface Usable {
  readonly entry: TokenEntry;
  /** The earliest end of the token and its ancestors, in milliseconds since the epoch. */
  readonly until: number;
  /** The keys of its ancestors. */
  readonly ancestors: readonly string[];
}

export class TokenRecords {
  readonly #view: View;
  readonly #now: () => number;
  readonly #salt: MacKey;
  readonly #lock = new KeyedLock();
  readonly #cache = new ReadThroughCache<Usable>(CACHED_TOKENS);
  /** The keys of the last tokens that were shown: each would cost a hash in every request. */
  readonly #keys = new Memo(REMEMBERED_KEYS, (id) => this.#salt.hex(ID_LABEL + id));

  private constructor(view: View, now: () => number, salt: Uint8Array) {
    this.#view = view;
    this.#now = now;
    this.#salt = new MacKey(salt);
  }

  /** Reads the salt, or makes it. @throws ERR_RECORD_INVALID when it is damaged */
  static async open(view: View, now: () => number): Promise<TokenRecords> {
    let salt = await view.get('salt');
    if (salt === undefined) {
      salt = randomBytes(32);
      await view.put('salt', salt);
    }
    if (salt.length !== 32) throw new PurserError('ERR_RECORD_INVALID', 'the salt of the token store is not 32 bytes long');
    return new TokenRecords(view, now, salt);
  }

  /** The name under which a token is stored. */
  keyOf(id: string): string {
    return this.#keys.get(id);
  }

  async keyOfAccessor(accessor: string): Promise<string | undefined> {
    const record = await this.#view.get(`accessor/${this.#salt.hex(ACCESSOR_LABEL + accessor)}`);
    return record && parseAccessor(record).token;
  }

  async usable(key: string): Promise<Usable | undefined> {
    const cached = this.#cache.get(key);
    if (cached !== undefined && this.#now() < cached.until) return cached;
    return this.#cache.load(key, () => this.#loadUsable(key));
  }

  /** The entry as stored, usable or not. @throws ERR_RECORD_INVALID */
  async load(key: string): Promise<TokenEntry | undefined> {
    const bytes = await this.#view.get(`id/${key}`);
    return bytes && parseToken(bytes);
  }

  /** Runs `change` while nobody else changes what is named `key`. */
  locked<T>(key: string, change: () => Promise<T>): Promise<T> {
    return this.#lock.run(key, change);
  }

  /** Stores a new token with its indexes, all at once. */
  async insert(entry: TokenEntry): Promise<void> {
    const { key, accessor, parent } = entry;
    await this.#view.transaction([
      ...(parent === null ? [] : [{ kind: 'put', key: `parent/${parent.key}/${key}`, value: new Uint8Array(0) } as const]),
      { kind: 'put', key: `accessor/${this.#salt.hex(ACCESSOR_LABEL + accessor)}`, value: encodeRecord({ v: 1, accessor, token: key }) },
      { kind: 'put', key: `id/${key}`, value: encodeRecord(entry) },
      ...(entry.expiresAt === null ? [] : [{ kind: 'put', key: `lease/${leasePath(entry)}`, value: new Uint8Array(0) } as const]),
      ...reschedule(key, null, dueAt(entry)),
    ]);
  }

  /** Replaces an entry; only while holding its lock. The parent stays, or is given up (null). */
  async update(before: TokenEntry, after: TokenEntry): Promise<void> {
    const { key } = after;
    const operations: ViewOperation[] = [{ kind: 'put', key: `id/${key}`, value: encodeRecord(after) }, ...reschedule(key, dueAt(before), dueAt(after))];
    if (before.parent !== null && after.parent === null) operations.push({ kind: 'delete', key: `parent/${before.parent.key}/${key}` });
    await this.#change(key, operations, after.condemned && hasDescendants(after));
  }

  /** Removes an entry with its indexes; only while holding its lock. */
  async remove(entry: TokenEntry): Promise<void> {
    const { key, accessor, parent } = entry;
    await this.#change(key, [
      { kind: 'delete', key: `id/${key}` },
      { kind: 'delete', key: `accessor/${this.#salt.hex(ACCESSOR_LABEL + accessor)}` },
      ...(parent === null ? [] : [{ kind: 'delete', key: `parent/${parent.key}/${key}` } as const]),
      ...(entry.expiresAt === null ? [] : [{ kind: 'delete', key: `lease/${leasePath(entry)}` } as const]),
      ...reschedule(key, dueAt(entry), null),
    ], hasDescendants(entry));
  }

  children(key: string): Promise<string[]> {
    return this.#view.list(`parent/${key}/`);
  }

  /** The keys of all stored tokens; other work runs in between. */
  keys(): AsyncGenerator<string> {
    return namesIn(this.#view, 'id/');
  }

  /** The keys of tokens that ended, or whose revocation is to be finished. */
  due(): AsyncGenerator<string> {
    return dueNames(this.#view, this.#now());
  }

  /** Names below a path that is empty or ends in '/': `h<key>` for tokens with an end, folders with a trailing '/'. */
  listLeases(prefix: string): Promise<string[]> {
    return this.#view.list(`lease/${prefix}`);
  }

  /** The keys of all tokens with an end that were made below a path. */
  async *leasesBelow(prefix: string): AsyncGenerator<string> {
    for await (const path of keysBelow(this.#view, `lease/${prefix}`)) yield path.slice(path.lastIndexOf('/') + 2);
  }

  async *accessors(): AsyncGenerator<string> {
    for await (const name of namesIn(this.#view, 'accessor/')) {
      const record = await this.#view.get(`accessor/${name}`);
      if (record !== undefined) yield parseAccessor(record).accessor;
    }
  }

  async #loadUsable(key: string): Promise<Usable | undefined> {
    const entry = await this.load(key);
    let until = Infinity;
    const ancestors: string[] = [];
    for (let link = entry; ;) {
      if (link === undefined || link.condemned || ancestors.length > MAX_DEPTH) return undefined;
      until = Math.min(until, link.expiresAt ?? Infinity);
      if (link.parent === null) break;
      ancestors.push(link.parent.key);
      const parent = await this.load(link.parent.key);
      link = parent?.accessor === link.parent.accessor ? parent : undefined;
    }
    return entry !== undefined && this.#now() < until ? { entry, until, ancestors } : undefined;
  }

  /** Forgets before and after: a read may have begun in between, and a failed write may still have happened. */
  async #change(key: string, operations: readonly ViewOperation[], affectsDescendants: boolean): Promise<void> {
    const forget = (): void => {
      this.#cache.forget(key);
      if (affectsDescendants) this.#cache.forgetWhere(({ ancestors }) => ancestors.includes(key));
    };
    forget();
    try {
      await this.#view.transaction(operations);
    } finally {
      forget();
    }
  }
}

/** The id of a token as a lease: where it was made, and `h` before its key. */
export function leasePath({ path, key }: TokenEntry): string {
  return `${path.replace(/\/$/, '')}/h${key}`;
}

/** When the token is to be removed: a condemned one at once. */
function dueAt({ condemned, expiresAt }: TokenEntry): number | null {
  return condemned ? 0 : expiresAt;
}

/** A token with counted uses cannot make tokens, so no cached entry can depend on it. */
function hasDescendants(entry: Pick<TokenEntry, 'usesLeft'>): boolean {
  return entry.usesLeft === null;
}
