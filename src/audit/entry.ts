// One audit entry, and its rendering as a JSON line without chain (FORMAT.md): the shape of Vault's audit log. No string value
// of request or response data, no number of a secret, no token and no accessor is ever rendered in clear. A part that both entries of a request share is
// rendered once: pass the same `auth` and `request` objects to both.

import type { JsonObject, JsonValue } from '../core/logical.ts';
import { isJsonObject } from '../lib/json.ts';
import { Memo } from '../lib/memo.ts';

export interface AuditAuth {
  readonly clientToken?: string;
  readonly accessor?: string;
  readonly displayName?: string;
  /** Those of the token and of its entity. */
  readonly policies?: readonly string[];
  readonly tokenPolicies?: readonly string[];
  readonly entityId?: string;
  readonly policyResults?: { readonly allowed: boolean; readonly grantingPolicies?: readonly { readonly name: string; readonly type: string }[] };
  readonly metadata?: Readonly<Record<string, string>>;
  readonly tokenType?: string;
  readonly tokenTtlSeconds?: number;
  readonly tokenIssueTime?: string;
  readonly remainingUses?: number;
}

export interface AuditRequest {
  /** The same UUID as in the response envelope. */
  readonly id: string;
  /** Of the client's header `traceparent`. */
  readonly traceId?: string | undefined;
  readonly operation: string;
  /** Mount-qualified, as routed. */
  readonly path: string;
  readonly mountPoint?: string | undefined;
  readonly mountType?: string | undefined;
  readonly mountAccessor?: string | undefined;
  readonly clientToken?: string | undefined;
  readonly clientTokenAccessor?: string | undefined;
  readonly data?: JsonObject | null | undefined;
  /** The data of request and response is a secret as a whole, its numbers included. Not logged. */
  readonly isSecretThroughout?: boolean;
  readonly remoteAddress?: string;
  readonly remotePort?: number;
  readonly wrapTtlSeconds?: number | undefined;
  /** Only headers that carry no secret. */
  readonly headers?: Readonly<Record<string, readonly string[]>>;
  /** Filled by the renderer that was asked last: this part as text, for the other entry of the request. Not logged. */
  rendering?: { readonly by: EntryRenderer; readonly text: string } | undefined;
}

export interface AuditResponse {
  /** The `auth` object of the envelope, as the client gets it; token and accessor in it are hashed. */
  readonly auth?: JsonObject | undefined;
  readonly leaseId?: string | undefined;
  readonly data?: JsonObject | null | undefined;
  /** Stands for a response that has only `data` (LogicalResponse.sameData): its rendering is kept by it. */
  readonly sameData?: object;
  readonly warnings?: readonly string[] | undefined;
  readonly wrapInfo?: JsonObject | undefined;
}

export interface AuditEntry {
  readonly auth?: AuditAuth | undefined;
  readonly request: AuditRequest;
  /** Only in response entries. */
  readonly response?: AuditResponse;
  /** Why the request failed; messages of PurserError carry no values. */
  readonly error?: string;
}

export type EntryType = 'request' | 'response';

export interface RenderOptions {
  /** False: accessors are logged in clear, so that an operator can revoke by them. Default true. */
  readonly hashAccessors?: boolean;
  /** Lists are logged as their length, whatever it is. */
  readonly elideLists?: boolean;
}

/** Longer lists of keys are logged as their number: hashing them would hold up everybody else. */
const MAX_LISTED_KEYS = 1_000;
const REMEMBERED_HASHES = 4_096;
/** The member of requests and responses of kv version 2 that holds the secret itself. */
const SECRET_CONTENT = 'data';
const SECRET_AUTH_FIELDS = ['client_token', 'accessor'];
const SECRET_WRAP_FIELDS = ['token', 'accessor', 'wrapped_accessor'];
const ACCESSOR_FIELDS = ['accessor', 'wrapped_accessor'];

export class EntryRenderer {
  readonly #hash: (value: string) => string;
  /** For what comes again with other requests: tokens and accessors, never values. */
  readonly #remembered: Memo;
  readonly #rendered = new WeakMap<object, string>();
  readonly #hashesAccessors: boolean;
  readonly #longestList: number;
  #lastMs = NaN;
  #lastTime = '';

  /** @param hash the keyed hash of one string, with its prefix */
  constructor(hash: (value: string) => string, { hashAccessors = true, elideLists = false }: RenderOptions = {}) {
    this.#hash = hash;
    this.#remembered = new Memo(REMEMBERED_HASHES, hash);
    this.#hashesAccessors = hashAccessors;
    this.#longestList = elideLists ? 0 : MAX_LISTED_KEYS;
  }

  /** @returns a JSON object as text; the device adds the chain as its last member */
  render(type: EntryType, entry: AuditEntry, timeMs: number): string {
    const { auth, request, response, error } = entry;
    let text = `{"time":"${this.#time(timeMs)}","type":"${type}"`;
    if (auth !== undefined) text += `,"auth":${this.#rendered.get(auth) ?? this.#keep(auth, this.#auth(auth))}`;
    text += `,"request":${this.#requestText(request)}`;
    if (type === 'response' && response !== undefined) text += `,"response":${this.#responseText(response, request)}`;
    if (error !== undefined) text += `,"error":${JSON.stringify(error)}`;
    return `${text}}`;
  }

