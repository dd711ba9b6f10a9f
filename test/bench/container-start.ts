// What Purser adds to `docker start`: plain runc, the shim without references, and the shim with five, one after the other in
// each round, so that a slow moment of the machine hits all three.

import { createContainer, removeContainer, startContainer, type ContainerOptions } from './engine.ts';
import { median, percentile, printTable } from './table.ts';

const ROUNDS = 30;

const REFERENCES = Object.fromEntries(['a', 'b', 'c', 'd', 'e'].map((field) => [`purser.file.${field}`, `purser://secret/db/five#${field}`]));

const KINDS: readonly (readonly [string, ContainerOptions])[] = [
  ['plain runc', { runtime: 'runc', command: ['true'] }],
  ['purser-runtime, no reference', { runtime: 'purser', command: ['true'] }],
  ['purser-runtime, 5 references', { runtime: 'purser', command: ['true'], labels: REFERENCES }],
];

/** Prints the table. Needs the secret `secret/db/five` with the fields a to e. */
export async function benchContainerStart(): Promise<void> {
  const samples = KINDS.map((): number[] => []);
  for (let round = -2; round < ROUNDS; round++) {
    for (const [index, [, options]] of KINDS.entries()) {
      const id = await createContainer(options);
      const begin = performance.now();
      await startContainer(id);
      if (round >= 0) samples[index]?.push(performance.now() - begin);
      await removeContainer(id);
    }
  }
  const plain = samples[0] ?? [];
  printTable(`Container start (POST /containers/ID/start, ${String(ROUNDS)} runs each, interleaved), milliseconds`, ['', 'median', 'p90', 'added, median of the differences'],
    KINDS.map(([name], index) => {
      const mine = samples[index] ?? [];
      return [name, median(mine), percentile(mine, 0.9), index === 0 ? '' : median(mine.map((value, round) => value - (plain[round] ?? 0)))];
    }));
}
