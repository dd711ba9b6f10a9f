// Everything the core does for nodes, composed: made when the core is unsealed, closed when it is sealed or stops.

import type { ServerResponse } from 'node:http';

import { NodeEngine, type NodeTokenSpec } from '../../auth/node/engine.ts';
import { IdentityKeys } from '../../auth/node/identity-keys.ts';
import { JoinTokens } from '../../auth/node/join-tokens.ts';
import { NodeRegistry } from '../../auth/node/registry.ts';
import { WorkloadRoles } from '../../auth/node/roles.ts';
import type { Caller, Engine, JsonObject } from '../../core/logical.ts';
import type { View } from '../../core/view.ts';
import type { Family } from '../../lib/metrics.ts';
import type { HistoryLimits } from '../../ledger/history/history.ts';
import type { Policy } from '../../policy/policy.ts';
import type { NewEvent } from '../notify/event.ts';
import { Usage } from '../usage/usage.ts';
import { Assignments } from './assignments.ts';
import { Holdings } from './holdings.ts';
import { Identities } from './identities.ts';
import { NodeCalls } from './node-calls.ts';
import { Resolver } from './resolve.ts';
import type { SecretAccess } from './secret-batch.ts';
import { SwarmSecrets } from './swarm-secret.ts';
import { WatchHub } from './watch-hub.ts';

const SWEEP_MS = 60_000;
const SWEEPS_PER_TIDY = 360;
const SWEEPS_PER_PRUNE = 60;

export interface NodeServicesOptions extends SecretAccess {
  /** Of the mount `auth/node/`, of the ledger, and of the Swarm assignments: three views that share nothing. */
  readonly views: { readonly auth: View; readonly ledger: View; readonly swarm: View };
  readonly clusterId: string;
  /** How nodes reach this core: `https://host:port`. */
  readonly address: string;
  /** PEM of the CA and the SHA-256 of its DER in hexadecimal; undefined for plain HTTP on loopback. */
  readonly authority: { readonly certificate: string; readonly hash: string } | undefined;
  readonly now: () => number;
  readonly issueToken: (token: NodeTokenSpec) => Promise<JsonObject>;
  readonly revokeTokens: (nodeId: string) => Promise<void>;
  /** Every secret path that a reference can name, for "which secrets does nobody use". */
  readonly secretPaths: () => AsyncIterable<string>;
  /** How long and how much of the history of usage is kept. */
  readonly historyLimits?: HistoryLimits;
  /** Told of days of that history whose blocks were indexed. */
  readonly onIndexed?: ((day: string, blocks: number) => void) | undefined;
  readonly readPolicy: (name: string) => Policy | undefined;
  /** Whether a token may still follow what it was let in for. */
  readonly isLiveToken: (tokenId: string) => Promise<boolean>;
  /** Tells operators of refusals, canaries, lost nodes and stuck rotations; undefined when nobody is to be told. */
  readonly notify?: ((event: NewEvent) => void) | undefined;
  /** Milliseconds between heartbeats; tests shorten it. */
  readonly heartbeatMs?: number;
}

export interface NodeServices {
  /** Mounted at `auth/node/`. */
  readonly auth: Engine;
  /** Mounted at `node/`. */
  readonly calls: Engine;
  /** Mounted at `identity/`. */
  readonly identity: Engine;
  /** Goes on where `calls` left off for `GET node/watch`: see NodeCalls.watch. */
  watch(caller: Caller | undefined, tokenExpires: number, query: unknown, response: ServerResponse): void;
  /** Who uses what: the questions below `sys/usage`, and the live updates. */
  readonly usage: Usage;
  /** Metrics of nodes and of what containers use. */
  families(): Promise<Family[]>;
  /** To be told of every durable change, with the full logical path (mount first). */
  changed(path: string, version: number): void;
  /** To be told of every change of policies and mounts, before it is acknowledged. */
  grantsChanged(): void;
  close(): Promise<void>;
}

/** @throws ERR_RECORD_INVALID, ERR_BARRIER_* */
export async function createNodeServices(options: NodeServicesOptions): Promise<NodeServices> {
  const { views, now } = options;
  const [tokens, registry, roles, keys] = await Promise.all([
    JoinTokens.load(views.auth, now), NodeRegistry.load(views.auth, now), WorkloadRoles.load(views.auth.sub('role/')), IdentityKeys.load(views.auth, now),
  ]);
  const holdings = new Holdings(now);
  const watchHub = new WatchHub({ holdings, now, ...(options.heartbeatMs === undefined ? {} : { heartbeatMs: options.heartbeatMs }) });
  const assignments = new Assignments({ view: views.swarm, now, holdsContainer: (node, container) => holdings.holdsContainer(node, container) });
  const usage = await Usage.open({
    ...options, view: views.ledger, registry, roles, ...(options.historyLimits === undefined ? {} : { limits: options.historyLimits }),
    isConnected: (nodeId) => watchHub.isConnected(nodeId),
    describeSecret: async (path) => {
      const found = options.findSource(path);
      return found?.source.describeSecret?.(found.relativePath);
    },
    policyPath: (path) => {
      const found = options.findSource(path);
      return found && found.mountPoint + found.source.policyPath(found.relativePath);
    },
    onHolding: (node, container, isHolding) => holdings.setHolding(node, container, isHolding),
  });
  const identity = new Identities({ address: options.address, keys, roles, assignments, now });
  const calls = new NodeCalls({
    registry, ledger: usage.ledger, watchHub, identities: identity,
    resolver: new Resolver({ access: options, roles, holdings, assignments, usage }),
    swarmSecrets: new SwarmSecrets({ access: options, roles, registry, assignments, holdings, usage }),
  });
  const auth = new NodeEngine({
    ...options, tokens, registry, roles,
    onRevoked: (nodeId) => {
      watchHub.revoke(nodeId);
      holdings.dropNode(nodeId);
      watchHub.grantsChanged();
    },
    onRolesChanged: () => watchHub.grantsChanged(),
    holds: (nodeId) => holdings.summary(nodeId),
  });
  const sweeper = startSweeper(holdings, assignments, usage, options.onFault);
  return {
    auth, calls, identity, usage,
    families: () => usage.families(),
    watch: (...given) => calls.watch(...given),
    changed: (path, version) => {
      watchHub.changed(path, version);
      usage.changed(path, version);
    },
    grantsChanged: () => watchHub.grantsChanged(),
    close: async () => {
      clearInterval(sweeper);
      watchHub.close();
      await usage.close();
    },
  };
}

function startSweeper(holdings: Holdings, assignments: Assignments, usage: Usage, onFault: (error: unknown) => void): NodeJS.Timeout {
  let sweeps = 0;
  return setInterval(() => {
    holdings.sweep();
    sweeps++;
    usage.sweep().then(() => (sweeps % SWEEPS_PER_PRUNE === 1 ? usage.prune() : undefined)).catch(onFault);
    if (sweeps % SWEEPS_PER_TIDY === 0) assignments.tidy().catch(onFault);
  }, SWEEP_MS).unref();
}
