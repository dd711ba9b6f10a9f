// Where the driver's answers come from: its memory, as long as the core is heard, or the core. What comes from memory is what the core
// granted to the same service, secret and image, and would grant now: the watch stream tells of new values and of changed policies,
// roles, mounts and nodes before these are acknowledged, and a stream that is silent for three seconds ends the memory. Refusals are never remembered.

import type { Logger } from 'pino';
import { withDeadline } from '../lib/deadline.ts';
import { PurserError, messageOf } from '../lib/errors.ts';
import { bytesOfValue } from '../lib/secret-bytes.ts';
import type { NodeSession } from '../client/node/session.ts';
import { protocolError } from '../client/response.ts';
import { WatchFollower } from '../client/node/watch-follower.ts';
import { GRANTS_SILENCE_SECONDS, swarmSecretResponseSchema, swarmTasksResponseSchema } from '../wire/node-protocol.ts';
import type { SwarmSecretRequest, SwarmTasksRequest } from '../wire/node-protocol.ts';
import { SecretMemory, type GrantedSecret, type SwarmSecret } from './secret-memory.ts';
import { TaskRecorder } from './task-recorder.ts';
import { WaitBudget } from './wait-budget.ts';

/** Docker's manager waits for one answer at most this long. */
export const ANSWER_MS = 3000;
const CLOSE_MS = 2000;
/** Tasks of which the version that they were given is remembered. */
const MAX_GIVEN = 20_000;
/** After a lost stream, so many of the latest are asked for again. */
const MAX_RECALLED = 1000;

export interface Answer extends SwarmSecret {
  readonly isFromMemory: boolean;
}

export class SecretAnswers {
  readonly #session: NodeSession;
  readonly #log: Logger;
  readonly #memory = new SecretMemory();
  readonly #budget = new WaitBudget(ANSWER_MS);
  readonly #recorder: TaskRecorder;
  readonly #watch: WatchFollower;
  /** Task and secret → version, oldest first. */
  readonly #given = new Map<string, number>();
  #heardAt = -Infinity;
  #refreshing: Promise<void> = Promise.resolve();

  /** @param onChanged told that a remembered secret has a new version */
  constructor(session: NodeSession, log: Logger, onChanged: () => void = () => undefined) {
    this.#session = session;
    this.#log = log;
    this.#recorder = new TaskRecorder({ tell: (request) => tellTasks(session, request), log });
    let lost: readonly SwarmSecretRequest[] = [];
    this.#watch = new WatchFollower({
      open: ({ signal }) => session.watch({ grants: true, silenceMs: GRANTS_SILENCE_SECONDS * 1000, signal }), log, maxRetryMs: 1000,
      onLoss: 'nothing is answered from memory',
      listener: {
        heard: () => { this.#heardAt = performance.now(); },
        disconnected: () => {
          this.#heardAt = -Infinity;
          lost = this.#memory.forgetAll().slice(0, MAX_RECALLED);
        },
        resync: () => {
          this.#budget.renew();
          this.#memory.forgetAll();
          this.#refresh(lost);
          lost = [];
        },
        // Not asked for again: the next task is, and whether it is denied belongs to its own record.
        grantsChanged: () => { this.#memory.forgetAll(); },
        changed: (path) => {
          this.#refresh(this.#memory.forgetPath(path));
          onChanged();
        },
      },
    });
  }

  /** The core is heard, as far as the watch stream tells. */
  get isConnected(): boolean {
    return this.#watch.isConnected;
  }

  start(): void {
    this.#watch.start();
  }

  /** True while the memory may be used. */
  get isLive(): boolean {
    return performance.now() - this.#heardAt < GRANTS_SILENCE_SECONDS * 1000 && !this.#recorder.isBehind;
  }

  /** How many uses of secrets are answered without asking. */
  get remembered(): number {
    return this.#memory.size;
  }

