// The decision: policies compiled into one ACL, and what it says about a request (POLICY.md, "Decision"). Pure and
// immutable: compile once for a set of policies, ask any number of times. Whatever no rule grants is denied.

import { PurserError } from '../lib/errors.ts';
import type { JsonObject } from '../lib/json.ts';
import { mergeRules, policiesGranting } from './merge.ts';
import type { MergedRule } from './merge.ts';
import { parametersAllowed } from './parameters.ts';
import { compareSpecificity } from './path-pattern.ts';
import { PatternIndex } from './pattern-index.ts';
import type { Policy } from './policy.ts';
import { CAPABILITIES, ROOT_POLICY } from './policy.ts';

export interface AclRequest {
  /** Mount first, decoded and normalised: the very string that routes and stores. */
  readonly path: string;
  readonly operation: 'create' | 'read' | 'update' | 'patch' | 'delete' | 'list';
  /** Body or query parameters. A null counts as sent, so leave nulls out where they mean "absent". */
  readonly data?: JsonObject;
  /** The path needs `sudo` on top of the operation's capability. */
  readonly isSudoPath?: boolean;
  /** Of the requested response wrapping; absent when none was requested. */
  readonly wrapTtlSeconds?: number;
}

export interface AclDecision {
  readonly allowed: boolean;
  /** The rule for this path holds `sudo`; says nothing about `allowed`. */
  readonly hasSudo: boolean;
  readonly isRoot: boolean;
  /** Names of the policies that grant the operation; empty when it is not allowed. */
  readonly grantingPolicies: readonly string[];
}

export interface Acl {
  check(request: AclRequest): AclDecision;
  /** Sorted; `["root"]` for root, `["deny"]` when nothing is granted. */
  capabilities(path: string): string[];
  /** True when some rule grants anything at or below `mountPath` (which ends in '/'): what sys/internal/ui/mounts asks. */
  hasAccessBelow(mountPath: string): boolean;
}

const ROOT_DECISION: AclDecision = { allowed: true, hasSudo: true, isRoot: true, grantingPolicies: ['root'] };
const ROOT_ACL: Acl = { check: () => ROOT_DECISION, capabilities: () => ['root'], hasAccessBelow: () => true };

/** @throws ERR_POLICY_SYNTAX when root comes with other policies, or a policy only bears its name */
export function compileAcl(policies: readonly Policy[]): Acl {
  if (!policies.some((policy) => policy.name === ROOT_POLICY.name)) return new RuleAcl(mergeRules(policies));
  if (policies.length !== 1) throw new PurserError('ERR_POLICY_SYNTAX', 'other policies present along with root', { hint: 'root needs no other policy: leave one or the other out' });
  if (policies[0] !== ROOT_POLICY) throw new PurserError('ERR_POLICY_SYNTAX', 'a stored policy must not be named root', { hint: 'rename it' });
  return ROOT_ACL;
}

class RuleAcl implements Acl {
  readonly #rules: readonly MergedRule[];
  readonly #index: PatternIndex<MergedRule>;

  constructor(rules: readonly MergedRule[]) {
    this.#rules = rules;
    this.#index = new PatternIndex(rules);
  }

  check(request: AclRequest): AclDecision {
    const { operation } = request;
    const path = withoutLeadingSlashes(request.path);
    const rule = operation === 'list' ? this.#listRule(path === '' || path.endsWith('/') ? path : `${path}/`) : this.#rule(path);
    const hasSudo = rule?.capabilities.has('sudo') ?? false;
    const allowed = rule !== undefined
      && rule.capabilities.has(operation)
      && (hasSudo || request.isSudoPath !== true)
      && wrappingAllowed(rule, request.wrapTtlSeconds)
      && (operation === 'list' || operation === 'delete' || parametersAllowed(rule, request.data ?? {}));
    return { allowed, hasSudo, isRoot: false, grantingPolicies: allowed ? policiesGranting(rule, operation) : [] };
  }

  capabilities(path: string): string[] {
    // As Vault: with the fallbacks of a list, but on the path as given.
    const granted = this.#listRule(withoutLeadingSlashes(path))?.capabilities;
    return granted === undefined || granted.size === 0 ? ['deny'] : CAPABILITIES.filter((capability) => granted.has(capability));
  }

  hasAccessBelow(mountPath: string): boolean {
    return !this.capabilities(mountPath).includes('deny')
      || this.#rules.some(({ pattern, capabilities }) => capabilities.size > 0 && !capabilities.has('deny') && reachesBelow(pattern, mountPath));
  }

  #rule(path: string): MergedRule | undefined {
    return this.#index.exact(path) ?? this.#index.bestNonExact(path);
  }

  #listRule(path: string): MergedRule | undefined {
    const bare = path.endsWith('/') ? path.slice(0, -1) : path;
    const exact = this.#index.exact(path) ?? this.#index.exact(bare);
    if (exact !== undefined || bare === path) return exact ?? this.#index.bestNonExact(path);
    const chosen = this.#index.bestNonExact(path);
    const bareRule = this.#index.bestNonExact(bare);
    if (chosen === undefined || bareRule === undefined) return chosen ?? bareRule;
    const bareDenies = bareRule.capabilities.has('deny') && compareSpecificity(bareRule.pattern, chosen.pattern) > 0;
    return bareDenies ? bareRule : chosen;
  }
}

/** A rule with a limit wants the response wrapped, and for a time within its limits. */
function wrappingAllowed(rule: MergedRule, ttlSeconds: number | undefined): boolean {
  const { minWrappingTtlSeconds: min, maxWrappingTtlSeconds: max } = rule;
  if (min === 0 && max === 0) return true;
  return ttlSeconds !== undefined && ttlSeconds >= min && (max === 0 || ttlSeconds <= max);
}

function withoutLeadingSlashes(path: string): string {
  let start = 0;
  while (path[start] === '/') start += 1;
  return start === 0 ? path : path.slice(start);
}

/** True when a path that matches `pattern` can start with `mountPath`. */
function reachesBelow({ kind, literal, endsInGlob }: MergedRule['pattern'], mountPath: string): boolean {
  if (kind !== 'segments') return literal.startsWith(mountPath) || (endsInGlob && mountPath.startsWith(literal));
  const wanted = mountPath.split('/').slice(0, -1);
  const segments = literal.split('/');
  const last = segments.length - 1;
  return wanted.every((segment, index) => {
    if (endsInGlob && index >= last) return index > last || segment.startsWith(segments[last] as string);
    return segments[index] === '+' || segments[index] === segment;
  }) && (endsInGlob || segments.length > wanted.length);
}
