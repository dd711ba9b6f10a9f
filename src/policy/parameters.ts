// allowed_, denied_ and required_parameters against the parameters of a request (POLICY.md, "Decision" 5).

import type { JsonObject, JsonValue } from '../lib/json.ts';
import { isJsonObject } from '../lib/json.ts';
import type { Permissions } from './policy.ts';

/** True when `rule` lets a request with these parameters pass. */
export function parametersAllowed(rule: Permissions, data: JsonObject): boolean {
  for (const name of rule.requiredParameters) {
    if (!Object.hasOwn(data, name) || data[name] === null) return false;
  }
  const parameters = Object.entries(data);
  if (parameters.length === 0) return true;
  return !isDenied(rule, parameters) && isAllowed(rule, parameters);
}

function isDenied({ deniedParameters: denied }: Permissions, parameters: readonly (readonly [string, JsonValue])[]): boolean {
  if (denied.size === 0) return false;
  return denied.has('*') || parameters.some(([name, value]) => {
    const values = denied.get(name.toLowerCase());
    return values !== undefined && matchesAny(value, values);
  });
}

function isAllowed({ allowedParameters: allowed }: Permissions, parameters: readonly (readonly [string, JsonValue])[]): boolean {
  if (allowed.size === 0) return true;
  const othersAllowed = allowed.has('*');
  return parameters.every(([name, value]) => {
    const values = allowed.get(name.toLowerCase());
    return values === undefined ? othersAllowed : matchesAny(value, values);
  });
}

/** An empty list stands for any value. */
function matchesAny(value: JsonValue, values: readonly JsonValue[]): boolean {
  return values.length === 0 || values.some((wanted) => typeof wanted === 'string' && typeof value === 'string' ? globMatches(wanted, value) : equals(wanted, value));
}

/** Vault's glob: a `*` at the start, at the end or both; a lone `*` is a literal. */
function globMatches(glob: string, text: string): boolean {
  const startsOpen = glob.length > 1 && glob.startsWith('*');
  const endsOpen = glob.length > 1 && glob.endsWith('*');
  const literal = glob.slice(startsOpen ? 1 : 0, endsOpen ? -1 : undefined);
  if (startsOpen && endsOpen) return text.includes(literal);
  if (startsOpen) return text.endsWith(literal);
  return endsOpen ? text.startsWith(literal) : text === glob;
}

/** Deep equality of JSON. `wanted` comes from a policy, whose depth is bounded, so the recursion is too. */
function equals(wanted: JsonValue, value: JsonValue): boolean {
  if (Array.isArray(wanted)) {
    return Array.isArray(value) && wanted.length === value.length && wanted.every((element: JsonValue, index) => equals(element, value[index] as JsonValue));
  }
  if (!isJsonObject(wanted)) return wanted === value;
  if (!isJsonObject(value)) return false;
  const keys = Object.keys(wanted);
  return keys.length === Object.keys(value).length
    && keys.every((key) => Object.hasOwn(value, key) && equals(wanted[key] as JsonValue, value[key] as JsonValue));
}
