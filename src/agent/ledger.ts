// The agent's side of the usage ledger: turns grants, rotations, releases and the filesystem's records of opens into
// entries (PROTOCOL.md 1.5), which carry paths, versions and processes and never a value. Nothing here throws or waits.

import type { Logger } from 'pino';
import type { UsageEntry } from '../wire/node-protocol.ts';
import type { ContainerRecord, GrantedFile } from './container-record.ts';
import type { FileEvent } from './fuse/events.ts';
import type { NewUsageEntry } from './ledger-spool.ts';

export type ReleaseReason = Extract<UsageEntry, { type: 'released' }>['reason'];

/** Where entries go: the spool. */
export type AppendEntry = (entry: NewUsageEntry) => void;

/** The filesystem reports opens in batches, so the last ones of a container arrive after its end. */
const REMEMBER_MS = 60_000;

export class Ledger {
  readonly #append: AppendEntry;
  readonly #log: Logger;
  readonly #known = new Map<string, ReadonlyMap<string, GrantedFile>>();
  readonly #forgetting = new Map<string, NodeJS.Timeout>();

  constructor(append: AppendEntry, log: Logger) {
    this.#append = append;
    this.#log = log;
  }

  /** Names the files of a container without an entry: a predecessor granted them. */
  know(record: ContainerRecord): void {
    clearTimeout(this.#forgetting.get(record.workload.id));
    this.#known.set(record.workload.id, new Map(record.files.map((file) => [file.name, file])));
  }

  granted(record: ContainerRecord): void {
    this.know(record);
    const { id, name, image, service, stack, task_id: task } = record.workload;
    this.#append({
      type: 'granted', time: new Date().toISOString(),
      container: { id, name, image, ...(service === undefined ? {} : { service }), ...(stack === undefined ? {} : { stack }), ...(task === undefined ? {} : { task_id: task }) },
      secrets: record.files.filter((file) => file.kind !== 'absent').map(secretOf),
    });
  }

  /** @param files the files that changed, with their new versions */
  rotated(record: ContainerRecord, files: readonly GrantedFile[]): void {
    this.know(record);
    for (const file of files) this.#append({ type: 'rotated', time: new Date().toISOString(), container_id: record.workload.id, ...secretOf(file) });
  }

  released(id: string, reason: ReleaseReason): void {
    this.#append({ type: 'released', time: new Date().toISOString(), container_id: id, reason });
    clearTimeout(this.#forgetting.get(id));
    this.#forgetting.set(id, setTimeout(() => {
      this.#known.delete(id);
      this.#forgetting.delete(id);
    }, REMEMBER_MS).unref());
  }

  /** Records what the filesystem saw. */
  observed(events: readonly FileEvent[]): void {
    for (const event of events) {
      const file = this.#known.get(event.containerId)?.get(event.name);
      const common = {
        time: new Date().toISOString(), container_id: event.containerId, count: event.count,
        first_time: new Date(event.firstTime).toISOString(), last_time: new Date(event.lastTime).toISOString(), process: processOf(event),
      };
      if (event.type === 'refused') this.#append({ ...common, type: 'refused', ...(file === undefined ? {} : { target: file.target }) });
      else if (file !== undefined) this.#append({ ...common, type: 'opened', ...secretOf(file), version: event.version });
      else this.#log.warn({ container: event.containerId.slice(0, 12) }, 'an open of a file without a record is not in the ledger');
    }
  }
}

function secretOf(file: GrantedFile): { path: string; field?: string; version: number; target: string } {
  return { path: file.path, version: file.version, target: file.target, ...(file.field === undefined ? {} : { field: file.field }) };
}

function processOf({ process }: FileEvent): { pid: number; uid: number; executable: string; name: string } {
  return { pid: process.pid, uid: process.uid, executable: process.executable.slice(0, 4096), name: process.name.slice(0, 64) };
}
