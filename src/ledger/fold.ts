// Folding: any number of opens by any number of processes becomes a bounded list of counters.

import type { ProcessCount } from './record.ts';

export const MAX_PROCESSES = 64;
/** The counter of everybody who came after the list was full. */
const OTHER = { executable: '', name: 'other', uid: -1, pid: 0 };

/** Adds `seen` to the counters, in a new list of at most `most`. */
export function foldProcess(processes: readonly ProcessCount[], seen: ProcessCount, most = MAX_PROCESSES): ProcessCount[] {
  const isSame = (one: ProcessCount, other: { executable: string; name: string; uid: number }) =>
    one.executable === other.executable && one.name === other.name && one.uid === other.uid;
  const known = processes.some((process) => isSame(process, seen));
  const counted = known || processes.length < most - 1 ? seen : { ...seen, ...OTHER };
  if (!processes.some((process) => isSame(process, counted))) return [...processes, counted];
  return processes.map((process) => (isSame(process, counted) ? merge(process, counted) : process));
}

/** A sum that stays a number JSON can carry exactly. */
export function addCounts(a: number, b: number): number {
  return Math.min(Number.MAX_SAFE_INTEGER, a + b);
}

function merge(old: ProcessCount, seen: ProcessCount): ProcessCount {
  return { ...seen, count: addCounts(old.count, seen.count), first: Math.min(old.first, seen.first), last: Math.max(old.last, seen.last) };
}
