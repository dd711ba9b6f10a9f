// Who may make which token: pure rules between the parent, the wish and the caller's sudo right. They decide; the store obeys.
// Messages are Vault's, because clients show and compare them (reference: vault/token_store.go, handleCreateCommon).

import { PurserError } from '../../lib/errors.ts';
import { booleanField, durationField, integerField, stringField, stringListField, stringMapField } from '../../lib/fields.ts';
import type { JsonObject } from '../../core/logical.ts';
import { canonicalPolicies, DEFAULT_POLICY_NAME, isRoot } from './policy-names.ts';
import type { TokenEntry, TokenSpec } from './token-store.ts';

export interface Creator {
  readonly id: string;
  readonly entry: TokenEntry;
  /** Root, or sudo on the path of the request. */
  readonly hasSudo: boolean;
}

/**
 * The token to make for a request body.
 * @param options.orphan the request came in on create-orphan
 * @throws ERR_REQUEST_INVALID with Vault's message when the creator may not make it
 */
export function tokenSpec(data: JsonObject, creator: Creator, options: { readonly orphan: boolean; readonly path: string }): TokenSpec {
  const { entry: parent, hasSudo } = creator;
  if (parent.usesLeft !== null) throw refused('restricted use token cannot generate child tokens');
  requireServiceType(data);

  const id = stringField(data, 'id');
  const orphan = options.orphan || booleanField(data, 'no_parent') === true;
  const periodSeconds = durationField(data, 'period') ?? 0;
  const numUses = integerField(data, 'num_uses') ?? 0;
  const ttlSeconds = durationField(data, 'ttl') ?? durationField(data, 'lease') ?? 0;
  const explicitMaxTtlSeconds = durationField(data, 'explicit_max_ttl') ?? 0;
  if (id !== undefined) requireChosenId(id, hasSudo);
  if (orphan && !hasSudo) throw refused('root or sudo privileges required to create orphan token');
  if (periodSeconds > 0 && !hasSudo) throw refused('root or sudo privileges required to create periodic token');
  if (numUses < 0) throw refused('number of uses cannot be negative');

  const policies = childPolicies(data, parent, hasSudo);
  const hasNoEnd = ttlSeconds === 0 && periodSeconds === 0 && explicitMaxTtlSeconds === 0;
  if (isRoot(policies) && hasNoEnd && parent.expiresAt !== null) {
    throw refused('expiring root tokens cannot create non-expiring root tokens');
  }
  return {
    policies, path: options.path, displayName: displayName(stringField(data, 'display_name')),
    metadata: stringMapField(data, 'meta') ?? stringMapField(data, 'metadata') ?? {},
    ttlSeconds, explicitMaxTtlSeconds, periodSeconds, numUses, renewable: booleanField(data, 'renewable') ?? true,
    entityId: parent.entityId,
    ...(orphan ? {} : { parentId: creator.id }),
    ...(id === undefined ? {} : { id }),
  };
}

/** The child's policies: the parent's when none are named, else a subset of them unless the caller has sudo. */
function childPolicies(data: JsonObject, parent: TokenEntry, hasSudo: boolean): readonly string[] {
  const wished = canonicalPolicies(stringListField(data, 'policies') ?? []);
  const parents = canonicalPolicies(parent.policies);
  const withoutDefault = booleanField(data, 'no_default_policy') === true;
  if (wished.length === 0) return withoutDefault ? parents.filter((name) => name !== DEFAULT_POLICY_NAME) : parents;
  if (isRoot(wished) && !isRoot(parents)) throw refused('root tokens may not be created without parent token being root');
  if (!hasSudo && !wished.every((name) => parents.includes(name))) throw refused('child policies must be subset of parent');
  const addsDefault = !withoutDefault && (hasSudo || parents.includes(DEFAULT_POLICY_NAME));
  return canonicalPolicies(addsDefault ? [...wished, DEFAULT_POLICY_NAME] : wished);
}

function requireServiceType(data: JsonObject): void {
  const type = stringField(data, 'type') ?? '';
  if (!['', 'default', 'default-service', 'service'].includes(type)) throw refused('only tokens of type service can be created');
  if ((stringField(data, 'entity_alias') ?? '') !== '') throw refused("'entity_alias' is only allowed in combination with token role");
}

function requireChosenId(id: string, hasSudo: boolean): void {
  if (!hasSudo) throw refused('root or sudo privileges required to specify token id');
  if (/^(hv)?[sbr]\./.test(id)) throw refused('a chosen token id cannot begin like a generated one');
}

/** Vault's form: `token`, or `token-` and the wish with everything but letters, digits and dashes replaced. */
function displayName(wish: string | undefined): string {
  const name = (wish ?? '').slice(0, 256).replace(/[^a-zA-Z0-9-]+/g, '-').replace(/-$/, '');
  return name === '' ? 'token' : `token-${name}`;
}

function refused(message: string): PurserError {
  return new PurserError('ERR_REQUEST_INVALID', message);
}
