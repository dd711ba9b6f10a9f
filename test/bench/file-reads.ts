// open + read + close of a 64-byte secret in a container: tmpfs, a FUSE server that does nothing, and Purser, with one reader and
// with four at once. The three are read in turns, several times, and the medians printed.

import { spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import type { CoreClient } from '../../src/client/core-client.ts';
import { docker, eventually, must } from '../e2e/command.ts';
import { createContainer, removeContainer, startContainer } from './engine.ts';
import { median, printTable } from './table.ts';

const FOLDER = '/run/tmp/bench-files';
const ROUNDS = 5;
const READERS = [1, 4] as const;

/** Prints the table. */
export async function benchFileReads(client: CoreClient): Promise<void> {
  for (const name of ['', 'tmpfs', 'noop']) mkdirSync(join(FOLDER, name), { recursive: true });
  await must('gcc', ['-O2', '-static', '-o', join(FOLDER, 'orc'), join(import.meta.dirname, 'open-read-close.c')]);
  writeFileSync(join(FOLDER, 'tmpfs', 'pw'), 'x'.repeat(64));
  const noop = spawn(process.execPath, ['--import', 'tsx', join(import.meta.dirname, 'noop-fuse.ts'), join(FOLDER, 'noop')], { stdio: 'inherit' });
  try {
    await eventually('the no-op server', async () => (await must('cat', ['/proc/self/mountinfo'])).includes(`${FOLDER}/noop `));
    await client.write('secret/data/db/file', { data: { password: 'x'.repeat(64) } });
    const id = await createContainer({ runtime: 'purser', command: ['sleep', '3600'], labels: { 'purser.file.pw': 'purser://secret/db/file#password' }, binds: [`${FOLDER}/orc:/orc:ro`, `${FOLDER}/tmpfs:/tmpfs:ro`, `${FOLDER}/noop:/noop:ro`] });
    await startContainer(id);
    const rows: (string | number)[][] = [];
    for (const readers of READERS) {
      const samples = new Map<string, number[][]>();
      for (let round = 0; round < ROUNDS; round++) {
        for (const [name, path] of [['tmpfs', '/tmpfs/pw'], ['no-op FUSE', '/noop/pw'], ['Purser', '/run/secrets/pw']] as const) {
          samples.set(name, [...samples.get(name) ?? [], await read(id, path, readers)]);
        }
      }
      for (const [name, all] of samples) rows.push([name, readers, ...[0, 1, 2].map((column) => median(all.map((sample) => sample[column] ?? Number.NaN)))]);
    }
    printTable(`open + read + close of 64 bytes in a container (medians of ${String(ROUNDS)} turns of 1 s)`, ['', 'readers', 'rounds/s', 'p50 µs', 'p99 µs'], rows);
    await removeContainer(id);
  } finally {
    await must('umount', ['-l', join(FOLDER, 'noop')]);
    noop.kill('SIGKILL');
  }
}

/** Rounds per second over all readers, and the mean of their percentiles. */
async function read(id: string, path: string, readers: number): Promise<number[]> {
  const output = await docker('exec', id, 'sh', '-c', `for i in $(seq ${String(readers)}); do /orc ${path} 1 & done; wait`);
  const lines = output.split('\n').map((line) => line.split(' ').map(Number));
  const sum = (column: number): number => lines.reduce((total, line) => total + (line[column] ?? 0), 0);
  return [sum(0), sum(1) / lines.length, sum(2) / lines.length];
}
