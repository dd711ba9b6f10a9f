// What the agent asks of the core, as one small interface, and its implementation over the node's session. Every call ends
// in bounded time, so that a core that is away refuses a container quickly instead of holding up Docker.

import { withDeadline } from '../lib/deadline.ts';
import { PurserError } from '../lib/errors.ts';
import { protocolError } from '../client/response.ts';
import type { WatchOptions } from '../client/core-client.ts';
import { identityResponseSchema, resolveResponseSchema } from '../wire/node-protocol.ts';
import type { IdentityRequest, IdentityResult, ResolveRequest, ResolveResponse, UsageBatch, WatchFrame } from '../wire/node-protocol.ts';
import type { NodeSession } from '../client/node/session.ts';

/** Milliseconds for one resolve, its login and its repetitions included; the shim waits 30 s in all. */
const RESOLVE_MS = 10_000;
const RESOLVE_ATTEMPT_MS = 5000;

export interface CoreLink {
  /** Results in the order asked. @throws ERR_CLIENT_*, ERR_NODE_* */
  resolve(request: ResolveRequest): Promise<ResolveResponse>;
  /** Tokens that say who a container is, in the order asked. @throws ERR_CLIENT_*, ERR_NODE_* */
  identity(request: IdentityRequest): Promise<readonly IdentityResult[]>;
  /** Hands a batch of the ledger over; gives the number up to which the core has it. */
  usage(batch: UsageBatch): Promise<number>;
  /** Frames until the stream ends. */
  watch(options: WatchOptions): AsyncGenerator<WatchFrame, void, undefined>;
}

export class SessionCoreLink implements CoreLink {
  readonly #session: NodeSession;

  constructor(session: NodeSession) {
    this.#session = session;
  }

  async resolve(request: ResolveRequest): Promise<ResolveResponse> {
    const parsed = resolveResponseSchema.safeParse(await this.#askAbout('node/resolve', request));
    if (!parsed.success || !answers(parsed.data, request)) throw misfit();
    return parsed.data;
  }

  async identity(request: IdentityRequest): Promise<readonly IdentityResult[]> {
    const parsed = identityResponseSchema.safeParse(await this.#askAbout('node/identity', request));
    const given = parsed.data?.workloads ?? [];
    if (given.length !== request.workloads.length || request.workloads.some(({ id }, index) => given[index]?.id !== id)) throw misfit();
    return given.map(({ result }) => result);
  }

  /** What may be asked twice. */
  #askAbout(path: string, request: ResolveRequest | IdentityRequest): Promise<object> {
    const ask = async (): Promise<object> => {
      if (request.workloads.some(({ task_id: task }) => task !== undefined)) await this.#session.nameSwarmNode();
      return this.#session.call((client) => client.write(path, request, { timeoutMs: RESOLVE_ATTEMPT_MS, isRepeatable: true }));
    };
    return withDeadline(ask(), RESOLVE_MS,
      () => new PurserError('ERR_CLIENT_UNREACHABLE', `the core at ${this.#session.address} cannot be reached: no answer within ${RESOLVE_MS / 1000} s`, { hint: 'check that purser server runs there' }));
  }

  async usage(batch: UsageBatch): Promise<number> {
    const { acknowledged } = await this.#session.call((client) => client.write('node/usage', batch, { timeoutMs: 30_000, isRepeatable: true }));
    if (typeof acknowledged !== 'number' || !Number.isSafeInteger(acknowledged) || acknowledged < 0) throw protocolError('no acknowledged number');
    return acknowledged;
  }

  watch(options: WatchOptions): AsyncGenerator<WatchFrame, void, undefined> {
    return this.#session.watch(options);
  }
}

function misfit(): PurserError {
  return protocolError('an answer that does not fit the question');
}

function answers(response: ResolveResponse, request: ResolveRequest): boolean {
  return response.workloads.length === request.workloads.length && request.workloads.every((asked, index) => {
    const given = response.workloads[index];
    return given?.id === asked.id && given.results.length === asked.references.length
      && (given.swarm_secrets?.length ?? 0) === (asked.swarm_secrets?.length ?? 0);
  });
}
