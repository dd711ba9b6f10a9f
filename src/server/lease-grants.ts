// Turns what an engine offers into a lease of the token that asks, before the answer leaves: from here on the core takes the
// secret back, whatever becomes of the request.

import { leaseSecondsLeft, type Leases } from '../leases/leases.ts';
import type { TokenEntry, TokenStore } from '../auth/token/token-store.ts';
import type { LogicalResponse } from '../core/logical.ts';
import { isPurserError, PurserError } from '../lib/errors.ts';
import type { Mount, MountTable } from './mount-table.ts';

/** Who asked, by which way. */
export interface LeaseRequest {
  /** Mount-qualified. */
  readonly path: string;
  readonly mount: Mount;
  /** Absent on paths that need no token. */
  readonly token: { readonly id: string; readonly entry: TokenEntry; readonly isLastUse: boolean } | undefined;
}

export class LeaseGrants {
  readonly #leases: Leases;
  readonly #tokens: TokenStore;
  readonly #mounts: MountTable;
  readonly #now: () => number;

  constructor(parts: { readonly leases: Leases; readonly tokens: TokenStore; readonly mounts: MountTable; readonly now: () => number }) {
    this.#leases = parts.leases;
    this.#tokens = parts.tokens;
    this.#mounts = parts.mounts;
    this.#now = parts.now;
  }

  /**
   * The response with its lease, if the engine offers one.
   * @throws ERR_REQUEST_INVALID for the last use of a token: the secret would end with it. It is revoked then
   */
  async grant(response: LogicalResponse, { path, mount, token }: LeaseRequest): Promise<LogicalResponse> {
    const { lease: offer, ...answer } = response;
    if (offer === undefined) return response;
    const isLastUse = token?.isLastUse === true;
    const isWanted = async (): Promise<boolean> => !isLastUse && this.#mounts.byAccessor(mount.accessor) !== undefined
      && (token === undefined || await this.#tokens.lookupCaller(token.id) !== undefined);
    try {
      const lease = await this.#leases.register(offer, {
        path, mount: mount.accessor, owner: token === undefined ? '' : ownerOf(token.entry),
        ...this.#mounts.ttlsOf(mount), endsBy: token?.entry.type === 'batch' ? token.entry.expiresAt ?? undefined : undefined,
      }, isWanted);
      return { ...answer, leaseId: lease.id, leaseSeconds: leaseSecondsLeft(lease, this.#now()), renewable: lease.renewable };
    } catch (error) {
      if (!isLastUse || !isPurserError(error, 'ERR_REQUEST_DENIED')) throw error;
      throw new PurserError('ERR_REQUEST_INVALID', 'Secret cannot be returned; token had one use left, so leased credentials were immediately revoked.',
        { hint: 'use a token with at least two uses' });
    }
  }
}

/** A batch token is not stored and cannot be revoked; what it gets belongs to its parent. */
function ownerOf(entry: TokenEntry): string {
  return entry.type === 'batch' ? entry.parent?.key ?? '' : entry.key;
}
