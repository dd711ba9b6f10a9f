// Policy names as tokens carry them. One name has one spelling, so that `root` cannot be reached by another one (case, blanks,
// compatibility characters): Vault's CVE-2025-5999 and its relatives. The root policy stands alone.

import { PurserError } from '../../lib/errors.ts';
import { BUILT_IN_POLICIES } from '../../policy/built-in.ts';

export const ROOT_POLICY_NAME = 'root';
export const DEFAULT_POLICY_NAME = 'default';
const MAX_POLICIES = 128;
const MAX_NAME_LENGTH = 256;

/**
 * The canonical spelling of each name (NFKC, trimmed, lower case), sorted, without empty names and duplicates. A list that
 * holds root is root alone.
 * @throws ERR_REQUEST_INVALID for names with control, format or blank characters, and for too many or too long names
 */
export function canonicalPolicies(names: readonly string[]): readonly string[] {
  if (names.length > MAX_POLICIES) throw refused(`a token has at most ${MAX_POLICIES} policies`);
  const canonical = new Set(names.map(canonicalPolicy).filter((name) => name !== ''));
  return canonical.has(ROOT_POLICY_NAME) ? [ROOT_POLICY_NAME] : [...canonical].sort();
}

export function isRoot(policies: readonly string[]): boolean {
  return policies.includes(ROOT_POLICY_NAME);
}

/** @throws ERR_REQUEST_INVALID for a policy that only the core itself gives to tokens. @param names canonical */
export function requireAssignable(names: readonly string[]): void {
  const internal = names.find((name) => BUILT_IN_POLICIES.get(name)?.isInternal === true);
  if (internal !== undefined) throw refused(`cannot assign policy "${internal}"`);
}

function canonicalPolicy(name: string): string {
  if (name.length > MAX_NAME_LENGTH) throw refused(`a policy name has at most ${MAX_NAME_LENGTH} characters`);
  const canonical = name.normalize('NFKC').trim().toLowerCase();
  if (/[\p{C}\p{Z}]/u.test(canonical)) throw refused('a policy name holds a blank, control or format character');
  return canonical;
}

function refused(message: string): PurserError {
  return new PurserError('ERR_REQUEST_INVALID', message, { hint: 'list the policy names with: purser policy list' });
}