  /** RFC 3339; entries of one turn of the event loop share the millisecond. */
  #time(ms: number): string {
    if (ms !== this.#lastMs) this.#lastTime = new Date(this.#lastMs = ms).toISOString();
    return this.#lastTime;
  }

  #requestText(request: AuditRequest): string {
    if (request.rendering?.by !== this) request.rendering = { by: this, text: JSON.stringify(this.#request(request)) };
    return request.rendering.text;
  }

  #responseText(response: AuditResponse, request: AuditRequest): string {
    const { sameData } = response;
    if (sameData === undefined) return JSON.stringify(this.#response(response, request));
    return this.#rendered.get(sameData) ?? this.#keep(sameData, this.#response(response, request));
  }

  #keep(part: object, shape: object): string {
    const text = JSON.stringify(shape);
    this.#rendered.set(part, text);
    return text;
  }

  #auth(auth: AuditAuth): object {
    return {
      client_token: this.#secret(auth.clientToken),
      accessor: this.#accessor(auth.accessor),
      display_name: auth.displayName,
      policies: auth.policies,
      token_policies: auth.tokenPolicies ?? auth.policies,
      entity_id: auth.entityId,
      policy_results: auth.policyResults && { allowed: auth.policyResults.allowed, granting_policies: auth.policyResults.grantingPolicies },
      metadata: auth.metadata,
      token_type: auth.tokenType,
      token_ttl: auth.tokenTtlSeconds,
      token_issue_time: auth.tokenIssueTime,
      remaining_uses: auth.remainingUses,
    };
  }

  #request(request: AuditRequest): object {
    return {
      id: request.id,
      trace_id: request.traceId,
      operation: request.operation,
      mount_point: request.mountPoint,
      mount_type: request.mountType,
      mount_accessor: request.mountAccessor,
      client_token: this.#secret(request.clientToken),
      client_token_accessor: this.#accessor(request.clientTokenAccessor),
      path: request.path,
      data: request.data && this.#hashed(request.data, request.isSecretThroughout),
      remote_address: request.remoteAddress,
      remote_port: request.remotePort,
      wrap_ttl: request.wrapTtlSeconds,
      headers: request.headers,
    };
  }

  #response(response: AuditResponse, request: AuditRequest): object {
    return {
      auth: response.auth && this.#withHashed(response.auth, SECRET_AUTH_FIELDS),
      secret: response.leaseId === undefined || response.leaseId === '' ? undefined : { lease_id: response.leaseId },
      mount_point: request.mountPoint,
      mount_type: request.mountType,
      data: response.data && this.#hashed(request.operation === 'list' ? withoutLongLists(response.data, this.#longestList) : response.data, request.isSecretThroughout),
      warnings: response.warnings,
      wrap_info: response.wrapInfo && this.#withHashed(response.wrapInfo, SECRET_WRAP_FIELDS),
    };
  }

  #secret(value: string | undefined): string | undefined {
    return value === undefined || value === '' ? undefined : this.#remembered.get(value);
  }

  #accessor(value: string | undefined): string | undefined {
    return this.#hashesAccessors ? this.#secret(value) : value;
  }

  #withHashed(object: JsonObject, names: readonly string[]): JsonObject {
    const isHashed = (name: string): boolean => names.includes(name) && (this.#hashesAccessors || !ACCESSOR_FIELDS.includes(name));
    return Object.fromEntries(Object.entries(object).map(([name, value]) => [name, isHashed(name) ? this.#hashed(value) : value]));
  }

  /**
   * @param isSecret below the member that holds a secret's content, where a number may be a password too
   * @param seen hashes of this list: its items resemble each other, a hundred containers with the same labels for one
   */
  #hashed(value: JsonValue, isSecret = false, seen?: Map<string, string>): JsonValue {
    if (typeof value === 'string') return value === '' ? this.#remembered.get('') : this.#hashOnce(value, seen);
    if (typeof value === 'number' && isSecret) return this.#hashOnce(String(value), seen);
    if (typeof value !== 'object' || value === null) return value;
    if (Array.isArray(value)) {
      const inList = seen ?? new Map<string, string>();
      return (value as readonly JsonValue[]).map((item) => this.#hashed(item, isSecret, inList));
    }
    const object = value as JsonObject;
    return Object.fromEntries(Object.keys(object).map((name) => [name, this.#hashed(object[name]!, isSecret || name === SECRET_CONTENT, seen)]));
  }

  #hashOnce(value: string, seen: Map<string, string> | undefined): string {
    if (seen === undefined) return this.#hash(value);
    let hash = seen.get(value);
    if (hash === undefined) seen.set(value, hash = this.#hash(value));
    return hash;
  }
}

function withoutLongLists(data: JsonObject, longest: number): JsonObject {
  return Object.fromEntries(Object.entries(data).map(([name, value]): [string, JsonValue] => {
    const size = Array.isArray(value) ? value.length : name === 'key_info' && isJsonObject(value) ? Object.keys(value).length : 0;
    return [name, size > longest ? size : value];
  }));
}
