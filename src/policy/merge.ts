// Rules for the same path, from any number of policies, become one (POLICY.md, "Decision" 1). The result does not depend on
// the order of the policies.

import type { JsonValue } from '../lib/json.ts';
import type { PathPattern } from './path-pattern.ts';
import type { Capability, ParameterRules, PathRule, Permissions, Policy } from './policy.ts';

export interface Source { readonly rule: PathRule; readonly policyName: string }

export interface MergedRule extends Permissions {
  readonly pattern: PathPattern;
  readonly sources: readonly Source[];
}

/** One rule for each distinct path, by its text. */
export function mergeRules(policies: readonly Policy[]): Map<string, MergedRule> {
  return mergeSources(policies.flatMap(({ name: policyName, rules }) => rules.map((rule) => ({ rule, policyName }))));
}

/** As mergeRules(); a path that `base` has too gets the sources of both. */
export function mergeSources(all: readonly Source[], base?: ReadonlyMap<string, MergedRule>): Map<string, MergedRule> {
  const byPath = new Map<string, Source[]>();
  for (const source of all) {
    const { text } = source.rule.pattern;
    const sources = byPath.get(text);
    if (sources === undefined) byPath.set(text, [...base?.get(text)?.sources ?? [], source]);
    else sources.push(source);
  }
  return new Map([...byPath].map(([text, sources]) => [text, merge(sources)]));
}

/** The policies that give `capability` through this rule, each once, in the order given. */
export function policiesGranting(rule: MergedRule, capability: Capability): string[] {
  return [...new Set(rule.sources.filter((source) => source.rule.capabilities.has(capability)).map((source) => source.policyName))];
}

function merge(sources: readonly Source[]): MergedRule {
  const rules = sources.map((source) => source.rule);
  const first = rules[0] as PathRule;
  if (rules.length === 1) return { ...first, sources };
  const capabilities = new Set(rules.flatMap((rule) => [...rule.capabilities]));
  return {
    pattern: first.pattern,
    sources,
    capabilities: capabilities.has('deny') ? new Set(['deny']) : capabilities,
    allowedParameters: uniteParameters(rules.map((rule) => rule.allowedParameters)),
    deniedParameters: uniteParameters(rules.map((rule) => rule.deniedParameters)),
    requiredParameters: new Set(rules.flatMap((rule) => [...rule.requiredParameters])),
    minWrappingTtlSeconds: smallestSet(rules.map((rule) => rule.minWrappingTtlSeconds)),
    maxWrappingTtlSeconds: smallestSet(rules.map((rule) => rule.maxWrappingTtlSeconds)),
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
