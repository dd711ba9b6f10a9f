// What a policy is after parsing: a name and path rules, validated and frozen in meaning; merging and matching happen in
// acl.ts. Parameters live in Maps, never in objects, so that `__proto__` is a parameter like any other.

import type { JsonValue } from '../lib/json.ts';
import type { PathPattern } from './path-pattern.ts';
import type { PathTemplate } from './path-template.ts';

/** In sorted order, as sys/capabilities shows them. */
export const CAPABILITIES = ['create', 'delete', 'deny', 'list', 'patch', 'read', 'sudo', 'update'] as const;
export type Capability = typeof CAPABILITIES[number];

/** Parameter name in lower case → values it may (or must not) have; an empty list stands for any value. */
export type ParameterRules = ReadonlyMap<string, readonly JsonValue[]>;

/** What one rule says about a path, whatever path that is. */
export interface Permissions {
  readonly capabilities: ReadonlySet<Capability>;
  readonly allowedParameters: ParameterRules;
  readonly deniedParameters: ParameterRules;
  /** In lower case. */
  readonly requiredParameters: ReadonlySet<string>;
  /** 0 when the rule sets none, as are the maximum below. */
  readonly minWrappingTtlSeconds: number;
  readonly maxWrappingTtlSeconds: number;
}

export interface PathRule extends Permissions {
  readonly pattern: PathPattern;
}

/** A rule whose path depends on the entity that asks. */
export interface TemplatedRule extends Permissions {
  readonly template: PathTemplate;
}

export interface Policy {
  readonly name: string;
  /** As it was written; the API returns it verbatim. */
  readonly text: string;
  readonly rules: readonly PathRule[];
  readonly templates: readonly TemplatedRule[];
}

/** The policy that allows everything. It has no text and no rules; compileAcl() knows this very object, not its name. */
export const ROOT_POLICY: Policy = Object.freeze({ name: 'root', text: '', rules: [], templates: [] });
