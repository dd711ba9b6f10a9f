// Leases: secrets that the core takes back. Guarantees: no lease is given out before its record is durable; each is revoked at
// its end, however often the core was restarted, stopped in the middle or refused by the engine; nothing about a lease is kept
// in memory. One mount whose engine hangs does not hold up the others.

import type { LeaseKeeper, LeaseOffer } from '../core/logical.ts';
import type { View } from '../core/view.ts';
import { withDeadline } from '../lib/deadline.ts';
import { isPurserError, PurserError } from '../lib/errors.ts';
import { KeyedLock } from '../lib/keyed-lock.ts';
import { randomBase62 } from '../lib/random-id.ts';
import { isIrrevocable, withFailure, type Lease } from './lease-record.ts';
import { LeaseRecords } from './lease-records.ts';
import { Lanes } from './lanes.ts';

export type { Lease } from './lease-record.ts';

const ENGINE_MILLISECONDS = 60_000;
const SUFFIX_LENGTH = 24;
/** How long a count is shown before all keys are walked again, in milliseconds. */
const COUNTED_MILLISECONDS = 300_000;
/** In UTF-16 units. */
const MAX_ID_LENGTH = 1_800;

export interface LeasesOptions {
  readonly view: View;
  readonly now: () => number;
  /** The engine of a mount, by the accessor of the mount; undefined when there is no such mount (any more). */
  readonly keeperOf: (mount: string) => LeaseKeeper | undefined;
  /** Told of each failed revocation that nobody waits for. */
  readonly onFailure?: (lease: Lease, error: unknown) => void;
  /** How long an engine may take for one renewal or revocation, in milliseconds. Default: one minute. */
  readonly engineMilliseconds?: number;
}

/** `irrevocable` ones are past their end, and their engine does not take them back. */
export interface LeaseCounts { readonly live: number; readonly irrevocable: number }

/** Where a lease belongs. */
export interface LeaseOrigin {
  /** Mount-qualified path of the request. */
  readonly path: string;
  readonly mount: string;
  /** Key of the token it ends with; empty for none. */
  readonly owner: string;
  /** In seconds: of the mount, for what the engine leaves open. */
  readonly defaultTtlSeconds: number;
  readonly maxTtlSeconds: number;
  /** The lease ends by then in any case, in milliseconds since the epoch: for owners that cannot be revoked. */
  readonly endsBy?: number | undefined;
}

export class Leases {
  readonly #records: LeaseRecords;
  readonly #options: LeasesOptions;
  readonly #lock = new KeyedLock();
  readonly #lanes = new Lanes();
  #counted: { readonly at: number; readonly counts: Promise<LeaseCounts> } | undefined;

  constructor(options: LeasesOptions) {
    this.#records = new LeaseRecords(options.view);
    this.#options = options;
  }

  /**
   * Stores the lease of a secret that an engine has just made; durable when it resolves.
   * @param isWanted asked once the record is there: false when the owner or the mount has gone meanwhile
   * @throws ERR_REQUEST_DENIED when it is not wanted, and what storing throws; the secret is revoked then
   */
  async register(offer: LeaseOffer, origin: LeaseOrigin, isWanted: () => Promise<boolean>): Promise<Lease> {
    const lease = newLease(offer, origin, this.#options.now());
    try {
      await this.#records.insert(lease);
      if (await isWanted()) return lease;
    } catch (error) {
      await this.#abandon(lease);
      throw error;
    }
    await this.#abandon(lease);
    throw new PurserError('ERR_REQUEST_DENIED', 'permission denied');
  }

  lookup(id: string): Promise<Lease | undefined> {
    return isLeaseId(id) ? this.#records.load(id) : Promise.resolve(undefined);
  }

  /**
   * Moves the end of a lease, as far as the engine agrees.
   * @param incrementSeconds the wished time to live from now; 0: the one it got at first
   * @returns undefined when there is no such lease
   * @throws ERR_REQUEST_INVALID when it ended or cannot be renewed, and what the engine throws
   */
  async renew(id: string, incrementSeconds: number): Promise<Lease | undefined> {
    if (!isLeaseId(id)) return undefined;
    return this.#lock.run(id, async () => {
      const lease = await this.#records.load(id);
      if (lease === undefined) return undefined;
      if (lease.expiresAt <= this.#options.now() || lease.failure !== null) throw invalid('lease expired');
      if (!lease.renewable) throw invalid('lease is not renewable');
      const wish = incrementSeconds > 0 ? incrementSeconds : lease.ttlSeconds;
      const granted = await this.#ask(lease, (keeper) => keeper.renewLease(lease, wish));
      const now = this.#options.now();
      const limitAt = granted.maxTtlSeconds > 0 ? Math.min(lease.limitAt, lease.issuedAt + granted.maxTtlSeconds * 1000) : lease.limitAt;
      const expiresAt = Math.min(now + 1000 * (granted.ttlSeconds || wish), limitAt);
      const renewed: Lease = { ...lease, state: granted.state ?? lease.state, expiresAt, renewedAt: now };
      await this.#records.update(lease, renewed);
      return renewed;
    });
  }

