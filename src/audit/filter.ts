// Which entries of an audit file somebody asks for. Most lines are decided by their bytes, without being parsed: a filter knows
// texts of which one must stand in the line.

import { field } from '../lib/fields.ts';
import { isJsonObject } from '../lib/json.ts';
import type { JsonObject, JsonValue } from '../lib/json.ts';

export const OUTCOMES = ['ok', 'denied', 'failed'] as const;
export type Outcome = (typeof OUTCOMES)[number];

export interface AuditFilter {
  /** Request paths, or with a trailing `*` their beginnings; one must fit. */
  readonly paths?: readonly string[] | undefined;
  /** Hashes of which one may stand in the line of a node's call instead of a path: a secret that its batch resolved. */
  readonly orMentions?: readonly string[] | undefined;
  /** As the file has it: hashed or not. */
  readonly accessors?: readonly string[] | undefined;
  /** Id or name. */
  readonly node?: string | undefined;
  readonly operation?: string | undefined;
  /** A trace id. */
  readonly trace?: string | undefined;
  readonly outcome?: Outcome | undefined;
  /** Milliseconds since the epoch. */
  readonly since?: number | undefined;
  readonly until?: number | undefined;
  /** Also the request entries of what has a response entry, and markers. */
  readonly isEverything?: boolean | undefined;
}

/** An entry as its line has it, and what became of the request. */
export type FoundEntry = JsonObject & { readonly outcome: Outcome };

/** Made once per search. */
export class EntryMatcher {
  readonly #filter: AuditFilter;
  /** Per condition, texts of which one must be in the line. */
  readonly #needles: readonly (readonly string[])[];

  constructor(filter: AuditFilter) {
    this.#filter = filter;
    const { paths, orMentions = [], accessors, node, trace } = filter;
    this.#needles = [
      ...(paths === undefined ? [] : [[...paths.map(pathNeedle), ...orMentions]]),
      ...(accessors === undefined ? [] : [accessors]),
      ...(node === undefined ? [] : [[JSON.stringify(node).slice(1, -1)]]),
      ...(trace === undefined ? [] : [[trace]]),
    ];
  }

  /** The entry in `line`, if it is asked for. */
  match(line: Buffer | string): FoundEntry | undefined {
    for (const needles of this.#needles) if (!needles.some((needle) => line.includes(needle))) return undefined;
    const entry = parse(line.toString());
    if (entry === undefined) return undefined;
    const request = objectIn(entry, 'request');
    const outcome = outcomeOf(entry);
    // A request entry alone tells of what was denied; of everything else the response entry tells more.
    if (this.#filter.isEverything !== true && (request === undefined || (entry['type'] === 'request' && outcome === 'ok'))) return undefined;
    return this.#fits(entry, request ?? {}, outcome, line) ? { ...entry, outcome } : undefined;
  }

  /** True when the line, and so all before it, is older than what is asked for. */
  isBefore(line: Buffer): boolean {
    const { since } = this.#filter;
    if (since === undefined) return false;
    const time = /^\{"time":"([^"]+)"/.exec(line.toString('latin1', 0, 48))?.[1];
    return time !== undefined && Date.parse(time) < since;
  }

  #fits(entry: JsonObject, request: JsonObject, outcome: Outcome, line: Buffer | string): boolean {
    const { paths, orMentions = [], accessors, node, operation, trace, outcome: wanted, since = -Infinity, until = Infinity } = this.#filter;
    const auth = objectIn(entry, 'auth') ?? {};
    const time = typeof entry['time'] === 'string' ? Date.parse(entry['time']) : NaN;
    return time >= since && time <= until
      && (wanted === undefined || wanted === outcome)
      && (operation === undefined || request['operation'] === operation)
      && (trace === undefined || request['trace_id'] === trace)
      && (paths === undefined || paths.some((path) => fitsPath(path, request['path'])) || (fitsPath('node/*', request['path']) && orMentions.some((hash) => line.includes(hash))))
      && (accessors === undefined || accessors.some((accessor) => auth['accessor'] === accessor || request['client_token_accessor'] === accessor))
      && (node === undefined || isOfNode(auth, node));
  }
}

function pathNeedle(path: string): string {
  const text = JSON.stringify(path.endsWith('*') ? path.slice(0, -1) : path);
  return `"path":${path.endsWith('*') ? text.slice(0, -1) : text}`;
}

function fitsPath(wanted: string, path: JsonValue | undefined): boolean {
  if (typeof path !== 'string') return false;
  return wanted.endsWith('*') ? path.startsWith(wanted.slice(0, -1)) : path === wanted || path === `${wanted}/`;
}

function isOfNode(auth: JsonObject, node: string): boolean {
  const metadata = objectIn(auth, 'metadata') ?? {};
  return field(metadata, 'node_id') === node || field(metadata, 'node_name') === node;
}

function outcomeOf(entry: JsonObject): Outcome {
  const results = objectIn(objectIn(entry, 'auth') ?? {}, 'policy_results');
  if (results?.['allowed'] === false) return 'denied';
  return entry['error'] === undefined ? 'ok' : 'failed';
}

function objectIn(object: JsonObject, name: string): JsonObject | undefined {
  const value = object[name];
  return isJsonObject(value) ? value : undefined;
}

function parse(line: string): JsonObject | undefined {
  try {
    const value = JSON.parse(line) as JsonValue;
    return isJsonObject(value) ? value : undefined;
  } catch {
    return undefined; // torn by a crash
  }
}
