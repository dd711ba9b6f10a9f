// Tokens: making, finding, using, renewing, revoking. Guarantees: an id is stored only as a keyed hash; counted uses are exact
// under concurrency; revoking cuts a whole tree off with its first write, and a crash half-way leaves no usable child.

import { randomBase62 } from '../../lib/random-id.ts';
import { PurserError } from '../../lib/errors.ts';
import type { View } from '../../core/view.ts';
import { ReadThroughCache } from '../../lib/read-through-cache.ts';
import { BatchTokens } from './batch-tokens.ts';
import { newLifetime, renewedExpiry, type RenewalTerms } from './lifetime.ts';
import { canonicalPolicies, isRoot, requireAssignable, ROOT_POLICY_NAME } from './policy-names.ts';
import { leasePath, MAX_DEPTH, TokenRecords } from './token-records.ts';
import { isSpent, TokenRemoval, type OnTokenEnd } from './token-removal.ts';
import type { TokenEntry } from './token-record.ts';

export type { TokenEntry } from './token-record.ts';
export { leasePath } from './token-records.ts';

/** Of stored tokens; ids of batch tokens are longer. */
const MAX_ID_LENGTH = 512;
const CACHED_BATCH_TOKENS = 2_000;

export interface TokenSpec {
  /** In any spelling; stored canonical. */
  readonly policies: readonly string[];
  /** Allows policies that only the core gives, such as that of wrapping tokens. */
  readonly mayBeInternal?: boolean;
  /** Default: service. A batch token is not stored: no uses, no period, no explicit maximum, no renewal. */
  readonly type?: 'service' | 'batch';
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
  /** The token role that it is made by. */
  readonly role?: string;
  /** Ranges of addresses, checked by whoever looks the token up. */
  readonly boundCidrs?: readonly string[];
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
  readonly #batch: BatchTokens;
  /** What batch tokens say; not whether they are good. */
  readonly #batchEntries = new ReadThroughCache<TokenEntry>(CACHED_BATCH_TOKENS);
  readonly #removal: TokenRemoval;
  readonly #now: () => number;

  private constructor(records: TokenRecords, batch: BatchTokens, now: () => number, onEnd: OnTokenEnd) {
    this.#records = records;
    this.#batch = batch;
    this.#removal = new TokenRemoval(records, now, onEnd);
    this.#now = now;
  }

