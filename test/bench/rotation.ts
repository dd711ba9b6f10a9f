// From the answer to `kv put` until the last of many running containers has read the new value after its inotify event. Beside
// it what the machine itself needs: as many containers without Purser, whose files a process on the host replaces by rename.

import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import type { CoreClient } from '../../src/client/core-client.ts';
import { eventually, must } from '../e2e/command.ts';
import { createContainer, inParallel, removeContainer, startContainer, type ContainerOptions } from './engine.ts';
import { median, printTable } from './table.ts';

const FOLDER = '/run/tmp/bench-rotation';
const NOTES = join(FOLDER, 'notes');
const FILES = join(FOLDER, 'files');
const ROUNDS = 15;
/** Rotations this far apart do not meet each other's traces in the ledger. */
const PAUSE_MS = 1_000;

/** Rotates one secret in `count` containers, does the same by hand, and prints the table. */
export async function benchRotation(client: CoreClient, count: number): Promise<void> {
  rmSync(FOLDER, { recursive: true, force: true });
  for (const folder of [NOTES, FILES]) mkdirSync(folder, { recursive: true });
  await must('gcc', ['-O2', '-static', '-o', join(FOLDER, 'watch-and-read'), join(import.meta.dirname, 'watch-and-read.c')]);
  const rotate = async (value: string): Promise<void> => { await client.write('secret/data/db/rotate', { data: { password: value } }); };
  await rotate('start');
  const purser = await measure(count, () => ({ runtime: 'purser', labels: { 'purser.file.pw': 'purser://secret/db/rotate#password' } }), async (value) => {
    await rotate(value);
    return Date.now();
  });
  const names = Array.from({ length: count }, (_, index) => String(index));
  for (const name of names) mkdirSync(join(FILES, name));
  const replaceAll = (value: string): void => {
    for (const name of names) {
      writeFileSync(join(FILES, name, '.pw'), value);
      renameSync(join(FILES, name, '.pw'), join(FILES, name, 'pw'));
    }
  };
  replaceAll('start');
  const byHand = await measure(count, (name) => ({ runtime: 'runc', binds: [`${join(FILES, name)}:/run/secrets:ro`] }), async (value) => {
    const began = Date.now();
    replaceAll(value);
    return began;
  });
  printTable(`A new value seen and read inside ${String(count)} running containers, milliseconds (${String(ROUNDS)} rotations)`, ['', 'first', 'middle', 'last', 'last: best', 'last: worst'], [
    ['Purser, after kv put returned', ...purser],
    ['replaced by rename on the host', ...byHand],
  ]);
}

/** Medians of first, middle and last, best and worst of last. @param change makes the value current and gives the moment that counts as zero */
async function measure(count: number, options: (name: string) => Omit<ContainerOptions, 'command'>, change: (value: string) => Promise<number>): Promise<number[]> {
  rmSync(NOTES, { recursive: true });
  mkdirSync(NOTES);
  const ids: string[] = [];
  await inParallel(Array.from({ length: count }, (_, index) => String(index)), 4, async (name) => {
    const { binds = [], ...rest } = options(name);
    const id = await createContainer({ ...rest, command: ['/watch-and-read', '/run/secrets', 'pw', `/notes/${name}`], binds: [...binds, `${FOLDER}/watch-and-read:/watch-and-read:ro`, `${NOTES}:/notes`] });
    ids.push(id);
    await startContainer(id);
  });
  const rounds: number[][] = [];
  for (let round = -1; round < ROUNDS; round++) {
    const value = `value-${String(round)}`;
    const zero = await change(value);
    // Looking at the notes costs time that the containers need.
    await sleep(PAUSE_MS);
    const times = await eventually('every container to follow', () => {
      const seen = timesOf(value);
      return seen.length === count ? seen : undefined;
    }, 60_000);
    if (round >= 0) rounds.push([Math.min(...times) - zero, median(times) - zero, Math.max(...times) - zero]);
  }
  await inParallel(ids, 4, removeContainer);
  const column = (index: number): number[] => rounds.map((round) => round[index] ?? Number.NaN);
  return [median(column(0)), median(column(1)), median(column(2)), Math.min(...column(2)), Math.max(...column(2))];
}

/** When each container that has `value` read it, in milliseconds since the epoch. */
function timesOf(value: string): number[] {
  return readdirSync(NOTES).flatMap((name) => {
    const [seen, seconds] = readFileSync(join(NOTES, name), 'utf8').split(' ');
    return seen === value ? [Number(seconds) * 1000] : [];
  });
}
