// Token roles: what a request to `create/<role>` gets, whoever asks. Read from a request over what is stored, kept in the token
// store's view, shown in Vault's shape.

import { z } from 'zod';

import type { JsonObject } from '../../core/logical.ts';
import { addressRanges } from '../../lib/cidr.ts';
import { PurserError } from '../../lib/errors.ts';
import { booleanField, durationField, field, integerField, stringField, stringListField } from '../../lib/fields.ts';
import { canonicalPolicies } from './policy-names.ts';

const names = z.array(z.string()).readonly();
const seconds = z.int().nonnegative();
const TYPES = ['default-service', 'default-batch', 'service', 'batch'] as const;

export const tokenRoleSchema = z.strictObject({
  v: z.literal(1),
  allowedPolicies: names,
  allowedPoliciesGlob: names,
  disallowedPolicies: names,
  disallowedPoliciesGlob: names,
  allowedEntityAliases: names,
  boundCidrs: names,
  orphan: z.boolean(),
  renewable: z.boolean(),
  noDefaultPolicy: z.boolean(),
  pathSuffix: z.string(),
  periodSeconds: seconds,
  explicitMaxTtlSeconds: seconds,
  numUses: seconds,
  type: z.enum(TYPES),
}).readonly();

export type TokenRole = z.infer<typeof tokenRoleSchema>;

const NEW_ROLE: TokenRole = {
  v: 1, allowedPolicies: [], allowedPoliciesGlob: [], disallowedPolicies: [], disallowedPoliciesGlob: [], allowedEntityAliases: [], boundCidrs: [],
  orphan: false, renewable: true, noDefaultPolicy: false, pathSuffix: '', periodSeconds: 0, explicitMaxTtlSeconds: 0, numUses: 0, type: 'default-service',
};
const MAX_GLOBS = 128;
const MAX_GLOB_LENGTH = 256;

/** One spelling per role, as policies see it. @throws ERR_REQUEST_INVALID for a name that cannot be used */
export function roleName(name: string): string {
  if (/^[\w.-]{1,128}$/.test(name)) return name;
  throw invalid('a role name is 1 to 128 letters, digits, dots, dashes and underscores');
}

/**
 * The role after a write: fields that are absent keep their value.
 * @throws ERR_REQUEST_INVALID with Vault's message where Vault has one
 */
export function readTokenRole(data: JsonObject, before: TokenRole = NEW_ROLE): TokenRole {
  // Vault's old names count where the new one is absent.
  const nameOf = (name: string): string => (field(data, `token_${name}`) === undefined && field(data, name) !== undefined ? name : `token_${name}`);
  const role: TokenRole = {
    v: 1,
    allowedPolicies: policies(data, 'allowed_policies') ?? before.allowedPolicies,
    allowedPoliciesGlob: globs(data, 'allowed_policies_glob') ?? before.allowedPoliciesGlob,
    disallowedPolicies: policies(data, 'disallowed_policies') ?? before.disallowedPolicies,
    disallowedPoliciesGlob: globs(data, 'disallowed_policies_glob') ?? before.disallowedPoliciesGlob,
    allowedEntityAliases: globs(data, 'allowed_entity_aliases') ?? before.allowedEntityAliases,
    boundCidrs: stringListField(data, nameOf('bound_cidrs')) ?? before.boundCidrs,
    orphan: booleanField(data, 'orphan') ?? before.orphan,
    renewable: booleanField(data, 'renewable') ?? before.renewable,
    noDefaultPolicy: booleanField(data, 'token_no_default_policy') ?? before.noDefaultPolicy,
    pathSuffix: stringField(data, 'path_suffix') ?? before.pathSuffix,
    periodSeconds: durationField(data, nameOf('period')) ?? before.periodSeconds,
    explicitMaxTtlSeconds: durationField(data, nameOf('explicit_max_ttl')) ?? before.explicitMaxTtlSeconds,
    numUses: integerField(data, 'token_num_uses') ?? before.numUses,
    type: typeOf(data) ?? before.type,
  };
  check(role);
  return role;
}

