// A policy's text → its rules, or an error with the line. Strict (POLICY.md): what is not understood is refused, because a
// rule that is ignored either grants too much or denies too little. Parameter values are never quoted in an error.

import { Buffer } from 'node:buffer';
import type { JsonValue } from '../lib/json.ts';
import { parseDuration } from '../lib/duration.ts';
import { policyError } from './hcl-lexer.ts';
import type { Document, ItemNode, Node } from './hcl-parser.ts';
import { parseDocument, valueOf } from './hcl-parser.ts';
import { parsePathPattern } from './path-pattern.ts';
import { isTemplate, parsePathTemplate } from './path-template.ts';
import type { Capability, ParameterRules, PathRule, Permissions, Policy, TemplatedRule } from './policy.ts';
import { CAPABILITIES } from './policy.ts';

export const MAX_POLICY_PATH_BYTES = 1024;
const TEMPLATE_HINT = 'a template is {{identity.entity.id}}, .name, .metadata.KEY, or {{identity.entity.aliases.ACCESSOR.name}}, .metadata.KEY; at most one in a segment';

/** Vault's old shorthand, `policy = "write"`. */
const OLD_POLICIES = new Map<string, readonly Capability[]>([
  ['deny', ['deny']],
  ['read', ['read', 'list']],
  ['write', ['create', 'read', 'update', 'delete', 'list']],
  ['sudo', ['create', 'read', 'update', 'delete', 'list', 'sudo']],
]);

const STANZA_KEYS = new Set(['comment', 'policy', 'capabilities', 'allowed_parameters', 'denied_parameters', 'required_parameters',
  'min_wrapping_ttl', 'max_wrapping_ttl']);
/** Known to Vault; refused, because a condition nobody enforces would be worse than an error. */
const UNENFORCED_KEYS = new Set(['mfa_methods', 'control_group']);

interface Stanza { readonly path: string; readonly body: Node; readonly line: number }
type Fields = ReadonlyMap<string, ItemNode>;

/**
 * @param name the name it is stored under; a `name` inside the text is ignored
 * @throws ERR_POLICY_SYNTAX with Vault's wording where Vault has one
 */
export function parsePolicy(name: string, text: string): Policy {
  if (name === 'root') throw policyError('the root policy has no text', 'choose another name; root exists already');
  const document = parseDocument(text);
  const stanzas: Stanza[] = [];
  for (const item of document.root.items) {
    const key = item.keys[0] as string;
    if (key === 'path') stanzas.push(...stanzasOf(item, document));
    else if (key !== 'name') throw invalidKey(key, item.line);
    else if (item.keys.length > 1 || item.value.kind !== 'literal' || typeof item.value.value !== 'string') throw policyError(`name must be a string on line ${item.line}`);
  }
  const rules: PathRule[] = [];
  const templates: TemplatedRule[] = [];
  for (const stanza of stanzas) {
    const rule = ruleOf(stanza);
    if ('template' in rule) templates.push(rule);
    else rules.push(rule);
  }
  return { name, text, rules, templates };
}

/** HCL: `path "x" { … }`. JSON: `"path": {"x": {…}}`, or a list of such objects. */
function stanzasOf(item: ItemNode, document: Document): Stanza[] {
  if (document.notation === 'hcl') {
    const [, path, ...rest] = item.keys;
    if (path === undefined || rest.length > 0) throw policyError(`expected one path after "path" on line ${item.line}`);
    return [{ path, body: item.value, line: item.line }];
  }
  const objects = item.value.kind === 'list' ? item.value.values : [item.value];
  return objects.flatMap((object) => {
    if (object.kind !== 'object') throw policyError(`"path" must be an object on line ${object.line}`);
    return object.items.map((inner) => ({ path: inner.keys[0] as string, body: inner.value, line: inner.line }));
  });
}

function ruleOf({ path, body, line }: Stanza): PathRule | TemplatedRule {
  checkPath(path, line);
  const permissions = permissionsOf(path, body);
  if (!isTemplate(path)) return { ...permissions, pattern: parsePathPattern(path) };
  const template = parsePathTemplate(path);
  if (typeof template === 'string') throw policyError(`path ${quote(path)}: ${template} on line ${line}`, TEMPLATE_HINT);
  return { ...permissions, template };
}

function permissionsOf(path: string, body: Node): Permissions {
  try {
    const fields = fieldsOf(body);
    const minWrappingTtlSeconds = ttlField(fields, 'min_wrapping_ttl');
    const maxWrappingTtlSeconds = ttlField(fields, 'max_wrapping_ttl');
    if (maxWrappingTtlSeconds > 0 && maxWrappingTtlSeconds < minWrappingTtlSeconds) throw new StanzaError('max_wrapping_ttl cannot be less than min_wrapping_ttl');
    stringField(fields, 'comment');
    return {
      capabilities: capabilitiesOf(fields),
      allowedParameters: parameterRules(fields, 'allowed_parameters'),
      deniedParameters: parameterRules(fields, 'denied_parameters'),
      requiredParameters: new Set(stringList(fields, 'required_parameters').map((name) => name.toLowerCase())),
      minWrappingTtlSeconds,
      maxWrappingTtlSeconds,
    };
  } catch (error) {
    if (error instanceof StanzaError) throw policyError(`path ${quote(path)}: ${error.message}`);
    throw error;
  }
}

