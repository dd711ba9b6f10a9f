// What leaves the server: Vault's envelope with every key present, its error shape, and exactly two fixed headers. hvac reads
// `errors` only when Content-Type is `application/json` with nothing after it.

import type { ServerResponse } from 'node:http';
import type { JsonObject, LogicalResponse } from '../../core/logical.ts';

/** As a list, which Node sends as it is. */
const headers = (contentType = 'application/json'): string[] => ['Cache-Control', 'no-store', 'Content-Type', contentType];

export interface Reply {
  readonly status: number;
  /** Undefined: no body. */
  readonly body?: string;
  /** Unless it is JSON. */
  readonly contentType?: string;
}

/** The 2xx or 404 reply for what an engine answered; `undefined` means 204 for writes and 404 for read and list. */
export function successReply(requestId: string, response: LogicalResponse | undefined, isRead: boolean, isList: boolean): Reply {
  if (response === undefined) return isRead ? errorReply(404, []) : { status: 204 };
  if (response.text !== undefined) return { status: 200, ...response.text };
  if (response.isBare === true) return bareReply(200, response.data ?? {});
  if (isList && response.status === undefined && isEmptyList(response)) return errorReply(404, []);
  return { status: response.status ?? 200, body: JSON.stringify(envelope(requestId, response)) };
}

/** Vault answers 404 to a list without keys, unless the response has something else to say. */
function isEmptyList(response: LogicalResponse): boolean {
  const data = response.data ?? {};
  const keys = data['keys'];
  const isEmpty = keys === undefined || keys === null || (Array.isArray(keys) && keys.length === 0);
  return isEmpty && Object.keys(data).every((key) => key === 'keys') && (response.warnings ?? []).length === 0 && response.auth === undefined && response.wrapInfo === undefined;
}

/** Vault's envelope; the top level also carries `data` for the sys paths where Vault does so. */
export function envelope(requestId: string, response: LogicalResponse): JsonObject {
  const data = response.data ?? null;
  const whole = {
    request_id: response.wrapInfo === undefined ? requestId : '',
    lease_id: response.leaseId ?? '',
    renewable: response.renewable ?? false,
    lease_duration: response.leaseSeconds ?? 0,
    data,
    wrap_info: response.wrapInfo ?? null,
    warnings: response.warnings !== undefined && response.warnings.length > 0 ? response.warnings : null,
    auth: response.auth ?? null,
  };
  return response.copyDataToTop === true ? { ...data, ...whole } : whole;
}

/** An error in Vault's shape, `{"errors":[…]}`, with Purser's code and hint beside it. */
export function errorReply(status: number, errors: readonly string[], more: { readonly code?: string; readonly hint?: string } = {}): Reply {
  return { status, body: JSON.stringify({ errors, ...more }) };
}

/** A bare JSON body without envelope (sys/health, sys/seal-status and their like). */
export function bareReply(status: number, body: JsonObject): Reply {
  return { status, body: JSON.stringify(body) };
}

/** Writes the reply; for HEAD without its body. */
export function send(response: ServerResponse, { status, body, contentType }: Reply, isHead = false): void {
  if (body === undefined) {
    response.writeHead(status, headers());
    response.end();
    return;
  }
  const text = `${body}\n`;
  const bytes = Buffer.byteLength(text);
  response.writeHead(status, [...headers(contentType), 'Content-Length', String(bytes)]);
  // As a string: Node then writes head and body in one piece. ASCII needs no encoding.
  if (isHead) response.end();
  else response.end(text, bytes === text.length ? 'latin1' : 'utf8');
}
