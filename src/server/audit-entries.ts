// From a request in the pipeline to its two audit entries. Both share the same `auth` and `request` objects, which the audit
// device renders once.

import type { AuditAuth, AuditEntry, AuditRequest, AuditResponse } from '../audit/entry.ts';
import type { TokenEntry } from '../auth/token/token-store.ts';
import type { JsonObject, LogicalResponse, Operation } from '../core/logical.ts';
import { isPurserError } from '../lib/errors.ts';
import type { Mount } from './mount-table.ts';

/** What the pipeline knows when it asks for the request entry. */
export interface AuditFacts {
  readonly id: string;
  readonly traceId: string | undefined;
  readonly path: string;
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly operation: Operation;
  readonly data: JsonObject;
  readonly mount: Mount | undefined;
  /** As it was shown, valid or not. */
  readonly tokenId: string | undefined;
  /** Absent when the token is not valid. */
  readonly token: TokenEntry | undefined;
  /** Those of the token and of its entity. */
  readonly policies: readonly string[] | undefined;
  readonly wrapTtlSeconds: number | undefined;
  readonly isAllowed: boolean;
  readonly grantingPolicies: readonly string[];
}

/** The entry before execution. */
export function requestEntry(facts: AuditFacts): AuditEntry {
  return { auth: authOf(facts), request: requestOf(facts) };
}

/** The entry after execution, from the one before it. */
export function responseEntry(entry: AuditEntry, response: LogicalResponse | undefined): AuditEntry {
  return response === undefined ? entry : { auth: entry.auth, request: entry.request, response: responseOf(response) };
}

/** An entry of a request that failed. A foreign error's message could quote a value, so only our own messages are kept. */
export function failedEntry(entry: AuditEntry, error: unknown): AuditEntry {
  return { ...entry, error: isPurserError(error) ? error.message : 'internal error' };
}

/** Per token and rule, the same object again and again: the audit device renders each object once. */
const knownAuth = new WeakMap<TokenEntry, Map<string, AuditAuth>>();
/** Sets of granting policies remembered for one token. */
const MAX_RULES = 64;

function authOf(facts: AuditFacts): AuditAuth {
  const { token, grantingPolicies, isAllowed } = facts;
  // The policies of an entity change without the entry.
  if (token === undefined || !isAllowed || token.entityId !== '') return makeAuth(facts);
  let byRule = knownAuth.get(token);
  if (byRule === undefined || byRule.size >= MAX_RULES) knownAuth.set(token, byRule = new Map<string, AuditAuth>());
  const rule = grantingPolicies.join(); // no name has a comma
  let auth = byRule.get(rule);
  if (auth === undefined) byRule.set(rule, auth = makeAuth(facts));
  return auth;
}

function makeAuth({ tokenId, token, policies, isAllowed, grantingPolicies }: AuditFacts): AuditAuth {
  const shown = tokenId === undefined ? {} : { clientToken: tokenId };
  const policyResults = { allowed: isAllowed, ...(grantingPolicies.length === 0 ? {} : { grantingPolicies: grantingPolicies.map((name) => ({ name, type: 'acl' })) }) };
  if (token === undefined) return { ...shown, policyResults };
  return {
    ...shown, policyResults, accessor: token.accessor, displayName: token.displayName, policies: policies ?? token.policies, tokenPolicies: token.policies, metadata: token.metadata, tokenType: token.type,
    tokenTtlSeconds: token.ttlSeconds, tokenIssueTime: new Date(token.createdAt).toISOString(),
    ...(token.entityId === '' ? {} : { entityId: token.entityId }),
    ...(token.usesLeft === null ? {} : { remainingUses: token.usesLeft }),
  };
}

function requestOf({ id, traceId, path, remoteAddress, remotePort, operation, data, mount, tokenId, token, wrapTtlSeconds }: AuditFacts): AuditRequest {
  return {
    id, traceId, operation, path, data, isSecretThroughout: mount?.engine.isSecretThroughout === true, remoteAddress, remotePort, wrapTtlSeconds,
    mountPoint: mount?.path, mountType: mount?.type, mountAccessor: mount?.accessor,
    clientToken: tokenId, clientTokenAccessor: token?.accessor, rendering: undefined,
  };
}

function responseOf({ auth, data: whole, auditData: data = whole, sameData, leaseId, warnings, wrapInfo }: LogicalResponse): AuditResponse {
  return sameData !== undefined && data !== undefined ? { data, sameData } : { auth, data, leaseId, warnings, wrapInfo };
}
