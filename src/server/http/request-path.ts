// From the request line to the one logical path. The percent-decoding happens once, here; everything after (policy,
// routing, storage, audit) uses the same decoded string, so two readings of one path cannot differ. Anything that another
// program could read differently is refused, never cleaned up: empty, `.` and `..` segments, backslashes, control,
// format, space-like and unassigned characters.

import type { Operation } from '../../core/logical.ts';
import { PurserError } from '../../lib/errors.ts';

/** Longest logical path in UTF-16 units; leaves room for the mount and engine prefixes below MAX_KEY_BYTES. */
const MAX_PATH_LENGTH = 1_024;
const PREFIX = '/v1/';
/** Go's ParseBool, as Vault reads `?list=`. */
const TRUE = new Set(['1', 't', 'T', 'TRUE', 'true', 'True']);
const FALSE = new Set(['0', 'f', 'F', 'FALSE', 'false', 'False', '']);
const PLAIN = /^[A-Za-z0-9_\-./ ]*$/;
const UNSAFE = /[\p{C}\\]|(?! )\p{Z}/u;
const BAD_SEGMENT = /(?:^|\/)(?:\.{1,2})?(?:\/|$)/;

/** Methods that HTTP clients of Vault send; `write` becomes create or update once the engine said whether the target exists. */
export type Verb = 'read' | 'write' | 'patch' | 'delete' | 'list';

export interface Target {
  readonly verb: Verb;
  /** Decoded, without `/v1/`; a list path ends in '/', no other does. */
  readonly path: string;
  /** Query parameters, without `list`. Of a repeated one the last wins. */
  readonly query: Readonly<Record<string, string>>;
}

const NO_QUERY: Readonly<Record<string, string>> = Object.freeze({});
const VERBS: Readonly<Record<string, Verb>> = { GET: 'read', HEAD: 'read', POST: 'write', PUT: 'write', PATCH: 'patch', DELETE: 'delete', LIST: 'list' };

/**
 * Reads method and request target.
 * @returns undefined when the path is not below `/v1/`
 * @throws ERR_REQUEST_INVALID for a path that is malformed or ambiguous, ERR_REQUEST_UNSUPPORTED for an unknown method
 */
export function parseTarget(method: string, url: string): Target | undefined {
  const mark = url.indexOf('?');
  const rawPath = mark < 0 ? url : url.slice(0, mark);
  if (!rawPath.startsWith(PREFIX)) return undefined;
  const verb = VERBS[method];
  if (verb === undefined) throw new PurserError('ERR_REQUEST_UNSUPPORTED', 'unsupported operation');
  const query = mark < 0 ? NO_QUERY : parseQuery(url.slice(mark + 1));
  const { list } = query;
  const isList = verb === 'list' || (list !== undefined && verb === 'read' && parseFlag(list));
  return { verb: isList ? 'list' : verb, path: normalise(decode(rawPath.slice(PREFIX.length)), isList ? 'list' : verb), query: list === undefined ? query : withoutList(query) };
}

function withoutList(query: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(query).filter(([name]) => name !== 'list'));
}

function parseFlag(text: string): boolean {
  if (TRUE.has(text)) return true;
  if (FALSE.has(text)) return false;
  throw new PurserError('ERR_REQUEST_INVALID', "the query parameter 'list' must be true or false");
}

function decode(path: string): string {
  if (!path.includes('%')) return path;
  try {
    return decodeURIComponent(path);
  } catch {
    throw new PurserError('ERR_REQUEST_INVALID', 'the path is not valid percent-encoded UTF-8');
  }
}

function normalise(path: string, verb: Verb): string {
  if (path.length > MAX_PATH_LENGTH) throw new PurserError('ERR_REQUEST_INVALID', 'the path is too long');
  if (!PLAIN.test(path) && UNSAFE.test(path)) throw new PurserError('ERR_REQUEST_INVALID', 'the path contains a character that is not allowed');
  const bare = path.endsWith('/') ? path.slice(0, -1) : path;
  if (bare === '' || BAD_SEGMENT.test(bare)) throw new PurserError('ERR_REQUEST_INVALID', "the path contains an empty, '.' or '..' segment");
  if (verb === 'list') return `${bare}/`;
  // Reading `sys/mounts/secret/` is a habit of clients; sys/ names mounts, so the slash carries no meaning there.
  if (bare !== path && !(verb === 'read' && path.startsWith('sys/'))) throw new PurserError('ERR_REQUEST_INVALID', `cannot ${verb} to a path ending in '/'`);
  return bare;
}

function parseQuery(text: string): Readonly<Record<string, string>> {
  const query: Record<string, string> = Object.create(null) as Record<string, string>;
  let count = 0;
  for (const [key, value] of new URLSearchParams(text)) {
    if (++count > 64) throw new PurserError('ERR_REQUEST_INVALID', 'the request has too many query parameters');
    query[key] = value;
  }
  return query;
}

/** The operation for the policy and the engine; `exists` decides between create and update. */
export function operationOf(verb: Verb, exists: boolean): Operation {
  return verb === 'write' ? (exists ? 'update' : 'create') : verb;
}
