// What belongs together across processes: a trace id as in W3C Trace Context (https://www.w3.org/TR/trace-context/, version 00). The agent takes one
// for each start of a container and each rotation; its log lines, the core's audit entries and the core's log of faults name it.
// No spans are collected or sent anywhere.

import { AsyncLocalStorage } from 'node:async_hooks';
import { randomBytes } from 'node:crypto';

const TRACE_BYTES = 16;
const PARENT_BYTES = 8;

const current = new AsyncLocalStorage<string>();

/** Runs an action, and all it starts, under a trace id of its own. */
export function traced<T>(action: () => T): T {
  return current.run(randomBytes(TRACE_BYTES).toString('hex'), action);
}

/** The trace id this runs under: 32 hexadecimal digits. */
export function currentTrace(): string | undefined {
  return current.getStore();
}

/** The header `traceparent` for a request under the current trace. */
export function traceparent(): string | undefined {
  const trace = currentTrace();
  return trace && `00-${trace}-${randomBytes(PARENT_BYTES).toString('hex')}-00`;
}

/** The trace id in a header `traceparent` as a client sent it; undefined when there is none or it is malformed. */
export function traceIdOf(header: string | readonly string[] | undefined): string | undefined {
  if (typeof header !== 'string' || header.length > 512) return undefined;
  const match = /^(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:$|-)/.exec(header);
  // Version 00 has nothing behind its flags.
  return match !== null && (header.length === 55 || !header.startsWith('00')) ? match[1] : undefined;
}
