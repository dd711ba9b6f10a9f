// What the identity API takes: names, metadata and policies, checked before they become part of an entity.

import type { JsonObject } from '../../core/logical.ts';
import { PurserError } from '../../lib/errors.ts';
import { booleanField, field, stringField, stringListField, stringMapField } from '../../lib/fields.ts';
import { isSafeValue } from '../../policy/path-template.ts';
import { canonicalPolicies, isRoot } from '../token/policy-names.ts';

/** Vault's limits (vault/identity_store_util.go) on metadata. */
const MAX_KEYS = 64;
const MAX_KEY_LENGTH = 128;
const MAX_VALUE_LENGTH = 512;
export const MAX_ALIAS_NAME_LENGTH = 512;
/** Given by the core alone. */
const UNASSIGNABLE = ['purser-node', 'response-wrapping'];

/** The fields of an entity that a request may set; absent ones stay as they are. */
export interface EntityWish {
  readonly id?: string;
  readonly name?: string;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly policies?: readonly string[];
  readonly disabled?: boolean;
}

/** @throws ERR_REQUEST_INVALID */
export function entityWish(data: JsonObject): EntityWish {
  const id = stringField(data, 'id') ?? '';
  const name = stringField(data, 'name') ?? '';
  const metadata = metadataField(data, 'metadata');
  const policies = stringListField(data, 'policies');
  const disabled = booleanField(data, 'disabled');
  return {
    ...(id === '' ? {} : { id }), ...(name === '' ? {} : { name: entityName(name) }), ...(metadata === undefined ? {} : { metadata }),
    ...(policies === undefined ? {} : { policies: assignablePolicies(policies) }), ...(disabled === undefined ? {} : { disabled }),
  };
}

/** An object of strings, or `key=value` texts as command lines send them. @throws ERR_REQUEST_INVALID also past the limits */
export function metadataField(data: JsonObject, name: string): Readonly<Record<string, string>> | undefined {
  const value = field(data, name);
  const isMap = value === undefined || (typeof value === 'object' && !Array.isArray(value));
  const metadata = isMap ? stringMapField(data, name) : pairs(stringListField(data, name) ?? [], name);
  return metadata && boundedMetadata(metadata, name);
}

/** @throws ERR_REQUEST_INVALID past Vault's limits */
export function boundedMetadata(metadata: Readonly<Record<string, string>>, name: string): Readonly<Record<string, string>> {
  const entries = Object.entries(metadata);
  if (entries.length > MAX_KEYS) throw invalid(`${name} has more than ${MAX_KEYS} keys`);
  for (const [key, value] of entries) {
    if (key === '' || key.length > MAX_KEY_LENGTH) throw invalid(`a key of ${name} is 1 to ${MAX_KEY_LENGTH} characters long`);
    if (value.length > MAX_VALUE_LENGTH) throw invalid(`a value of ${name} is at most ${MAX_VALUE_LENGTH} characters long`);
  }
  return metadata;
}

/** The name of an alias: what the auth method calls it. @throws ERR_REQUEST_INVALID */
export function aliasName(name: string): string {
  if (name === '' || name.length > MAX_ALIAS_NAME_LENGTH || /[\p{Cc}\p{Cs}]/u.test(name)) {
    throw invalid(`the name of an alias is 1 to ${MAX_ALIAS_NAME_LENGTH} characters, none of them a control character`);
  }
  return name;
}

/** Only names that policies can use, so that a template with the name of an entity is never unsafe. */
function entityName(name: string): string {
  if (isSafeValue(name)) return name;
  throw invalid("the name of an entity is 1 to 256 characters without '/', '\\', '*', '+', braces, '..', control characters and blanks at its ends");
}

function assignablePolicies(names: readonly string[]): readonly string[] {
  const policies = canonicalPolicies(names);
  if (isRoot(policies)) throw invalid('policies cannot contain root');
  const unassignable = policies.find((name) => UNASSIGNABLE.includes(name));
  if (unassignable !== undefined) throw invalid(`cannot assign policy "${unassignable}"`);
  return policies;
}

function pairs(items: readonly string[], name: string): Readonly<Record<string, string>> {
  return Object.fromEntries(items.map((item) => {
    const split = item.indexOf('=');
    if (split < 1) throw invalid(`the field ${name} must be an object of strings or key=value`);
    return [item.slice(0, split), item.slice(split + 1)];
  }));
}

function invalid(message: string): PurserError {
  return new PurserError('ERR_REQUEST_INVALID', message);
}
