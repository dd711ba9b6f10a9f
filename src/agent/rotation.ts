// Rotation on the node: paths that changed → the containers that hold them → one resolve for all → one atomic replace for
// all → the ledger. At most one round runs at a time; what arrives meanwhile waits for the next, so a burst costs one round.
// Whatever the core denies, lacks or cannot answer, a container keeps its last value.

import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { messageOf } from '../lib/errors.ts';
import { MAX_WORKLOADS } from '../wire/node-protocol.ts';
import type { ResolveResult } from '../wire/node-protocol.ts';
import { isMovable } from './containers.ts';
import type { Containers } from './containers.ts';
import type { ContainerRecord, GrantedFile } from './container-record.ts';
import type { CoreLink } from './core-link.ts';
import type { ChangedFile } from './fuse/filesystem.ts';
import type { ContainerUpdate } from './fuse/plan.ts';
import { MAX_VALUE } from './fuse/state-log.ts';
import type { Ledger } from './ledger.ts';
import { bytesOfValue } from '../lib/secret-bytes.ts';

export interface RotationOptions {
  readonly containers: Containers;
  readonly core: Pick<CoreLink, 'resolve'>;
  /** Replaces the named files of all containers in one step and tells which changed (SecretFilesystem.replace). */
  readonly replace: (updates: readonly ContainerUpdate[]) => Promise<readonly ChangedFile[]>;
  readonly ledger: Pick<Ledger, 'rotated'>;
  readonly log: Logger;
  /** Milliseconds that changes gather before a round. */
  readonly gatherMs?: number;
  /** Longest random pause before each batch of a full round, in milliseconds: many nodes lose the same core at once. */
  readonly jitterMs?: number;
  /** Milliseconds before another try when the core cannot answer, doubled each time up to 5 s. */
  readonly retryMs?: number;
}

/** The files of one container that a round asks about. */
interface Question {
  readonly record: ContainerRecord;
  readonly files: readonly GrantedFile[];
}

/** Paths whose last version is remembered for containers that are being prepared meanwhile. */
const MAX_SEEN = 10_000;

export class Rotation {
  readonly #options: Required<RotationOptions>;
  readonly #stop = new AbortController();
  /** Containers to ask about; 'all' files or those of the paths. */
  #pending = new Map<string, Set<string> | 'all'>();
  /** Newest version heard of, by path. */
  readonly #seen = new Map<string, number>();
  #round: Promise<void> | undefined;
  #epoch = 0;

  constructor(options: RotationOptions) {
    this.#options = { gatherMs: 2, jitterMs: 250, retryMs: 200, ...options };
  }

  /** Counts the times the core forgot what this node holds; a grant made in an older epoch must be asked about again. */
  get epoch(): number {
    return this.#epoch;
  }

