// The one table from error codes to HTTP, total over ERROR_CODES (by type, and by a test). A `shown` message goes to the client
// as it is, with its code and hint: it never holds a secret value. Of all other errors the client gets a fixed text; the log
// gets code and message.

import type { ErrorCode } from '../lib/error-codes.ts';
import { isPurserError } from '../lib/errors.ts';
import { errorReply, type Reply } from './http/reply.ts';

type Rule = readonly [status: number, text: 'shown' | { readonly fixed: string }];

const INVALID: Rule = [400, 'shown'];
const DENIED: Rule = [403, 'shown'];
const NOT_FOUND: Rule = [404, 'shown'];
const SEALED: Rule = [503, { fixed: 'Vault is sealed' }];
const INTERNAL: Rule = [500, { fixed: 'internal error' }];

export const ERROR_STATUS: Readonly<Record<ErrorCode, Rule>> = {
  ERR_REQUEST_INVALID: INVALID,
  ERR_LOGIN_INVALID: INVALID,
  ERR_REQUEST_DENIED: DENIED,
  ERR_REQUEST_NOT_FOUND: NOT_FOUND,
  ERR_REQUEST_UNSUPPORTED: [405, 'shown'],
  ERR_REQUEST_TOO_LARGE: [413, 'shown'],
  ERR_REQUEST_BUSY: [429, 'shown'],
  ERR_REQUEST_MEDIA_TYPE: [415, 'shown'],
  ERR_REFERENCE_SYNTAX: INVALID,
  ERR_TEMPLATE_SYNTAX: INVALID,
  ERR_TEMPLATE_RENDER: INVALID,
  ERR_POLICY_SYNTAX: INVALID,
  ERR_DURATION_SYNTAX: INVALID,

  ERR_SEAL_CONFIG: INVALID,
  ERR_SEAL_INITIALIZED: INVALID,
  ERR_SEAL_UNINITIALIZED: INVALID,
  ERR_SEAL_SHARE: INVALID,
  ERR_SEAL_ATTEMPT: INVALID,
  ERR_BARRIER_SEALED: SEALED,
  ERR_STORAGE_CLOSED: SEALED, // the server is stopping

  ERR_RESOLVE_DENIED: DENIED,
  ERR_RESOLVE_NOT_FOUND: NOT_FOUND,
  ERR_RESOLVE_FIELD: INVALID,
  ERR_RESOLVE_SIZE: INVALID,
  ERR_RESOLVE_FAILED: INTERNAL,
  ERR_NODE_JOIN: DENIED,
  ERR_NODE_REVOKED: DENIED,
  ERR_NODE_CLOCK: INVALID,
  ERR_NODE_LEDGER: INVALID,
  ERR_WORKLOAD_INVALID: INVALID,

  ERR_AUTH_PROVIDER: [502, 'shown'],
  ERR_STORAGE_KEY: INVALID, // a path that is longer than the store takes
  ERR_STORAGE_FULL: [507, 'shown'],
  ERR_AUDIT_REFUSED: INTERNAL,
  ERR_AUDIT_FILE: INVALID, // an operator enables a device
  ERR_AUDIT_CHAIN: INVALID,
  ERR_STORAGE_LOCKED: INTERNAL,
  ERR_STORAGE_FAILED: INTERNAL,
  ERR_BARRIER_OPEN: INTERNAL,
  ERR_RECORD_INVALID: INTERNAL,
  ERR_SEAL_FILE: INTERNAL,
  ERR_CONFIG_INVALID: INTERNAL,
  ERR_STATE_CORRUPT: INTERNAL,
  ERR_STATE_WRITE: INTERNAL,
  ERR_STATE_LOCK: INTERNAL,
  ERR_STATE_LOCKED: INTERNAL,

  // Other processes' errors; the server never throws them.
  ERR_CLIENT_UNREACHABLE: INTERNAL,
  ERR_CLIENT_TLS: INTERNAL,
  ERR_CLIENT_RESPONSE: INTERNAL,
  ERR_CLIENT_PROTOCOL: INTERNAL,
  ERR_NODE_JOINED: INTERNAL,
  ERR_NODE_UNJOINED: INTERNAL,
  ERR_FUSE_UNAVAILABLE: INTERNAL,
  ERR_FUSE_PROTOCOL: INTERNAL,
  ERR_RUNTIME_CONFIG: INTERNAL,
  ERR_RUNTIME_BUNDLE: INTERNAL,
  ERR_RUNTIME_STRICT: INTERNAL,
  ERR_DOCKER_ACTION: INTERNAL,
  ERR_NOTIFY_DELIVERY: INTERNAL,
  ERR_DOCKER_UNAVAILABLE: INTERNAL,
  ERR_CLI_USAGE: INTERNAL,
};

/** The reply for anything thrown while a request was served. */
export function replyForError(error: unknown): Reply {
  if (!isPurserError(error)) return errorReply(500, ['internal error']);
  const [status, text] = ERROR_STATUS[error.code];
  if (text !== 'shown') return errorReply(status, [text.fixed], { code: error.code });
  return errorReply(status, [error.message], { code: error.code, ...(error.hint === undefined ? {} : { hint: error.hint }) });
}

/** True when the operator should find `error` in the log: it is not the client's doing. */
export function isServerFault(error: unknown): boolean {
  return !isPurserError(error) || [500, 502, 507].includes(ERROR_STATUS[error.code][0]);
}
