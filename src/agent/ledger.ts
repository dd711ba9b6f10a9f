// The agent's side of the usage ledger: turns grants, rotations, releases and the filesystem's records of opens into
// entries (PROTOCOL.md 1.5), which carry paths, versions and processes and never a value. Nothing here throws or waits.

import type { Logger } from 'pino';
import type { UsageEntry } from '../wire/node-protocol.ts';
import { secretsOf, treeOf } from './container-record.ts';
import type { ContainerRecord, GrantedFile } from './container-record.ts';
import type { FileEvent } from './fuse/events.ts';
import type { NewUsageEntry } from './ledger-spool.ts';
import { OpenFold } from './open-fold.ts';

export type ReleaseReason = Extract<UsageEntry, { type: 'released' }>['reason'];

/** Where entries go: the spool. */
export type AppendEntry = (entry: NewUsageEntry) => void;

/** The filesystem reports opens in batches, so the last ones of a container arrive after its end. */
const REMEMBER_MS = 60_000;
/** Renderings of a template that an open may still be about; the versions of its secrets are in none of the filesystem's events. */
const MAX_RENDERINGS = 8;

export class Ledger {
  readonly #append: AppendEntry;
  readonly #log: Logger;
  /** Files by container and name; of a template the latest renderings, newest first. */
  readonly #known = new Map<string, ReadonlyMap<string, readonly GrantedFile[]>>();
  /** Trees of volumes, with the containers that they are mounted in. */
  readonly #volumes = new Map<string, string>();
  readonly #forgetting = new Map<string, NodeJS.Timeout>();
  readonly #opens = new OpenFold((event) => this.#enter(event));

  constructor(append: AppendEntry, log: Logger) {
    this.#append = append;
    this.#log = log;
  }

  /** Names the files of a container without an entry: a predecessor granted them. */
  know(record: ContainerRecord): void {
    const tree = treeOf(record);
    clearTimeout(this.#forgetting.get(tree));
    if (record.volume !== undefined) this.#volumes.set(tree, record.workload.id);
    const before = this.#known.get(tree);
    this.#known.set(tree, new Map(record.files.map((file) => {
      const older = file.source.type === 'template' ? before?.get(file.name)?.filter(({ version }) => version !== file.version) ?? [] : [];
      return [file.name, [file, ...older].slice(0, MAX_RENDERINGS)];
    })));
  }

  /** @param files those that are new, when the container had others before */
  granted(record: ContainerRecord, files: readonly GrantedFile[] = record.files): void {
    this.know(record);
    this.#grant(record, files.filter((file) => file.kind !== 'absent').flatMap((file) => entriesOf(file).map((entry) => (file.isPinned ? { ...entry, pinned: true as const } : entry))));
  }

  #grant(record: ContainerRecord, secrets: (SecretEntry & { pinned?: true })[]): void {
    const { id, name, image, service, stack, task_id: task } = record.workload;
    this.#append({
      type: 'granted', time: new Date().toISOString(),
      container: { id, name, image, ...(service === undefined ? {} : { service }), ...(stack === undefined ? {} : { stack }), ...(task === undefined ? {} : { task_id: task }) },
      secrets,
    });
  }

  /** @param files the files that changed, with their new versions */
  rotated(record: ContainerRecord, files: readonly GrantedFile[]): void {
    const before = this.#known.get(treeOf(record));
    this.know(record);
    for (const file of files) {
      const held = new Map(before?.get(file.name)?.slice(0, 1).flatMap(entriesOf).map((entry) => [keyOf(entry), entry.version]) ?? []);
      const entries = entriesOf(file);
      // The new text of a template may name secrets that it did not have at the start.
      const added = file.source.type === 'template' ? entries.filter((entry) => !held.has(keyOf(entry))) : [];
      if (added.length > 0) this.#grant(record, added);
      const moved = file.source.type === 'template' ? entries.filter((entry) => !added.includes(entry) && held.get(keyOf(entry)) !== entry.version) : entries;
      // Versions alone do not tell: a secret that was removed and made anew counts from 1 again.
      for (const entry of moved.length + added.length > 0 ? moved : entries) this.#append({ type: 'rotated', time: new Date().toISOString(), container_id: record.workload.id, ...entry });
    }
  }

  /** @param attempt counts from 1 */
  acted(id: string, action: { readonly action: string; readonly outcome: 'done' | 'failed'; readonly exit_code?: number; readonly duration_ms: number; readonly attempt: number; readonly message?: string }): void {
    this.#append({ type: 'action', time: new Date().toISOString(), container_id: id, ...action });
  }

  released(id: string, reason: ReleaseReason): void {
    const trees = [id, ...[...this.#volumes].filter(([, container]) => container === id).map(([tree]) => tree)];
    for (const tree of trees) this.#opens.end(tree);
    this.#append({ type: 'released', time: new Date().toISOString(), container_id: id, reason });
    for (const tree of trees) this.#forget(tree);
  }

  #forget(tree: string): void {
    clearTimeout(this.#forgetting.get(tree));
    this.#forgetting.set(tree, setTimeout(() => {
      this.#opens.end(tree);
      for (const map of [this.#known, this.#volumes, this.#forgetting]) map.delete(tree);
    }, REMEMBER_MS).unref());
  }

  /** Records what the filesystem saw. */
  observed(events: readonly FileEvent[]): void {
    for (const event of events) this.#opens.add(event);
  }

  /** Passes on what is still counted together; the agent stops. */
  close(): void {
    this.#opens.close();
  }

  #enter(event: FileEvent): void {
    const files = this.#known.get(event.containerId)?.get(event.name);
    const file = files?.find(({ version }) => version === event.version) ?? files?.[0];
    const common = {
      time: new Date().toISOString(), container_id: this.#volumes.get(event.containerId) ?? event.containerId, count: event.count,
      first_time: new Date(event.firstTime).toISOString(), last_time: new Date(event.lastTime).toISOString(), process: processOf(event),
    };
    if (event.type === 'refused') this.#append({ ...common, type: 'refused', ...(file === undefined ? {} : { target: file.target }) });
    else if (file?.source.type === 'template') for (const entry of entriesOf(file)) this.#append({ ...common, type: 'opened', ...entry });
    else if (file !== undefined) for (const entry of entriesOf(file)) this.#append({ ...common, type: 'opened', ...entry, version: event.version });
    else this.#log.warn({ container: event.containerId.slice(0, 12) }, 'an open of a file without a record is not in the ledger');
  }
}

interface SecretEntry { path: string; field?: string; version: number; target: string }

/** One for each secret in the file, with the file's target. */
function entriesOf(file: GrantedFile): SecretEntry[] {
  return secretsOf(file).map(({ path, field, version }) => ({ path, version, target: file.target, ...(field === undefined ? {} : { field }) }));
}

function keyOf({ path, field }: SecretEntry): string {
  return `${path}\0${field ?? ''}`;
}

function processOf({ process }: FileEvent): { pid: number; uid: number; executable: string; name: string } {
  return { pid: process.pid, uid: process.uid, executable: process.executable.slice(0, 4096), name: process.name.slice(0, 64) };
}
