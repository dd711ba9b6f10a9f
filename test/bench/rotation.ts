// From the answer to `kv put` until the last of many running containers has read the new value. Each container waits for the
// inotify event with inotifywait and notes what it then reads with shell built-ins, so no process starts at rotation time.

import { mkdirSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';

import type { CoreClient } from '../../src/client/core-client.ts';
import { eventually } from '../e2e/command.ts';
import { createContainer, inParallel, removeContainer, startContainer } from './engine.ts';
import { median, printTable } from './table.ts';

const SHARED = '/run/tmp/bench-rotation';
const ROUNDS = 10;
const SCRIPT = 'inotifywait -q -m -e moved_to /run/secrets | while read -r line; do read -r value < /run/secrets/pw; echo "$value" > /shared/$0; done';

/** Starts `count` containers with one reference each, rotates it and prints the table. */
export async function benchRotation(client: CoreClient, count: number): Promise<void> {
  rmSync(SHARED, { recursive: true, force: true });
  mkdirSync(SHARED, { recursive: true });
  await client.write('secret/data/db/rotate', { data: { password: 'start' } });
  const ids: string[] = [];
  await inParallel(Array.from({ length: count }, (_, index) => String(index)), 4, async (name) => {
    const id = await createContainer({ runtime: 'purser', command: ['sh', '-c', SCRIPT, name], labels: { 'purser.file.pw': 'purser://secret/db/rotate#password' }, binds: [`${SHARED}:/shared`] });
    ids.push(id);
    await startContainer(id);
  });
  const visible = (value: string): number[] => readdirSync(SHARED).filter((name) => readFileSync(join(SHARED, name), 'utf8') === `${value}\n`).map((name) => statSync(join(SHARED, name)).mtimeMs);
  await client.write('secret/data/db/rotate', { data: { password: 'warm' } });
  await eventually('every container to follow', () => visible('warm').length === count, 60_000);

  const firsts: number[] = [];
  const middles: number[] = [];
  const lasts: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const value = `value-${String(round)}`;
    await client.write('secret/data/db/rotate', { data: { password: value } });
    const returned = Date.now();
    const times = await eventually('every container to follow', () => {
      const seen = visible(value);
      return seen.length === count ? seen : undefined;
    }, 60_000);
    firsts.push(Math.min(...times) - returned);
    middles.push(median(times) - returned);
    lasts.push(Math.max(...times) - returned);
  }
  printTable(`Rotation seen and read inside ${String(count)} running containers, milliseconds after kv put returned (${String(ROUNDS)} rotations, clock of the shared files: 4 ms)`,
    ['container', 'median', 'best', 'worst'], [['first', firsts], ['middle', middles], ['last', lasts]].map(([name, samples]) =>
      [name as string, median(samples as number[]), Math.min(...samples as number[]), Math.max(...samples as number[])]));
  await inParallel(ids, 4, removeContainer);
}
