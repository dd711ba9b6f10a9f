// The secret filesystem as the agent uses it: one mount, served by a thread of this process, whose descriptor and memory belong to the holder. Every
// promise resolves after the change is safe from a kill of this process and visible to readers. Events in the containers follow before it resolves.
// Nothing here touches the mount synchronously: that would deadlock while the serving thread waits.

import { write, writeSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Worker } from 'node:worker_threads';
import { PurserError, messageOf } from '../../lib/errors.ts';
import type { ErrorCode } from '../../lib/error-codes.ts';
import { FLUSH_MS, type FileEvent } from './events.ts';
import { Gestures, type Gesture } from './gesture.ts';
import { FUSE_ROLE, GESTURE_PID, POSTED, READS, SIGNAL_WORDS, type Command, type ContainerSummary, type Failure, type FuseWorkerData, type HiddenValue, type Outcome, type Raise, type Report } from './messages.ts';
import type { ContainerTree, ContainerUpdate } from './plan.ts';
import { WAKE_NAME, notifyWake } from './protocol.ts';
import { WAIT_MS } from './waiting.ts';
import { dieBySignal } from './worker.ts';

export type { FileEvent } from './events.ts';
export type { ContainerSummary, HiddenValue } from './messages.ts';
export type { ContainerTree, ContainerUpdate, SecretFile } from './plan.ts';
export type { FileKind } from './state-record.ts';

/** A serving thread that does not answer for this long is broken. */
const ANSWER_TIMEOUT_MS = 30_000;

const writeAsync = promisify(write);

export interface AttachOptions {
  /** /dev/fuse, already mounted by the holder on `mountPoint`; keep it out of child processes. */
  readonly fuseFd: number;
  /** The holder's two memfds (any regular files will do), empty on a new mount. */
  readonly stateFds: readonly [number, number];
  readonly mountPoint: string;
  /** Opens and refusals, folded, at most every 250 ms. */
  readonly onEvent: (event: FileEvent) => void;
  /** The mount is gone; nothing can be served any more. Default: end the process by SIGKILL, for the holder to see. */
  readonly onLost?: (error: PurserError) => void;
  readonly log?: { readonly warn: (message: string) => void };
  /** The file that calls runFuseWorker(); default: the bundle itself. */
  readonly workerEntry?: string | URL;
  readonly workerExecArgv?: readonly string[];
}

interface Pending { readonly resolve: (outcome: Outcome) => void; readonly reject: (error: Error) => void }

/** Contents are copied once, because a transfer takes them from the caller; the serving thread erases the copies. */
function copyContents<T extends { readonly content: Uint8Array }>(files: readonly T[], transfer: ArrayBuffer[]): T[] {
  return files.map((file) => {
    const content = new Uint8Array(file.content);
    transfer.push(content.buffer);
    return { ...file, content };
  });
}

function gone(cause: unknown): Failure {
  return { code: 'ERR_FUSE_UNAVAILABLE', message: `the filesystem is not mounted where it should be: ${messageOf(cause)}`, hint: 'restart the agent together with its holder' };
}

function errorOf({ code, message, hint }: Failure): PurserError {
  return new PurserError(code as ErrorCode, message, hint === undefined ? {} : { hint });
}

/** A file that a change gave a new version. */
export interface ChangedFile { readonly containerId: string; readonly name: string }

export class SecretFilesystem {
  readonly #options: AttachOptions;
  readonly #worker: Worker;
  readonly #signal: Int32Array;
  readonly #gestures: Gestures;
  readonly #containers = new Map<string, ContainerSummary>();
  readonly #pending = new Map<number, Pending>();
  /** Notifications and events under way; they need the serving thread to end. */
  readonly #following = new Set<Promise<void>>();
  #sequence = 0;
  #timer: NodeJS.Timeout | undefined;
  #wakeAt = Infinity;
  #lost: PurserError | undefined;
  #onReady: Pending | undefined;
  #isStopping = false;

