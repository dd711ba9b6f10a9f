// Rules for the same path, from any number of policies, become one (POLICY.md, "Decision" 1). The result does not depend on
// the order of the policies.

import type { JsonValue } from '../lib/json.ts';
import type { PathPattern } from './path-pattern.ts';
import type { Capability, ParameterRules, PathRule, Permissions, Policy } from './policy.ts';

export interface MergedRule extends Permissions {
  readonly pattern: PathPattern;
  /** Capability → names of the policies that give it, in the order given. */
  readonly grantedBy: ReadonlyMap<Capability, readonly string[]>;
}

/** One rule for each distinct path. */
export function mergeRules(policies: readonly Policy[]): MergedRule[] {
  const byPath = new Map<string, { readonly rules: PathRule[]; readonly names: string[] }>();
  for (const policy of policies) {
    for (const rule of policy.rules) {
      const entry = byPath.get(rule.pattern.text);
      if (entry === undefined) byPath.set(rule.pattern.text, { rules: [rule], names: [policy.name] });
      else {
        entry.rules.push(rule);
        entry.names.push(policy.name);
      }
    }
  }
  return [...byPath.values()].map(({ rules, names }) => merge(rules, names));
}

function merge(rules: readonly PathRule[], names: readonly string[]): MergedRule {
  const { pattern } = rules[0] as PathRule;
  const isDenied = rules.some((rule) => rule.capabilities.has('deny'));
  const grantedBy = new Map<Capability, string[]>();
  rules.forEach((rule, index) => {
    for (const capability of isDenied ? ['deny' as const] : rule.capabilities) {
      const granting = grantedBy.get(capability) ?? [];
      const name = names[index] as string;
      if (rule.capabilities.has(capability) && !granting.includes(name)) grantedBy.set(capability, [...granting, name]);
    }
  });
  return {
    pattern,
    capabilities: new Set(grantedBy.keys()),
    allowedParameters: uniteParameters(rules.map((rule) => rule.allowedParameters)),
    deniedParameters: uniteParameters(rules.map((rule) => rule.deniedParameters)),
    requiredParameters: new Set(rules.flatMap((rule) => [...rule.requiredParameters])),
    minWrappingTtlSeconds: smallestSet(rules.map((rule) => rule.minWrappingTtlSeconds)),
    maxWrappingTtlSeconds: smallestSet(rules.map((rule) => rule.maxWrappingTtlSeconds)),
    grantedBy,
  };
}

/** The values of each parameter together; "any value" (an empty list) absorbs the others. */
function uniteParameters(all: readonly ParameterRules[]): ParameterRules {
  const united = new Map<string, readonly JsonValue[]>();
  for (const [name, values] of all.flatMap((rules) => [...rules])) {
    const known = united.get(name);
    if (known === undefined || values.length === 0) united.set(name, values);
    else if (known.length > 0) united.set(name, [...known, ...values]);
  }
  return united;
}

/** The least of the values that are set; 0 means not set. */
function smallestSet(values: readonly number[]): number {
  return values.reduce((least, value) => value > 0 && (least === 0 || value < least) ? value : least, 0);
}
