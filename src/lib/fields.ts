// Typed access to the fields of a request body, with the leniency Vault's clients rely on and no more: numbers and booleans
// may come as strings, lists as comma-separated text, null means absent. A refusal names the field, never its value.

import { parseDurationSeconds } from './duration.ts';
import { PurserError } from './errors.ts';
import { isJsonObject } from './json.ts';
import type { JsonObject, JsonValue } from './json.ts';

/** The value of an own field; null counts as absent. */
export function field(data: JsonObject, name: string): Exclude<JsonValue, null> | undefined {
  return Object.hasOwn(data, name) ? data[name] ?? undefined : undefined;
}

/** @throws ERR_REQUEST_INVALID when the field is there and no string */
export function stringField(data: JsonObject, name: string): string | undefined {
  const value = field(data, name);
  if (value === undefined || typeof value === 'string') return value;
  throw invalid(name, 'a string');
}

/** true, false, "true", "false", 1, 0, "1", "0". @throws ERR_REQUEST_INVALID */
export function booleanField(data: JsonObject, name: string): boolean | undefined {
  const value = field(data, name);
  if (value === undefined || typeof value === 'boolean') return value;
  if (value === 'true' || value === '1' || value === 1) return true;
  if (value === 'false' || value === '0' || value === 0) return false;
  throw invalid(name, 'true or false');
}

/** A whole number, or its decimal text. @throws ERR_REQUEST_INVALID */
export function integerField(data: JsonObject, name: string): number | undefined {
  const value = field(data, name);
  return value === undefined ? undefined : integer(value, name);
}

/** Seconds, from seconds or Go's duration notation; a part of a second counts as a whole one. @throws ERR_REQUEST_INVALID */
export function durationField(data: JsonObject, name: string, options: { readonly allowNegative?: boolean } = {}): number | undefined {
  const value = field(data, name);
  if (value === undefined) return undefined;
  if (typeof value !== 'string' && typeof value !== 'number') throw invalid(name, 'a duration');
  try {
    return parseDurationSeconds(value, options);
  } catch (cause) {
    throw invalid(name, 'a duration such as 3600, 90s or 1h30m', cause);
  }
}

/** A list of strings, or comma-separated text. @throws ERR_REQUEST_INVALID */
export function stringListField(data: JsonObject, name: string): readonly string[] | undefined {
  return listField(data, name)?.map((item) => {
    if (typeof item === 'string') return item;
    throw invalid(name, 'a list of strings');
  });
}

/** A list of whole numbers, one number, or comma-separated text. @throws ERR_REQUEST_INVALID */
export function integerListField(data: JsonObject, name: string): readonly number[] | undefined {
  return listField(data, name)?.map((item) => integer(item, name));
}

/** An object whose values are strings, as own properties of a plain object. @throws ERR_REQUEST_INVALID */
export function stringMapField(data: JsonObject, name: string): Readonly<Record<string, string>> | undefined {
  const value = field(data, name);
  if (value === undefined) return undefined;
  if (!isJsonObject(value)) throw invalid(name, 'an object of strings');
  return Object.fromEntries(Object.entries(value).map(([key, item]) => {
    if (typeof item === 'string') return [key, item];
    throw invalid(name, 'an object of strings');
  }));
}

/** @throws ERR_REQUEST_INVALID when the field is there and no object */
export function objectField(data: JsonObject, name: string): JsonObject | undefined {
  const value = field(data, name);
  if (value === undefined || isJsonObject(value)) return value;
  throw invalid(name, 'an object');
}

function listField(data: JsonObject, name: string): readonly JsonValue[] | undefined {
  const value = field(data, name);
  if (value === undefined) return undefined;
  if (Array.isArray(value)) return value as readonly JsonValue[];
  if (typeof value === 'number') return [value];
  if (typeof value !== 'string') throw invalid(name, 'a list');
  return value === '' ? [] : value.split(',').map((item) => item.trim());
}

function integer(value: JsonValue, name: string): number {
  const number = typeof value === 'string' && /^-?\d{1,15}$/.test(value) ? Number(value) : value;
  if (typeof number === 'number' && Number.isSafeInteger(number)) return number;
  throw invalid(name, 'a whole number');
}

function invalid(name: string, expected: string, cause?: unknown): PurserError {
  return new PurserError('ERR_REQUEST_INVALID', `the field ${name} must be ${expected}`, cause === undefined ? {} : { cause });
}