  private constructor(options: AttachOptions) {
    this.#options = options;
    const signal = new SharedArrayBuffer(SIGNAL_WORDS * Int32Array.BYTES_PER_ELEMENT);
    this.#signal = new Int32Array(signal);
    this.#gestures = new Gestures((pid) => { Atomics.store(this.#signal, GESTURE_PID, pid); });
    const workerData: FuseWorkerData = { role: FUSE_ROLE, fuseFd: options.fuseFd, stateFds: options.stateFds, signal };
    this.#worker = new Worker(options.workerEntry ?? __filename, {
      workerData, trackUnmanagedFds: false, ...(options.workerExecArgv === undefined ? {} : { execArgv: [...options.workerExecArgv] }),
    });
    this.#worker.on('message', (report: Report) => this.#receive(report));
    this.#worker.on('error', (error) => dieBySignal('the filesystem thread failed', error));
    this.#worker.on('exit', () => {
      if (!this.#isStopping && this.#lost === undefined) dieBySignal('the filesystem thread ended', new Error('unexpected end'));
      process.off('exit', this.#exitGuard);
    });
    process.on('exit', this.#exitGuard);
  }

  /**
   * Takes over the mount from the holder, with everything a predecessor served, and serves it until detach().
   * @throws ERR_FUSE_UNAVAILABLE when the descriptor is not mounted, ERR_FUSE_PROTOCOL when the kernel is too old, ERR_STATE_CORRUPT when the
   *   predecessor's state is damaged
   */
  static async attach(options: AttachOptions): Promise<SecretFilesystem> {
    const filesystem = new SecretFilesystem(options);
    await filesystem.#ready();
    return filesystem;
  }

  /** READ requests answered; begins anew at 2^32. */
  get reads(): number {
    return Atomics.load(this.#signal, READS) >>> 0;
  }

  /** Every container that is served, a predecessor's included. */
  containers(): ContainerSummary[] {
    return [...this.#containers.values()];
  }

  /**
   * Makes a container's tree exactly this, or adds these files to it. Called again with the same tree it changes nothing; changed files get new versions and events.
   * @throws ERR_WORKLOAD_INVALID, ERR_STORAGE_FULL; nothing has changed then
   */
  async add(tree: ContainerTree): Promise<void> {
    const transfer: ArrayBuffer[] = [];
    await this.#change({ op: 'add', tree: { ...tree, files: copyContents(tree.files, transfer) } }, transfer);
  }

  /**
   * Gives files new versions: for readers, all files of a container change in one step. Containers and files that are gone are passed over.
   * @returns the files that changed: one with the same version and content stays as it is
   * @throws ERR_WORKLOAD_INVALID, ERR_STORAGE_FULL; nothing has changed then
   */
  async replace(updates: readonly ContainerUpdate[]): Promise<ChangedFile[]> {
    const transfer: ArrayBuffer[] = [];
    return this.#change({ op: 'replace', updates: updates.map((update) => ({ ...update, files: copyContents(update.files, transfer) })) }, transfer);
  }

  /** The current values of a container's hidden files; none when it is not there. The caller erases them. */
  async values(id: string): Promise<readonly HiddenValue[]> {
    return (await this.#send({ op: 'values', id })).values ?? [];
  }

  /** Removes a container's directory and erases its values; nothing happens when it is not there. */
  async remove(id: string): Promise<void> {
    await this.#change({ op: 'remove', id });
    this.#containers.delete(id);
  }

  /** Stops serving at a request boundary and leaves the mount to a successor; readers wait for it meanwhile. */
  async detach(): Promise<void> {
    if (this.#isStopping) return;
    while (this.#following.size > 0) await Promise.all(this.#following);
    this.#isStopping = true;
    clearTimeout(this.#timer);
    if (this.#lost === undefined) {
      const exited = new Promise<void>((resolve) => { this.#worker.once('exit', () => resolve()); });
      await this.#send({ op: 'stop' });
      await exited;
    }
    await this.#gestures.close();
  }

  /** A thread blocked in read(2) would make any ordinary exit hang for ever. */
  readonly #exitGuard = (): void => {
    process.kill(process.pid, 'SIGKILL');
  };

  async #ready(): Promise<void> {
    const outcome = await this.#within(new Promise<Outcome>((resolve, reject) => { this.#onReady = { resolve, reject }; }),
      () => { this.#lose({ code: 'ERR_FUSE_UNAVAILABLE', message: 'the kernel sent nothing on the FUSE descriptor', hint: 'restart the agent together with its holder' }); });
    this.#wakeByLookup(); // so that the kernel has the wake node before the first command
    void this.#follow(outcome);
  }

  async #change(command: Command, transfer: readonly ArrayBuffer[] = []): Promise<ChangedFile[]> {
    const outcome = await this.#send(command, transfer);
    await this.#follow(outcome);
    return outcome.raises.map(({ containerId, name }) => ({ containerId, name }));
  }

  async #send(command: Command, transfer: readonly ArrayBuffer[] = []): Promise<Outcome> {
    if (this.#lost !== undefined) throw this.#lost;
    const sequence = ++this.#sequence;
    const answer = new Promise<Outcome>((resolve, reject) => { this.#pending.set(sequence, { resolve, reject }); });
    this.#worker.postMessage({ ...command, sequence }, transfer);
    Atomics.add(this.#signal, POSTED, 1);
    this.#wakeServer();
    return this.#within(answer, () => dieBySignal('the filesystem thread does not answer', new Error(command.op)));
  }

  #wakeServer(): void {
    try {
      writeSync(this.#options.fuseFd, notifyWake());
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') this.#wakeByLookup();
      else this.#lose(gone(error));
    }
  }

  /** The slower way, for a kernel that does not have the wake node cached: looking it up is a request, and caches it. */
  #wakeByLookup(): void {
    void this.#track(this.#gestures.perform([['stat', join(this.#options.mountPoint, WAKE_NAME)]]).then(([code]) => {
      if (code !== '' && !this.#isStopping) this.#lose(gone(code));
    }));
  }

  async #within(answer: Promise<Outcome>, onTimeout: () => void): Promise<Outcome> {
    const timer = setTimeout(onTimeout, ANSWER_TIMEOUT_MS);
    try {
      return await answer;
    } finally {
      clearTimeout(timer);
    }
  }

  /** What the main thread does after a change: its own list, the kernel's caches, the containers' watchers. */
  async #follow(outcome: Outcome): Promise<void> {
    return this.#track(this.#perform(outcome));
  }

  #track(work: Promise<void>): Promise<void> {
    const following = work.finally(() => this.#following.delete(following));
    this.#following.add(following);
    return following;
  }

  async #perform({ changed, notifications, raises, wakeInMs }: Outcome): Promise<void> {
    for (const summary of changed) this.#containers.set(summary.id, summary);
    if (wakeInMs !== undefined) this.#wake(wakeInMs);
    await Promise.all(notifications.map((bytes) => this.#notify(bytes)));
    await this.#raise(raises);
    const steps = raises.map(({ containerId, generation }) => ({ containerId, generation }));
    if (steps.length > 0) this.#send({ op: 'raised', steps }).catch(() => undefined); // only #lose() rejects it, and reports
  }

  /** A failed step loses an event, never a value. */
  async #raise(raises: readonly Raise[]): Promise<void> {
    const gestures = raises.filter(({ isHidden }) => !isHidden).map(({ containerId, name, from }): Gesture => {
      const directory = join(this.#options.mountPoint, containerId, from === undefined ? 'bound' : 'files');
      return from === undefined ? ['touch', join(directory, name)] : ['rename', join(directory, from), join(directory, name)];
    });
    if (gestures.length === 0) return;
    const answers = await this.#gestures.perform(gestures);
    // The child died; which gestures it had made is unknown, and making one twice does no harm.
    const again = gestures.filter((_, i) => answers[i] === 'ECHILD');
    const codes = new Set(again.length === 0 ? answers : await this.#gestures.perform(again));
    // ENOENT and ESTALE: the container or the version ended meanwhile.
    for (const code of ['', 'ENOENT', 'ESTALE']) codes.delete(code);
    if (codes.size > 0) this.#options.log?.warn(`no change event for some secret files: ${[...codes].join(', ')}`);
  }

  async #notify(bytes: Uint8Array): Promise<void> {
    try {
      await writeAsync(this.#options.fuseFd, bytes);
    } catch (error) {
      // ENOENT: the kernel had nothing cached. EINVAL: it does not know this notification.
      if (!['ENOENT', 'EINVAL', 'ENODEV'].includes((error as NodeJS.ErrnoException).code ?? '')) this.#options.log?.warn(`the kernel refused a notification: ${messageOf(error)}`);
    }
  }

  #wake(inMs: number): void {
    const at = performance.now() + inMs;
    if (at >= this.#wakeAt || this.#isStopping) return;
    clearTimeout(this.#timer);
    this.#wakeAt = at;
    this.#timer = setTimeout(() => {
      this.#wakeAt = Infinity;
      if (this.#isStopping) return;
      this.#change({ op: 'tick' }).catch(() => undefined); // only #lose() rejects it, and reports
    }, inMs).unref();
  }

  #receive(report: Report): void {
    switch (report.type) {
      case 'ready': this.#onReady?.resolve(report.outcome); this.#onReady = undefined; break;
      case 'done': this.#settle(report.sequence)?.resolve(report.outcome); break;
      case 'failed': this.#settle(report.sequence)?.reject(errorOf(report.failure)); break;
      case 'events':
        for (const event of report.events) this.#options.onEvent(event);
        this.#wake(FLUSH_MS); // the tick that is owed for them
        break;
      case 'waiting': this.#wake(WAIT_MS); break;
      case 'lost': this.#lose(report.failure); break;
      case 'stopped': break;
    }
  }

  #settle(sequence: number): Pending | undefined {
    const pending = this.#pending.get(sequence);
    this.#pending.delete(sequence);
    return pending;
  }

  #lose(failure: Failure): void {
    if (this.#lost !== undefined) return;
    const error = errorOf(failure);
    this.#lost = error;
    const isAttached = this.#onReady === undefined;
    this.#onReady?.reject(error);
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
    if (!isAttached) return;
    if (this.#options.onLost === undefined) dieBySignal('the filesystem is gone', error);
    this.#options.onLost(error);
  }
}
