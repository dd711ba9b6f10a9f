// Rotation on the node: paths that changed → the containers that hold them → one resolve for all → one atomic replace for
// all → the ledger. At most one round runs at a time; what arrives meanwhile waits for the next, so a burst costs one round.
// Whatever the core denies, lacks or cannot answer, a container keeps its last value.

import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { CoreResponseError } from '../client/response.ts';
import { PurserError, isPurserError, messageOf } from '../lib/errors.ts';
import { MAX_WORKLOADS } from '../wire/node-protocol.ts';
import type { ResolveResult } from '../wire/node-protocol.ts';
import { isMovable } from './containers.ts';
import type { Containers } from './containers.ts';
import { secretsOf, treeOf } from './container-record.ts';
import type { ContainerRecord, GrantedFile } from './container-record.ts';
import type { CoreLink } from './core-link.ts';
import type { ChangedFile } from './fuse/filesystem.ts';
import type { ContainerUpdate } from './fuse/plan.ts';
import { MAX_VALUE } from './fuse/state-log.ts';
import type { Ledger } from './ledger.ts';
import { openGranted, renderAnswers, rerendered, templateReferences } from './template-files.ts';
import type { OpenTemplate } from './template-files.ts';
import { bytesOfValue } from '../lib/secret-bytes.ts';
import { traced } from '../lib/trace.ts';

export interface RotationOptions {
  readonly containers: Containers;
  readonly core: Pick<CoreLink, 'resolve'>;
  /** Replaces the named files of all containers in one step and tells which changed (SecretFilesystem.replace). */
  readonly replace: (updates: readonly ContainerUpdate[]) => Promise<readonly ChangedFile[]>;
  readonly ledger: Pick<Ledger, 'rotated'>;
  /** Told what changed in a container, once readers see it. */
  readonly onRotated?: (id: string, files: readonly GrantedFile[]) => void;
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

/** Containers to ask about, and for what. */
type Wanted = readonly (readonly [id: string, wanted: ReadonlySet<string> | 'all'])[];

/** After how many of the shortest pauses a container that was refused is asked about again. */
const SET_ASIDE_RETRIES = 50;
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
  /** The containers of the batch under way. */
  #asking: ReadonlySet<string> = new Set();
  /** Who waits for the end of a batch. */
  readonly #waiting: (() => void)[] = [];
  #epoch = 0;

