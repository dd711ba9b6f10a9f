// Tokens: making, finding, using, renewing, revoking. Guarantees: an id is stored only as a keyed hash; counted uses are exact
// under concurrency; revoking cuts a whole tree off with its first write, and a crash half-way leaves no usable child.

import { randomBase62 } from '../../lib/random-id.ts';
import { PurserError } from '../../lib/errors.ts';
import type { View } from '../../core/view.ts';
import { newLifetime, renewedExpiry, type RenewalTerms } from './lifetime.ts';
import { canonicalPolicies, isRoot, ROOT_POLICY_NAME } from './policy-names.ts';
import { MAX_DEPTH, TokenRecords } from './token-records.ts';
import type { TokenEntry } from './token-record.ts';

export type { TokenEntry } from './token-record.ts';

const MAX_ID_LENGTH = 512;
/** Children revoked at the same time. */
const PARALLEL = 64;

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
  /** The longest life that the mount or the role allow; 0 or absent: the system's. */
  readonly maxTtlSeconds?: number;
  readonly login?: TokenEntry['login'];
  readonly entityId?: string;
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

/** Gives the terms of a renewal that the login's method decides; undefined: the token's own. @throws when it is not to be renewed */
export type AskTerms = (entry: TokenEntry) => Promise<RenewalTerms | undefined>;

export class TokenStore {
  readonly #records: TokenRecords;
  readonly #now: () => number;

  private constructor(records: TokenRecords, now: () => number) {
    this.#records = records;
    this.#now = now;
  }