  /**
   * Opens the store in `view`.
   * @param onEnd ends what belongs to a token, before its entry goes
   * @throws ERR_RECORD_INVALID when it is damaged
   */
  static async open(view: View, now: () => number, onEnd: OnTokenEnd = async () => undefined): Promise<TokenStore> {
    return new TokenStore(await TokenRecords.open(view, now), await BatchTokens.open(view), now, onEnd);
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
    if (spec.type === 'batch') return this.#createBatch(spec);
    if (id === undefined) return this.#insert(spec, `hvs.${randomBase62(24)}`);
    if (id.length > MAX_ID_LENGTH || !/^[\x21-\x7e]+$/.test(id)) throw refused('a token id is 1 to 512 printable characters without blanks');
    const key = this.#records.keyOf(id);
    return this.#records.locked(`create/${key}`, async () => {
      if (await this.#records.usable(key) !== undefined) throw refused('cannot create a token with a duplicate ID');
      await this.#removal.revokeTree(key);
      return this.#insert(spec, id);
    });
  }

  /** The entry of a usable token; undefined when unknown, expired, spent, revoked or orphaned by its parent's end. */
  async lookup(id: string): Promise<TokenEntry | undefined> {
    if (BatchTokens.isBatch(id)) return this.#lookupBatch(id);
    return isPlausible(id) ? (await this.#records.usable(this.#records.keyOf(id)))?.entry : undefined;
  }

  /** As lookup, but also finds a token whose last use is the request that is running now. */
  async lookupCaller(id: string): Promise<TokenEntry | undefined> {
    if (BatchTokens.isBatch(id)) return this.#lookupBatch(id);
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
      await (usesLeft === 0 ? this.#removal.duringLastUse(key, () => this.#records.update(current, used)) : this.#records.update(current, used));
      return { entry: used, isLast: usesLeft === 0 };
    });
  }

  /** Ends the last use: removes the token. The sweep does it when the process dies before. */
  finishUse(id: string): Promise<void> {
    return this.#removal.finishUse(this.#records.keyOf(id));
  }

  /**
   * Moves the end of a renewable token.
   * @param incrementSeconds the wished time to live; 0: the one it was made with
   * @returns undefined when it is not usable; the unchanged entry with a warning when it is not renewable
   * @throws what `ask` throws, and ERR_REQUEST_INVALID for a batch token
   */
  async renew(id: string, incrementSeconds: number, ask?: AskTerms): Promise<{ readonly entry: TokenEntry; readonly warnings: readonly string[] } | undefined> {
    if (await this.#isLivingBatch(id)) throw refused('batch tokens cannot be renewed');
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
   * @throws ERR_REQUEST_INVALID for a batch token
   */
  async revoke(id: string): Promise<void> {
    if (await this.#isLivingBatch(id)) throw refused('batch tokens cannot be revoked');
    if (isPlausible(id)) await this.#removal.revokeTree(this.#records.keyOf(id));
  }

  /** As revoke. @returns false when there is no such accessor */
  async revokeByAccessor(accessor: string): Promise<boolean> {
    const key = await this.#keyOfAccessor(accessor);
    if (key !== undefined) await this.#removal.revokeTree(key);
    return key !== undefined;
  }

  /** Revokes one token; its children live on as orphans, but batch tokens of it end. @returns false when there is no such token @throws as revoke */
  async revokeOrphan(id: string): Promise<boolean> {
    if (await this.#isLivingBatch(id)) throw refused('batch tokens cannot be revoked');
    return isPlausible(id) && this.#removal.revokeOrphan(this.#records.keyOf(id));
  }

  /** Revokes every token (with its descendants) whose entry fits, such as all tokens of a node. @returns how many fitted */
  revokeWhere(fits: (entry: TokenEntry) => boolean): Promise<number> {
    return this.#removal.revokeWhere(async (key) => {
      const entry = await this.#records.load(key);
      return entry !== undefined && fits(entry);
    });
  }

  /** Removes what ended and finishes interrupted revocations; to be called every second or so. @returns how many were removed */
  sweep(): Promise<number> {
    return this.#removal.sweep();
  }

  /** As sweep, but looks at every token: also those whose parent is gone. @returns how many were removed */
  tidy(): Promise<number> {
    return this.#removal.revokeWhere(async (key) => (await this.#records.usable(key)) === undefined);
  }

  /** True while there is an entry, usable or not: what belongs to a token may wait for it. */
  async hasEntry(key: string): Promise<boolean> {
    return await this.#records.load(key) !== undefined;
  }

  /** The usable token behind a lease id. */
  async lookupLease(leaseId: string): Promise<TokenEntry | undefined> {
    const key = keyOfLease(leaseId);
    const entry = key === undefined ? undefined : (await this.#records.usable(key))?.entry;
    return entry !== undefined && leasePath(entry) === leaseId ? entry : undefined;
  }

  /** Names below a path that is empty or ends in '/', as sys/leases/lookup lists them. */
  listLeases(prefix: string): Promise<string[]> {
    return this.#records.listLeases(prefix);
  }

  /** Revokes the token behind a lease id. @returns false when the id is not that of a token, usable or not */
  async revokeLease(leaseId: string): Promise<boolean> {
    const key = keyOfLease(leaseId);
    const entry = key === undefined ? undefined : await this.#records.load(key);
    if (key === undefined || entry === undefined || leasePath(entry) !== leaseId) return false;
    await this.#removal.revokeTree(key);
    return true;
  }

  /** Revokes every token with an end that was made below a path, which ends in '/'. */
  async revokeLeasesBelow(prefix: string): Promise<void> {
    for await (const key of this.#records.leasesBelow(prefix)) await this.#removal.revokeTree(key);
  }

  /** The accessors of all stored tokens. */
  accessors(): AsyncGenerator<string> {
    return this.#records.accessors();
  }

  async #insert(spec: TokenSpec, id: string): Promise<CreatedToken> {
    const { entry, warnings } = await this.#entryOf(spec, this.#records.keyOf(id));
    await this.#records.insert(entry);
    return { id, entry, warnings };
  }

  async #createBatch(spec: TokenSpec): Promise<CreatedToken> {
    const { entry, warnings } = await this.#entryOf({ ...spec, renewable: false }, '');
    const id = this.#batch.idOf({ ...entry, accessor: '', type: 'batch' });
    return { id, entry: this.#batch.read(id)!, warnings };
  }

  async #entryOf(spec: TokenSpec, key: string): Promise<{ readonly entry: TokenEntry; readonly warnings: readonly string[] }> {
    const policies = canonicalPolicies(spec.policies);
    if (spec.mayBeInternal !== true) requireAssignable(policies);
    const { lifetime, warnings } = newLifetime({
      ttlSeconds: spec.ttlSeconds ?? 0, explicitMaxTtlSeconds: spec.explicitMaxTtlSeconds ?? 0,
      periodSeconds: spec.periodSeconds ?? 0, isRoot: isRoot(policies), maxTtlSeconds: spec.maxTtlSeconds ?? 0,
    }, this.#now());
    const parent = spec.parentId === undefined ? null : await this.#parentOf(spec.parentId);
    const entry: TokenEntry = {
      v: 1, key, type: 'service', accessor: randomBase62(24), policies, path: spec.path, displayName: spec.displayName, metadata: spec.metadata ?? {},
      ...lifetime, renewedAt: null, renewable: (spec.renewable ?? true) && lifetime.expiresAt !== null,
      usesLeft: spec.numUses === undefined || spec.numUses === 0 ? null : spec.numUses, parent, role: spec.role ?? '', boundCidrs: spec.boundCidrs ?? [],
      login: spec.login ?? null, entityId: spec.entityId ?? '', condemned: false,
    };
    return { entry, warnings };
  }

  /** What a batch token says, as long as that is true. */
  async #lookupBatch(id: string): Promise<TokenEntry | undefined> {
    const name = this.#records.keyOf(id);
    const entry = this.#batchEntries.get(name) ?? await this.#batchEntries.load(name, async () => this.#batch.read(id));
    if (entry === undefined || entry.expiresAt === null || entry.expiresAt <= this.#now()) return undefined;
    if (entry.parent === null) return entry;
    const parent = await this.#records.usable(entry.parent.key);
    return parent?.entry.accessor === entry.parent.accessor ? entry : undefined;
  }

  async #isLivingBatch(id: string): Promise<boolean> {
    return BatchTokens.isBatch(id) && await this.#lookupBatch(id) !== undefined;
  }

  async #parentOf(parentId: string): Promise<TokenEntry['parent']> {
    const key = this.#records.keyOf(parentId);
    const parent = await this.#records.usable(key);
    if (parent === undefined) throw refused('the parent token is not usable');
    if (parent.ancestors.length >= MAX_DEPTH) throw refused(`tokens are nested at most ${MAX_DEPTH} deep`);
    return { key, accessor: parent.entry.accessor };
  }

  #renew(key: string, incrementSeconds: number, ask: AskTerms | undefined): ReturnType<TokenStore['renew']> {
    return this.#records.locked(key, async () => {
      const entry = (await this.#records.usable(key))?.entry;
      if (entry === undefined) return undefined;
      if (!entry.renewable) return { entry, warnings: ['the token is not renewable'] };
      const { expiresAt, warnings } = renewedExpiry(entry, incrementSeconds, this.#now(), await ask?.(entry));
      const renewed = { ...entry, expiresAt, renewedAt: this.#now() };
      await this.#records.update(entry, renewed);
      return { entry: renewed, warnings };
    });
  }

  async #keyOfAccessor(accessor: string): Promise<string | undefined> {
    return isPlausible(accessor) ? this.#records.keyOfAccessor(accessor) : undefined;
  }
}

function isPlausible(id: string): boolean {
  return id.length > 0 && id.length <= MAX_ID_LENGTH;
}

function keyOfLease(leaseId: string): string | undefined {
  return /\/h([0-9a-f]{64})$/.exec(leaseId)?.[1];
}

function refused(message: string): PurserError {
  return new PurserError('ERR_REQUEST_INVALID', message);
}