/** As Vault's API shows it. */
export function showTokenRole(name: string, role: TokenRole): JsonObject {
  return {
    name, allowed_policies: role.allowedPolicies, allowed_policies_glob: role.allowedPoliciesGlob, disallowed_policies: role.disallowedPolicies,
    disallowed_policies_glob: role.disallowedPoliciesGlob, allowed_entity_aliases: role.allowedEntityAliases, orphan: role.orphan, renewable: role.renewable,
    path_suffix: role.pathSuffix, token_bound_cidrs: role.boundCidrs, token_explicit_max_ttl: role.explicitMaxTtlSeconds, explicit_max_ttl: role.explicitMaxTtlSeconds,
    token_no_default_policy: role.noDefaultPolicy, token_num_uses: role.numUses, token_period: role.periodSeconds, period: role.periodSeconds, token_type: role.type,
  };
}

/** True when `name` fits one of `patterns`, in which `*` stands for any text. */
export function fitsGlob(name: string, patterns: readonly string[]): boolean {
  return patterns.some((pattern) => fits(name, pattern.split('*')));
}

function fits(name: string, parts: readonly string[]): boolean {
  const [first = '', ...rest] = parts;
  const last = rest.pop();
  if (last === undefined) return name === first;
  if (!name.startsWith(first)) return false;
  let at = first.length;
  for (const part of rest) {
    const found = name.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return name.length - last.length >= at && name.endsWith(last);
}

function check(role: TokenRole): void {
  if (role.numUses < 0) throw invalid("'token_num_uses' cannot be negative");
  if (role.pathSuffix !== '' && !/^[\w-]+(?:\/[\w-]+)*$/.test(role.pathSuffix)) throw invalid('the given role path suffix contains invalid characters: letters, digits, dashes and underscores, divided by slashes, are allowed');
  if (role.pathSuffix.length > 256) throw invalid('the given role path suffix is too long');
  addressRanges(role.boundCidrs, "'token_bound_cidrs'");
  if (role.numUses > 0 && (role.type === 'batch' || role.type === 'default-batch')) {
    throw invalid("'token_type' cannot be 'batch' or 'default_batch' when set to generate tokens with limited use count");
  }
  if (role.type !== 'batch') return;
  const what = role.periodSeconds > 0 ? 'periodic tokens' : role.renewable ? 'renewable tokens' : role.explicitMaxTtlSeconds > 0 ? 'tokens with an explicit max TTL' : undefined;
  if (what !== undefined) throw invalid(`'token_type' cannot be 'batch' when role is set to generate ${what}`, 'batch tokens cannot be renewed: set renewable to false and leave period and explicit max TTL out');
}

function policies(data: JsonObject, name: string): readonly string[] | undefined {
  const list = stringListField(data, name);
  return list && canonicalPolicies(list);
}

function globs(data: JsonObject, name: string): readonly string[] | undefined {
  const list = stringListField(data, name)?.map((glob) => glob.normalize('NFKC').trim().toLowerCase()).filter((glob) => glob !== '');
  if (list === undefined) return undefined;
  if (list.length > MAX_GLOBS || list.some((glob) => glob.length > MAX_GLOB_LENGTH)) throw invalid(`${name}: at most ${MAX_GLOBS} patterns of ${MAX_GLOB_LENGTH} characters`);
  return list;
}

function typeOf(data: JsonObject): TokenRole['type'] | undefined {
  const text = stringField(data, 'token_type');
  if (text === undefined) return undefined;
  const type = text === '' || text === 'default' ? 'default-service' : TYPES.find((known) => known === text.replace('_', '-'));
  if (type === undefined) throw invalid("invalid 'token_type' value");
  return type;
}

function invalid(message: string, hint?: string): PurserError {
  return new PurserError('ERR_REQUEST_INVALID', message, hint === undefined ? {} : { hint });
}
