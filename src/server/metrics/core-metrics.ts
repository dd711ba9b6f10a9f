// `GET sys/metrics?format=prometheus`: the same path and parameter as Vault's, with names of our own. Read under policy, or
// without a token when the configuration says so (`unauthenticated_metrics`), and then also while the core is sealed.

import type { LogicalResponse, JsonObject } from '../../core/logical.ts';
import { PurserError } from '../../lib/errors.ts';
import { Metrics, METRICS_CONTENT_TYPE, single, type Family } from '../../lib/metrics.ts';
import { VERSION } from '../../lib/version.ts';
import type { RequestMetrics } from './request-metrics.ts';

export interface CoreMetricsOptions {
  readonly requests: RequestMetrics;
  readonly status: () => Promise<{ readonly sealed: boolean; readonly initialized: boolean }>;
  /** Of what is above the barrier; nothing while sealed. */
  readonly unsealed: () => Promise<readonly Family[]>;
  /** When the certificate of the listener ends, in milliseconds since the epoch; undefined without TLS. */
  readonly certificateEnds: number | undefined;
}

export function coreMetrics({ requests, status, unsealed, certificateEnds }: CoreMetricsOptions): Metrics {
  return new Metrics(async () => {
    const { sealed, initialized } = await status();
    return [
      { name: 'purser_build_info', help: 'The version of this server', type: 'gauge', values: [{ labels: { version: VERSION }, value: 1 }] },
      single('purser_core_unsealed', '1 while the core is unsealed', 'gauge', sealed ? 0 : 1),
      single('purser_core_initialized', '1 once the core is initialized', 'gauge', initialized ? 1 : 0),
      ...(certificateEnds === undefined ? [] : [single('purser_certificate_end_timestamp_seconds', 'When the certificate of the listener ends', 'gauge', certificateEnds / 1000)]),
      ...requests.families(), ...await unsealed(),
    ];
  });
}

/** The answer of `GET sys/metrics`. @throws ERR_REQUEST_INVALID for another format */
export async function metricsResponse(metrics: Metrics, query: JsonObject): Promise<LogicalResponse> {
  if (query['format'] !== 'prometheus') throw new PurserError('ERR_REQUEST_INVALID', 'metrics are offered in one format', { hint: 'ask for sys/metrics?format=prometheus' });
  return { text: { contentType: METRICS_CONTENT_TYPE, body: await metrics.text() } };
}
