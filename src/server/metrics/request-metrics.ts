// What the core counts for each request: a look-up and two additions. Labels come from closed lists, so no client can make series.

import { Counts, Latency, type Family } from '../../lib/metrics.ts';
import { isPurserError } from '../../lib/errors.ts';
import { isServerFault } from '../error-status.ts';

type Kind = 'secrets' | 'auth' | 'node' | 'sys';
type Outcome = 'ok' | 'denied' | 'refused' | 'failed';

export class RequestMetrics {
  readonly #counts = new Counts('kind', 'operation', 'outcome');
  readonly #seconds: Readonly<Record<Kind, Latency>> = { secrets: new Latency(), auth: new Latency(), node: new Latency(), sys: new Latency() };

  /** @param seconds from the request's headers to its answer */
  done(path: string, operation: string, outcome: Outcome, seconds: number): void {
    const kind = kindOf(path);
    this.#counts.add(kind, operation, outcome);
    this.#seconds[kind].observe(seconds);
  }

  families(): Family[] {
    return [
      { name: 'purser_requests_total', help: 'Requests by kind of path, operation and outcome', type: 'counter', values: this.#counts.values() },
      { name: 'purser_request_seconds', help: 'Time to answer a request', type: 'histogram', values: Object.entries(this.#seconds).flatMap(([kind, latency]) => latency.values({ kind })) },
    ];
  }
}

/** What became of a request that threw. */
export function outcomeOf(error: unknown): Outcome {
  if (isPurserError(error, 'ERR_REQUEST_DENIED')) return 'denied';
  return isServerFault(error) ? 'failed' : 'refused';
}

function kindOf(path: string): Kind {
  if (path.startsWith('sys/')) return 'sys';
  if (path.startsWith('node/')) return 'node';
  return path.startsWith('auth/') ? 'auth' : 'secrets';
}
