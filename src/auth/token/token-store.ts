// Tokens at rest (FORMAT.md). Guarantees: an id is stored only as a keyed hash; a token whose parent is gone, expired or being
// revoked is not usable, whatever a crash left behind; counted uses are exact under concurrency; a cached entry never outlives
// its revocation. One process writes to the view at a time.

import { createHmac, createSecretKey, randomBytes } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';

import type { View, ViewOperation } from '../../core/view.ts';
import { PurserError } from '../../lib/errors.ts';
import { encodeRecord } from '../../lib/json-record.ts';
import { KeyedLock } from '../../lib/keyed-lock.ts';
import { randomBase62 } from '../../lib/random-id.ts';
import { ReadThroughCache } from '../../lib/read-through-cache.ts';
import { newLifetime, renewedExpiry } from './lifetime.ts';
import { canonicalPolicies, isRoot, ROOT_POLICY_NAME } from './policy-names.ts';
import { parseAccessor, parseToken } from './token-record.ts';
import type { TokenEntry } from './token-record.ts';

export type { TokenEntry } from './token-record.ts';

const ID_LABEL = 'purser.token.id.v1\0';
const ACCESSOR_LABEL = 'purser.token.accessor.v1\0';
const MAX_ID_LENGTH = 512;
/** Bounds the walk from a token to its root. */
const MAX_DEPTH = 1_000;
const CACHED_TOKENS = 10_000;
const PAGE = 64;

export interface TokenSpec {
  /** In any spelling; stored canonical. */
  readonly policies: readonly string[];
  /** The mount-qualified path that makes it, such as `auth/node/login`. */
  readonly path: string;
  readonly displayName: string;
  readonly metadata?: Readonly<Record<string, string>>;
  /** The id of the token it dies with; absent: an orphan. */
  readonly parentId?: string;
  /** 0 or absent: the default life (without end for root). */
  readonly ttlSeconds?: number;
  readonly explicitMaxTtlSeconds?: number;
  readonly periodSeconds?: number;
  /** 0 or absent: any number. */
  readonly numUses?: number;
  readonly renewable?: boolean;
  /** A chosen id; only for operators, who must make it unguessable. */
  readonly id?: string;
}

export interface CreatedToken {
  readonly id: string;
  readonly entry: TokenEntry;
  readonly warnings: readonly string[];
}

export interface TokenUse {
  readonly entry: TokenEntry;
  /** This was the last use: the caller runs its request and then calls finishUse(). */
  readonly isLast: boolean;
}

interface Usable {
  readonly entry: TokenEntry;
  /** The earliest end of the token and its ancestors, in milliseconds since the epoch. */
  readonly until: number;
  readonly depth: number;
}

export class TokenStore {
  readonly #view: View;
  readonly #now: () => number;
  readonly #salt: KeyObject;
  readonly #lock = new KeyedLock();
  readonly #cache = new ReadThroughCache<Usable>(CACHED_TOKENS);

  private constructor(view: View, now: () => number, salt: Uint8Array) {
    this.#view = view;
    this.#now = now;
    this.#salt = createSecretKey(salt);
  }

  /** Opens the store in `view`, making its salt at first. @throws ERR_STATE_CORRUPT when the salt is damaged */
  static async open(view: View, now: () => number): Promise<TokenStore> {
    let salt = await view.get('salt');
    if (salt === undefined) {
      salt = randomBytes(32);
      await view.put('salt', salt);
    }
    if (salt.length !== 32) throw new PurserError('ERR_STATE_CORRUPT', 'the salt of the token store is not 32 bytes long');
    return new TokenStore(view, now, salt);
  }

  /** A root token without end and without parent. @param options.id a chosen id, for throw-away development cores */
  createRoot(options: { readonly id?: string } = {}): Promise<CreatedToken> {
    return this.create({ ...options, policies: [ROOT_POLICY_NAME], path: 'auth/token/root', displayName: 'root', renewable: false });
  }

