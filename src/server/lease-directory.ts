// All leases of the core under one roof: those of engines and, because tokens with an end are leases too, those of tokens. A
// token's lease id is `<path>/h<key>`; no lease of an engine ends like that, so an id belongs to one of the two.

import { secondsLeft } from '../auth/token/lifetime.ts';
import { leasePath, type TokenEntry, type TokenStore } from '../auth/token/token-store.ts';
import type { JsonObject, LogicalResponse } from '../core/logical.ts';
import { PurserError } from '../lib/errors.ts';
import { irrevocableReason, leaseSecondsLeft, type Lease, type Leases } from '../leases/leases.ts';

export class LeaseDirectory {
  readonly #leases: Leases;
  readonly #tokens: TokenStore;
  readonly #now: () => number;

  constructor(leases: Leases, tokens: TokenStore, now: () => number) {
    this.#leases = leases;
    this.#tokens = tokens;
    this.#now = now;
  }

  /** @throws ERR_REQUEST_INVALID for an unknown lease */
  async lookup(id: string): Promise<JsonObject> {
    const lease = await this.#leases.lookup(id);
    if (lease !== undefined) return leaseData(lease, this.#now());
    const token = await this.#tokens.lookupLease(id);
    if (token === undefined) throw invalid('invalid lease');
    return tokenData(token, this.#now());
  }

  /** Names below a path that is empty or ends in '/', sorted. */
  async list(prefix: string): Promise<readonly string[]> {
    const names = await Promise.all([this.#leases.list(prefix), this.#tokens.listLeases(prefix)]);
    return [...new Set(names.flat())].sort();
  }

  /** @throws ERR_REQUEST_INVALID for an unknown lease, one that cannot be renewed, and for tokens */
  async renew(id: string, incrementSeconds: number): Promise<LogicalResponse> {
    if (await this.#tokens.lookupLease(id) !== undefined) throw invalid('tokens cannot be renewed through this endpoint', 'use auth/token/renew');
    const lease = await this.#leases.renew(id, incrementSeconds);
    if (lease === undefined) throw invalid('lease not found');
    return { leaseId: lease.id, leaseSeconds: leaseSecondsLeft(lease, this.#now()), renewable: lease.renewable };
  }

  async revoke(id: string, sync: boolean): Promise<void> {
    if (!await this.#tokens.revokeLease(id)) await this.#leases.revoke(id, { sync });
  }

  /** @param prefix a path; what is at it or below it ends. @throws when `sync`, as Leases.revokePrefix */
  async revokePrefix(prefix: string, options: { readonly sync: boolean; readonly force?: boolean }): Promise<void> {
    const folder = prefix.endsWith('/') ? prefix : `${prefix}/`;
    await this.#tokens.revokeLeasesBelow(folder);
    await this.#leases.revokePrefix(folder, options);
  }

  tidy(): Promise<number> {
    return this.#leases.tidy((key) => this.#tokens.hasEntry(key));
  }

  /** Leases that their engine does not revoke, with its reason; at most `limit`. */
  async irrevocable(limit: number): Promise<readonly { readonly lease_id: string; readonly error: string }[]> {
    const found: { lease_id: string; error: string }[] = [];
    for await (const lease of this.#leases.irrevocable()) {
      if (found.length >= limit) break;
      found.push({ lease_id: lease.id, error: irrevocableReason(lease) ?? '' });
    }
    return found;
  }

  /** How many leases of engines there are, by the first segment of their path. */
  async count(onlyIrrevocable: boolean): Promise<{ readonly counts: JsonObject; readonly lease_count: number }> {
    const counts = new Map<string, number>();
    const add = (id: string): void => {
      const mount = id.slice(0, id.indexOf('/') + 1);
      counts.set(mount, (counts.get(mount) ?? 0) + 1);
    };
    if (onlyIrrevocable) for await (const { id } of this.#leases.irrevocable()) add(id);
    else for await (const id of this.#leases.ids()) add(id);
    return { counts: Object.fromEntries(counts), lease_count: [...counts.values()].reduce((sum, count) => sum + count, 0) };
  }
}

function leaseData(lease: Lease, now: number): JsonObject {
  const reason = irrevocableReason(lease);
  return {
    id: lease.id, issue_time: iso(lease.issuedAt), expire_time: iso(lease.expiresAt), last_renewal: lease.renewedAt === null ? null : iso(lease.renewedAt),
    renewable: lease.renewable, ttl: leaseSecondsLeft(lease, now), ...(reason === undefined ? {} : { irrevocable: true, error: reason }),
  };
}

function tokenData(entry: TokenEntry, now: number): JsonObject {
  return {
    id: leasePath(entry), issue_time: iso(entry.createdAt), expire_time: entry.expiresAt === null ? null : iso(entry.expiresAt),
    last_renewal: entry.renewedAt === null ? null : iso(entry.renewedAt), renewable: entry.renewable, ttl: secondsLeft(entry.expiresAt, now),
  };
}

function iso(milliseconds: number): string {
  return new Date(milliseconds).toISOString();
}

function invalid(message: string, hint?: string): PurserError {
  return new PurserError('ERR_REQUEST_INVALID', message, hint === undefined ? {} : { hint });
}