  /** Opens the store in `view`. @throws ERR_RECORD_INVALID when it is damaged */
  static async open(view: View, now: () => number): Promise<TokenStore> {
    return new TokenStore(await TokenRecords.open(view, now), now);
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
    const key = this.#records.keyOf(id);
    return this.#records.locked(`create/${key}`, async () => {
      if (await this.#records.usable(key) !== undefined) throw refused('cannot create a token with a duplicate ID');
      await this.#revokeTree(key);
      return this.#insert(spec, id);
    });
  }

  /** The entry of a usable token; undefined when unknown, expired, spent, revoked or orphaned by its parent's end. */
  async lookup(id: string): Promise<TokenEntry | undefined> {
    return isPlausible(id) ? (await this.#records.usable(this.#records.keyOf(id)))?.entry : undefined;
  }

  /** As lookup, but also finds a token whose last use is the request that is running now. */
  async lookupCaller(id: string): Promise<TokenEntry | undefined> {
    const entry = isPlausible(id) ? await this.#records.load(this.#records.keyOf(id)) : undefined;
    return entry !== undefined && isSpent(entry) ? entry : this.lookup(id);
  }

  /**
   * Counts one use, durably, before the request runs and even if it is denied afterwards. A token without a limit costs
   * nothing here. Of n concurrent callers of a token with k uses left exactly k get an entry.
   */
  async use(id: string): Promise<TokenUse | undefined> {
    const entry = await this.lookup(id);
    if (entry === undefined || entry.usesLeft === null) return entry && { entry, isLast: false };
    const key = this.#records.keyOf(id);
    return this.#records.locked(key, async () => {
      const current = (await this.#records.usable(key))?.entry;
      if (current === undefined || current.usesLeft === null || current.usesLeft === 0) return undefined;
      const usesLeft = current.usesLeft - 1;
      const used = { ...current, usesLeft, condemned: usesLeft === 0 };
      await this.#records.update(key, current, used);
      return { entry: used, isLast: usesLeft === 0 };
    });
  }

  /** Ends the last use: removes the token. The expiry sweep does it when the process dies before. */
  async finishUse(id: string): Promise<void> {
    const key = this.#records.keyOf(id);
    const entry = await this.#records.load(key);
    if (entry !== undefined && isSpent(entry)) await this.#remove(key);
  }

  /**
   * Moves the end of a renewable token.
   * @param incrementSeconds the wished time to live; 0: the one it was made with
   * @returns undefined when it is not usable; the unchanged entry with a warning when it is not renewable
   * @throws what `ask` throws
   */
  renew(id: string, incrementSeconds: number, ask?: AskTerms): Promise<{ readonly entry: TokenEntry; readonly warnings: readonly string[] } | undefined> {
    return this.#renew(this.#records.keyOf(id), incrementSeconds, ask);
  }

  /** As renew. */
  async renewByAccessor(accessor: string, incrementSeconds: number, ask?: AskTerms): ReturnType<TokenStore['renew']> {
    const key = await this.#keyOfAccessor(accessor);
    return key === undefined ? undefined : this.#renew(key, incrementSeconds, ask);
  }

  /** As lookup. */
  async lookupAccessor(accessor: string): Promise<TokenEntry | undefined> {
    const key = await this.#keyOfAccessor(accessor);
    return key === undefined ? undefined : (await this.#records.usable(key))?.entry;
  }

  /**
   * Revokes a token and all its descendants. They stop working with the first write; calling it again finishes a revocation
   * that failed half-way. Revoking what is not there is no error.
   */
  async revoke(id: string): Promise<void> {
    if (isPlausible(id)) await this.#revokeTree(this.#records.keyOf(id));
  }

  /** As revoke. @returns false when there is no such accessor */
  async revokeByAccessor(accessor: string): Promise<boolean> {
    const key = await this.#keyOfAccessor(accessor);
    if (key !== undefined) await this.#revokeTree(key);
    return key !== undefined;
  }

  /** Revokes one token; its children live on as orphans. @returns false when there is no such token */
  async revokeOrphan(id: string): Promise<boolean> {
    const key = this.#records.keyOf(id);
    if (await this.#records.load(key) === undefined) return false;
    for (const child of await this.#records.children(key)) {
      await this.#withEntry(child, (entry) => this.#records.update(child, entry, { ...entry, parent: null }));
    }
    await this.#remove(key);
    return true;
  }

  /** Revokes every token (with its descendants) whose entry fits, such as all tokens of a node. @returns how many fitted */
  async revokeWhere(fits: (entry: TokenEntry) => boolean): Promise<number> {
    return this.#sweep(async (key) => {
      const entry = await this.#records.load(key);
      return entry !== undefined && fits(entry);
    });
  }

  /** Removes tokens that are not usable any more, and finishes interrupted revocations. @returns how many were removed */
  async tidy(): Promise<number> {
    return this.#sweep(async (key) => (await this.#records.usable(key)) === undefined);
  }

  /** The accessors of all stored tokens. */
  accessors(): AsyncGenerator<string> {
    return this.#records.accessors();
  }

  async #insert(spec: TokenSpec, id: string): Promise<CreatedToken> {
    const policies = canonicalPolicies(spec.policies);
    const { lifetime, warnings } = newLifetime({
      ttlSeconds: spec.ttlSeconds ?? 0, explicitMaxTtlSeconds: spec.explicitMaxTtlSeconds ?? 0,
      periodSeconds: spec.periodSeconds ?? 0, isRoot: isRoot(policies), maxTtlSeconds: spec.maxTtlSeconds ?? 0,
    }, this.#now());
    const parent = spec.parentId === undefined ? null : await this.#parentOf(spec.parentId);
    const entry: TokenEntry = {
      v: 1, accessor: randomBase62(24), policies, path: spec.path, displayName: spec.displayName, metadata: spec.metadata ?? {},
      ...lifetime, renewedAt: null, renewable: (spec.renewable ?? true) && lifetime.expiresAt !== null,
      usesLeft: spec.numUses === undefined || spec.numUses === 0 ? null : spec.numUses, parent,
      login: spec.login ?? null, entityId: spec.entityId ?? '', condemned: false,
    };
    await this.#records.insert(this.#records.keyOf(id), entry);
    return { id, entry, warnings };
  }

  async #parentOf(parentId: string): Promise<TokenEntry['parent']> {
    const key = this.#records.keyOf(parentId);
    const parent = await this.#records.usable(key);
    if (parent === undefined) throw refused('the parent token is not usable');
    if (parent.depth >= MAX_DEPTH) throw refused(`tokens are nested at most ${MAX_DEPTH} deep`);
    return { key, accessor: parent.entry.accessor };
  }

  #renew(key: string, incrementSeconds: number, ask: AskTerms | undefined): ReturnType<TokenStore['renew']> {
    return this.#records.locked(key, async () => {
      const entry = (await this.#records.usable(key))?.entry;
      if (entry === undefined) return undefined;
      if (!entry.renewable) return { entry, warnings: ['the token is not renewable'] };
      const { expiresAt, warnings } = renewedExpiry(entry, incrementSeconds, this.#now(), await ask?.(entry));
      const renewed = { ...entry, expiresAt, renewedAt: this.#now() };
      await this.#records.update(key, entry, renewed);
      return { entry: renewed, warnings };
    });
  }

  async #revokeTree(key: string): Promise<void> {
    const children = await this.#records.children(key);
    if (children.length > 0) await this.#condemn(key);
    for (let i = 0; i < children.length; i += PARALLEL) {
      await Promise.all(children.slice(i, i + PARALLEL).map((child) => this.#revokeTree(child)));
    }
    await this.#remove(key);
  }

  /** From here on neither the token nor a descendant is usable. */
  #condemn(key: string): Promise<void> {
    return this.#withEntry(key, async (entry) => {
      if (!entry.condemned) await this.#records.update(key, entry, { ...entry, condemned: true });
    });
  }

  #remove(key: string): Promise<void> {
    return this.#withEntry(key, (entry) => this.#records.remove(key, entry));
  }

  /** Runs `change` under the lock of the token, when there is one. */
  #withEntry(key: string, change: (entry: TokenEntry) => Promise<void>): Promise<void> {
    return this.#records.locked(key, async () => {
      const entry = await this.#records.load(key);
      if (entry !== undefined) await change(entry);
    });
  }

  async #sweep(selects: (key: string) => Promise<boolean>): Promise<number> {
    let count = 0;
    for await (const key of this.#records.keys()) {
      if (!await selects(key)) continue;
      await this.#revokeTree(key);
      count++;
    }
    return count;
  }

  async #keyOfAccessor(accessor: string): Promise<string | undefined> {
    return isPlausible(accessor) ? this.#records.keyOfAccessor(accessor) : undefined;
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
