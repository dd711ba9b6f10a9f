// Who may make which token: pure rules between the parent, the wish, the role and the caller's sudo right. They decide; the store
// obeys. Messages are Vault's, because clients show and compare them (reference: vault/token_store.go, handleCreateCommon).

import { PurserError } from '../../lib/errors.ts';
import { booleanField, durationField, field, integerField, stringField, stringMapField } from '../../lib/fields.ts';
import type { JsonObject } from '../../core/logical.ts';
import { canonicalPolicies, isRoot } from './policy-names.ts';
import { childPolicies } from './child-policies.ts';
import { fitsGlob, type TokenRole } from './token-role.ts';
import type { TokenEntry, TokenSpec } from './token-store.ts';

export interface Creator {
  readonly id: string;
  readonly entry: TokenEntry;
  /** Root, or sudo on the path of the request. */
  readonly hasSudo: boolean;
}

export interface CreateOptions {
  /** The request came in on create-orphan. */
  readonly orphan: boolean;
  /** Mount-qualified path of the request. */
  readonly path: string;
  readonly role?: { readonly name: string; readonly role: TokenRole };
  /** Of the token mount. */
  readonly defaultTtlSeconds?: number;
  readonly maxTtlSeconds?: number;
}

/**
 * The token to make for a request body.
 * @throws ERR_REQUEST_INVALID with Vault's message when the creator may not make it
 */
export function tokenSpec(data: JsonObject, creator: Creator, options: CreateOptions): TokenSpec {
  const { entry: parent, hasSudo } = creator;
  const role = options.role?.role;
  if (parent.type === 'batch') throw refused('batch tokens cannot create more tokens');
  if (parent.usesLeft !== null) throw refused('restricted use token cannot generate child tokens');
  const type = typeOf(data, role);
  if (type === 'batch') requirePlain(data, role);

  const id = stringField(data, 'id');
  const isOrphan = role?.orphan === true || options.orphan || booleanField(data, 'no_parent') === true;
  const periodWish = durationField(data, 'period') ?? 0;
  const usesWish = integerField(data, 'num_uses') ?? 0;
  const ttlSeconds = durationField(data, 'ttl') ?? durationField(data, 'lease') ?? 0;
  if (id !== undefined) requireChosenId(id, hasSudo, type);
  if (isOrphan && role?.orphan !== true && !hasSudo) throw refused('root or sudo privileges required to create orphan token');
  if (periodWish > 0 && !hasSudo) throw refused('root or sudo privileges required to create periodic token');
  if (usesWish < 0) throw refused('number of uses cannot be negative');
  const periodSeconds = lesser(periodWish, role?.periodSeconds);
  const explicitMaxTtlSeconds = lesser(durationField(data, 'explicit_max_ttl') ?? 0, role?.explicitMaxTtlSeconds);

  const policies = childPolicies(data, canonicalPolicies(parent.policies), hasSudo, role);
  if (isRoot(policies)) requireRootRules(parent, type, ttlSeconds + periodSeconds + explicitMaxTtlSeconds === 0);
  return {
    policies, type, path: pathOf(options), displayName: displayName(stringField(data, 'display_name')),
    metadata: stringMapField(data, 'meta') ?? stringMapField(data, 'metadata') ?? {},
    ttlSeconds: ttlSeconds + periodSeconds > 0 || isRoot(policies) ? ttlSeconds : lesser(options.defaultTtlSeconds ?? 0, explicitMaxTtlSeconds),
    explicitMaxTtlSeconds, periodSeconds, numUses: lesser(usesWish, role?.numUses), maxTtlSeconds: options.maxTtlSeconds ?? 0,
    renewable: (booleanField(data, 'renewable') ?? true) && role?.renewable !== false,
    role: options.role?.name ?? '', boundCidrs: role?.boundCidrs ?? [], entityId: isOrphan ? '' : parent.entityId,
    ...(isOrphan ? {} : { parentId: creator.id }),
    ...(id === undefined ? {} : { id }),
  };
}

/**
 * The alias whose entity the token is to belong to; undefined when none is wished.
 * @throws ERR_REQUEST_INVALID when the role does not allow it
 */
export function wishedAlias(data: JsonObject, role: TokenRole | undefined): string | undefined {
  const alias = stringField(data, 'entity_alias') ?? '';
  if (alias === '') return undefined;
  if (role === undefined) throw refused("'entity_alias' is only allowed in combination with token role");
  const name = alias.normalize('NFKC').toLowerCase();
  if (fitsGlob(name, role.allowedEntityAliases)) return alias;
  throw refused("invalid 'entity_alias' value", 'name it in allowed_entity_aliases of the role');
}

function typeOf(data: JsonObject, role: TokenRole | undefined): 'service' | 'batch' {
  const wish = stringField(data, 'type') ?? '';
  if (!['', 'default', 'default-service', 'default-batch', 'service', 'batch'].includes(wish)) throw refused("invalid 'type' value");
  if (role?.type === 'service' || role?.type === 'batch') return role.type;
  if (wish === 'service' || wish === 'batch') return wish;
  return role?.type === 'default-batch' ? 'batch' : 'service';
}

/** What only a stored token can have. */
function requirePlain(data: JsonObject, role: TokenRole | undefined): void {
  if (field(data, 'explicit_max_ttl') !== undefined || (role?.explicitMaxTtlSeconds ?? 0) > 0) throw refused('batch tokens cannot have an explicit max TTL');
  if ((integerField(data, 'num_uses') ?? 0) !== 0 || (role?.numUses ?? 0) > 0) throw refused('batch tokens cannot have a limited use count');
  if (field(data, 'period') !== undefined || (role?.periodSeconds ?? 0) > 0) throw refused('batch tokens cannot be periodic');
}

function requireRootRules(parent: TokenEntry, type: 'service' | 'batch', hasNoEnd: boolean): void {
  if (!isRoot(parent.policies)) throw refused('root tokens may not be created without parent token being root');
  if (type === 'batch') throw refused('batch tokens cannot be root tokens');
  if (hasNoEnd && parent.expiresAt !== null) throw refused('expiring root tokens cannot create non-expiring root tokens');
}

function requireChosenId(id: string, hasSudo: boolean, type: 'service' | 'batch'): void {
  if (!hasSudo) throw refused('root or sudo privileges required to specify token id');
  if (type === 'batch') throw refused('batch tokens cannot have a chosen id');
  if (/^(hv)?[sbr]\./.test(id)) throw refused('a chosen token id cannot begin like a generated one');
}

/** With the suffix of the role, so that an operator can revoke the tokens of one purpose by their path. */
function pathOf({ path, role }: CreateOptions): string {
  return role === undefined || role.role.pathSuffix === '' ? path : `${path}/${role.role.pathSuffix}`;
}

/** The lesser of two limits, of which 0 and undefined are none. */
function lesser(a: number, b = 0): number {
  return a === 0 || b === 0 ? a + b : Math.min(a, b);
}

/** Vault's form: `token`, or `token-` and the wish with everything but letters, digits and dashes replaced. */
function displayName(wish: string | undefined): string {
  const name = (wish ?? '').slice(0, 256).replace(/[^a-zA-Z0-9-]+/g, '-').replace(/-$/, '');
  return name === '' ? 'token' : `token-${name}`;
}

function refused(message: string, hint?: string): PurserError {
  return new PurserError('ERR_REQUEST_INVALID', message, hint === undefined ? {} : { hint });
}
