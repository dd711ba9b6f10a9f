// The reference grammar: purser://<path>[?version=N&default=TEXT&optional&json&encoding=base64|hex|raw][#field], alias
// se://<path>/<field>. Strict: what could be read in two ways is refused, with the position and a right example.
// A `default` may be a secret, and so may anything that stands where one could: errors quote the path and nothing else.
//
// Query keys are closed. Parameters of an engine (`pki/issue/web?common_name=…`) will be a member `parameters` of Reference,
// allowed for engines that declare them; until an engine does, such a key is an error like any unknown one.

import { Buffer } from 'node:buffer';
import { PurserError } from '../lib/errors.ts';

export const MAX_REFERENCE_BYTES = 4096;
/** KV counts versions from 1; no client writes more than this many. */
export const MAX_VERSION = 2_147_483_647;

/** How the value is encoded in the core. On delivery it is decoded; `raw` is delivered as it is. */
export type Encoding = 'raw' | 'base64' | 'hex';

export interface Reference {
  /** Logical path, mount first, decoded: `secret/db/prod`. */
  readonly path: string;
  /** Decoded; dots walk nested objects (selection.ts). Absent: the only field, or the whole object. */
  readonly field?: string;
  /** Absent: the current version. */
  readonly version?: number;
  /** Delivered as it is (never decoded) when the secret, version or field does not exist. May be a secret: never log it. */
  readonly default?: string;
  /** Nothing is delivered, and nothing fails, when the secret, version or field does not exist. Excludes `default`. */
  readonly isOptional: boolean;
  /** Delivered as JSON, whatever it is: a text in quotes, a secret with one field as an object too. Excludes `encoding`. */
  readonly isJson?: true;
  readonly encoding: Encoding;
}

type Draft = { -readonly [K in keyof Reference]: Reference[K] };

const EXAMPLE = 'purser://secret/db/prod?version=2#password';

/** True when `text` is meant as a reference, right or wrong: parseReference() then says which. */
export function isReference(text: string): boolean {
  return /^\s*(?:purser|se):\/\//i.test(text);
}

/** @throws ERR_REFERENCE_SYNTAX naming the position (from 1) and the reason */
export function parseReference(text: string): Reference {
  return new Parser(text).parse();
}

/**
 * The canonical text: parseReference(formatReference(r)) equals r. Encodes only what must be, so it is no longer than what was
 * parsed. Holds the `default`: not for logs, see describeReference().
 */
export function formatReference(reference: Reference): string {
  return render(reference, reference.default);
}

/** As formatReference() but without the default: for logs, errors and the ledger. */
export function describeReference(reference: Reference): string {
  return render(reference, undefined);
}