/** Carries a reason up to permissionsOf(), which knows the path. */
class StanzaError extends Error {}

function checkPath(path: string, line: number): void {
  const refuse = (reason: string, hint?: string) => policyError(`path ${quote(path)}: ${reason} on line ${line}`, hint);
  if (Buffer.byteLength(path) > MAX_POLICY_PATH_BYTES) throw refuse(`path longer than ${MAX_POLICY_PATH_BYTES} bytes`);
  if (/\p{Cc}/u.test(path)) throw refuse('control character in the path');
  if (path.includes('+*')) throw refuse("invalid use of wildcards ('+*' is forbidden)", 'write +/* for everything below one segment');
}

function fieldsOf(body: Node): Fields {
  if (body.kind !== 'object') throw new StanzaError(`expected a block on line ${body.line}`);
  const fields = new Map<string, ItemNode>();
  for (const item of body.items) {
    const key = item.keys[0] as string;
    if (UNENFORCED_KEYS.has(key)) throw new StanzaError(`key ${quote(key)} is not supported on line ${item.line}`);
    if (!STANZA_KEYS.has(key) || item.keys.length > 1) throw new StanzaError(`invalid key ${quote(key)} on line ${item.line}`);
    if (fields.has(key)) throw new StanzaError(`key ${quote(key)} given twice on line ${item.line}`);
    fields.set(key, item);
  }
  return fields;
}

function capabilitiesOf(fields: Fields): ReadonlySet<Capability> {
  const capabilities = new Set<Capability>();
  for (const text of stringList(fields, 'capabilities')) {
    const capability = CAPABILITIES.find((known) => known === text);
    if (capability === undefined) throw new StanzaError(`invalid capability ${quote(text)}`);
    capabilities.add(capability);
  }
  const old = stringField(fields, 'policy');
  if (old !== undefined && old !== '') {
    const shorthand = OLD_POLICIES.get(old);
    if (shorthand === undefined) throw new StanzaError(`invalid policy ${quote(old)}`);
    for (const capability of shorthand) capabilities.add(capability);
  }
  return capabilities.has('deny') ? new Set(['deny']) : capabilities;
}

function parameterRules(fields: Fields, key: string): ParameterRules {
  const rules = new Map<string, readonly JsonValue[]>();
  const item = fields.get(key);
  if (item === undefined) return rules;
  if (item.value.kind !== 'object') throw new StanzaError(`${key} must be a block on line ${item.line}`);
  for (const parameter of item.value.items) {
    if (parameter.value.kind !== 'list' || parameter.keys.length > 1) throw new StanzaError(`${key}: every parameter needs a list of values on line ${parameter.line}`);
    const name = (parameter.keys[0] as string).toLowerCase();
    if (rules.has(name)) throw new StanzaError(`${key}: a parameter is given twice on line ${parameter.line}`);
    rules.set(name, parameter.value.values.map(valueOf));
  }
  return rules;
}

function ttlField(fields: Fields, key: string): number {
  const item = fields.get(key);
  if (item === undefined) return 0;
  const value = item.value.kind === 'literal' ? item.value.value : null;
  if (typeof value !== 'string' && typeof value !== 'number') throw new StanzaError(`error parsing ${key}: expected a duration on line ${item.line}`);
  try {
    return parseDuration(value) / 1000;
  } catch {
    throw new StanzaError(`error parsing ${key}: expected seconds or a duration such as "90s" on line ${item.line}`);
  }
}

function stringField(fields: Fields, key: string): string | undefined {
  const item = fields.get(key);
  if (item === undefined) return undefined;
  if (item.value.kind !== 'literal' || typeof item.value.value !== 'string') throw new StanzaError(`${key} must be a string on line ${item.line}`);
  return item.value.value;
}

function stringList(fields: Fields, key: string): string[] {
  const item = fields.get(key);
  if (item === undefined) return [];
  const value = valueOf(item.value);
  if (!Array.isArray(value) || !value.every((element) => typeof element === 'string')) throw new StanzaError(`${key} must be a list of strings on line ${item.line}`);
  return value;
}

function invalidKey(key: string, line: number): Error {
  return policyError(`invalid key ${quote(key)} on line ${line}`);
}

/** Policy texts hold names, not secrets; still, a long or odd one is cut. */
function quote(text: string): string {
  const cut = text.length > 64 ? `${text.slice(0, 64)}…` : text;
  return JSON.stringify(cut.replace(/\p{Surrogate}/gu, '\uFFFD'));
}
