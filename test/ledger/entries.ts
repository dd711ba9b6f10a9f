// Usage entries for tests, short to write.

import type { UsageBatch, UsageEntry } from '../../src/wire/node-protocol.ts';

export type NewEntry = UsageEntry extends infer E ? E extends UsageEntry ? Omit<E, 'seq' | 'time'> : never : never;
type Of<T extends UsageEntry['type']> = Omit<Extract<UsageEntry, { type: T }>, 'seq' | 'time'>;

export const SPOOL = '00000000-0000-4000-8000-000000000000';
const WHEN = '2026-03-01T12:00:00.000Z';

/** The container id made of one hexadecimal digit. */
export const container = (digit: string): string => digit.repeat(64);

export function granted(digit: string, paths: readonly string[], version = 1): Of<'granted'> {
  return {
    type: 'granted', container: { id: container(digit), name: `name-${digit}`, image: 'image' },
    secrets: paths.map((path) => ({ path, field: 'f', version, target: `/run/secrets/${path}` })),
  };
}

export function opened(digit: string, path: string, count = 1, process: object = {}): Of<'opened'> {
  return {
    type: 'opened', container_id: container(digit), path, field: 'f', version: 1, target: `/run/secrets/${path}`,
    process: { pid: 1, uid: 0, executable: '/bin/cat', name: 'cat', ...process }, count, first_time: WHEN, last_time: WHEN,
  };
}

export function rotated(digit: string, path: string, version: number): Of<'rotated'> {
  return { type: 'rotated', container_id: container(digit), path, field: 'f', version, target: `/run/secrets/${path}` };
}

export function refused(digit: string, count: number): Of<'refused'> {
  return { type: 'refused', container_id: container(digit), process: { pid: 9, uid: 0, executable: '/bin/ls', name: 'ls' }, count, first_time: WHEN, last_time: WHEN };
}

export function released(digit: string, reason: 'exited' | 'removed' | 'start-failed' | 'lost' = 'removed'): Of<'released'> {
  return { type: 'released', container_id: container(digit), reason };
}

export function batch(first: number, entries: readonly NewEntry[], time = new Date(WHEN)): UsageBatch {
  return { spool: SPOOL, entries: entries.map((entry, index) => ({ ...entry, seq: first + index, time: time.toISOString() })) };
}
