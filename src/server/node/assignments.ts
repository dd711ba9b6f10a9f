// Which Swarm task runs where, as the driver told (PROTOCOL.md 1.6): (task, secret name) → Swarm node, reference and service.
// Only the agent of that Swarm node may follow the secret, with the service's facts as recorded here, never as it claims.
//
// A driver that answers Docker from memory tells the core a moment later. So for a secret that it does so for, a task that is
// not known yet is waited for, shortly: its agent may be faster than the driver.
//
// Stored as `task/<task id>/<SHA-256 of the secret name, base64url>`, one JSON record each, encrypted by the barrier; removed
// 30 days after it was written, unless a container still follows it.

import { createHash } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';

import { z } from 'zod';

import type { NodeRecord } from '../../auth/node/registry.ts';
import type { WorkloadFacts } from '../../auth/node/selector.ts';
import type { View } from '../../core/view.ts';
import { PurserError } from '../../lib/errors.ts';
import { decodeRecord, encodeRecord } from '../../lib/json-record.ts';
import type { Workload } from '../../wire/node-protocol.ts';

const MAX_AGE_MS = 30 * 24 * 3600_000;
/** After a start, agents need some time to say which containers follow a task. */
const SETTLE_MS = 3600_000;
const PAGE = 256;
/** A driver tells within some ten milliseconds, or it does not answer from memory. */
const TELL_MS = 2000;
const MAX_WAITING = 1000;
const MAX_EXPECTED = 10_000;

const assignmentSchema = z.strictObject({
  format: z.literal(1),
  secret_name: z.string(),
  swarm_node_id: z.string(),
  reference: z.string(),
  service: z.strictObject({ name: z.string(), stack: z.string().optional(), task_name: z.string(), image: z.string(), labels: z.record(z.string(), z.string()) }),
  /** Milliseconds since the epoch. */
  created: z.number().int(),
});
export type Assignment = z.infer<typeof assignmentSchema>;

export interface AssignmentsOptions {
  readonly view: View;
  readonly now: () => number;
  readonly holdsContainer: (nodeId: string, containerId: string) => boolean;
}

export class Assignments {
  readonly #options: AssignmentsOptions;
  readonly #startedAt: number;
  /** Task → the container that follows its secrets. */
  readonly #followers = new Map<string, { readonly nodeId: string; readonly containerId: string }>();

  /** Service and secret of which a driver may know the answer. */
  readonly #expected = new Set<string>();
  readonly #waiting = new Map<string, Set<() => void>>();

  constructor(options: AssignmentsOptions) {
    this.#options = options;
    this.#startedAt = options.now();
  }

