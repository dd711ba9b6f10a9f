// The policies of a child token: a subset of its parent's, unless a role or the right to sudo says otherwise. Rules and messages:
// vault/token_store.go, handleCreateCommon.

import { PurserError } from '../../lib/errors.ts';
import { booleanField, stringListField } from '../../lib/fields.ts';
import type { JsonObject } from '../../core/logical.ts';
import { canonicalPolicies, DEFAULT_POLICY_NAME, isRoot, requireAssignable } from './policy-names.ts';
import { fitsGlob, type TokenRole } from './token-role.ts';

/**
 * @param parents canonical names of the parent's policies
 * @throws ERR_REQUEST_INVALID when the wish goes beyond what the caller may give
 */
export function childPolicies(data: JsonObject, parents: readonly string[], hasSudo: boolean, role: TokenRole | undefined): readonly string[] {
  const wished = canonicalPolicies(stringListField(data, 'policies') ?? []);
  const withoutDefault = booleanField(data, 'no_default_policy') === true || role?.noDefaultPolicy === true;
  const policies = role !== undefined && hasPolicyRules(role) ? byRole(wished, parents, withoutDefault, role) : bySubset(wished, parents, withoutDefault, hasSudo);
  requireAssignable(policies);
  return policies;
}

function bySubset(wished: readonly string[], parents: readonly string[], withoutDefault: boolean, hasSudo: boolean): readonly string[] {
  if (wished.length === 0) return withoutDefault ? parents.filter((name) => name !== DEFAULT_POLICY_NAME) : parents;
  if (isRoot(wished) && !isRoot(parents)) throw refused('root tokens may not be created without parent token being root');
  if (!hasSudo && !wished.every((name) => parents.includes(name))) throw refused('child policies must be subset of parent');
  return withDefault(wished, !withoutDefault && (hasSudo || parents.includes(DEFAULT_POLICY_NAME)));
}

/** A role gives what it allows, whatever the parent has; without a list of its own, what the parent has. */
function byRole(wished: readonly string[], parents: readonly string[], withoutDefault: boolean, role: TokenRole): readonly string[] {
  const isRestricted = role.allowedPolicies.length > 0 || role.allowedPoliciesGlob.length > 0;
  const addsDefault = !withoutDefault && !isDisallowed(DEFAULT_POLICY_NAME, role);
  const policies = withDefault(wished.length > 0 ? wished : isRestricted ? role.allowedPolicies : parents, addsDefault);
  if (isRestricted) {
    const allowed = withDefault(role.allowedPolicies, addsDefault);
    const stranger = policies.find((name) => !allowed.includes(name) && !fitsGlob(name, role.allowedPoliciesGlob));
    if (stranger !== undefined) throw refused(`token policies must be subset of the role's allowed policies: "${stranger}" is not`);
  }
  const disallowed = policies.find((name) => isDisallowed(name, role));
  if (disallowed !== undefined) throw refused(`token policy "${disallowed}" is disallowed by this role`);
  return policies;
}

function isDisallowed(name: string, role: TokenRole): boolean {
  return role.disallowedPolicies.includes(name) || fitsGlob(name, role.disallowedPoliciesGlob);
}

function hasPolicyRules(role: TokenRole): boolean {
  return [role.allowedPolicies, role.allowedPoliciesGlob, role.disallowedPolicies, role.disallowedPoliciesGlob].some((names) => names.length > 0);
}

function withDefault(names: readonly string[], addsDefault: boolean): readonly string[] {
  return canonicalPolicies(addsDefault ? [...names, DEFAULT_POLICY_NAME] : names);
}

function refused(message: string): PurserError {
  return new PurserError('ERR_REQUEST_INVALID', message);
}
