// What the core's HTTP answers mean: Vault's envelope, its list of error messages, and Purser's code and hint beside it.
// Nothing of a body is quoted except the core's own error messages, cleaned of control characters and of the caller's token.

import type { ErrorCode } from '../lib/error-codes.ts';
import { PurserError } from '../lib/errors.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../lib/json.ts';

export interface RawResponse {
  readonly status: number;
  readonly body: Buffer;
}

/** Vault's envelope, as far as clients use it. */
export interface Envelope {
  readonly status: number;
  readonly data: JsonObject | undefined;
  readonly auth: JsonObject | undefined;
  readonly warnings: readonly string[];
  /** The whole body, for calls that answer without an envelope (health, seal status, init). */
  readonly body: JsonObject;
}

const MAX_MESSAGE = 2048;
/** Characters of the shortest token that a core takes (`--dev-root-token`). */
const MIN_TOKEN = 4;

/** ERR_CLIENT_RESPONSE: the core answered, and the answer is a refusal. */
export class CoreResponseError extends PurserError {
  /** HTTP status. */
  readonly status: number;
  /** The core's messages; empty for a bare 404. */
  readonly messages: readonly string[];
  /** The code the core gave, such as ERR_NODE_REVOKED, when it gave one. */
  readonly serverCode: string | undefined;
  /** `data` of the refusal: KV version 2 answers 404 with the metadata of a deleted version. */
  readonly data: JsonObject | undefined;

  constructor(status: number, body: JsonObject, token: string | undefined) {
    const messages = (Array.isArray(body['errors']) ? body['errors'] as JsonValue[] : []).filter((text) => typeof text === 'string').map((text) => printable(text, token));
    const hint = typeof body['hint'] === 'string' ? printable(body['hint'], token) : hintFor(status);
    // Its message there is Vault's, for clients that look for it.
    const reason = body['code'] === 'ERR_BARRIER_SEALED' ? 'it is sealed' : messages.join('; ') || reasonFor(status);
    super('ERR_CLIENT_RESPONSE', `the core refused the request: ${reason}`, hint === undefined ? {} : { hint });
    this.status = status;
    this.messages = messages;
    this.serverCode = typeof body['code'] === 'string' ? printable(body['code'], token) : undefined;
    this.data = isJsonObject(body['data']) ? body['data'] : undefined;
  }
}

/** True when the core itself refused with this code. */
export function isRefusal(error: unknown, code: ErrorCode): error is CoreResponseError {
  return error instanceof CoreResponseError && error.serverCode === code;
}

/**
 * The envelope of an answer below 400.
 * @throws CoreResponseError from 400 on; ERR_CLIENT_PROTOCOL for a redirect or a body that is no JSON object
 */
export function readEnvelope(response: RawResponse, token: string | undefined): Envelope {
  if (response.status >= 300 && response.status < 400) throw protocolError('a redirect, which is not followed');
  const body = parseBody(response);
  if (response.status >= 400) throw new CoreResponseError(response.status, body, token);
  return {
    status: response.status, body,
    data: isJsonObject(body['data']) ? body['data'] : undefined,
    auth: isJsonObject(body['auth']) ? body['auth'] : undefined,
    warnings: Array.isArray(body['warnings']) ? (body['warnings'] as JsonValue[]).filter((text) => typeof text === 'string') : [],
  };
}

/** The JSON object in a body; an empty body is an empty object. @throws ERR_CLIENT_PROTOCOL */
export function parseBody(response: RawResponse): JsonObject {
  if (response.body.length === 0) return {};
  try {
    const value = JSON.parse(response.body.toString('utf8')) as JsonValue;
    if (isJsonObject(value)) return value;
  } catch {
    // The parser's own message quotes the body.
  }
  throw protocolError(`status ${response.status} and a body that is not a JSON object`);
}

/** ERR_CLIENT_PROTOCOL: something answers there that does not speak the core's protocol. */
export function protocolError(what: string): PurserError {
  return new PurserError('ERR_CLIENT_PROTOCOL', `the core answered with ${what}`, { hint: 'check that the address is that of a purser server, and of its version' });
}

function printable(text: string, token: string | undefined): string {
  // Shorter is no token, and part of too many words.
  const hidden = token === undefined || token.length < MIN_TOKEN ? text : text.replaceAll(token, '<token>');
  // An answer must not steer the terminal it is printed on.
  return hidden.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g, ' ').slice(0, MAX_MESSAGE);
}

function reasonFor(status: number): string {
  return status === 404 ? 'there is nothing at this path' : `status ${status}`;
}

function hintFor(status: number): string | undefined {
  if (status === 404) return 'check the path: purser secrets list and purser auth list show the mounts, purser list what is below a path';
  if (status === 405) return 'the path takes another of read, write, list and delete';
  if (status === 403) return 'check the token and its policies: purser token lookup';
  if (status === 500) return 'the log of the core says why; it refuses everything while no audit device takes entries (a full disk, a changed audit file)';
  if (status === 503) return 'unseal it: purser unseal';
  return undefined;
}