  /**
   * Records what the driver asked; the same again costs no write.
   * @throws ERR_REQUEST_DENIED when the task is on another Swarm node already: tasks never move
   */
  async record(taskId: string, assignment: Omit<Assignment, 'format' | 'created'>): Promise<void> {
    const known = await this.#ofTask(taskId);
    if (known.some((other) => other.swarm_node_id !== assignment.swarm_node_id)) {
      throw new PurserError('ERR_REQUEST_DENIED', 'the task was assigned to another Swarm node before');
    }
    const same = known.find(({ secret_name: name }) => name === assignment.secret_name);
    const record: Assignment = { format: 1, ...assignment, created: same?.created ?? this.#options.now() };
    if (!isDeepStrictEqual(record, same)) await this.#options.view.put(keyOf(taskId, assignment.secret_name), encodeRecord(record));
    for (const go of this.#waiting.get(taskId) ?? []) go();
  }

  /** Notes that a driver may give the secret to further tasks of the service before it tells of them. */
  expect(service: string, secretName: string): void {
    if (this.#expected.size >= MAX_EXPECTED) this.#expected.clear();
    this.#expected.add(pairOf(service, secretName));
  }

  /** As ofTask(); waits for what a driver is about to tell. */
  async ofTaskSoon(taskId: string, service: string | undefined, secretNames: readonly string[]): Promise<ReadonlyMap<string, Assignment>> {
    const missing = (known: ReadonlyMap<string, Assignment>) => secretNames.filter((name) => !known.has(name) && this.#expected.has(pairOf(service ?? '', name)));
    let known = await this.ofTask(taskId);
    const deadline = performance.now() + TELL_MS;
    while (missing(known).length > 0 && this.#waiting.size < MAX_WAITING && await this.#told(taskId, deadline - performance.now())) known = await this.ofTask(taskId);
    // Not told in time: the name is another secret's by now, and the next task need not wait for it.
    for (const name of missing(known)) this.#expected.delete(pairOf(service ?? '', name));
    return known;
  }

  /** False when nothing was recorded for the task in time. */
  #told(taskId: string, milliseconds: number): Promise<boolean> {
    const waiting = this.#waiting.get(taskId) ?? new Set();
    this.#waiting.set(taskId, waiting);
    return new Promise((resolve) => {
      const finish = (isTold: boolean): void => {
        clearTimeout(timer);
        waiting.delete(go);
        if (waiting.size === 0) this.#waiting.delete(taskId);
        resolve(isTold);
      };
      const go = (): void => finish(true);
      const timer = setTimeout(() => finish(false), Math.max(0, milliseconds));
      waiting.add(go);
    });
  }

  /** By secret name; empty for a task that no driver told of. */
  async ofTask(taskId: string): Promise<ReadonlyMap<string, Assignment>> {
    return new Map((await this.#ofTask(taskId)).map((assignment) => [assignment.secret_name, assignment]));
  }

  /** Notes that a container follows secrets of a task, which keeps its assignments. */
  follow(taskId: string, nodeId: string, containerId: string): void {
    this.#followers.set(taskId, { nodeId, containerId });
  }

  /** Removes assignments that are old and not followed. @returns how many */
  async tidy(): Promise<number> {
    const { view, now } = this.#options;
    if (now() < this.#startedAt + SETTLE_MS) return 0;
    let removed = 0;
    for (let after: string | undefined; ;) {
      const tasks = await view.list('task/', after === undefined ? { limit: PAGE } : { after, limit: PAGE });
      for (const task of tasks) removed += await this.#tidyTask(task.replace(/\/$/, ''));
      if (tasks.length < PAGE) return removed;
      after = tasks.at(-1);
    }
  }

  async #tidyTask(taskId: string): Promise<number> {
    const { view, now, holdsContainer } = this.#options;
    const follower = this.#followers.get(taskId);
    if (follower !== undefined && holdsContainer(follower.nodeId, follower.containerId)) return 0;
    this.#followers.delete(taskId);
    const old = (await this.#ofTask(taskId)).filter(({ created }) => created < now() - MAX_AGE_MS);
    if (old.length > 0) await view.transaction(old.map(({ secret_name: name }) => ({ kind: 'delete', key: keyOf(taskId, name) })));
    return old.length;
  }

  async #ofTask(taskId: string): Promise<Assignment[]> {
    if (!isSwarmId(taskId)) return [];
    const names = await this.#options.view.list(`task/${taskId}/`);
    const records = await Promise.all(names.map((name) => this.#options.view.get(`task/${taskId}/${name}`)));
    return records.filter((bytes) => bytes !== undefined).map((bytes) => decodeRecord(bytes, assignmentSchema, 'Swarm task assignment'));
  }
}

/** The workload of an assignment: its service as the driver saw it, on the node that asks. */
export function factsOf({ service }: Pick<Assignment, 'service'>, nodeName: string | undefined): WorkloadFacts {
  return { name: service.task_name, image: service.image, labels: service.labels, service: service.name, stack: service.stack, node: nodeName };
}

/** True when the core knows that this node must not speak for the task: it was assigned to another, or to another service. */
export function isElsewhere(assigned: Iterable<Assignment>, node: Pick<NodeRecord, 'swarm_node_id'>, workload: Pick<Workload, 'service'>): boolean {
  for (const { swarm_node_id: swarmNodeId, service } of assigned) {
    if (node.swarm_node_id !== swarmNodeId || (workload.service ?? service.name) !== service.name) return true;
  }
  return false;
}

/** Swarm's ids are 25 characters of base 36 (swarmkit identity/randomid.go). */
export function isSwarmId(text: string): boolean {
  return /^[0-9a-z]{1,64}$/.test(text);
}

function pairOf(service: string, secretName: string): string {
  return `${service}\0${secretName}`;
}

function keyOf(taskId: string, secretName: string): string {
  return `task/${taskId}/${createHash('sha256').update(secretName, 'utf8').digest('base64url')}`;
}
