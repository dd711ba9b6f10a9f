// From a secret's object to the bytes that are delivered: the field that a reference names, decoded as it says. Only own
// properties count. Errors name the field, never the value.

import { Buffer } from 'node:buffer';
import { PurserError } from '../lib/errors.ts';
import type { JsonObject, JsonValue } from '../lib/json.ts';
import { isJsonObject } from '../lib/json.ts';
import type { Encoding, Reference } from './reference.ts';

/**
 * The bytes for `reference` out of the secret `data`. A string gives its UTF-8 bytes, anything else compact JSON, keys in
 * stored order. Without a field: the value of the only field, else the whole object.
 *
 * `#a.b` takes the key "a.b" if there is one, else the key "a" and in it "b" in the same way; a whole number picks an
 * element of a list. A field that is null does not exist. With `json`: compact JSON in every case, the whole object also when it
 * has one field only.
 * @throws ERR_RESOLVE_FIELD
 */
export function selectField(data: JsonObject, reference: Reference): Uint8Array {
  const { field, encoding, isJson } = reference;
  const name = field === undefined ? 'the secret' : `field ${JSON.stringify(field)}`;
  const value = field === undefined ? isJson === true ? data : wholeOf(data) : walk(data, field);
  if (value === undefined || value === null) {
    throw new PurserError('ERR_RESOLVE_FIELD', field === undefined ? 'the only field of the secret is null' : `the secret has no ${name}`,
      { hint: 'check the name behind the # of the reference' });
  }
  if (typeof value !== 'string' || isJson === true) {
    if (encoding !== 'raw') throw mismatch(name, encoding);
    return Buffer.from(JSON.stringify(value));
  }
  return encoding === 'raw' ? utf8(value, name) : decode(value, encoding, name);
}

/** True when there is something to select: false is what `default` and `optional` are for, a wrong encoding is not. */
export function hasField(data: JsonObject, field: string | undefined): boolean {
  const value = field === undefined ? wholeOf(data) : walk(data, field);
  return value !== undefined && value !== null;
}

function wholeOf(data: JsonObject): JsonValue | undefined {
  const values = Object.values(data);
  return values.length === 1 ? values[0] : data;
}

function walk(value: JsonValue, field: string): JsonValue | undefined {
  const exact = own(value, field);
  if (exact !== undefined) return exact;
  const dot = field.indexOf('.');
  const inner = dot < 0 ? undefined : own(value, field.slice(0, dot));
  return inner === undefined ? undefined : walk(inner, field.slice(dot + 1));
}

function own(value: JsonValue, key: string): JsonValue | undefined {
  if (Array.isArray(value)) return /^(?:0|[1-9]\d{0,8})$/.test(key) ? (value as readonly JsonValue[])[Number(key)] : undefined;
  return isJsonObject(value) && Object.hasOwn(value, key) ? value[key] : undefined;
}

function utf8(text: string, name: string): Uint8Array {
  // Buffer would write U+FFFD for half a surrogate pair, and the application would get another value than was stored.
  if (/\p{Surrogate}/u.test(text)) throw new PurserError('ERR_RESOLVE_FIELD', `${name} is not well-formed Unicode`, { hint: 'store bytes as base64 and add encoding=base64' });
  return Buffer.from(text);
}

/** Canonical standard base64 with padding, or pairs of hexadecimal digits; no white space. */
function decode(text: string, encoding: Exclude<Encoding, 'raw'>, name: string): Uint8Array {
  const bytes = Buffer.from(text, encoding);
  const canonical = encoding === 'hex' ? text.toLowerCase() : text;
  if (bytes.toString(encoding) !== canonical) throw mismatch(name, encoding);
  return bytes;
}

function mismatch(name: string, encoding: Encoding): PurserError {
  return new PurserError('ERR_RESOLVE_FIELD', `${name} is not ${encoding}`,
    { hint: encoding === 'base64' ? 'store it without line breaks (base64 -w0), or drop encoding=base64' : `store it as ${encoding}, or drop encoding=${encoding}` });
}