function render({ path, field, version, isOptional, isJson, encoding }: Reference, fallback: string | undefined): string {
  const query = [
    ...(version === undefined ? [] : [`version=${version}`]),
    ...(fallback === undefined ? [] : [`default=${encode(fallback, /[\s%{}#&]/gu)}`]),
    ...(isOptional ? ['optional'] : []),
    ...(isJson === true ? ['json'] : []),
    ...(encoding === 'raw' ? [] : [`encoding=${encoding}`]),
  ];
  const [mount = '', ...rest] = path.split('/');
  const shownPath = [encode(mount, /[\s%{}?#@:]/gu), ...rest.map((segment) => encode(segment, /[\s%{}?#]/gu))].join('/');
  const shownField = field === undefined ? '' : `#${encode(field, hasEmptyName(field) ? /[\s%{}?#&.]/gu : /[\s%{}?#&]/gu)}`;
  return `purser://${shownPath}${query.length > 0 ? `?${query.join('&')}` : ''}${shownField}`;
}

function encode(text: string, reserved: RegExp): string {
  return text.replace(reserved, (character) => character === '.' ? '%2E' : encodeURIComponent(character));
}

function hasEmptyName(field: string): boolean {
  return field.split('.').includes('');
}

/**
 * What to add to "not found" when the path has KV version 2's API form (`secret/data/db`), which a reference does not use.
 * Only a hint: a secret may well be named `data/db`.
 */
export function dataSegmentHint(reference: Reference): string | undefined {
  const [mount, data, ...rest] = reference.path.split('/');
  if (data !== 'data' || rest.length === 0) return undefined;
  return `a reference has no data/ segment: try ${describeReference({ ...reference, path: [mount, ...rest].join('/') })}`;
}

class Parser {
  readonly #text: string;
  readonly #reference: Draft = { path: '', isOptional: false, encoding: 'raw' };

  constructor(text: string) {
    this.#text = text;
  }

  parse(): Reference {
    const text = this.#text;
    if (Buffer.byteLength(text) > MAX_REFERENCE_BYTES) throw this.#error(0, `longer than ${MAX_REFERENCE_BYTES} bytes`);
    const scheme = /^(?:purser|se):\/\//.exec(text)?.[0];
    if (scheme === undefined) throw this.#error(0, isReference(text) ? 'the scheme must stand first and in lower case' : 'a reference starts with purser://');
    const odd = /[\s{}]|\p{Cc}|\p{Surrogate}/u.exec(text);
    if (odd !== null) throw this.#error(odd.index, 'white space, control characters, { and } must be percent-encoded');
    const hash = indexOrEnd(text, '#', 0);
    const question = Math.min(indexOrEnd(text, '?', 0), hash);
    this.#parsePath(scheme.length, question, scheme === 'se://');
    if (question < hash) this.#parseQuery(question + 1, hash);
    if (hash < text.length) this.#parseField(hash + 1, scheme === 'se://');
    return this.#reference;
  }

  #parsePath(start: number, end: number, isAlias: boolean): void {
    const segments: string[] = [];
    for (let from = start; from <= end;) {
      const to = Math.min(indexOrEnd(this.#text, '/', from), end);
      segments.push(this.#segment(from, to, segments.length === 0));
      from = to + 1;
    }
    const least = isAlias ? 3 : 2;
    if (segments.length < least) throw this.#error(start, isAlias ? 'se:// needs a mount, a path and a field' : 'a path needs a mount and a name in it');
    if (isAlias) {
      const field = segments.pop() as string;
      this.#checkField(this.#text.slice(this.#text.lastIndexOf('/', end - 1) + 1, end), end);
      this.#reference.field = field;
    }
    this.#reference.path = segments.join('/');
  }

  #segment(from: number, to: number, isFirst: boolean): string {
    const raw = this.#text.slice(from, to);
    if (raw === '') throw this.#error(from, 'empty path segment');
    // What looks like a user, a password or a port is not quoted: it may be one.
    if (isFirst && /[@:]/.test(raw)) throw this.#error(from, 'the path starts with the mount; there is no host, user or port in a reference');
    const segment = this.#decode(from, raw);
    if (segment === '.' || segment === '..') throw this.#error(from, 'path segment . or ..');
    if (segment.includes('/')) throw this.#error(from, 'encoded / in a path segment');
    return segment;
  }

  #parseQuery(start: number, end: number): void {
    const seen = new Set<string>();
    for (let from = start; from <= end;) {
      const to = Math.min(indexOrEnd(this.#text, '&', from), end);
      const equals = indexOrEnd(this.#text, '=', from);
      const key = this.#text.slice(from, Math.min(equals, to));
      if (seen.has(key)) throw this.#error(from, 'query key given twice');
      seen.add(key);
      this.#queryValue(key, from, equals < to ? this.#text.slice(equals + 1, to) : undefined, equals + 1);
      from = to + 1;
    }
    if (this.#reference.default !== undefined && this.#reference.isOptional) throw this.#error(start, 'default and optional exclude each other');
    if (this.#reference.isJson === true && this.#reference.encoding !== 'raw') throw this.#error(start, 'json and encoding exclude each other');
  }

  #queryValue(key: string, at: number, value: string | undefined, valueAt: number): void {
    const reference = this.#reference;
    if (key === 'optional') {
      if (value !== undefined) throw this.#error(at, 'optional takes no value');
      reference.isOptional = true;
    } else if (key === 'json') {
      if (value !== undefined) throw this.#error(at, 'json takes no value');
      reference.isJson = true;
    } else if (key === 'version') {
      if (!/^[1-9]\d{0,9}$/.test(value ?? '') || Number(value) > MAX_VERSION) throw this.#error(at, `version must be a number from 1 to ${MAX_VERSION}`);
      reference.version = Number(value);
    } else if (key === 'encoding') {
      if (value !== 'raw' && value !== 'base64' && value !== 'hex') throw this.#error(at, 'encoding must be base64, hex or raw');
      reference.encoding = value;
    } else if (key === 'default') {
      if (value === undefined) throw this.#error(at, 'default needs a value (default= for the empty text)');
      reference.default = this.#decode(valueAt, value);
    } else {
      throw this.#error(at, 'unknown query key; there are version, default, optional, json and encoding (write & in a default as %26)');
    }
  }

  #parseField(start: number, isAlias: boolean): void {
    if (isAlias) throw this.#error(start - 1, 'se:// names the field in its last segment, not behind a #');
    const raw = this.#text.slice(start);
    const odd = /[?#&]/.exec(raw);
    if (odd !== null) throw this.#error(start + odd.index, 'the query stands before the #; write ?, # and & in a field as %3F, %23 and %26');
    this.#checkField(raw, start);
    this.#reference.field = this.#decode(start, raw);
  }

  /** On the text before decoding: a dot written %2E belongs to a name (`#%2Edockerconfigjson`). */
  #checkField(raw: string, at: number): void {
    if (raw === '') throw this.#error(at, 'empty field');
    if (hasEmptyName(raw)) throw this.#error(at, 'empty name in a nested field (write a dot that belongs to a name as %2E)');
  }

  #decode(from: number, raw: string): string {
    const broken = /%(?![0-9a-fA-F]{2})/.exec(raw);
    if (broken !== null) throw this.#error(from + broken.index, '% must be followed by two hexadecimal digits (a literal % is %25)');
    let decoded: string;
    try {
      decoded = decodeURIComponent(raw);
    } catch {
      throw this.#error(from, 'percent-encoded bytes are not UTF-8');
    }
    if (/\p{Cc}/u.test(decoded)) throw this.#error(from, 'encoded control character');
    return decoded;
  }

  #error(index: number, reason: string): PurserError {
    const { path } = this.#reference;
    const name = path === '' ? 'the reference' : `the reference to ${path.length > 200 ? `${path.slice(0, 200)}…` : path}`;
    return new PurserError('ERR_REFERENCE_SYNTAX', `${name} is malformed at character ${index + 1}: ${reason}`, { hint: `a right one looks like ${EXAMPLE}` });
  }
}

function indexOrEnd(text: string, wanted: string, from: number): number {
  const index = text.indexOf(wanted, from);
  return index < 0 ? text.length : index;
}