  /**
   * Ends a lease, by id; an unknown one is no error.
   * @param options.sync waits for the engine. Else the order is durable, and carried out within seconds
   * @throws when `sync` and the engine refuses; the lease is then tried again as any other
   */
  async revoke(id: string, options: { readonly sync: boolean }): Promise<void> {
    if (!isLeaseId(id)) return;
    if (options.sync) await this.#end(id, { force: false });
    else await this.#endSoon(id);
  }

  /**
   * Ends all leases at or below a path.
   * @param options.force forgets leases that their engine does not revoke
   * @throws as revoke; the first refusal, after all were tried
   */
  async revokePrefix(prefix: string, options: { readonly sync: boolean; readonly force?: boolean }): Promise<void> {
    const folder = prefix === '' || prefix.endsWith('/') ? prefix : `${prefix}/`;
    const force = options.force === true;
    let failure: { readonly error: unknown } | undefined;
    for await (const id of this.#records.below(folder)) {
      if (!options.sync && !force) await this.#endSoon(id);
      else await this.#end(id, { force }).catch((error: unknown) => { failure ??= { error }; });
    }
    if (failure !== undefined) throw failure.error;
  }

  /** Orders the end of all leases of a token; durable when it resolves. @returns how many */
  async revokeOwned(owner: string): Promise<number> {
    let count = 0;
    for await (const suffix of this.#records.ownedBy(owner)) {
      const lease = await this.#records.loadBySuffix(suffix);
      if (lease === undefined) continue;
      await this.#endSoon(lease.id);
      count++;
    }
    return count;
  }

  /** Names below a path, which is empty or ends in '/': as Vault lists them. */
  list(prefix: string): Promise<string[]> {
    return this.#records.list(prefix);
  }

  /** Leases that their engine refused to revoke again and again; they are still tried once an hour. */
  async *irrevocable(): AsyncGenerator<Lease> {
    for await (const suffix of this.#records.irrevocable()) {
      const lease = await this.#records.loadBySuffix(suffix);
      if (lease !== undefined) yield lease;
    }
  }

  /** How many there are; up to five minutes old. */
  counts(): Promise<LeaseCounts> {
    const now = performance.now();
    if (this.#counted === undefined || now - this.#counted.at > COUNTED_MILLISECONDS) {
      this.#counted = { at: now, counts: this.#count() };
      // Whoever asked is told; the next one counts again.
      this.#counted.counts.catch(() => { this.#counted = undefined; });
    }
    return this.#counted.counts;
  }

  /** All leases, by id; nothing but keys is read. */
  ids(): AsyncGenerator<string> {
    return this.#records.below('');
  }

