// Sends each request to where it belongs: the few routes that work on a sealed core, or the pipeline of the unsealed one.

import type { JsonObject } from '../core/logical.ts';
import { PurserError } from '../lib/errors.ts';
import type { Metrics } from '../lib/metrics.ts';
import type { CoreState } from './core-state.ts';
import { readBody, withoutNulls, type BodyLimits } from './http/body.ts';
import { BodyStore } from './http/body-store.ts';
import type { Incoming, RequestHandler } from './http/front.ts';
import { successReply, type Reply } from './http/reply.ts';
import { metricsResponse } from './metrics/core-metrics.ts';
import { outcomeOf, type RequestMetrics } from './metrics/request-metrics.ts';
import { runPipeline, STREAMING, type PipelineLimits } from './pipeline.ts';
import { isOperatorPath, serveOperatorPath } from './sys/operator-routes.ts';
import type { UnsealedCore } from './unsealed-core.ts';

const MAX_DEPTH = 300;
/** A resolve of 256 workloads with all their labels stays below it. */
const MAX_VALUES = 250_000;
/** Whoever shows no valid token gets less memory and time. */
const UNAUTHENTICATED = { maxBytes: 1024 * 1024, maxDepth: MAX_DEPTH, maxValues: 10_000 };
/** For all bodies of strangers that are under way, in bytes; for all others, in largest bodies (twice what one may need). */
const UNAUTHENTICATED_STORE = 64 * 1024 * 1024;
const STORED_BODIES = 16;
const METRICS_PATH = 'sys/metrics';

export interface RequestHandlerOptions {
  readonly state: CoreState<UnsealedCore>;
  readonly storageType: string;
  readonly now: () => number;
  readonly maxBodyBytes: number;
  readonly requests: RequestMetrics;
  /** Served without a token, and while sealed; undefined: only under policy. */
  readonly openMetrics: Metrics | undefined;
}

export function createRequestHandler(options: RequestHandlerOptions): RequestHandler {
  const { maxBodyBytes } = options;
  const limits: PipelineLimits = {
    authenticated: { maxBytes: maxBodyBytes, maxDepth: MAX_DEPTH, maxValues: MAX_VALUES, store: new BodyStore(STORED_BODIES * maxBodyBytes) },
    unauthenticated: { ...UNAUTHENTICATED, store: new BodyStore(UNAUTHENTICATED_STORE) },
  };
  const route = (incoming: Incoming): Promise<Reply | undefined> => {
    const { path, verb, query } = incoming.target;
    if (isOperatorPath(path)) return serveOperator(options, limits.unauthenticated, incoming);
    if (options.openMetrics !== undefined && path === METRICS_PATH && verb === 'read') return serveMetrics(options.openMetrics, query);
    return serveCore(options, limits, incoming);
  };
  return async (incoming) => {
    const began = performance.now();
    const { path, verb } = incoming.target;
    const done = (outcome: Parameters<RequestMetrics['done']>[2]) => options.requests.done(path, verb, outcome, (performance.now() - began) / 1000);
    try {
      const reply = await route(incoming);
      done('ok');
      return reply;
    } catch (error) {
      done(outcomeOf(error));
      throw error;
    }
  };
}

function serveOperator(options: RequestHandlerOptions, limits: BodyLimits, { request, target }: Incoming): Promise<Reply> {
  return serveOperatorPath(target.path, options, { verb: target.verb, query: target.query, body: async () => withoutNulls(await readBody(request, limits)) });
}

async function serveMetrics(metrics: Metrics, query: JsonObject): Promise<Reply> {
  return successReply('', await metricsResponse(metrics, query), true, false);
}

async function serveCore({ state }: RequestHandlerOptions, limits: PipelineLimits, { id, request, response, target }: Incoming): Promise<Reply | undefined> {
  const core = state.unsealed;
  if (core === undefined) throw new PurserError('ERR_BARRIER_SEALED', 'the core is sealed');
  const { remoteAddress = '', remotePort = 0 } = request.socket;
  const answer = await runPipeline(core, { id, request, response, target, remoteAddress, remotePort }, limits);
  if (answer === STREAMING) return undefined;
  return successReply(id, answer, target.verb === 'read' || target.verb === 'list', target.verb === 'list');
}
