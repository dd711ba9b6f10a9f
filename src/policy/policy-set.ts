// Policies compiled into one ACL, for all who have the same ones. A policy that changes is put in the place of the one before: that
// costs as much as the rules of both, however many the set has. What a policy says by itself is compiled once for all sets.

import { PurserError } from '../lib/errors.ts';
import { ROOT_ACL, RuleAcl, type Acl } from './acl.ts';
import { byPath, SharedRule, sourcesOf } from './merge.ts';
import type { Source } from './merge.ts';
import { fillTemplate } from './path-template.ts';
import type { TemplateSubject } from './path-template.ts';
import { LayeredIndex, PatternIndex } from './pattern-index.ts';
import type { Policy } from './policy.ts';
import { ROOT_POLICY } from './policy.ts';

/** The rules without templates are compiled once; each subject adds its filled ones as a small layer in front. */
export class PolicySet {
  readonly #rules = new Map<string, SharedRule>();
  readonly #index = new PatternIndex<SharedRule>();
  readonly #policies = new Map<string, Policy>();
  #templates: readonly Policy[] = [];
  #withoutSubject: Acl | undefined;
  #bySubject = new WeakMap<TemplateSubject, Acl>();

  /**
   * Puts a policy into the set, in the place of the one of this name; undefined takes that away. In force at once, also in the ACLs
   * that were handed out before, except for templates.
   * @throws ERR_POLICY_SYNTAX when root comes with other policies, or a policy only bears its name
   */
  set(name: string, policy: Policy | undefined): void {
    const before = this.#policies.get(name);
    if (before === policy) return;
    this.#checkRoot(policy);
    if (policy === undefined) this.#policies.delete(name);
    else this.#policies.set(name, policy);
    if (before !== undefined) this.#remove(before);
    if (policy !== undefined) this.#add(policy);
    if (((before?.templates.length ?? 0) + (policy?.templates.length ?? 0)) > 0) this.#templates = [...this.#policies.values()].filter(({ templates }) => templates.length > 0);
    this.#withoutSubject = undefined;
    this.#bySubject = new WeakMap();
  }

  /** The ACL of one entity, or of a caller without one; the same object as long as the subject and the set are the same. */
  for(subject: TemplateSubject | undefined): Acl {
    if (subject === undefined || this.#templates.length === 0) return this.#withoutSubject ??= this.#compile(undefined);
    let acl = this.#bySubject.get(subject);
    if (acl === undefined) this.#bySubject.set(subject, acl = this.#compile(subject));
    return acl;
  }

  #add(policy: Policy): void {
    for (const [text, sources] of sourcesOf(policy)) {
      const rule = this.#rules.get(text);
      if (rule !== undefined) { rule.add(sources); continue; }
      const added = new SharedRule(sources);
      this.#rules.set(text, added);
      this.#index.set(added.pattern, added);
    }
  }

  #remove(policy: Policy): void {
    for (const text of sourcesOf(policy).keys()) {
      const rule = this.#rules.get(text);
      if (rule?.remove(policy.name) !== true) continue;
      this.#rules.delete(text);
      this.#index.set(rule.pattern, undefined);
    }
  }

  #compile(subject: TemplateSubject | undefined): Acl {
    if (this.#policies.has(ROOT_POLICY.name)) return ROOT_ACL;
    const { sources, blocked } = fillRules(this.#templates, subject);
    if (sources.length === 0) return new RuleAcl([this.#rules], this.#index, blocked);
    const filled = new Map([...byPath(sources)].map(([text, more]) => [text, this.#rules.get(text)?.with(more) ?? new SharedRule(more)]));
    return new RuleAcl([filled, this.#rules], new LayeredIndex(new PatternIndex(filled.values()), this.#index), blocked);
  }

  #checkRoot(policy: Policy | undefined): void {
    if (policy === undefined) return;
    const isRoot = policy.name === ROOT_POLICY.name;
    if (isRoot && policy !== ROOT_POLICY) throw new PurserError('ERR_POLICY_SYNTAX', 'a stored policy must not be named root', { hint: 'rename it' });
    const isAlone = isRoot ? this.#policies.size === 0 : !this.#policies.has(ROOT_POLICY.name);
    if (!isAlone) throw new PurserError('ERR_POLICY_SYNTAX', 'other policies present along with root', { hint: 'root needs no other policy: leave one or the other out' });
  }
}

/** A set of these policies. @throws as PolicySet.set */
export function compilePolicies(policies: readonly Policy[]): PolicySet {
  const set = new PolicySet();
  for (const policy of policies) set.set(policy.name, policy);
  return set;
}

/** The ACL of policies for one subject. @throws as PolicySet.set */
export function compileAcl(policies: readonly Policy[], subject?: TemplateSubject): Acl {
  return compilePolicies(policies).for(subject);
}

/**
 * The rules of one subject. A rule that cannot be filled grants nothing. Where that could let more through than its author
 * wanted (it denies, or a broader rule would step into its place for a path nobody can name), all below its prefix is blocked.
 */
function fillRules(policies: readonly Policy[], subject: TemplateSubject | undefined): { readonly sources: readonly Source[]; readonly blocked: readonly string[] } {
  const sources: Source[] = [];
  const blocked: string[] = [];
  for (const { name: policyName, templates } of policies) {
    for (const { template, ...permissions } of templates) {
      const pattern = fillTemplate(template, subject);
      if (typeof pattern !== 'string') sources.push({ rule: { ...permissions, pattern }, policyName });
      else if (pattern === 'unsafe' || permissions.capabilities.has('deny')) blocked.push(template.prefix);
    }
  }
  return { sources, blocked };
}