  /** Revokes what is due; to be called every second or so. Returns at once while an earlier call is still at it. */
  async sweep(): Promise<void> {
    await this.#lanes.exclusively(async () => {
      for await (const suffix of this.#records.due(this.#options.now())) {
        if (this.#lanes.isUnderWay(suffix)) continue;
        const lease = await this.#records.loadBySuffix(suffix);
        if (lease !== undefined) await this.#lanes.start(lease.mount, suffix, () => this.#endDue(lease));
      }
    });
  }

  /** Waits for the revocations under way. */
  settled(): Promise<void> {
    return this.#lanes.settled();
  }

  /** Ends leases whose token is gone, which a crash can leave. @returns how many */
  async tidy(isOwner: (key: string) => Promise<boolean>): Promise<number> {
    let count = 0;
    for await (const owner of this.#records.owners()) {
      if (await isOwner(owner)) continue;
      count += await this.revokeOwned(owner);
    }
    return count;
  }

  async #count(): Promise<LeaseCounts> {
    const [all, irrevocable] = [await countOf(this.#records.all()), await countOf(this.#records.irrevocable())];
    return { live: all - irrevocable, irrevocable };
  }

  async #endDue(lease: Lease): Promise<void> {
    await this.#end(lease.id, { force: false, onlyDue: true }).catch((error: unknown) => this.#options.onFailure?.(lease, error));
  }

  /** The order to end: from now on it is due. */
  #endSoon(id: string): Promise<void> {
    return this.#lock.run(id, async () => {
      const lease = await this.#records.load(id);
      if (lease === undefined) return;
      const now = this.#options.now();
      const failure = lease.failure && { ...lease.failure, retryAt: Math.min(now, lease.failure.retryAt) };
      await this.#records.update(lease, { ...lease, expiresAt: Math.min(now, lease.expiresAt), failure });
    });
  }

  #end(id: string, { force, onlyDue = false }: { readonly force: boolean; readonly onlyDue?: boolean }): Promise<void> {
    return this.#lock.run(id, async () => {
      const lease = await this.#records.load(id);
      const now = this.#options.now();
      if (lease === undefined || (onlyDue && lease.expiresAt > now)) return; // renewed meanwhile
      try {
        await this.#ask(lease, (keeper) => keeper.revokeLease(lease));
      } catch (error) {
        if (!force) {
          await this.#records.update(lease, { ...withFailure(lease, reasonOf(error), now), expiresAt: Math.min(now, lease.expiresAt) });
          throw error;
        }
      }
      await this.#records.remove(lease);
    });
  }

  /** Takes back what was never given out; what cannot be is due at once, or, if not even that can be stored, reported. */
  async #abandon(lease: Lease): Promise<void> {
    try {
      if (await this.#records.load(lease.id) === undefined) await this.#ask(lease, (keeper) => keeper.revokeLease(lease));
      else await this.#end(lease.id, { force: false });
    } catch (error) {
      this.#options.onFailure?.(lease, error);
    }
  }

  #ask<T>(lease: Lease, question: (keeper: LeaseKeeper) => Promise<T>): Promise<T> {
    const keeper = this.#options.keeperOf(lease.mount);
    if (keeper === undefined) throw invalid('the engine of the lease is not there any more', 'purser lease revoke --force --prefix forgets it');
    return withDeadline(question(keeper), this.#options.engineMilliseconds ?? ENGINE_MILLISECONDS, () => invalid('the engine took too long'));
  }
}

/** Seconds to a lease's end, rounded up; 0 once it ended. */
export function leaseSecondsLeft(lease: Lease, now: number): number {
  return Math.max(0, Math.ceil((lease.expiresAt - now) / 1000));
}

/** Of an irrevocable lease: why the engine did not revoke it. */
export function irrevocableReason(lease: Lease): string | undefined {
  return isIrrevocable(lease) ? lease.failure?.reason : undefined;
}

async function countOf(names: AsyncIterable<string>): Promise<number> {
  let count = 0;
  for await (const name of names) if (name !== '') count++;
  return count;
}

function newLease(offer: LeaseOffer, origin: LeaseOrigin, now: number): Lease {
  const maxSeconds = Math.min(offer.maxTtlSeconds || Infinity, origin.maxTtlSeconds);
  const limitAt = Math.min(now + maxSeconds * 1000, origin.endsBy ?? Infinity);
  const expiresAt = Math.min(now + 1000 * (offer.ttlSeconds || origin.defaultTtlSeconds), limitAt);
  return {
    v: 1, id: `${origin.path}/${randomBase62(SUFFIX_LENGTH)}`, mount: origin.mount, owner: origin.owner, state: offer.state,
    issuedAt: now, expiresAt, limitAt, ttlSeconds: Math.ceil((expiresAt - now) / 1000), renewable: offer.renewable, renewedAt: null, failure: null,
  };
}

/** Anything else cannot be one of ours, and mostly not even a storage key. */
function isLeaseId(id: string): boolean {
  return id.length <= MAX_ID_LENGTH && /^[^/\0]+(?:\/[^/\0]+)*\/[0-9A-Za-z]{24}$/.test(id);
}

/** For the record and for operators; a foreign error's message could quote a value. */
function reasonOf(error: unknown): string {
  return isPurserError(error) ? error.message : 'internal error';
}

function invalid(message: string, hint?: string): PurserError {
  return new PurserError('ERR_REQUEST_INVALID', message, hint === undefined ? {} : { hint });
}
