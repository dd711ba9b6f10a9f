// The calls of nodes, mounted at `node/` (PROTOCOL.md 1.2 to 1.8). Policies let every node token in; here the token must be
// one that a login of a live node made, by the registry in memory, so a revoked node is refused from that instant on.

import type { ServerResponse } from 'node:http';

import { NODE_POLICY } from '../../auth/node/engine.ts';
import type { NodeRecord, NodeRegistry } from '../../auth/node/registry.ts';
import type { Caller, Engine, JsonObject, LogicalRequest, LogicalResponse, Operation } from '../../core/logical.ts';
import { PurserError } from '../../lib/errors.ts';
import type { Ledger } from '../../ledger/ledger.ts';
import { usageBatchSchema } from '../../wire/node-protocol.ts';
import { validate } from '../../wire/validate.ts';
import type { Identities } from './identities.ts';
import type { Resolver } from './resolve.ts';
import type { SwarmSecrets } from './swarm-secret.ts';
import type { WatchHub } from './watch-hub.ts';

const LOGIN_PATH = 'auth/node/login';

export interface NodeCallsOptions {
  readonly registry: NodeRegistry;
  readonly resolver: Resolver;
  readonly identities: Identities;
  readonly swarmSecrets: SwarmSecrets;
  readonly ledger: Ledger;
  readonly watchHub: WatchHub;
}

type Handler = (node: NodeRecord, data: JsonObject) => Promise<object>;
interface Route { readonly operations: readonly Operation[]; readonly handle: Handler }

export class NodeCalls implements Engine {
  readonly #options: NodeCallsOptions;
  readonly #routes: ReadonlyMap<string, Route>;

  constructor(options: NodeCallsOptions) {
    this.#options = options;
    const { resolver, identities, swarmSecrets, ledger } = options;
    const write: readonly Operation[] = ['create', 'update'];
    this.#routes = new Map<string, Route>([
      ['resolve', { operations: write, handle: (node, data) => resolver.resolve(node, data) }],
      ['identity', { operations: write, handle: (node, data) => identities.issue(node, data) }],
      ['swarm-secret', { operations: write, handle: (node, data) => swarmSecrets.give(node, data) }],
      ['swarm-tasks', { operations: write, handle: (node, data) => swarmSecrets.record(node, data) }],
      ['usage', { operations: write, handle: async (node, data) => ({ acknowledged: await ledger.append(node, validate(usageBatchSchema, data, 'usage batch')) }) }],
      // The pipeline authorises and audits it like any read; the stream itself begins in watch().
      ['watch', { operations: ['read'], handle: async () => ({}) }],
    ]);
  }

  async handle(request: LogicalRequest): Promise<LogicalResponse> {
    const route = this.#routes.get(request.path);
    if (route === undefined) throw new PurserError('ERR_REQUEST_NOT_FOUND', 'unsupported path');
    if (!route.operations.includes(request.operation)) throw new PurserError('ERR_REQUEST_UNSUPPORTED', 'unsupported operation');
    return { data: await route.handle(this.#nodeOf(request.caller), request.data) as JsonObject };
  }

  /**
   * Turns the response of an authorised and audited `GET node/watch` into a stream.
   * @param tokenExpires milliseconds since the epoch
   * @throws ERR_NODE_REVOKED, ERR_REQUEST_DENIED, ERR_REQUEST_INVALID, each before anything was written
   */
  watch(caller: Caller | undefined, tokenExpires: number, query: unknown, response: ServerResponse): void {
    const { id: nodeId } = this.#nodeOf(caller);
    this.#options.watchHub.attach({ nodeId, tokenExpires }, query, response);
  }

  /** Metadata alone proves nothing: whoever may create tokens can write any; only the login's path cannot be chosen. */
  #nodeOf(caller: Caller | undefined): NodeRecord {
    if (caller?.path !== LOGIN_PATH || !caller.policies.includes(NODE_POLICY)) {
      throw new PurserError('ERR_REQUEST_DENIED', 'only a node may make this call', { hint: 'purser agent join makes this machine a node' });
    }
    return this.#options.registry.requireLive(caller.metadata['node_id'] ?? '');
  }
}
