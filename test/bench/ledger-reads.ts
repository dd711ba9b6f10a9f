// What the ledger costs a container that reads its secret in a loop: the agent as it ships, and the same agent bundled without the record of opens, taking turns
// on one running container, whose files stay while agents come and go. With the record, an open is folded in the serving thread, spooled to disk and sent to the core.

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';

import type { CoreClient } from '../../src/client/core-client.ts';
import { docker, must } from '../e2e/command.ts';
import { PURSER, type Installation } from '../e2e/installation.ts';
import { createContainer, removeContainer, startContainer } from './engine.ts';
import { median, printTable } from './table.ts';

const FOLDER = '/run/tmp/bench-ledger-reads';
const ROOT = join(import.meta.dirname, '../..');
const ROUNDS = 9;
const READERS = [1, 4] as const;
const SECONDS = 1;

/** Prints the table. */
export async function benchLedgerReads(purser: Installation, client: CoreClient): Promise<void> {
  mkdirSync(FOLDER, { recursive: true });
  await must('gcc', ['-O2', '-static', '-o', join(FOLDER, 'orc'), join(import.meta.dirname, 'open-read-close.c')]);
  const bundle = await bundleWithoutEvents();
  await client.write('secret/data/db/loop', { data: { password: 'x'.repeat(64) } });
  const id = await createContainer({ runtime: 'purser', command: ['sleep', '3600'], labels: { 'purser.file.pw': 'purser://secret/db/loop#password' }, binds: [`${FOLDER}/orc:/orc:ro`] });
  await startContainer(id);
  const samples = new Map<string, number[]>();
  for (let round = 0; round < ROUNDS; round++) {
    for (const [name, program] of round % 2 === 0 ? [['with', PURSER], ['without', bundle]] as const : [['without', bundle], ['with', PURSER]] as const) {
      await purser.end('agent', 'SIGTERM');
      await purser.startAgent(program);
      await read(id, 1);
      for (const readers of READERS) {
        const key = `${name} ${String(readers)}`;
        samples.set(key, [...samples.get(key) ?? [], await read(id, readers)]);
      }
    }
  }
  const of = (name: string, readers: number): readonly number[] => samples.get(`${name} ${String(readers)}`) ?? [];
  const cost = (less: number, more: number): string => `${(100 * (1 - less / more)).toFixed(0)} %`;
  printTable(`Reads of a secret in a loop with and without the ledger (medians and bests of ${String(ROUNDS)} turns of ${String(SECONDS)} s)`, ['readers', 'without, reads/s', 'with, reads/s', 'cost', 'without, best', 'with, best', 'cost'],
    READERS.map((readers) => {
      const [without, full] = [of('without', readers), of('with', readers)];
      const [most, mostFull] = [Math.max(...without), Math.max(...full)];
      return [readers, median(without), median(full), cost(median(full), median(without)), most, mostFull, cost(mostFull, most)];
    }));
  const { holdings } = await client.read('sys/usage', { container: id }) as { holdings: { opens: number }[] };
  if ((holdings[0]?.opens ?? 0) === 0) throw new Error('the agent that ships recorded nothing');
  await removeContainer(id);
  await purser.end('agent', 'SIGTERM');
  await purser.startAgent();
}

/** Opens per second over all readers. */
async function read(id: string, readers: number): Promise<number> {
  const output = await docker('exec', id, 'sh', '-c', `for i in $(seq ${String(readers)}); do /orc /run/secrets/pw ${String(SECONDS)} & done; wait`);
  return output.split('\n').reduce((sum, line) => sum + Number(line.split(' ')[0]), 0);
}

async function bundleWithoutEvents(): Promise<string> {
  const outfile = join(FOLDER, 'purser.cjs');
  let replaced = 0;
  await build({
    absWorkingDir: ROOT, entryPoints: ['src/main.ts'], outfile, bundle: true, platform: 'node', target: 'node20', format: 'cjs', define: { PURSER_VERSION: '"bench"' }, external: ['lmdb', '*.node'], logLevel: 'error',
    plugins: [{
      name: 'without-events',
      setup: (bundle) => {
        bundle.onResolve({ filter: /^\.\/events\.ts$/ }, ({ importer }) => {
          if (!importer.includes('/agent/fuse/')) return undefined;
          replaced++;
          return { path: join(import.meta.dirname, 'no-events.ts') };
        });
      },
    }],
  });
  if (replaced === 0) throw new Error('nothing was replaced');
  return outfile;
}
