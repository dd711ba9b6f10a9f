// The routes that must work on a sealed or new core, and therefore need no token and are not audited: init, unseal, seal-status,
// health, leader. Their answers are bare JSON without Vault's envelope. What they reveal: whether the core is initialized
// and sealed, and how many shares are needed.

import type { JsonObject } from '../../core/logical.ts';
import type { SealStatus } from '../../core/seal.ts';
import { PurserError } from '../../lib/errors.ts';
import { booleanField, integerField } from '../../lib/fields.ts';
import type { Closable, CoreState } from '../core-state.ts';
import { bareReply, type Reply } from '../http/reply.ts';
import type { Verb } from '../http/request-path.ts';
import { VERSION } from '../../lib/version.ts';
import { handedOut, refuseFields, SHARE_HINTS, withShare } from './share-field.ts';

export interface OperatorRequest {
  readonly verb: Verb;
  readonly query: Readonly<Record<string, string>>;
  /** Reads the body; called by writes only. */
  readonly body: () => Promise<JsonObject>;
}

export interface OperatorContext {
  readonly state: CoreState<Closable & { readonly clusterId: string }>;
  /** As sys/seal-status names it. */
  readonly storageType: string;
  readonly now: () => number;
}

type Handler = (context: OperatorContext, request: OperatorRequest) => Promise<Reply>;

const ROUTES: Readonly<Record<string, Partial<Record<Verb, Handler>>>> = {
  'sys/init': { read: readInit, write: initialize },
  'sys/unseal': { write: unseal },
  'sys/seal-status': { read: async (context) => bareReply(200, statusBody(await context.state.status(), context)) },
  'sys/health': { read: health },
  'sys/leader': { read: async () => bareReply(200, { ha_enabled: false, is_self: false, leader_address: '', leader_cluster_address: '', performance_standby: false }) },
};

/** True for the paths of this file. */
export function isOperatorPath(path: string): boolean {
  return Object.hasOwn(ROUTES, path);
}

/** @throws ERR_REQUEST_UNSUPPORTED and what the routes throw */
export async function serveOperatorPath(path: string, context: OperatorContext, request: OperatorRequest): Promise<Reply> {
  const handler = ROUTES[path]?.[request.verb];
  if (handler === undefined) throw new PurserError('ERR_REQUEST_UNSUPPORTED', 'unsupported operation');
  return handler(context, request);
}

async function readInit({ state }: OperatorContext): Promise<Reply> {
  return bareReply(200, { initialized: (await state.status()).initialized });
}

async function initialize({ state }: OperatorContext, request: OperatorRequest): Promise<Reply> {
  const body = await request.body();
  refuseFields(body, SHARE_HINTS);
  const config = { shares: integerField(body, 'secret_shares') ?? 0, threshold: integerField(body, 'secret_threshold') ?? 0 };
  const { shares, rootToken } = await state.initialize(config);
  return bareReply(200, { ...handedOut(shares), root_token: rootToken });
}

async function unseal(context: OperatorContext, request: OperatorRequest): Promise<Reply> {
  const body = await request.body();
  if (booleanField(body, 'migrate') === true) {
    throw new PurserError('ERR_REQUEST_INVALID', 'seal migration is not supported', { hint: 'leave migrate out; to change the shares of an unsealed core use purser rekey' });
  }
  if (booleanField(body, 'reset') === true) await context.state.reset();
  else await withShare(body, "'key' must be specified in request body as JSON, or 'reset' set to true", (share) => context.state.provide(share));
  return bareReply(200, statusBody(await context.state.status(), context));
}

function statusBody(status: SealStatus, { state, storageType }: OperatorContext): JsonObject {
  return {
    type: 'shamir', initialized: status.initialized, sealed: status.sealed, t: status.threshold, n: status.shares, progress: status.progress,
    nonce: status.nonce, version: VERSION, build_date: '', migration: false, recovery_seal: false, storage_type: storageType,
    ...clusterBody(state),
  };
}

/** As Vault, only an unsealed core says which one it is. */
function clusterBody({ unsealed }: OperatorContext['state']): JsonObject {
  return unsealed === undefined ? {} : { cluster_name: `purser-cluster-${unsealed.clusterId.slice(0, 8)}`, cluster_id: unsealed.clusterId };
}

async function health({ state, now }: OperatorContext, { query }: OperatorRequest): Promise<Reply> {
  const { initialized, sealed } = await state.status();
  const code = !initialized ? codeFrom(query, 'uninitcode', 501) : sealed ? codeFrom(query, 'sealedcode', 503) : codeFrom(query, 'activecode', 200);
  return bareReply(code, {
    initialized, sealed, standby: sealed, performance_standby: false, replication_performance_mode: 'disabled', replication_dr_mode: 'disabled',
    server_time_utc: Math.floor(now() / 1000), version: VERSION, ...clusterBody(state),
  });
}

/** All codes are checked, also those that do not apply now: a typing error must not show only on the day of an outage. */
function codeFrom(query: Readonly<Record<string, string>>, wanted: string, fallback: number): number {
  for (const name of ['activecode', 'standbycode', 'sealedcode', 'uninitcode', 'drsecondarycode', 'performancestandbycode']) {
    if (query[name] !== undefined && !/^[2-5]\d\d$/.test(query[name])) throw new PurserError('ERR_REQUEST_INVALID', `bad value for ${name}`);
  }
  return Number(query[wanted] ?? fallback);
}
