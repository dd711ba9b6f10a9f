// Tokens as Vault's API shows them: the `auth` object of a creation or renewal, and the `data` of a lookup.

import type { JsonObject } from '../../core/logical.ts';
import { secondsLeft } from './lifetime.ts';
import type { TokenEntry } from './token-store.ts';

/** @param id the token itself; empty when only its accessor is known to the caller */
export function authObject(id: string, entry: TokenEntry, now: number): JsonObject {
  return {
    client_token: id,
    accessor: entry.accessor,
    policies: entry.policies,
    token_policies: entry.policies,
    metadata: metadataOf(entry),
    lease_duration: secondsLeft(entry.expiresAt, now),
    renewable: entry.renewable,
    entity_id: entry.entityId,
    token_type: 'service',
    orphan: entry.parent === null,
    mfa_requirement: null,
    num_uses: entry.usesLeft ?? 0,
  };
}

/** @param id as for authObject */
export function lookupData(id: string, entry: TokenEntry, now: number): JsonObject {
  return {
    id,
    accessor: entry.accessor,
    policies: entry.policies,
    path: entry.path,
    meta: metadataOf(entry),
    display_name: entry.displayName,
    num_uses: entry.usesLeft ?? 0,
    orphan: entry.parent === null,
    creation_time: Math.floor(entry.createdAt / 1000),
    creation_ttl: entry.ttlSeconds,
    issue_time: new Date(entry.createdAt).toISOString(),
    expire_time: entry.expiresAt === null ? null : new Date(entry.expiresAt).toISOString(),
    ttl: secondsLeft(entry.expiresAt, now),
    explicit_max_ttl: entry.explicitMaxTtlSeconds,
    entity_id: entry.entityId,
    type: 'service',
    renewable: entry.renewable,
    ...(entry.periodSeconds === 0 ? {} : { period: entry.periodSeconds }),
    ...(entry.renewedAt === null ? {} : {
      last_renewal: new Date(entry.renewedAt).toISOString(), last_renewal_time: Math.floor(entry.renewedAt / 1000),
    }),
  };
}

function metadataOf(entry: TokenEntry): JsonObject | null {
  return Object.keys(entry.metadata).length === 0 ? null : entry.metadata;
}