  constructor(options: RotationOptions) {
    this.#options = { gatherMs: 1, jitterMs: 250, retryMs: 200, onRotated: () => undefined, ...options };
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
    for (const record of this.#options.containers.all()) this.#pending.set(treeOf(record), 'all');
    this.#begin();
  }

  /**
   * Catches what changed while the container was being prepared, before it was known here.
   * @param epoch the epoch before its references were resolved
   */
  admitted(record: ContainerRecord, epoch: number): void {
    if (epoch !== this.#epoch) this.#pending.set(treeOf(record), 'all');
    else for (const { path } of record.files.filter(isMovable).flatMap(secretsOf).filter(({ path, version }) => isOlder(version, this.#seen.get(path)))) this.#want(treeOf(record), path);
    this.#begin();
  }

  /** Waits until nothing is pending; for tests and an orderly end. */
  async settled(): Promise<void> {
    while (this.#round !== undefined) await this.#round;
  }

  /** Waits until this container has every change that is known. May take as long as the core is away. */
  async caughtUp(id: string): Promise<void> {
    while (this.#pending.has(id) || this.#asking.has(id)) await new Promise<void>((resolve) => { this.#waiting.push(resolve); });
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
    let size = MAX_WORKLOADS;
    for (let failures = 0; this.#pending.size > 0 && !this.#stop.signal.aborted;) {
      const batch = [...this.#pending].slice(0, size);
      for (const [id] of batch) this.#pending.delete(id);
      this.#asking = new Set(batch.map(([id]) => id));
      if (batch.some(([, wanted]) => wanted === 'all')) await this.#pause(this.#options.jitterMs * Math.random());
      try {
        await traced(() => this.#rotate(batch.map(([id, wanted]) => this.#question(id, wanted)).filter((question) => question !== undefined)));
        failures = 0;
        size = Math.min(MAX_WORKLOADS, 2 * size);
      } catch (error) {
        const isRefused = isTooMuch(error);
        if (isRefused && batch.length === 1) this.#setAside(batch, error);
        else this.#wantAgain(batch);
        // What one container asks for can be too much for a request; the others must not wait for it.
        if (isRefused) size = Math.ceil(batch.length / 2);
        else {
          if (failures++ === 0) this.#options.log.warn({ containers: batch.length, err: messageOf(error) }, 'a rotation cannot be followed yet; containers keep their last values');
          await this.#pause(Math.min(5000, this.#options.retryMs * 2 ** Math.min(failures, 10)) * (0.5 + Math.random() / 2));
        }
      }
      this.#asking = new Set();
      for (const go of this.#waiting.splice(0)) go();
    }
  }

  #wantAgain(batch: Wanted): void {
    for (const [id, wanted] of batch) if (wanted === 'all') this.#pending.set(id, 'all'); else for (const path of wanted) this.#want(id, path);
  }

  /** Asks for a container that the core refused once more later, while rotations of the others go on. */
  #setAside(batch: Wanted, error: unknown): void {
    this.#options.log.error({ container: this.#options.containers.get(batch[0]?.[0] ?? '')?.workload.name, err: messageOf(error) }, 'a rotation of one container is refused; it keeps its last values, and is tried again');
    setTimeout(() => {
      this.#wantAgain(batch);
      this.#begin();
    }, SET_ASIDE_RETRIES * this.#options.retryMs).unref();
  }

  #question(id: string, wanted: ReadonlySet<string> | 'all'): Question | undefined {
    const record = this.#options.containers.get(id);
    const movable = record?.files.filter(isMovable) ?? [];
    const files = wanted === 'all' ? movable : touched(movable, wanted);
    return record === undefined || files.length === 0 ? undefined : { record, files };
  }

  async #rotate(questions: readonly Question[]): Promise<void> {
    if (questions.length === 0) return;
    const templates = await openGranted(this.#options.core, questions);
    const { workloads } = await this.#options.core.resolve({ workloads: questions.map((question) => requestOf(question, templates)) });
    const updates: ContainerUpdate[] = [];
    const moved: { id: string; files: readonly GrantedFile[] }[] = [];
    for (const [index, question] of questions.entries()) {
      // Started anew while the core was asked: the new run has values of its own, and admitted() looks after them.
      if (this.#options.containers.get(treeOf(question.record))?.grantedAt !== question.record.grantedAt) continue;
      const answer = workloads[index];
      const changes = this.#changes(question, templates, [...answer?.results ?? []], [...answer?.swarm_secrets ?? []]);
      if (changes.length === 0) continue;
      updates.push({ containerId: treeOf(question.record), files: changes.map(({ file, content }) => ({ name: file.name, version: file.version, content })) });
      moved.push({ id: treeOf(question.record), files: changes.map(({ file }) => file) });
    }
    if (updates.length === 0) return;
    let changed: Set<string>;
    try {
      changed = new Set((await this.#options.replace(updates)).map(({ containerId, name }) => `${containerId}/${name}`));
    } finally {
      for (const { files } of updates) for (const { content } of files) content.fill(0);
    }
    const rotated = moved.map(({ id, files }) => ({ id, files: files.filter((file) => changed.has(`${id}/${file.name}`) || isBehind(this.#options.containers.get(id), file)) }));
    for (const { id, files } of rotated) this.#record(id, files);
    this.#report(rotated.flatMap(({ files }) => files));
  }

  /** One line per version; which containers they are stands in the ledger. */
  #report(files: readonly GrantedFile[]): void {
    const counts = new Map<string, { path: string; version: number; files: number }>();
    for (const { path, version } of files) {
      const count = counts.get(`${version} ${path}`) ?? { path, version, files: 0 };
      count.files++;
      counts.set(`${version} ${path}`, count);
    }
    for (const count of counts.values()) this.#options.log.info(count, 'secret rotated');
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
      this.#options.containers.moved(next);
      this.#options.ledger.rotated(next, seen);
    }
    // The new text of a template may name a secret that changed before this container was known to hold it.
    for (const { path, version } of seen.filter(({ source }) => source.type === 'template').flatMap(secretsOf)) if (isOlder(version, this.#seen.get(path))) this.#want(id, path);
    this.#options.onRotated(id, files);
  }

  #changes({ record, files }: Question, templates: Opened, references: ResolveResult[], swarm: ResolveResult[]): { file: GrantedFile; content: Uint8Array }[] {
    return files.flatMap((file) => {
      if (file.source.type === 'template') return this.#rendered(record, file, templates.get(file), references);
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

  #rendered(record: ContainerRecord, file: GrantedFile, template: ReturnType<Opened['get']>, references: ResolveResult[]): { file: GrantedFile; content: Uint8Array }[] {
    try {
      if (template === undefined || template instanceof PurserError) throw template ?? new TypeError('the template was not opened');
      const rendering = renderAnswers(template, references.splice(0, template.template.secrets.length));
      return [{ file: rerendered(file, rendering), content: rendering.content }];
    } catch (error) {
      this.#options.log.warn({ container: record.workload.name, target: file.target, reason: isPurserError(error) ? error.message : 'it failed' }, 'a template cannot be rendered anew; the container keeps its last rendering');
      return [];
    }
  }

  async #pause(milliseconds: number): Promise<void> {
    await sleep(milliseconds, undefined, { signal: this.#stop.signal }).catch(() => undefined);
  }
}

/** The files with a wanted path. A template brings its other secrets along, and these their files: what changes in one step fits together. */
function touched(files: readonly GrantedFile[], wanted: ReadonlySet<string>): readonly GrantedFile[] {
  const templates = files.filter(({ source }) => source.type === 'template').map((file) => secretsOf(file).map(({ path }) => path));
  const paths = new Set(wanted);
  for (let size = 0; size !== paths.size;) {
    size = paths.size;
    for (const own of templates) if (own.some((path) => paths.has(path))) for (const path of own) paths.add(path);
  }
  return files.filter((file) => secretsOf(file).some(({ path }) => paths.has(path)));
}

type Opened = ReadonlyMap<GrantedFile, OpenTemplate | PurserError>;

function requestOf({ record, files }: Question, templates: Opened): { references: string[]; swarm_secrets?: string[] } & ContainerRecord['workload'] {
  const references = files.flatMap((file) => {
    const template = templates.get(file);
    return file.source.type === 'reference' ? [file.source.text] : template === undefined || template instanceof PurserError ? [] : templateReferences(template);
  });
  const swarm = files.flatMap(({ source }) => source.type === 'swarm' ? [source.name] : []);
  return { ...record.workload, references, ...(swarm.length === 0 ? {} : { swarm_secrets: swarm }) };
}

/** Why a new value cannot take the place of the last one. */
function faultOf(file: GrantedFile, content: Uint8Array): string | undefined {
  if (content.length > MAX_VALUE) return 'is larger than 1 MiB';
  return file.kind === 'hidden' && content.includes(0) ? 'has a NUL byte, which a variable cannot carry' : undefined;
}

/** True when an agent that died had shown the version to readers, and neither recorded nor acted on it. */
function isBehind(record: ContainerRecord | undefined, file: GrantedFile): boolean {
  const held = record?.files.find(({ name }) => name === file.name);
  return held !== undefined && held.kind !== 'hidden' && held.version !== file.version;
}

/** Version 0 says that no version is left; the file then keeps what it has. */
function isOlder(held: number, seen: number | undefined): boolean {
  return seen !== undefined && seen !== 0 && seen !== held;
}

/** The request or its answer is too large, or not what the core can read; whatever else is wrong, a smaller one would not mend it. */
function isTooMuch(error: unknown): boolean {
  return isPurserError(error, 'ERR_CLIENT_PROTOCOL') || (error instanceof CoreResponseError && (error.status === 400 || error.status === 413));
}
