// What the agent counts, for Prometheus: how long the core takes, how late a new version is, who opens files and is refused, and
// what waits to be reported. Labels are from closed lists; no path, container or value is among them.

import { Counts, Latency, Metrics, single } from '../lib/metrics.ts';
import type { CoreLink } from './core-link.ts';
import type { FileEvent } from './fuse/events.ts';

/** Changes whose arrival is remembered until a container has them. */
const MAX_CHANGES = 10_000;

export interface AgentState {
  readonly containers: () => number;
  /** Containers whose files a predecessor served: above 0, the connection of the filesystem was taken over. */
  readonly inherited: number;
  /** READ requests of the filesystem. */
  readonly reads: () => number;
  readonly pending: () => number;
  readonly dropped: () => number;
  readonly isConnected: () => boolean;
}

export class AgentMetrics {
  readonly #calls = new Counts('call', 'outcome');
  readonly #callSeconds = { resolve: new Latency(), identity: new Latency(), usage: new Latency() };
  readonly #rotationSeconds = new Latency();
  readonly #changes = new Map<string, number>();
  readonly #opens = { opened: 0, refused: 0 };
  #connects = 0;

  /** The link, with its calls counted and timed. */
  timed(core: CoreLink): CoreLink {
    const time = async <T>(call: 'resolve' | 'identity' | 'usage', action: () => Promise<T>): Promise<T> => {
      const began = performance.now();
      try {
        const result = await action();
        this.#calls.add(call, 'ok');
        return result;
      } catch (error) {
        this.#calls.add(call, 'failed');
        throw error;
      } finally {
        this.#callSeconds[call].observe((performance.now() - began) / 1000);
      }
    };
    return {
      resolve: (request) => time('resolve', () => core.resolve(request)),
      identity: (request) => time('identity', () => core.identity(request)),
      usage: (batch) => time('usage', () => core.usage(batch)),
      watch: (options) => core.watch(options),
    };
  }

  observed({ type, count }: FileEvent): void {
    this.#opens[type] += count;
  }

  /** The core told of a new version. */
  changed(path: string): void {
    this.#changes.delete(path);
    if (this.#changes.size < MAX_CHANGES) this.#changes.set(path, performance.now());
  }

  /** A container has it. */
  rotated(files: readonly { readonly path: string }[]): void {
    for (const { path } of files) {
      const since = this.#changes.get(path);
      if (since !== undefined) this.#rotationSeconds.observe((performance.now() - since) / 1000);
    }
  }

  connected(): void {
    this.#connects++;
  }

  metrics(state: AgentState): Metrics {
    return new Metrics(async () => [
      { name: 'purser_agent_core_calls_total', help: 'Calls to the core by outcome', type: 'counter', values: this.#calls.values() },
      { name: 'purser_agent_core_call_seconds', help: 'Time of calls to the core; resolve is what a container start waits for', type: 'histogram', values: Object.entries(this.#callSeconds).flatMap(([call, latency]) => latency.values({ call })) },
      { name: 'purser_agent_rotation_seconds', help: 'Time from hearing of a new version until a container has it', type: 'histogram', values: this.#rotationSeconds.values() },
      { name: 'purser_agent_file_opens_total', help: 'Opens of secret files by outcome', type: 'counter', values: Object.entries(this.#opens).map(([outcome, value]) => ({ labels: { outcome }, value })) },
      single('purser_agent_fuse_reads_total', 'READ requests of the kernel for secret files; pages that it has are read without one', 'counter', state.reads()),
      single('purser_agent_containers', 'Containers and volumes whose files are served', 'gauge', state.containers()),
      single('purser_agent_fuse_taken_over_containers', 'Containers that a predecessor served when this agent took the filesystem over', 'gauge', state.inherited),
      single('purser_agent_ledger_backlog_entries', 'Entries of the ledger that the core has not acknowledged', 'gauge', state.pending()),
      single('purser_agent_ledger_dropped_total', 'Entries of the ledger that were lost, because the spool was full or could not be written', 'counter', state.dropped()),
      single('purser_agent_core_connected', '1 while the watch stream of the core is heard', 'gauge', state.isConnected() ? 1 : 0),
      single('purser_agent_core_connects_total', 'Watch streams that were begun', 'counter', this.#connects),
    ]);
  }
}
