// Tokens as Vault's API shows them: the `auth` object of a creation or renewal, and the `data` of a lookup.

import type { JsonObject } from '../../core/logical.ts';
import { secondsLeft } from './lifetime.ts';
import { canonicalPolicies } from './policy-names.ts';
import type { TokenEntry } from './token-store.ts';

/**
 * @param id the token itself; empty when only its accessor is known to the caller
 * @param identityPolicies what its entity adds
 */
export function authObject(id: string, entry: TokenEntry, now: number, identityPolicies: readonly string[] = []): JsonObject {
  return {
    client_token: id,
    accessor: entry.accessor,
    policies: identityPolicies.length === 0 ? entry.policies : canonicalPolicies([...entry.policies, ...identityPolicies]),
    token_policies: entry.policies,
    ...(identityPolicies.length === 0 ? {} : { identity_policies: identityPolicies }),
    metadata: metadataOf(entry),
    lease_duration: secondsLeft(entry.expiresAt, now),
    renewable: entry.renewable,
    entity_id: entry.entityId,
    token_type: entry.type,
    orphan: entry.parent === null,
    mfa_requirement: null,
    num_uses: entry.usesLeft ?? 0,
  };
}

/** As authObject. */
export function lookupData(id: string, entry: TokenEntry, now: number, identityPolicies: readonly string[] = []): JsonObject {
  return {
    id,
    accessor: entry.accessor,
    policies: entry.policies,
    ...(identityPolicies.length === 0 ? {} : { identity_policies: identityPolicies }),
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
    type: entry.type,
    renewable: entry.renewable,
    ...(entry.role === '' ? {} : { role: entry.role }),
    ...(entry.boundCidrs.length === 0 ? {} : { bound_cidrs: entry.boundCidrs }),
    ...(entry.periodSeconds === 0 ? {} : { period: entry.periodSeconds }),
    ...(entry.renewedAt === null ? {} : {
      last_renewal: new Date(entry.renewedAt).toISOString(), last_renewal_time: Math.floor(entry.renewedAt / 1000),
    }),
  };
}

function metadataOf(entry: TokenEntry): JsonObject | null {
  return Object.keys(entry.metadata).length === 0 ? null : entry.metadata;
}
