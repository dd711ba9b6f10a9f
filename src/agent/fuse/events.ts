// The record of opens and refusals, folded so that no reader can make it grow: one entry per (file version, process, outcome) and flush. When a
// flush interval sees too many processes, further ones fold into one entry per file with process id 0. No value and no content ever passes here.

import type { Callers } from './caller.ts';

export interface FileEvent {
  readonly type: 'opened' | 'refused';
  readonly containerId: string;
  /** '' when a directory was to be listed. */
  readonly name: string;
  /** 0 when a directory was to be listed. */
  readonly version: number;
  /** pid 0 stands for several processes, folded. */
  readonly process: { readonly pid: number; readonly uid: number; readonly gid: number; readonly name: string; readonly executable: string };
  count: number;
  /** Milliseconds since the epoch. */
  readonly firstTime: number;
  lastTime: number;
}

/** What happened, before folding. */
export interface Occurrence {
  readonly type: FileEvent['type'];
  readonly containerId: string;
  readonly name: string;
  readonly version: number;
  readonly tid: number;
  readonly uid: number;
  readonly gid: number;
}

/** How long after events the main thread ticks. */
export const FLUSH_MS = 250;
const MAX_ENTRIES = 1024;

export class EventFold {
  readonly #callers: Callers;
  #entries = new Map<string, FileEvent>();
  #isTickOwed = false;

  constructor(callers: Callers) {
    this.#callers = callers;
  }

  add(what: Occurrence, now: number): void {
    const process = this.#callers.process(what.tid);
    const subject = `${what.type}/${what.containerId}/${what.version}/${what.name}`;
    const key = `${process?.tgid ?? 0}/${subject}`;
    const known = this.#entries.get(key) ?? (this.#entries.size >= MAX_ENTRIES ? this.#entries.get(`0/${subject}`) : undefined);
    if (known !== undefined) {
      known.count++;
      known.lastTime = now;
      return;
    }
    const { type, containerId, name, version, uid, gid } = what;
    const isFolded = this.#entries.size >= MAX_ENTRIES || process === undefined;
    const who = isFolded ? { pid: 0, uid, gid, name: '', executable: '' }
      : { pid: process.tgid, uid, gid, name: process.name, executable: this.#callers.executable(what.tid) };
    this.#entries.set(isFolded ? `0/${subject}` : key, { type, containerId, name, version, process: who, count: 1, firstTime: now, lastTime: now });
  }

  /**
   * The folded events, when there are any. Whoever gets some owes a tick, and until it comes further ones are held back: a clock would not do,
   * because what it holds back after the last tick would wait for another request.
   */
  flush(isTick = false): FileEvent[] | undefined {
    if (isTick) this.#isTickOwed = false;
    if (this.#entries.size === 0 || this.#isTickOwed) return undefined;
    const events = [...this.#entries.values()];
    this.#entries = new Map();
    this.#isTickOwed = true;
    return events;
  }
}
