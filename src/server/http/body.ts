// The request body: read up to a limit, then decoded strictly. What comes out is one plain JSON object; nothing of a refused
// body is kept or quoted.

import type { IncomingMessage } from 'node:http';
import { isUtf8 } from 'node:buffer';
import type { JsonObject, JsonValue } from '../../core/logical.ts';
import { PurserError } from '../../lib/errors.ts';
import type { BodyStore, StoredBody } from './body-store.ts';
import { checkJsonLimits, type JsonLimits } from './json-limits.ts';

export interface BodyLimits extends JsonLimits {
  readonly maxBytes: number;
  readonly store: BodyStore;
}

const EMPTY: JsonObject = Object.freeze({});
const FORM = 'application/x-www-form-urlencoded';
const BYTE_ORDER_MARK = 0xef;

/** True when the request announces a body. */
export function hasBody(request: IncomingMessage): boolean {
  const { headers } = request;
  return headers['transfer-encoding'] !== undefined || (headers['content-length'] !== undefined && headers['content-length'] !== '0');
}

/**
 * Reads and decodes the body of a write.
 * @throws ERR_REQUEST_TOO_LARGE, ERR_REQUEST_BUSY, ERR_REQUEST_MEDIA_TYPE (compressed), ERR_REQUEST_INVALID
 */
export async function readBody(request: IncomingMessage, limits: BodyLimits): Promise<JsonObject> {
  if (!hasBody(request)) return EMPTY;
  const encoding = request.headers['content-encoding'];
  if (encoding !== undefined && encoding !== 'identity') throw new PurserError('ERR_REQUEST_MEDIA_TYPE', 'compressed request bodies are not accepted');
  const body = limits.store.open();
  try {
    await receive(request, body, limits.maxBytes);
    return decodeBody(body.bytes, request.headers['content-type'] ?? '', limits);
  } finally {
    body.release();
  }
}

/** After a refusal the rest is read and dropped, so that the client sees the answer and the connection stays usable. */
function receive(request: IncomingMessage, body: StoredBody, maxBytes: number): Promise<void> {
  const tooLarge = (): PurserError => new PurserError('ERR_REQUEST_TOO_LARGE', 'http: request body too large', { hint: `send at most ${maxBytes} bytes` });
  if (Number(request.headers['content-length'] ?? 0) > maxBytes) return Promise.reject(tooLarge());
  return new Promise((resolve, reject) => {
    const onData = (chunk: Buffer): void => {
      try {
        if (body.length + chunk.length > maxBytes) throw tooLarge();
        body.add(chunk);
      } catch (error) {
        request.off('data', onData).resume();
        reject(error instanceof Error ? error : new Error('no error'));
      }
    };
    // 'close' follows every 'end'.
    const onCut = (): void => { if (!request.readableEnded) reject(new PurserError('ERR_REQUEST_INVALID', 'the request body did not arrive completely')); };
    request.on('data', onData);
    request.once('end', resolve).once('error', onCut).once('close', onCut);
  });
}

/** Decodes `bytes` by Vault's rule: a form only when the content type says so and the text does not look like JSON. */
export function decodeBody(bytes: Buffer, contentType: string, limits: JsonLimits): JsonObject {
  if (bytes.length === 0) return EMPTY;
  if (!isUtf8(bytes) || bytes[0] === BYTE_ORDER_MARK) throw new PurserError('ERR_REQUEST_INVALID', 'the request body is not valid UTF-8');
  if (contentType.startsWith(FORM) && bytes[0] !== 0x7b && bytes[0] !== 0x5b) return decodeForm(bytes.toString('utf8'), limits);
  checkJsonLimits(bytes, limits);
  const text = bytes.toString('utf8');
  const value = parse(text);
  if (value === null) return EMPTY;
  if (typeof value !== 'object' || Array.isArray(value)) throw new PurserError('ERR_REQUEST_INVALID', 'the request body must be a JSON object');
  if (text.includes('__proto__') || text.includes('\\u')) refuseProtoKeys(value);
  return value as JsonObject;
}

function parse(text: string): JsonValue {
  try {
    return JSON.parse(text) as JsonValue;
  } catch {
    // V8's message quotes the input
    throw new PurserError('ERR_REQUEST_INVALID', 'error parsing JSON');
  }
}

function decodeForm(text: string, limits: JsonLimits): JsonObject {
  if (text.split('&', limits.maxValues + 1).length > limits.maxValues) throw new PurserError('ERR_REQUEST_INVALID', 'the form has too many fields');
  const fields = Object.fromEntries(new URLSearchParams(text));
  refuseProtoKeys(fields);
  return fields;
}

/** Harmless as JSON.parse makes it, but one careless assignment later it would change an object's prototype. */
function refuseProtoKeys(value: JsonValue): void {
  if (value === null || typeof value !== 'object') return;
  if (Object.hasOwn(value, '__proto__')) throw new PurserError('ERR_REQUEST_INVALID', 'a key named __proto__ is not allowed');
  Object.values<JsonValue>(value as JsonObject).forEach(refuseProtoKeys);
}

/** A body of parameters: hvac sends null for those that were not given, so a null at the top means absent. */
export function withoutNulls(value: JsonObject): JsonObject {
  const entries = Object.entries(value);
  return entries.some(([, field]) => field === null) ? Object.fromEntries(entries.filter(([, field]) => field !== null)) : value;
}