  /**
   * Stores a new token; durable when it resolves. Whether the caller may make it is decided elsewhere (create-rules.ts).
   * @throws ERR_REQUEST_INVALID when the parent is not usable, the tree too deep or the chosen id taken or malformed
   */
  async create(spec: TokenSpec): Promise<CreatedToken> {
    const { id } = spec;
    if (id === undefined) return this.#insert(spec, `hvs.${randomBase62(24)}`);
    if (id.length > MAX_ID_LENGTH || !/^[\x21-\x7e]+$/.test(id)) throw refused('a token id is 1 to 512 printable characters without blanks');
    const key = this.#keyOf(id);
    return this.#lock.run(`create/${key}`, async () => {
      if (await this.#usable(key) !== undefined) throw refused('cannot create a token with a duplicate ID');
      await this.#revokeTree(key);
      return this.#insert(spec, id);
    });
  }

  /** The entry of a usable token; undefined when unknown, expired, spent, revoked or orphaned by its parent's end. */
  async lookup(id: string): Promise<TokenEntry | undefined> {
    return isPlausible(id) ? (await this.#usable(this.#keyOf(id)))?.entry : undefined;
  }

  /** As lookup, but also finds a token whose last use is the request that is running now. */
  async lookupCaller(id: string): Promise<TokenEntry | undefined> {
    const entry = isPlausible(id) ? await this.#load(this.#keyOf(id)) : undefined;
    return entry !== undefined && isSpent(entry) ? entry : this.lookup(id);
  }

  /**
   * Counts one use, durably, before the request runs and even if it is denied afterwards. A token without a limit costs
   * nothing here. Of n concurrent callers of a token with k uses left exactly k get an entry.
   */
  async use(id: string): Promise<TokenUse | undefined> {
    const entry = await this.lookup(id);
    if (entry === undefined || entry.usesLeft === null) return entry && { entry, isLast: false };
    const key = this.#keyOf(id);
    return this.#lock.run(key, async () => {
      const current = (await this.#usable(key))?.entry;
      if (current === undefined || current.usesLeft === null || current.usesLeft === 0) return undefined;
      const usesLeft = current.usesLeft - 1;
      const used = { ...current, usesLeft, condemned: usesLeft === 0 };
      await this.#write(key, used);
      return { entry: used, isLast: usesLeft === 0 };
    });
  }

  /** Ends the last use: removes the token. The expiry sweep does it when the process dies before. */
  async finishUse(id: string): Promise<void> {
    const key = this.#keyOf(id);
    const entry = await this.#load(key);
    if (entry !== undefined && isSpent(entry)) await this.#remove(key);
  }

  /**
   * Moves the end of a renewable token.
   * @param incrementSeconds the wished time to live; 0: the one it was made with
   * @returns undefined when it is not usable; the unchanged entry with a warning when it is not renewable
   */
  renew(id: string, incrementSeconds: number): Promise<{ readonly entry: TokenEntry; readonly warnings: readonly string[] } | undefined> {
    return this.#renew(this.#keyOf(id), incrementSeconds);
  }

  /** As renew. */
  async renewByAccessor(accessor: string, incrementSeconds: number): ReturnType<TokenStore['renew']> {
    const key = await this.#keyOfAccessor(accessor);
    return key === undefined ? undefined : this.#renew(key, incrementSeconds);
  }

  /** As lookup. */
  async lookupAccessor(accessor: string): Promise<TokenEntry | undefined> {
    const key = await this.#keyOfAccessor(accessor);
    return key === undefined ? undefined : (await this.#usable(key))?.entry;
  }

  /**
   * Revokes a token and all its descendants. They stop working with the first write; calling it again finishes a revocation
   * that failed half-way. Revoking what is not there is no error.
   */
  async revoke(id: string): Promise<void> {
    if (isPlausible(id)) await this.#revokeTree(this.#keyOf(id));
  }

  /** As revoke. @returns false when there is no such accessor */
  async revokeByAccessor(accessor: string): Promise<boolean> {
    const key = await this.#keyOfAccessor(accessor);
    if (key !== undefined) await this.#revokeTree(key);
    return key !== undefined;
  }

  /** Revokes one token; its children live on as orphans. @returns false when there is no such token */
  async revokeOrphan(id: string): Promise<boolean> {
    const key = this.#keyOf(id);
    if (await this.#load(key) === undefined) return false;
    for (const child of await this.#view.list(`parent/${key}/`)) await this.#orphan(key, child);
    await this.#remove(key);
    return true;
  }

  /** Revokes every token (with its descendants) whose entry fits, such as all tokens of a node. @returns how many fitted */
  async revokeWhere(fits: (entry: TokenEntry) => boolean): Promise<number> {
    return this.#sweep(async (key) => {
      const entry = await this.#load(key);
      return entry !== undefined && fits(entry);
    });
  }

  /** Removes tokens that are not usable any more, and finishes interrupted revocations. @returns how many were removed */
  async tidy(): Promise<number> {
    return this.#sweep(async (key) => (await this.#usable(key)) === undefined);
  }

  /** The accessors of all stored tokens. */
  async *accessors(): AsyncGenerator<string> {
    for await (const name of this.#names('accessor/')) {
      const record = await this.#view.get(`accessor/${name}`);
      if (record !== undefined) yield parseAccessor(record).accessor;
    }
  }

  async #insert(spec: TokenSpec, id: string): Promise<CreatedToken> {
    const policies = canonicalPolicies(spec.policies);
    const { lifetime, warnings } = newLifetime({
      ttlSeconds: spec.ttlSeconds ?? 0, explicitMaxTtlSeconds: spec.explicitMaxTtlSeconds ?? 0,
      periodSeconds: spec.periodSeconds ?? 0, isRoot: isRoot(policies),
    }, this.#now());
    const parent = spec.parentId === undefined ? null : await this.#parentOf(spec.parentId);
    const entry: TokenEntry = {
      v: 1, accessor: randomBase62(24), policies, path: spec.path, displayName: spec.displayName, metadata: spec.metadata ?? {},
      ...lifetime, renewedAt: null, renewable: (spec.renewable ?? true) && lifetime.expiresAt !== null,
      usesLeft: spec.numUses === undefined || spec.numUses === 0 ? null : spec.numUses, parent, condemned: false,
    };
    const key = this.#keyOf(id);
    await this.#view.transaction([
      ...(parent === null ? [] : [{ kind: 'put', key: `parent/${parent.key}/${key}`, value: new Uint8Array(0) } as const]),
      { kind: 'put', key: this.#accessorKey(entry.accessor), value: encodeRecord({ v: 1, accessor: entry.accessor, token: key }) },
      { kind: 'put', key: `id/${key}`, value: encodeRecord(entry) },
    ]);
    return { id, entry, warnings };
  }

  async #parentOf(parentId: string): Promise<TokenEntry['parent']> {
    const key = this.#keyOf(parentId);
    const parent = await this.#usable(key);
    if (parent === undefined) throw refused('the parent token is not usable');
    if (parent.depth >= MAX_DEPTH) throw refused(`tokens are nested at most ${MAX_DEPTH} deep`);
    return { key, accessor: parent.entry.accessor };
  }

  #renew(key: string, incrementSeconds: number): ReturnType<TokenStore['renew']> {
    return this.#lock.run(key, async () => {
      const entry = (await this.#usable(key))?.entry;
      if (entry === undefined) return undefined;
      if (!entry.renewable) return { entry, warnings: ['the token is not renewable'] };
      const { expiresAt, warnings } = renewedExpiry(entry, incrementSeconds, this.#now());
      const renewed = { ...entry, expiresAt, renewedAt: this.#now() };
      await this.#write(key, renewed);
      return { entry: renewed, warnings };
    });
  }

  async #usable(key: string): Promise<Usable | undefined> {
    const cached = this.#cache.get(key);
    if (cached !== undefined && this.#now() < cached.until) return cached;
    return this.#cache.load(key, () => this.#loadUsable(key));
  }

  async #loadUsable(key: string): Promise<Usable | undefined> {
    const entry = await this.#load(key);
    let until = Infinity;
    let depth = 0;
    for (let link = entry; ; depth++) {
      if (link === undefined || link.condemned || depth > MAX_DEPTH) return undefined;
      until = Math.min(until, link.expiresAt ?? Infinity);
      if (link.parent === null) break;
      const parent = await this.#load(link.parent.key);
      link = parent?.accessor === link.parent.accessor ? parent : undefined;
    }
    return entry !== undefined && this.#now() < until ? { entry, until, depth } : undefined;
  }

  async #load(key: string): Promise<TokenEntry | undefined> {
    const bytes = await this.#view.get(`id/${key}`);
    return bytes && parseToken(bytes);
  }

  /** Only under the lock of `key`. */
  async #write(key: string, entry: TokenEntry, ...more: readonly ViewOperation[]): Promise<void> {
    await this.#change([{ kind: 'put', key: `id/${key}`, value: encodeRecord(entry) }, ...more], () => { this.#cache.forget(key); });
  }

  /** Forgets before and after: a read may have begun in between, and a failed write may still have happened. */
  async #change(operations: readonly ViewOperation[], forget: () => void): Promise<void> {
    forget();
    try {
      await this.#view.transaction(operations);
    } finally {
      forget();
    }
  }

  async #revokeTree(key: string): Promise<void> {
    const children = await this.#view.list(`parent/${key}/`);
    if (children.length > 0) await this.#condemn(key);
    for (let i = 0; i < children.length; i += PAGE) {
      await Promise.all(children.slice(i, i + PAGE).map((child) => this.#revokeTree(child)));
    }
    await this.#remove(key);
  }

  /** From here on neither the token nor a descendant is usable. */
  #condemn(key: string): Promise<void> {
    return this.#lock.run(key, async () => {
      const entry = await this.#load(key);
      if (entry === undefined || entry.condemned) return;
      await this.#change([{ kind: 'put', key: `id/${key}`, value: encodeRecord({ ...entry, condemned: true }) }], () => { this.#cache.clear(); });
    });
  }

  #remove(key: string): Promise<void> {
    return this.#lock.run(key, async () => {
      const entry = await this.#load(key);
      if (entry === undefined) return;
      // A token with counted uses has no children, so no cached descendant can depend on it.
      const forget = entry.usesLeft === null ? () => { this.#cache.clear(); } : () => { this.#cache.forget(key); };
      await this.#change([
        { kind: 'delete', key: `id/${key}` },
        { kind: 'delete', key: this.#accessorKey(entry.accessor) },
        ...(entry.parent === null ? [] : [{ kind: 'delete', key: `parent/${entry.parent.key}/${key}` } as const]),
      ], forget);
    });
  }

  #orphan(parent: string, key: string): Promise<void> {
    return this.#lock.run(key, async () => {
      const entry = await this.#load(key);
      if (entry === undefined) return;
      await this.#write(key, { ...entry, parent: null }, { kind: 'delete', key: `parent/${parent}/${key}` });
    });
  }

  async #sweep(selects: (key: string) => Promise<boolean>): Promise<number> {
    let count = 0;
    for await (const key of this.#names('id/')) {
      if (!await selects(key)) continue;
      await this.#revokeTree(key);
      count++;
    }
    return count;
  }

  /** Names below `prefix`, page by page, letting other work run in between. */
  async *#names(prefix: string): AsyncGenerator<string> {
    for (let after: string | undefined; ;) {
      const page = await this.#view.list(prefix, after === undefined ? { limit: PAGE } : { after, limit: PAGE });
      yield* page;
      after = page.at(-1);
      if (page.length < PAGE) return;
      await nextTurn();
    }
  }

  async #keyOfAccessor(accessor: string): Promise<string | undefined> {
    const record = isPlausible(accessor) ? await this.#view.get(this.#accessorKey(accessor)) : undefined;
    return record && parseAccessor(record).token;
  }

  #keyOf(id: string): string {
    return createHmac('sha256', this.#salt).update(ID_LABEL + id).digest('hex');
  }

  #accessorKey(accessor: string): string {
    return `accessor/${createHmac('sha256', this.#salt).update(ACCESSOR_LABEL + accessor).digest('hex')}`;
  }
}

function isPlausible(id: string): boolean {
  return id.length > 0 && id.length <= MAX_ID_LENGTH;
}

/** Condemned by its last use, not by a revocation. */
function isSpent(entry: TokenEntry): boolean {
  return entry.condemned && entry.usesLeft === 0;
}

function refused(message: string): PurserError {
  return new PurserError('ERR_REQUEST_INVALID', message);
}
