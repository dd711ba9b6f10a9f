// Roles of a jwt mount: which tokens may log in, as whom, and what they get. A role without any bound is refused: it would let in
// whoever the issuer ever signed a token for.

import { z } from 'zod';

import type { JsonObject, JsonValue } from '../../core/logical.ts';
import { PurserError } from '../../lib/errors.ts';
import { booleanField, durationField, field, objectField, stringField, stringListField, stringMapField } from '../../lib/fields.ts';
import { readTokenParameters, showTokenParameters, tokenParametersSchema } from '../method/token-parameters.ts';
import type { BoundClaims } from './claims.ts';

const seconds = z.int();
export const roleSchema = z.strictObject({
  v: z.literal(1),
  boundAudiences: z.array(z.string()).readonly(),
  boundSubject: z.string(),
  boundClaims: z.record(z.string(), z.array(z.union([z.string(), z.number(), z.boolean()])).readonly()).readonly(),
  boundClaimsType: z.enum(['string', 'glob']),
  claimMappings: z.record(z.string(), z.string()).readonly(),
  userClaim: z.string().min(1),
  userClaimJsonPointer: z.boolean(),
  groupsClaim: z.string(),
  leeways: z.strictObject({ clockSkewSeconds: seconds, expirationSeconds: seconds, notBeforeSeconds: seconds }).readonly(),
  token: tokenParametersSchema,
}).readonly();

export type JwtRole = z.infer<typeof roleSchema>;

const OLD_NAMES = { policies: 'policies', ttl: 'ttl', max_ttl: 'max_ttl', period: 'period', bound_cidrs: 'bound_cidrs' };
const MAX_BOUNDS = 64;
/** Set by the method itself. */
const RESERVED_METADATA = ['role'];

/**
 * The role after a write; fields that are absent keep what `before` has.
 * @throws ERR_REQUEST_INVALID
 */
export function readRole(data: JsonObject, before: JwtRole | undefined): JwtRole {
  requireType(data);
  const leeway = (name: string, part: keyof JwtRole['leeways']): number => durationField(data, name, { allowNegative: true }) ?? before?.leeways[part] ?? 0;
  const role: JwtRole = {
    v: 1,
    boundAudiences: stringListField(data, 'bound_audiences') ?? before?.boundAudiences ?? [],
    boundSubject: stringField(data, 'bound_subject') ?? before?.boundSubject ?? '',
    boundClaims: boundClaims(data) ?? before?.boundClaims ?? {},
    boundClaimsType: claimsType(data) ?? before?.boundClaimsType ?? 'string',
    claimMappings: claimMappings(data) ?? before?.claimMappings ?? {},
    userClaim: stringField(data, 'user_claim') ?? before?.userClaim ?? '',
    userClaimJsonPointer: booleanField(data, 'user_claim_json_pointer') ?? before?.userClaimJsonPointer ?? false,
    groupsClaim: stringField(data, 'groups_claim') ?? before?.groupsClaim ?? '',
    leeways: {
      clockSkewSeconds: leeway('clock_skew_leeway', 'clockSkewSeconds'), expirationSeconds: leeway('expiration_leeway', 'expirationSeconds'), notBeforeSeconds: leeway('not_before_leeway', 'notBeforeSeconds'),
    },
    token: readTokenParameters(data, before?.token, OLD_NAMES),
  };
  requireBounds(role);
  return role;
}

/** As Vault shows it. */
export function showRole(role: JwtRole): JsonObject {
  return {
    ...showTokenParameters(role.token), role_type: 'jwt', allowed_redirect_uris: null, bound_audiences: role.boundAudiences, bound_claims: role.boundClaims, bound_claims_type: role.boundClaimsType,
    bound_subject: role.boundSubject, claim_mappings: role.claimMappings, clock_skew_leeway: role.leeways.clockSkewSeconds, expiration_leeway: role.leeways.expirationSeconds,
    groups_claim: role.groupsClaim, not_before_leeway: role.leeways.notBeforeSeconds, oidc_scopes: null, user_claim: role.userClaim, user_claim_json_pointer: role.userClaimJsonPointer, verbose_oidc_logging: false,
  };
}

function requireType(data: JsonObject): void {
  const type = stringField(data, 'role_type') ?? '';
  if (type !== '' && type !== 'jwt') throw new PurserError('ERR_REQUEST_INVALID', "only roles of the type jwt are offered", { hint: 'set role_type to jwt' });
}

function requireBounds({ userClaim, boundAudiences, boundSubject, boundClaims: claims, token }: JwtRole): void {
  if (userClaim === '') throw invalid('a user claim must be defined on the role');
  if (boundAudiences.length === 0 && boundSubject === '' && Object.keys(claims).length === 0 && token.boundCidrs.length === 0) {
    throw invalid('must have at least one bound constraint when creating/updating a role');
  }
}

function claimsType(data: JsonObject): JwtRole['boundClaimsType'] | undefined {
  const type = stringField(data, 'bound_claims_type');
  if (type === undefined || type === 'string' || type === 'glob') return type;
  throw invalid("invalid 'bound_claims_type': must be string or glob");
}

function boundClaims(data: JsonObject): BoundClaims | undefined {
  const claims = objectField(data, 'bound_claims');
  if (claims === undefined) return undefined;
  const entries = Object.entries(claims);
  if (entries.length > MAX_BOUNDS) throw invalid(`at most ${MAX_BOUNDS} bound claims`);
  return Object.fromEntries(entries.map(([name, value]) => {
    const values = Array.isArray(value) ? value as readonly JsonValue[] : [value];
    if (values.length === 0 || values.length > MAX_BOUNDS || !values.every(isScalar)) throw invalid('a bound claim needs a text, number or boolean, or a list of them');
    return [name, values];
  }));
}

function claimMappings(data: JsonObject): Readonly<Record<string, string>> | undefined {
  if (field(data, 'claim_mappings') === undefined) return undefined;
  const mappings = stringMapField(data, 'claim_mappings') ?? {};
  const keys = Object.values(mappings);
  if (keys.length > MAX_BOUNDS) throw invalid(`at most ${MAX_BOUNDS} claim mappings`);
  if (keys.some((key) => RESERVED_METADATA.includes(key))) throw invalid(`metadata key 'role' is reserved and may not be a mapping destination`);
  if (new Set(keys).size < keys.length) throw invalid('multiple keys are mapped to the same metadata key');
  return mappings;
}

function isScalar(value: JsonValue): value is string | number | boolean {
  return ['string', 'number', 'boolean'].includes(typeof value);
}

function invalid(message: string): PurserError {
  return new PurserError('ERR_REQUEST_INVALID', message);
}
