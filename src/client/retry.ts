// Trying again, for calls that may be repeated safely. Full jitter: many agents that lost the same core must not come back
// in step.

import { setTimeout as sleep } from 'node:timers/promises';

import { isPurserError } from '../lib/errors.ts';
import { CoreResponseError } from './response.ts';

/** Answers that say "not now": too many requests, and a proxy whose core is away. 503 is a sealed core, which waiting does not mend. */
const TRANSIENT = new Set([429, 502, 504]);

/**
 * Runs `attempt`, and again after each of `delaysMs` (each taken between half and the whole) while the fault is one of
 * connection. The last error is thrown as it is.
 */
export async function withRetries<T>(delaysMs: readonly number[], signal: AbortSignal | undefined, attempt: () => Promise<T>): Promise<T> {
  for (const delay of delaysMs) {
    try {
      return await attempt();
    } catch (error) {
      if (!isTransient(error) || signal?.aborted === true) throw error;
    }
    await sleep(delay * (0.5 + Math.random() / 2), undefined, signal === undefined ? {} : { signal }).catch(() => undefined);
  }
  return attempt();
}

function isTransient(error: unknown): boolean {
  return isPurserError(error, 'ERR_CLIENT_UNREACHABLE') || (error instanceof CoreResponseError && TRANSIENT.has(error.status));
}
