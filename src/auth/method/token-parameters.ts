// The fields `token_*` that Vault's auth methods share: read from a request over what is stored, kept in the records of roles and
// users, and shown in their answers.

import { z } from 'zod';

import type { JsonObject, TokenParameters } from '../../core/logical.ts';
import { addressRanges } from '../../lib/cidr.ts';
import { PurserError } from '../../lib/errors.ts';
import { booleanField, durationField, integerField, stringField, stringListField } from '../../lib/fields.ts';
import { canonicalPolicies, isRoot, requireAssignable } from '../token/policy-names.ts';

/** For the records of methods. */
export const tokenParametersSchema = z.strictObject({
  policies: z.array(z.string()).readonly(),
  ttlSeconds: z.int().nonnegative(),
  maxTtlSeconds: z.int().nonnegative(),
  explicitMaxTtlSeconds: z.int().nonnegative(),
  periodSeconds: z.int().nonnegative(),
  numUses: z.int().nonnegative(),
  boundCidrs: z.array(z.string()).readonly(),
  noDefaultPolicy: z.boolean(),
  type: z.enum(['', 'service', 'batch']),
}).readonly();

export const NO_TOKEN_PARAMETERS: TokenParameters = {
  policies: [], ttlSeconds: 0, maxTtlSeconds: 0, explicitMaxTtlSeconds: 0, periodSeconds: 0, numUses: 0, boundCidrs: [], noDefaultPolicy: false, type: '',
};

/** The old names of `token_policies`, `token_ttl` and so on, for methods that had them: they count where the new one is absent. */
export type OldNames = Readonly<Partial<Record<'policies' | 'ttl' | 'max_ttl' | 'period' | 'bound_cidrs', string>>>;

/**
 * The parameters after a write: fields that are absent keep their value.
 * @throws ERR_REQUEST_INVALID with Vault's message
 */
export function readTokenParameters(data: JsonObject, before: TokenParameters = NO_TOKEN_PARAMETERS, oldNames: OldNames = {}): TokenParameters {
  const nameOf = (part: keyof OldNames): string => {
    const old = oldNames[part];
    return old !== undefined && !has(data, `token_${part}`) && has(data, old) ? old : `token_${part}`;
  };
  const policies = stringListField(data, nameOf('policies'));
  const parameters: TokenParameters = {
    policies: policies === undefined ? before.policies : canonicalPolicies(policies),
    ttlSeconds: durationField(data, nameOf('ttl')) ?? before.ttlSeconds,
    maxTtlSeconds: durationField(data, nameOf('max_ttl')) ?? before.maxTtlSeconds,
    explicitMaxTtlSeconds: durationField(data, 'token_explicit_max_ttl') ?? before.explicitMaxTtlSeconds,
    periodSeconds: durationField(data, nameOf('period')) ?? before.periodSeconds,
    numUses: integerField(data, 'token_num_uses') ?? before.numUses,
    boundCidrs: stringListField(data, nameOf('bound_cidrs')) ?? before.boundCidrs,
    noDefaultPolicy: booleanField(data, 'token_no_default_policy') ?? before.noDefaultPolicy,
    type: readType(data) ?? before.type,
  };
  check(parameters);
  return parameters;
}

/** As Vault's answers show them. */
export function showTokenParameters(parameters: TokenParameters): JsonObject {
  return {
    token_bound_cidrs: parameters.boundCidrs, token_explicit_max_ttl: parameters.explicitMaxTtlSeconds, token_max_ttl: parameters.maxTtlSeconds,
    token_no_default_policy: parameters.noDefaultPolicy, token_num_uses: parameters.numUses, token_period: parameters.periodSeconds,
    token_policies: parameters.policies, token_ttl: parameters.ttlSeconds, token_type: parameters.type === '' ? 'default' : parameters.type,
  };
}

function has(data: JsonObject, name: string): boolean {
  return Object.hasOwn(data, name) && data[name] !== null;
}

function readType(data: JsonObject): TokenParameters['type'] | undefined {
  const type = stringField(data, 'token_type');
  if (type === undefined) return undefined;
  if (type === '' || type === 'default') return '';
  if (type === 'service' || type === 'batch') return type;
  throw invalid(`invalid 'token_type' value`);
}

function check({ policies, ttlSeconds, maxTtlSeconds, numUses, boundCidrs, type, periodSeconds, explicitMaxTtlSeconds }: TokenParameters): void {
  if (isRoot(policies)) throw invalid('auth methods cannot create root tokens', 'name the policies that the login needs');
  requireAssignable(policies);
  if (maxTtlSeconds > 0 && ttlSeconds > maxTtlSeconds) throw invalid("'token_ttl' cannot be greater than 'token_max_ttl'");
  if (numUses < 0) throw invalid("'token_num_uses' cannot be negative");
  if (type === 'batch' && periodSeconds > 0) throw invalid("'token_type' cannot be 'batch' when set to generate periodic tokens");
  if (type === 'batch' && numUses !== 0) throw invalid("'token_type' cannot be 'batch' when set to generate tokens with limited use count");
  if (type === 'batch' && explicitMaxTtlSeconds > 0) throw invalid("'token_type' cannot be 'batch' when 'token_explicit_max_ttl' is set");
  addressRanges(boundCidrs, "'token_bound_cidrs'");
}

function invalid(message: string, hint?: string): PurserError {
  return new PurserError('ERR_REQUEST_INVALID', message, hint === undefined ? {} : { hint });
}
