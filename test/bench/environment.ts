// What references in variables add to `docker start` and to `docker exec`: plain runc with 20 plain variables, the shim without a
// reference, and the shim with 20, one after the other in each round, so that a slow moment of the machine hits all three.

import type { CoreClient } from '../../src/client/core-client.ts';
import { createContainer, execIn, removeContainer, startContainer, type ContainerOptions } from './engine.ts';
import { median, percentile, printTable } from './table.ts';

const ROUNDS = 30;
const NAMES = Array.from({ length: 20 }, (_, index) => `f${String(index)}`);
const PLAIN = NAMES.map((name) => `${name.toUpperCase()}=${name.repeat(20)}`);

const KINDS: readonly (readonly [string, ContainerOptions])[] = [
  ['plain runc, 20 plain variables', { runtime: 'runc', command: ['true'], env: PLAIN }],
  ['purser-runtime, 20 plain variables', { runtime: 'purser', command: ['true'], env: PLAIN }],
  ['purser-runtime, 20 references', { runtime: 'purser', command: ['true'], env: NAMES.map((name) => `${name.toUpperCase()}=purser://secret/db/twenty#${name}`) }],
];

/** Prints the tables. */
export async function benchEnvironment(client: CoreClient): Promise<void> {
  await client.write('secret/data/db/twenty', { data: Object.fromEntries(NAMES.map((name) => [name, name.repeat(20)])) });
  await measure(`Start with variables (POST /containers/ID/start, ${String(ROUNDS)} runs each, interleaved), milliseconds`, KINDS.map(([, options]) => async () => {
    const id = await createContainer(options);
    const begin = performance.now();
    await startContainer(id);
    const took = performance.now() - begin;
    await removeContainer(id);
    return took;
  }));
  const running = await Promise.all(KINDS.map(([, options]) => createContainer({ ...options, command: ['sleep', '600'] })));
  for (const id of running) await startContainer(id);
  await measure(`Exec with variables (exec create, start and the end of \`true\`, ${String(ROUNDS)} runs each, interleaved), milliseconds`, running.map((id) => async () => {
    const begin = performance.now();
    await execIn(id, ['true']);
    return performance.now() - begin;
  }));
  for (const id of running) await removeContainer(id);
}

async function measure(title: string, probes: readonly (() => Promise<number>)[]): Promise<void> {
  const samples = probes.map((): number[] => []);
  for (let round = -2; round < ROUNDS; round++) {
    for (const [index, probe] of probes.entries()) {
      const took = await probe();
      if (round >= 0) samples[index]?.push(took);
    }
  }
  const plain = samples[0] ?? [];
  printTable(title, ['', 'median', 'p90', 'added, median of the differences'], samples.map((mine, index) =>
    [KINDS[index]?.[0] ?? '', median(mine), percentile(mine, 0.9), index === 0 ? '' : median(mine.map((value, round) => value - (plain[round] ?? 0)))]));
}
