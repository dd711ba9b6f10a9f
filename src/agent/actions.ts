// Does what containers want done after their files changed (`purser.on-rotate`). A burst of rotations is one action; a failing one is tried
// again with growing pauses, and a newer rotation starts over. At least once: that an action is due stands in the container's record, so
// a successor does what this agent did not finish.

import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { messageOf } from '../lib/errors.ts';
import { treeOf } from './container-record.ts';
import type { ContainerRecord, GrantedFile } from './container-record.ts';
import type { Containers } from './containers.ts';
import type { Ledger } from './ledger.ts';
import { describeAction } from './on-rotate.ts';
import type { OnRotate } from './on-rotate.ts';
import type { Performed } from './perform-action.ts';

export interface ActionsOptions {
  readonly containers: Pick<Containers, 'all' | 'get' | 'put'>;
  readonly ledger: Pick<Ledger, 'acted'>;
  readonly log: Logger;
  /** One try; performAction() with Docker. */
  readonly perform: (record: ContainerRecord, action: OnRotate['action'], stop: AbortSignal) => Promise<Performed>;
  /** Milliseconds without a change that end a burst, and the longest that a burst puts the action off. */
  readonly quietMs?: number;
  readonly patienceMs?: number;
  /** Milliseconds before the second try; doubled for each further one. */
  readonly retryMs?: number;
}

const MAX_ATTEMPTS = 5;
const MAX_RETRY_MS = 60_000;

/** The work for one run of a container, or one mount of a volume in it. */
interface Job {
  readonly grantedAt: number;
  readonly stop: AbortController;
  /** Counts the changes, so that one that comes during an action is seen. */
  changes: number;
  /** How many of them the action under way, or the last one, follows. */
  handled: number;
  firstAt: number;
  lastAt: number;
  /** Ends a pause between two tries. */
  wake: (() => void) | undefined;
}

export class Actions {
  readonly #options: Required<ActionsOptions>;
  readonly #jobs = new Map<string, Job>();
  readonly #running = new Set<Promise<void>>();
  #isStopped = false;

  constructor(options: ActionsOptions) {
    this.#options = { quietMs: 200, patienceMs: 2000, retryMs: 1000, ...options };
  }

  /** Files of a tree, a container's or a volume's, have changed in place, or values for variables of its next process. */
  rotated(id: string, files: readonly GrantedFile[]): void {
    const record = this.#options.containers.get(id);
    if (record?.onRotate === undefined) return;
    // A running process never sees its variables change; a command and a restart are new processes.
    if (record.onRotate.action.type === 'signal' && files.every(({ kind }) => kind === 'hidden')) return;
    if (record.isActionDue !== true) this.#options.containers.put({ ...record, isActionDue: true });
    this.#due(record);
  }

  /** Takes up what a predecessor left. */
  recover(): void {
    for (const record of this.#options.containers.all()) if (record.isActionDue === true) this.#due(record);
  }

  /** Ends all waiting; a restart under way is waited for, because its container needs this agent. What is not done stays due. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    for (const { stop } of this.#jobs.values()) stop.abort();
    await Promise.all(this.#running);
  }

  #due(record: ContainerRecord): void {
    if (this.#isStopped) return;
    const { grantedAt } = record;
    const id = treeOf(record);
    const now = Date.now();
    const known = this.#jobs.get(id);
    if (known?.grantedAt === grantedAt) {
      if (known.changes++ === known.handled) known.firstAt = now;
      known.lastAt = now;
      known.wake?.();
      return;
    }
    known?.stop.abort();
    const job: Job = { grantedAt, stop: new AbortController(), changes: 1, handled: 0, firstAt: now, lastAt: now, wake: undefined };
    this.#jobs.set(id, job);
    const running = this.#work(id, job).catch((error: unknown) => {
      if (!job.stop.signal.aborted) this.#options.log.error({ container: id.slice(0, 12), err: messageOf(error) }, 'the action after a rotation failed');
    }).finally(() => {
      this.#running.delete(running);
      if (this.#jobs.get(id) === job) this.#jobs.delete(id);
    });
    this.#running.add(running);
  }

  async #work(id: string, job: Job): Promise<void> {
    while (job.handled !== job.changes) {
      await this.#settle(job);
      const onRotate = this.#record(id, job)?.onRotate;
      if (onRotate === undefined) return;
      await sleep(onRotate.jitterMs * Math.random(), undefined, { signal: job.stop.signal });
      job.handled = job.changes;
      await this.#try(id, job);
    }
    const record = this.#record(id, job);
    if (record === undefined) return;
    this.#options.containers.put({ ...record, isActionDue: false });
  }

  /** Waits for the end of a burst. */
  async #settle(job: Job): Promise<void> {
    const { quietMs, patienceMs } = this.#options;
    for (;;) {
      const wait = Math.min(job.lastAt + quietMs, job.firstAt + patienceMs) - Date.now();
      if (wait <= 0) return;
      await sleep(wait, undefined, { signal: job.stop.signal });
    }
  }

  async #try(id: string, job: Job): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      const record = this.#record(id, job);
      if (record?.onRotate === undefined) return;
      const start = Date.now();
      const performed = await this.#options.perform(record, record.onRotate.action, job.stop.signal);
      job.stop.signal.throwIfAborted();
      if (performed.outcome === 'gone') return;
      this.#report(record, performed, attempt, Date.now() - start);
      if (performed.outcome === 'done' || attempt >= MAX_ATTEMPTS || job.changes !== job.handled) return;
      await this.#pause(job, Math.min(MAX_RETRY_MS, this.#options.retryMs * 2 ** (attempt - 1)));
      if (job.changes !== job.handled) return;
    }
  }

  #report({ workload, onRotate }: ContainerRecord, { outcome, exitCode, message }: Exclude<Performed, { outcome: 'gone' }>, attempt: number, durationMs: number): void {
    if (onRotate === undefined) return;
    const action = describeAction(onRotate.action);
    this.#options.ledger.acted(workload.id, {
      action, outcome, attempt, duration_ms: durationMs, ...(exitCode === undefined ? {} : { exit_code: exitCode }), ...(message === undefined ? {} : { message }),
    });
    const about = { container: workload.name, action, attempt, exitCode, message };
    if (outcome === 'done') this.#options.log.info(about, 'rotation followed by its action');
    else if (attempt < MAX_ATTEMPTS) this.#options.log.warn(about, 'the action after a rotation failed; it is tried again');
    else this.#options.log.error(about, 'the action after a rotation failed for the last time; the container may still use its old values');
  }

  /** The same run of the container; undefined when it ended. */
  #record(id: string, job: Job): ContainerRecord | undefined {
    const record = this.#options.containers.get(id);
    return record?.grantedAt === job.grantedAt ? record : undefined;
  }

  async #pause(job: Job, milliseconds: number): Promise<void> {
    const woken = new AbortController();
    job.wake = () => woken.abort();
    await sleep(milliseconds, undefined, { signal: AbortSignal.any([woken.signal, job.stop.signal]) }).catch(() => undefined);
    job.wake = undefined;
    job.stop.signal.throwIfAborted();
  }
}
