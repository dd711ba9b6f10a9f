// Tells the core of tasks that were answered from memory (PROTOCOL.md 1.6), in batches a moment later, again and again until it knows. So the
// core has every task, the node restriction of each, and an audit entry. While it cannot be told, nothing is answered from memory.

import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { messageOf } from '../lib/errors.ts';
import { MAX_SWARM_TASKS, type SwarmSecretRequest, type SwarmSecretUse, type SwarmTask, type SwarmTasksRequest } from '../wire/node-protocol.ts';
import { useKey, useOf } from './secret-memory.ts';

export interface TaskRecorderOptions {
  /** Gives the tasks that the core does not take. */
  readonly tell: (request: SwarmTasksRequest) => Promise<readonly string[]>;
  readonly log: Logger;
}

interface Group { readonly use: SwarmSecretUse; readonly tasks: Map<string, SwarmTask>; readonly since: number }

/** Calls that come together are told together: the first ones soon, because an agent may wait for it, and more of them at a time while more come. */
const GATHER_MS = 10;
const GATHER_MORE_MS = 100;
const LATE_MS = 2000;
const RETRY_MS = 500;
const MAX_UNTOLD = 5000;

export class TaskRecorder {
  readonly #options: TaskRecorderOptions;
  readonly #groups = new Map<string, Group>();
  readonly #stop = new AbortController();
  #untold = 0;
  #loop: Promise<void> | undefined;

  constructor(options: TaskRecorderOptions) {
    this.#options = options;
  }

  /** True while the core does not hear in time of what is answered. */
  get isBehind(): boolean {
    const [oldest] = this.#groups.values();
    return this.#untold >= MAX_UNTOLD || (oldest !== undefined && performance.now() - oldest.since > LATE_MS);
  }

  record(request: SwarmSecretRequest): void {
    const key = useKey(request);
    let group = this.#groups.get(key);
    if (group === undefined) this.#groups.set(key, (group = { use: useOf(request), tasks: new Map(), since: performance.now() }));
    const { task_id, task_name, node_id } = request;
    if (!group.tasks.has(task_id)) this.#untold++;
    group.tasks.set(task_id, { task_id, node_id, ...(task_name === undefined ? {} : { task_name }) });
    this.#loop ??= this.#run().finally(() => { this.#loop = undefined; });
  }

  /** Waits until everything is told, at most `milliseconds`. */
  async close(milliseconds: number): Promise<void> {
    const timer = setTimeout(() => { this.#stop.abort(); }, milliseconds);
    await this.#loop;
    clearTimeout(timer);
    if (this.#untold > 0) this.#options.log.warn({ tasks: this.#untold }, 'the core could not be told of tasks that were answered from memory');
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    for (let failures = 0, gather = GATHER_MS; this.#groups.size > 0 && !signal.aborted; gather = GATHER_MORE_MS) {
      await sleep(gather, undefined, { signal }).catch(() => undefined);
      try {
        for (const [key, group] of this.#groups) await this.#tell(key, group);
        failures = 0;
      } catch (error) {
        if (failures++ === 0) this.#options.log.warn({ err: messageOf(error), tasks: this.#untold }, 'the core cannot be told of tasks now');
        await sleep(RETRY_MS, undefined, { signal }).catch(() => undefined);
      }
    }
  }

  async #tell(key: string, group: Group): Promise<void> {
    const tasks = [...group.tasks.values()].slice(0, MAX_SWARM_TASKS);
    const refused = await this.#options.tell({ use: group.use, tasks });
    for (const task of tasks) {
      // A task that was asked for again meanwhile is the same task.
      group.tasks.delete(task.task_id);
      this.#untold--;
    }
    if (refused.length > 0) this.#options.log.error({ secret: group.use.secret_name, service: group.use.service_name, tasks: refused }, 'the core has these tasks on another node');
    this.#groups.delete(key);
    if (group.tasks.size > 0) this.#groups.set(key, { ...group, since: performance.now() });
  }
}
