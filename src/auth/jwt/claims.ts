// The claims of a verified JWT against what a role asks for: pure. A claim is a member of the payload or, when its name begins with '/', what
// a JSON Pointer (RFC 6901) leads to. Whatever has another type than expected does not match.

import { PurserError } from '../../lib/errors.ts';
import { matchesGlob } from '../../lib/glob.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../lib/json.ts';

/** Times in seconds; as Vault, 0 is the default and a negative number is none. */
export interface Leeways {
  readonly clockSkewSeconds: number;
  readonly expirationSeconds: number;
  readonly notBeforeSeconds: number;
}

/** Claim → values of which it must have one. */
export type BoundClaims = Readonly<Record<string, readonly (string | number | boolean)[]>>;

/** Vault's defaults (github.com/hashicorp/cap/jwt). */
const CLOCK_SKEW_SECONDS = 60;
const LEEWAY_SECONDS = 150;
const MAX_POINTER_STEPS = 32;
const MAX_GROUPS = 1_000;

/** The value of a claim; undefined when there is none. */
export function claimAt(claims: JsonObject, name: string): JsonValue | undefined {
  return name.startsWith('/') ? pointed(claims, name) : own(claims, name);
}

/**
 * `exp`, `nbf` and `iat` against `now`, in seconds. A token without `exp` is refused, unless the role says how long such a
 * token lives after its `nbf` or `iat` (expiration_leeway).
 * @throws ERR_REQUEST_INVALID
 */
export function requireTimes(claims: JsonObject, leeways: Leeways, now: number): void {
  const skew = effective(leeways.clockSkewSeconds, CLOCK_SKEW_SECONDS);
  const [exp, nbf, iat] = [numericDate(claims, 'exp'), numericDate(claims, 'nbf'), numericDate(claims, 'iat')];
  const start = nbf ?? iat;
  const end = exp ?? (start !== undefined && leeways.expirationSeconds > 0 ? start + leeways.expirationSeconds : undefined);
  if (end === undefined) throw invalid('the token has no expiration time (exp)');
  if (now >= end + skew) throw invalid('the token is expired');
  // As Vault: a token that names no start is good for a while before its end, not from the beginning of time.
  const begin = start ?? end - effective(leeways.notBeforeSeconds, LEEWAY_SECONDS);
  if (now < begin - skew) throw invalid('the token is not valid yet');
  if (iat !== undefined && now < iat - skew) throw invalid('the token was issued in the future');
}

/**
 * `aud`, a string or a list of strings (RFC 7519), against the audiences of the role.
 * @throws ERR_REQUEST_INVALID; Vault's message for a role without audiences
 */
export function requireAudience(claims: JsonObject, bound: readonly string[]): void {
  const claim = own(claims, 'aud');
  const audiences = claim === undefined || claim === null ? [] : typeof claim === 'string' ? [claim] : claim;
  if (!Array.isArray(audiences) || !audiences.every((audience) => typeof audience === 'string')) throw invalid('the audience claim (aud) is neither a string nor a list of strings');
  if (bound.length === 0 && audiences.length > 0) throw new PurserError('ERR_REQUEST_INVALID', 'audience claim found in JWT but no audiences bound to the role');
  if (bound.length > 0 && !audiences.some((audience) => bound.includes(audience))) throw invalid('aud claim does not match any bound audience');
}

/** All claims that the role names, each with one of its values; a claim that is a list matches by any of its items. @throws ERR_REQUEST_INVALID */
export function requireClaims(claims: JsonObject, bound: BoundClaims, isGlob: boolean): void {
  for (const [name, wanted] of Object.entries(bound)) {
    const claim = claimAt(claims, name);
    const values: readonly JsonValue[] = Array.isArray(claim) ? claim as readonly JsonValue[] : claim === undefined ? [] : [claim];
    const isMatch = values.some((value) => wanted.some((one) => (isGlob && typeof one === 'string' && typeof value === 'string' ? matchesGlob(one, value) : one === value)));
    if (!isMatch) throw new PurserError('ERR_REQUEST_INVALID', `error validating claims: claim ${JSON.stringify(name)} does not match any associated bound claim values`);
  }
}

/** Claims as metadata: texts as they are, numbers and booleans as text; claims that are not there are left out. @throws ERR_REQUEST_INVALID for others */
export function mappedClaims(claims: JsonObject, mappings: Readonly<Record<string, string>>): Record<string, string> {
  const metadata = new Map<string, string>();
  for (const [name, key] of Object.entries(mappings)) {
    const claim = claimAt(claims, name);
    if (claim === undefined || claim === null) continue;
    if (typeof claim === 'object') throw new PurserError('ERR_REQUEST_INVALID', `error converting claim ${JSON.stringify(name)} to string`);
    metadata.set(key, String(claim));
  }
  return Object.fromEntries(metadata);
}

/** The names of groups in a claim: a list of texts, or one text. @throws ERR_REQUEST_INVALID for anything else, and when it is not there */
export function groupsClaim(claims: JsonObject, name: string): readonly string[] {
  const claim = claimAt(claims, name);
  if (claim === undefined || claim === null) throw new PurserError('ERR_REQUEST_INVALID', `failed to fetch groups: ${JSON.stringify(name)} claim not found in token`);
  const groups = Array.isArray(claim) ? claim as readonly JsonValue[] : [claim];
  if (groups.length > MAX_GROUPS || !groups.every((group) => typeof group === 'string')) throw new PurserError('ERR_REQUEST_INVALID', `${JSON.stringify(name)} claim could not be converted to string list`);
  return groups.filter((group) => group !== '');
}

function pointed(claims: JsonObject, pointer: string): JsonValue | undefined {
  const steps = pointer.slice(1).split('/').map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'));
  if (steps.length > MAX_POINTER_STEPS) return undefined;
  let value: JsonValue | undefined = claims;
  for (const step of steps) {
    if (Array.isArray(value)) value = /^(?:0|[1-9]\d{0,5})$/.test(step) ? (value as readonly JsonValue[])[Number(step)] : undefined;
    else value = isJsonObject(value) ? own(value, step) : undefined;
  }
  return value;
}

function own(object: JsonObject, name: string): JsonValue | undefined {
  return Object.hasOwn(object, name) ? object[name] : undefined;
}

/** RFC 7519's NumericDate. @throws ERR_REQUEST_INVALID for anything else: a date as text must not count as absent */
function numericDate(claims: JsonObject, name: string): number | undefined {
  const value = own(claims, name);
  if (value === undefined) return undefined;
  if (typeof value !== 'number' || !Number.isFinite(value) || value < 0) throw invalid(`the claim ${name} is not a time`);
  return value;
}

function effective(seconds: number, whenZero: number): number {
  return seconds === 0 ? whenZero : Math.max(0, seconds);
}

function invalid(reason: string): PurserError {
  return new PurserError('ERR_REQUEST_INVALID', `error validating token: ${reason}`);
}
