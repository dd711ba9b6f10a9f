// Compares several ways of doing one thing: each once in every round, in an order that turns from round to round, so that neither
// a slow moment of the machine nor what the one before leaves behind falls on the same one each time.

import { createContainer, engine, removeContainer, startContainer, type ContainerOptions } from './engine.ts';
import { median, percentile, printTable } from './table.ts';

const WARM_UP_ROUNDS = 2;

/** A way of doing it: its name, and a run that gives its milliseconds. */
export type Probe = readonly [name: string, run: () => Promise<number>];

/** Runs every probe `rounds` times and prints a table; the first probe is what the others are compared with. */
export async function compare(title: string, probes: readonly Probe[], rounds: number): Promise<void> {
  const samples = probes.map((): number[] => []);
  for (let round = -WARM_UP_ROUNDS; round < rounds; round++) {
    for (let turn = 0; turn < probes.length; turn++) {
      const index = (turn + round + WARM_UP_ROUNDS) % probes.length;
      const took = await probes[index]?.[1]() ?? Number.NaN;
      if (round >= 0) samples[index]?.push(took);
    }
  }
  const base = samples[0] ?? [];
  printTable(`${title} (${String(rounds)} runs each, taking turns), milliseconds`, ['', 'median', 'p90', 'added, median of the differences'], samples.map((mine, index) =>
    [probes[index]?.[0] ?? '', median(mine), percentile(mine, 0.9), index === 0 ? '' : median(mine.map((value, round) => value - (base[round] ?? 0)))]));
}

/** Milliseconds of `POST /containers/ID/start` for a container that ends by itself; it is gone, and settled, before this resolves. */
export async function timeStart(options: ContainerOptions): Promise<number> {
  const id = await createContainer(options);
  const begin = performance.now();
  await startContainer(id);
  const took = performance.now() - begin;
  await engine('POST', `/containers/${id}/wait`);
  await removeContainer(id);
  return took;
}
