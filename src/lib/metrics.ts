// Metrics in Prometheus' text format (prom-client writes it). What is measured is plain numbers in the program's own objects; a
// scrape reads them. So counting costs an addition, and a metric that nobody scrapes costs nothing.

import { collectDefaultMetrics, Registry } from 'prom-client';

type Labels = Readonly<Record<string, string>>;

export interface Family {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly values: readonly { readonly labels?: Labels; readonly value: number; /** Of a histogram: `_bucket`, `_sum` or `_count`. */ readonly suffix?: string }[];
}

/** Upper bounds in seconds. */
const BOUNDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10] as const;

/** How long something took, counted into fixed classes. */
export class Latency {
  readonly #counts = new Array<number>(BOUNDS.length + 1).fill(0);
  #sum = 0;
  #count = 0;

  observe(seconds: number): void {
    let index = 0;
    while (index < BOUNDS.length && seconds > (BOUNDS[index] as number)) index++;
    this.#counts[index] = (this.#counts[index] as number) + 1;
    this.#sum += seconds;
    this.#count++;
  }

  /** For a family of the type histogram. */
  values(labels: Labels = {}): Family['values'] {
    let sum = 0;
    const buckets = this.#counts.map((count, index) => ({ suffix: '_bucket', labels: { ...labels, le: index < BOUNDS.length ? String(BOUNDS[index]) : '+Inf' }, value: sum += count }));
    return [...buckets, { suffix: '_sum', labels, value: this.#sum }, { suffix: '_count', labels, value: this.#count }];
  }
}

/** Counters that differ in their labels; the key is made of the labels' values. */
export class Counts {
  readonly #labels: readonly string[];
  readonly #counts = new Map<string, number>();

  /** @param labels names, in the order in which add() gets the values */
  constructor(...labels: readonly string[]) {
    this.#labels = labels;
  }

  /** The values must come from a closed list: each combination is a series. */
  add(...values: readonly string[]): void {
    const key = values.join('\0');
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
  }

  values(): Family['values'] {
    return [...this.#counts].map(([key, value]) => ({ labels: Object.fromEntries(key.split('\0').map((text, index) => [this.#labels[index] ?? '', text])), value }));
  }
}

export const METRICS_CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

export class Metrics {
  readonly #read: () => Promise<readonly Family[]>;
  readonly #process = new Registry();

  /** @param read gives all families, at a scrape */
  constructor(read: () => Promise<readonly Family[]>) {
    this.#read = read;
    collectDefaultMetrics({ register: this.#process });
  }

  /** The text of one scrape. */
  async text(): Promise<string> {
    const registry = new Registry();
    for (const { name, help, type, values } of await this.#read()) {
      registry.registerMetric({
        name, help, get: async () => ({ name, help, type, aggregator: 'sum', values: values.map(({ labels = {}, value, suffix = '' }) => ({ metricName: name + suffix, labels, value })) }),
      } as unknown as Parameters<Registry['registerMetric']>[0]);
    }
    return `${await registry.metrics()}\n${await this.#process.metrics()}`;
  }
}

/** A family of one value. */
export function single(name: string, help: string, type: 'counter' | 'gauge', value: number): Family {
  return { name, help, type, values: [{ value }] };
}
