// Rules for the same path, from any number of policies, become one (POLICY.md, "Decision" 1). The result does not depend on
// the order of the policies: sources stand in the order of their names.

import type { JsonValue } from '../lib/json.ts';
import type { PathPattern } from './path-pattern.ts';
import type { Capability, ParameterRules, PathRule, Permissions, Policy } from './policy.ts';

export interface Source { readonly rule: PathRule; readonly policyName: string }

export interface MergedRule extends Permissions {
  readonly pattern: PathPattern;
  readonly sources: readonly Source[];
}

/** What the policies of a set say of one path; put together when it is asked for. */
export class SharedRule {
  readonly pattern: PathPattern;
  #sources: Source[];
  /** False: the list is that of a policy, or of another rule. */
  #ownsSources = false;
  #merged: MergedRule | undefined;

  /** @param sources of this path; at least one */
  constructor(sources: Source[]) {
    this.pattern = (sources[0] as Source).rule.pattern;
    this.#sources = sources;
  }

  get merged(): MergedRule {
    return this.#merged ??= merge(this.#sources);
  }

  add(sources: readonly Source[]): void {
    if (!this.#ownsSources) this.#sources = [...this.#sources];
    this.#ownsSources = true;
    for (const source of sources) this.#sources.push(source);
    this.#merged = undefined;
  }

  /** Forgets what a policy says. @returns true when nobody says anything any more */
  remove(policyName: string): boolean {
    this.#sources = this.#sources.filter((source) => source.policyName !== policyName);
    this.#ownsSources = true;
    this.#merged = undefined;
    return this.#sources.length === 0;
  }

  /** This rule with more sources; it stays as it is. */
  with(sources: readonly Source[]): SharedRule {
    return new SharedRule([...this.#sources, ...sources]);
  }
}

const known = new WeakMap<Policy, ReadonlyMap<string, Source[]>>();

/** What one policy says, by the text of the path; made once, for all sets that the policy is in. */
export function sourcesOf(policy: Policy): ReadonlyMap<string, Source[]> {
  let sources = known.get(policy);
  if (sources === undefined) known.set(policy, sources = byPath(policy.rules.map((rule) => ({ rule, policyName: policy.name }))));
  return sources;
}

/** One list for each distinct path, by its text. */
export function byPath(all: readonly Source[]): Map<string, Source[]> {
  const lists = new Map<string, Source[]>();
  for (const source of all) {
    const { text } = source.rule.pattern;
    const sources = lists.get(text);
    if (sources === undefined) lists.set(text, [source]);
    else sources.push(source);
  }
  return lists;
}

/** The policies that give `capability` through this rule, each once, by name. */
export function policiesGranting(rule: MergedRule, capability: Capability): string[] {
  return [...new Set(rule.sources.filter((source) => source.rule.capabilities.has(capability)).map((source) => source.policyName))];
}

function merge(unsorted: readonly Source[]): MergedRule {
  const sources = unsorted.length === 1 ? unsorted : unsorted.toSorted((a, b) => (a.policyName < b.policyName ? -1 : a.policyName > b.policyName ? 1 : 0));
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
