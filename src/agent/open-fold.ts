// How much of the ledger one container may fill with its opens. Each container has an allowance of single entries; what goes beyond it is
// counted together, per file, version, program and outcome, and comes out once a minute. So a container that opens its secret in a loop
// of new processes costs the core, its audit file and its store next to nothing, and no open is lost from the counts. What is counted
// and not yet passed on is lost when the agent is killed.

import type { FileEvent } from './fuse/events.ts';

/** Single entries that a container may leave in one burst, and how many it regains in a second. */
const BURST = 240;
const PER_SECOND = 1;
const FOLD_MS = 60_000;
/** Programs told apart while folding, per container; further ones fold into one without a name. */
const MAX_PROGRAMS = 32;

interface Folder {
  allowance: number;
  refilledAt: number;
  readonly folded: Map<string, FileEvent>;
  readonly programs: Set<string>;
}

export class OpenFold {
  readonly #emit: (event: FileEvent) => void;
  readonly #folders = new Map<string, Folder>();
  #timer: NodeJS.Timeout | undefined;

  /** @param emit gets what is to be an entry */
  constructor(emit: (event: FileEvent) => void) {
    this.#emit = emit;
  }

  /** @param now in milliseconds */
  add(event: FileEvent, now = performance.now()): void {
    const folder = this.#folder(event.containerId, now);
    folder.allowance = Math.min(BURST, folder.allowance + (now - folder.refilledAt) / 1000 * PER_SECOND);
    folder.refilledAt = now;
    // What has begun to fold goes on folding until it is passed on: the entries of one file stay in order.
    if (folder.allowance >= 1 && folder.folded.size === 0) {
      folder.allowance--;
      this.#emit(event);
    } else {
      fold(folder, event);
      this.#timer ??= setTimeout(() => this.#flushAll(), FOLD_MS).unref();
    }
  }

  /** Passes on what was folded of one container, which ends, and forgets it. */
  end(containerId: string): void {
    this.#flush(this.#folders.get(containerId));
    this.#folders.delete(containerId);
  }

  /** Passes on everything. */
  close(): void {
    clearTimeout(this.#timer);
    this.#flushAll();
  }

  #folder(id: string, now: number): Folder {
    let folder = this.#folders.get(id);
    if (folder === undefined) this.#folders.set(id, folder = { allowance: BURST, refilledAt: now, folded: new Map(), programs: new Set() });
    return folder;
  }

  #flushAll(): void {
    this.#timer = undefined;
    for (const folder of this.#folders.values()) this.#flush(folder);
  }

  #flush(folder: Folder | undefined): void {
    for (const event of folder?.folded.values() ?? []) this.#emit(event);
    folder?.folded.clear();
    folder?.programs.clear();
  }
}

function fold({ folded, programs }: Folder, event: FileEvent): void {
  const { type, name, version, process, count, firstTime, lastTime } = event;
  const program = `${String(process.uid)}\0${process.name}\0${process.executable}`;
  const isNamed = programs.has(program) || programs.size < MAX_PROGRAMS;
  if (isNamed) programs.add(program);
  const key = `${type}\0${name}\0${String(version)}\0${isNamed ? program : ''}`;
  const known = folded.get(key);
  if (known === undefined) {
    folded.set(key, isNamed ? { ...event } : { ...event, process: { ...process, pid: 0, name: '', executable: '' } });
    return;
  }
  folded.set(key, {
    ...known, count: known.count + count, firstTime: Math.min(known.firstTime, firstTime), lastTime: Math.max(known.lastTime, lastTime),
    process: known.process.pid === process.pid ? known.process : { ...known.process, pid: 0 },
  });
}