  /** @throws ERR_RESOLVE_*, ERR_WORKLOAD_INVALID, ERR_NODE_*, ERR_CLIENT_*; also when the core kept the manager waiting for too long already */
  async give(request: SwarmSecretRequest): Promise<Answer> {
    const answer = await this.#answer(request);
    if (answer.isFromMemory) this.#recorder.record(request);
    this.#given.set(givenKey(request.task_id, request.secret_name), answer.version);
    if (this.#given.size > MAX_GIVEN) this.#given.delete(this.#given.keys().next().value as string);
    return answer;
  }

  /** The version that a task would be given now. @throws as give() */
  async version(request: SwarmSecretRequest): Promise<number> {
    const { value, version } = await this.#answer(request);
    value.fill(0);
    return version;
  }

  /** The version that a task was given by this process. */
  givenTo(taskId: string, secretName: string): number | undefined {
    return this.#given.get(givenKey(taskId, secretName));
  }

  async #answer(request: SwarmSecretRequest): Promise<Answer> {
    const known = this.isLive ? this.#memory.get(request) : undefined;
    return known === undefined ? { ...await this.#ask(request), isFromMemory: false } : { ...known, isFromMemory: true };
  }

  async close(): Promise<void> {
    await this.#watch.stop();
    await this.#recorder.close(CLOSE_MS);
    this.#memory.forgetAll();
  }

  async #ask(request: SwarmSecretRequest): Promise<SwarmSecret> {
    const allowed = this.#budget.next();
    if (allowed === undefined) {
      throw new PurserError('ERR_CLIENT_UNREACHABLE', `the core at ${this.#session.address} was too slow for the last secrets; it is asked again in a few seconds`, { hint: 'see whether purser server runs and is unsealed: purser status' });
    }
    const began = performance.now();
    try {
      return await withDeadline(this.#load(request), allowed, () =>
        new PurserError('ERR_CLIENT_UNREACHABLE', `the core at ${this.#session.address} did not answer within ${(allowed / 1000).toFixed(1)} s`, { hint: 'see whether purser server runs and is unsealed: purser status' }));
    } finally {
      this.#budget.spent(performance.now() - began);
    }
  }

  /** Only what is asked while the core is heard may be kept: a change before that would not be told. */
  async #load(request: SwarmSecretRequest): Promise<SwarmSecret> {
    const ask = (asked: SwarmSecretRequest) => askCore(this.#session, asked);
    return this.isLive ? this.#memory.load(request, ask) : ask(request);
  }

  /** Asks for the new value at once, so that the next task finds it; one after the other. */
  #refresh(requests: readonly SwarmSecretRequest[]): void {
    for (const request of requests) {
      this.#refreshing = this.#refreshing.then(() => this.#load(request)).then(() => undefined, (error: unknown) => {
        this.#log.debug({ err: messageOf(error), secret: request.secret_name }, 'a new value is not there yet');
      });
    }
  }
}

function givenKey(taskId: string, secretName: string): string {
  return `${taskId} ${secretName}`;
}

/** One secret for one task (PROTOCOL.md 1.6). */
export async function askCore(session: NodeSession, request: SwarmSecretRequest): Promise<GrantedSecret> {
  const data = await session.call((client) => client.write('node/swarm-secret', request, { timeoutMs: ANSWER_MS - 200, isRepeatable: true }));
  const parsed = swarmSecretResponseSchema.safeParse(data);
  if (!parsed.success) throw protocolError('an answer that is no secret');
  const { value, version, path, scope } = parsed.data;
  return { value: bytesOfValue(value), version, path, scope };
}

async function tellTasks(session: NodeSession, request: SwarmTasksRequest): Promise<readonly string[]> {
  const data = await session.call((client) => client.write('node/swarm-tasks', request, { timeoutMs: ANSWER_MS, isRepeatable: true }));
  const parsed = swarmTasksResponseSchema.safeParse(data);
  if (!parsed.success) throw protocolError('an answer that does not fit the question');
  return parsed.data.refused;
}
