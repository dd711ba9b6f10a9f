// Waiting for what a test asserts next. No test sleeps and hopes: a machine may be slow or stand still for seconds, and a condition is met all the same.

import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Asks again and again until `probe` gives something else than undefined or false, and gives that. What `probe` throws counts as "not yet"; the last
 * error is part of the failure. After a standstill of the whole process it asks once more before it gives up.
 * @param what completes "… did not happen"
 */
export async function eventually<T>(what: string, probe: () => Promise<T | undefined | false> | T | undefined | false, timeoutMs = 20_000): Promise<T> {
  let last: unknown;
  for (const end = performance.now() + timeoutMs; ; await sleep(10)) {
    const isLast = performance.now() > end;
    try {
      const value = await probe();
      if (value !== undefined && value !== false) return value;
    } catch (error) {
      last = error;
    }
    if (isLast) throw new Error(`${what} did not happen within ${String(timeoutMs)} ms`, { cause: last });
  }
}

/**
 * Runs steps that prove something only when they are quick, because what they look at ends by itself after a time. A failure of steps that took longer
 * than `limitMs`, as on a machine that stands still, says nothing: they run again from their beginning.
 */
export async function unlessDelayed(limitMs: number, steps: () => Promise<void> | void): Promise<void> {
  for (let tries = 1; ; tries++) {
    const began = performance.now();
    try {
      return await steps();
    } catch (error) {
      if (performance.now() - began < limitMs || tries === 10) throw error;
    }
  }
}
