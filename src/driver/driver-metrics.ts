// What the driver counts, for Prometheus: what Swarm asked, what became of it, and how long the manager waited.

import { Counts, Latency, Metrics, single } from '../lib/metrics.ts';
import type { SecretSource } from './secret-provider.ts';

export class DriverMetrics {
  readonly #requests = new Counts('outcome');
  readonly #seconds = new Latency();
  readonly #isJoined: () => boolean;

  /** @param isJoined whether the driver has an identity and a session */
  constructor(isJoined: () => boolean) {
    this.#isJoined = isJoined;
  }

  /** The source, counted and timed. */
  timed(source: SecretSource): SecretSource {
    return async (request) => {
      const began = performance.now();
      try {
        const secret = await source(request);
        this.#requests.add('ok');
        return secret;
      } catch (error) {
        this.#requests.add('refused');
        throw error;
      } finally {
        this.#seconds.observe((performance.now() - began) / 1000);
      }
    };
  }

  metrics(): Metrics {
    return new Metrics(async () => [
      { name: 'purser_driver_requests_total', help: 'Secrets that Swarm asked for, by outcome', type: 'counter', values: this.#requests.values() },
      { name: 'purser_driver_request_seconds', help: 'Time until Swarm had its answer', type: 'histogram', values: this.#seconds.values() },
      single('purser_driver_joined', '1 while the driver has an identity', 'gauge', this.#isJoined() ? 1 : 0),
    ]);
  }
}
