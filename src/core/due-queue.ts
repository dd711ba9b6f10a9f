// What has to happen at some time, as records of a View sorted by time: due/<milliseconds, 15 digits>-<name>. It costs no memory per
// entry and nothing at a start, and an entry moves in the same transaction as the record it belongs to, so neither is ever
// without the other.

import { setImmediate as nextTurn } from 'node:timers/promises';
import type { View, ViewOperation } from './view.ts';

const PREFIX = 'due/';
const DIGITS = 15;
const PAGE = 64;

/**
 * The writes that move the entry `name` from one time to another.
 * @param before milliseconds since the epoch; null: there is none yet
 * @param after null: the entry goes
 */
export function reschedule(name: string, before: number | null, after: number | null): ViewOperation[] {
  if (before === after) return [];
  return [
    ...(before === null ? [] : [{ kind: 'delete', key: keyOf(name, before) } as const]),
    ...(after === null ? [] : [{ kind: 'put', key: keyOf(name, after), value: new Uint8Array(0) } as const]),
  ];
}

/** The names whose time has come at `now`, the longest overdue first; other work runs in between. Entries may go meanwhile. */
export async function* dueNames(view: View, now: number): AsyncGenerator<string> {
  const end = digits(now + 1);
  for (let after: string | undefined; ;) {
    const page = await view.list(PREFIX, after === undefined ? { limit: PAGE } : { after, limit: PAGE });
    for (const entry of page) {
      if (entry.slice(0, DIGITS) >= end) return;
      yield entry.slice(DIGITS + 1);
    }
    if (page.length < PAGE) return;
    after = page.at(-1);
    await nextTurn();
  }
}

function keyOf(name: string, at: number): string {
  return `${PREFIX}${digits(at)}-${name}`;
}

function digits(milliseconds: number): string {
  return String(milliseconds).padStart(DIGITS, '0');
}
