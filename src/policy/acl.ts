// The decision: what the rules of a policy set (policy-set.ts) say about a request (POLICY.md, "Decision"). Whatever no rule
// grants is denied.

import type { JsonObject } from '../lib/json.ts';
import { policiesGranting } from './merge.ts';
import type { MergedRule, SharedRule } from './merge.ts';
import { parametersAllowed } from './parameters.ts';
import { compareSpecificity, parsePathPattern } from './path-pattern.ts';
import type { RuleLookup } from './pattern-index.ts';
import { CAPABILITIES } from './policy.ts';

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
  /** Every rule in force; undefined for root, which has none. For showing, not for deciding. */
  rules(): readonly Pick<MergedRule, 'pattern' | 'capabilities'>[] | undefined;
}

const ROOT_DECISION: AclDecision = { allowed: true, hasSudo: true, isRoot: true, grantingPolicies: ['root'] };
/** Of the root policy alone. */
export const ROOT_ACL: Acl = { check: () => ROOT_DECISION, capabilities: () => ['root'], hasAccessBelow: () => true, rules: () => undefined };

export class RuleAcl implements Acl {
  readonly #layers: readonly ReadonlyMap<string, SharedRule>[];
  readonly #index: RuleLookup<SharedRule>;
  /** Starts of paths below which nothing is granted. */
  readonly #blocked: readonly string[];

  /** @param layers rules by pattern text; of two with the same text the first counts */
  constructor(layers: readonly ReadonlyMap<string, SharedRule>[], index: RuleLookup<SharedRule>, blocked: readonly string[]) {
    this.#layers = layers;
    this.#index = index;
    this.#blocked = blocked;
  }

  check(request: AclRequest): AclDecision {
    const { operation } = request;
    const bare = withoutLeadingSlashes(request.path);
    const path = operation !== 'list' || bare === '' || bare.endsWith('/') ? bare : `${bare}/`;
    const rule = this.#isBlocked(path) ? undefined : operation === 'list' ? this.#listRule(path) : this.#rule(path);
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
    const bare = withoutLeadingSlashes(path);
    const granted = this.#isBlocked(bare) ? undefined : this.#listRule(bare)?.capabilities;
    return granted === undefined || granted.size === 0 ? ['deny'] : CAPABILITIES.filter((capability) => granted.has(capability));
  }

  hasAccessBelow(mountPath: string): boolean {
    if (this.#isBlocked(mountPath)) return false;
    return !this.capabilities(mountPath).includes('deny') || this.#layers.some((rules, index) => [...rules.values()].some((rule) =>
      reachesBelow(rule.pattern, mountPath) && (index === 0 || this.#layers[0]?.has(rule.pattern.text) !== true) && rule.merged.capabilities.size > 0 && !rule.merged.capabilities.has('deny')));
  }

  rules(): readonly Pick<MergedRule, 'pattern' | 'capabilities'>[] {
    const rules = new Map(this.#layers.toReversed().flatMap((layer) => [...layer].map(([text, { merged }]) => [text, merged] as const)));
    const blocked = this.#blocked.map((prefix) => ({ pattern: parsePathPattern(`${prefix}*`), capabilities: new Set(['deny'] as const) }));
    return [...[...rules.values()].filter(({ pattern }) => !this.#isBlocked(pattern.literal)), ...blocked];
  }

  #isBlocked(path: string): boolean {
    return this.#blocked.length > 0 && this.#blocked.some((prefix) => path.startsWith(prefix));
  }

  #rule(path: string): MergedRule | undefined {
    return (this.#index.exact(path) ?? this.#index.bestNonExact(path))?.merged;
  }

  #listRule(path: string): MergedRule | undefined {
    const bare = path.endsWith('/') ? path.slice(0, -1) : path;
    const exact = this.#index.exact(path) ?? this.#index.exact(bare);
    if (exact !== undefined || bare === path) return (exact ?? this.#index.bestNonExact(path))?.merged;
    const chosen = this.#index.bestNonExact(path)?.merged;
    const bareRule = this.#index.bestNonExact(bare)?.merged;
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