  /** The core says that `path` has a new current version. */
  changed(path: string, version: number): void {
    this.#seen.delete(path);
    this.#seen.set(path, version);
    if (this.#seen.size > MAX_SEEN) this.#seen.delete(this.#seen.keys().next().value as string);
    for (const id of this.#options.containers.holding(path)) this.#want(id, path);
    this.#begin();
  }

  /** The core does not remember this node: ask about everything held, which also makes the node a holder again. */
  resync(): void {
    this.#epoch++;
    for (const { workload } of this.#options.containers.all()) this.#pending.set(workload.id, 'all');
    this.#begin();
  }

  /**
   * Catches what changed while the container was being prepared, before it was known here.
   * @param epoch the epoch before its references were resolved
   */
  admitted(record: ContainerRecord, epoch: number): void {
    if (epoch !== this.#epoch) this.#pending.set(record.workload.id, 'all');
    else for (const { path } of record.files.filter((file) => isMovable(file) && isOlder(file.version, this.#seen.get(file.path)))) this.#want(record.workload.id, path);
    this.#begin();
  }

  /** Waits until nothing is pending; for tests and an orderly end. */
  async settled(): Promise<void> {
    while (this.#round !== undefined) await this.#round;
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.settled();
  }

  #want(id: string, path: string): void {
    const wanted = this.#pending.get(id);
    if (wanted === undefined) this.#pending.set(id, new Set([path]));
    else if (wanted !== 'all') wanted.add(path);
  }

  #begin(): void {
    if (this.#pending.size === 0 || this.#round !== undefined || this.#stop.signal.aborted) return;
    this.#round = this.#run().finally(() => {
      this.#round = undefined;
      this.#begin();
    });
  }

  async #run(): Promise<void> {
    await this.#pause(this.#options.gatherMs);
    for (let failures = 0; this.#pending.size > 0 && !this.#stop.signal.aborted;) {
      const batch = [...this.#pending].slice(0, MAX_WORKLOADS);
      for (const [id] of batch) this.#pending.delete(id);
      if (batch.some(([, wanted]) => wanted === 'all')) await this.#pause(this.#options.jitterMs * Math.random());
      try {
        await this.#rotate(batch.map(([id, wanted]) => this.#question(id, wanted)).filter((question) => question !== undefined));
        failures = 0;
      } catch (error) {
        for (const [id, wanted] of batch) if (wanted === 'all') this.#pending.set(id, 'all'); else for (const path of wanted) this.#want(id, path);
        if (failures++ === 0) this.#options.log.warn({ containers: batch.length, err: messageOf(error) }, 'a rotation cannot be followed yet; containers keep their last values');
        await this.#pause(Math.min(5000, this.#options.retryMs * 2 ** Math.min(failures, 10)) * (0.5 + Math.random() / 2));
      }
    }
  }

  #question(id: string, wanted: ReadonlySet<string> | 'all'): Question | undefined {
    const record = this.#options.containers.get(id);
    const files = record?.files.filter((file) => isMovable(file) && (wanted === 'all' || wanted.has(file.path))) ?? [];
    return record === undefined || files.length === 0 ? undefined : { record, files };
  }

  async #rotate(questions: readonly Question[]): Promise<void> {
    if (questions.length === 0) return;
    const { workloads } = await this.#options.core.resolve({ workloads: questions.map(requestOf) });
    const updates: ContainerUpdate[] = [];
    const moved: { id: string; files: readonly GrantedFile[] }[] = [];
    for (const [index, question] of questions.entries()) {
      // Started anew while the core was asked: the new run has values of its own, and admitted() looks after them.
      if (this.#options.containers.get(question.record.workload.id)?.grantedAt !== question.record.grantedAt) continue;
      const answer = workloads[index];
      const changes = this.#changes(question, [...answer?.results ?? []], [...answer?.swarm_secrets ?? []]);
      if (changes.length === 0) continue;
      updates.push({ containerId: question.record.workload.id, files: changes.map(({ file, content }) => ({ name: file.name, version: file.version, content })) });
      moved.push({ id: question.record.workload.id, files: changes.map(({ file }) => file) });
    }
    if (updates.length === 0) return;
    let changed: Set<string>;
    try {
      changed = new Set((await this.#options.replace(updates)).map(({ containerId, name }) => `${containerId}/${name}`));
    } finally {
      for (const { files } of updates) for (const { content } of files) content.fill(0);
    }
    for (const { id, files } of moved) this.#record(id, files.filter(({ name }) => changed.has(`${id}/${name}`)));
  }

  #record(id: string, files: readonly GrantedFile[]): void {
    // Read again: the container may have ended meanwhile.
    const record = this.#options.containers.get(id);
    if (record === undefined || files.length === 0) return;
    // A running process keeps its variables, and the record says what it runs with; the next process gets the new value.
    const seen = files.filter(({ kind }) => kind !== 'hidden');
    const byName = new Map(seen.map((file) => [file.name, file]));
    const next = { ...record, files: record.files.map((file) => byName.get(file.name) ?? file) };
    if (seen.length > 0) {
      this.#options.containers.put(next);
      this.#options.ledger.rotated(next, seen);
    }
    for (const file of files) this.#options.log.info({ container: record.workload.name, path: file.path, version: file.version }, 'secret rotated');
  }

  #changes({ record, files }: Question, references: ResolveResult[], swarm: ResolveResult[]): { file: GrantedFile; content: Uint8Array }[] {
    return files.flatMap((file) => {
      const result = file.source.type === 'reference' ? references.shift() : swarm.shift();
      if (result?.outcome === 'value') {
        // The number alone does not tell: a secret that was removed and made anew counts from 1 again.
        const content = bytesOfValue(result.value);
        // One value that cannot be served must not keep the others of the round back.
        const fault = faultOf(file, content);
        if (fault === undefined) return [{ file: { ...file, version: result.version, path: result.path }, content }];
        content.fill(0);
        this.#options.log.error({ container: record.workload.name, path: file.path, version: result.version }, `the new value ${fault}; the container keeps its last value`);
        return [];
      }
      const reason = result?.outcome === 'error' ? result.message : 'the secret does not exist any more';
      if (file.version > 0 || result?.outcome === 'error') {
        this.#options.log.warn({ container: record.workload.name, path: file.path, version: file.version, reason }, 'the container keeps its last value');
      }
      return [];
    });
  }

  async #pause(milliseconds: number): Promise<void> {
    await sleep(milliseconds, undefined, { signal: this.#stop.signal }).catch(() => undefined);
  }
}

function requestOf({ record, files }: Question): { references: string[]; swarm_secrets?: string[] } & ContainerRecord['workload'] {
  const references = files.flatMap(({ source }) => source.type === 'reference' ? [source.text] : []);
  const swarm = files.flatMap(({ source }) => source.type === 'swarm' ? [source.name] : []);
  return { ...record.workload, references, ...(swarm.length === 0 ? {} : { swarm_secrets: swarm }) };
}

/** Why a new value cannot take the place of the last one. */
function faultOf(file: GrantedFile, content: Uint8Array): string | undefined {
  if (content.length > MAX_VALUE) return 'is larger than 1 MiB';
  return file.kind === 'hidden' && content.includes(0) ? 'has a NUL byte, which a variable cannot carry' : undefined;
}

/** Version 0 says that no version is left; the file then keeps what it has. */
function isOlder(held: number, seen: number | undefined): boolean {
  return seen !== undefined && seen !== 0 && seen !== held;
}
