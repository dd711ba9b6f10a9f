// The containers this agent serves, in memory and on disk, with an index from secret path to the containers that hold it.
// The memory decides; the disk follows in order per container and is for successors. A record that does not read is
// reported and left alone: its container keeps its values but no longer follows rotations.

import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { makeDirectory } from '../lib/make-directory.ts';
import { readJsonFile, writeFileAtomic } from '../lib/atomic-file.ts';
import { messageOf } from '../lib/errors.ts';
import { KeyedLock } from '../lib/keyed-lock.ts';
import { containerFileSchema, secretsOf, treeOf } from './container-record.ts';
import type { ContainerRecord, GrantedFile } from './container-record.ts';

/** Milliseconds from a rotation until its records go to the disk: a hundred of them cost more than the rotation, and readers wait. */
const SETTLE_MS = 500;

export class Containers {
  readonly #directory: string;
  readonly #log: Logger;
  readonly #records = new Map<string, ContainerRecord>();
  readonly #holders = new Map<string, Set<string>>();
  readonly #disk = new KeyedLock();
  readonly #writes = new Set<Promise<void>>();
  /** Containers whose record on disk has older versions. */
  readonly #outdated = new Set<string>();
  #settling: NodeJS.Timeout | undefined;

  private constructor(directory: string, log: Logger) {
    this.#directory = directory;
    this.#log = log;
  }

  /** Reads the records below `directory` (created with mode 0700). */
  static async open(directory: string, log: Logger): Promise<Containers> {
    const containers = new Containers(directory, log);
    makeDirectory(directory, 0o700);
    for (const name of await readdir(directory)) {
      if (!/^[0-9a-f]{64}\.json$/.test(name)) continue;
      try {
        const stored = await readJsonFile(join(directory, name), (value) => containerFileSchema.parse(value).container);
        if (stored !== undefined) containers.#index(stored);
      } catch (error) {
        log.error({ container: name.slice(0, 12), err: messageOf(error).split('\n')[0] }, 'the record of a container cannot be read; it no longer follows rotations');
      }
    }
    return containers;
  }

  get(id: string): ContainerRecord | undefined {
    return this.#records.get(id);
  }

  all(): ContainerRecord[] {
    return [...this.#records.values()];
  }

  /** Trees with a file from `path` that may move. */
  holding(path: string): readonly string[] {
    return [...this.#holders.get(path) ?? []];
  }

  /** Adds or replaces a record; the copy on disk follows. */
  put(record: ContainerRecord): void {
    this.#unindex(treeOf(record));
    this.#index(record);
    void this.#store(record);
  }

  /**
   * Replaces a record by one that differs in versions only. The disk follows a little later, one record after the other: until then a
   * successor would know older numbers, which it does not decide by.
   */
  moved(record: ContainerRecord): void {
    this.#unindex(treeOf(record));
    this.#index(record);
    this.#outdated.add(treeOf(record));
    this.#settling ??= setTimeout(() => { void this.#settle(); }, SETTLE_MS).unref();
  }

  delete(id: string): void {
    this.#unindex(id);
    this.#records.delete(id);
    this.#outdated.delete(id);
    void this.#later(id, () => rm(this.#file(id), { force: true }));
  }

  /** Waits until the disk has what was put for this container, or could not take it. */
  async stored(id: string): Promise<void> {
    await this.#disk.run(id, () => Promise.resolve());
  }

  /** Waits until the disk has everything. */
  async flush(): Promise<void> {
    await this.#settle();
    while (this.#writes.size > 0) await Promise.all(this.#writes);
  }

  #index(record: ContainerRecord): void {
    this.#records.set(treeOf(record), record);
    for (const { path } of record.files.filter(isMovable).flatMap(secretsOf)) {
      const holders = this.#holders.get(path) ?? new Set();
      this.#holders.set(path, holders.add(treeOf(record)));
    }
  }

  #unindex(id: string): void {
    for (const { path } of this.#records.get(id)?.files.flatMap(secretsOf) ?? []) {
      const holders = this.#holders.get(path);
      if (holders?.delete(id) === true && holders.size === 0) this.#holders.delete(path);
    }
  }

  #file(id: string): string {
    return join(this.#directory, `${id}.json`);
  }

  async #settle(): Promise<void> {
    for (const id of this.#outdated) {
      const record = this.#records.get(id);
      if (record !== undefined) await this.#store(record);
    }
    clearTimeout(this.#settling);
    this.#settling = undefined;
  }

  #store(record: ContainerRecord): Promise<void> {
    const id = treeOf(record);
    this.#outdated.delete(id);
    const text = `${JSON.stringify({ format: 1, container: record })}\n`;
    return this.#later(id, () => writeFileAtomic(this.#file(id), text, { mode: 0o600 }));
  }

  #later(id: string, action: () => Promise<void>): Promise<void> {
    const write = this.#disk.run(id, action).catch((error: unknown) => {
      this.#log.error({ container: id.slice(0, 12), err: messageOf(error) }, 'the record of a container could not be stored; a restarted agent would not follow its rotations');
    }).finally(() => this.#writes.delete(write));
    this.#writes.add(write);
    return write;
  }
}

/** True for a file that a rotation can change. */
export function isMovable(file: GrantedFile): boolean {
  return file.kind !== 'absent' && file.kind !== 'default' && !file.isPinned && file.source.type !== 'identity';
}
