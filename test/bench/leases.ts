// 100,000 leases in a real store behind the barrier: time to register them, memory of the process with them and after a restart, and
// how long the core needs to revoke them when all ended while it was down. Run alone: `npx tsx test/bench/leases.ts [count]`.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { openCore } from '../../src/core/core.ts';
import { Leases } from '../../src/leases/leases.ts';
import { LmdbStorage } from '../../src/storage/lmdb.ts';
import { CredentialsEngine } from '../fakes/credentials-engine.ts';
import { printTable } from './table.ts';

const COUNT = Number(process.argv[2] ?? 100_000);
const PARALLEL = 256;

const directory = mkdtempSync(join(tmpdir(), 'purser-leases-'));
const clock = { ms: Date.now() };
const engine = new CredentialsEngine();
const rows: (string | number)[][] = [];
const shares: Uint8Array[] = [];

async function open(): Promise<{ readonly leases: Leases; close(): Promise<void> }> {
  const storage = await LmdbStorage.open({ directory: join(directory, 'store') });
  const { barrier, seal } = openCore(storage);
  if (shares.length === 0) shares.push(...await seal.initialize({ shares: 1, threshold: 1 }));
  await seal.provide(Uint8Array.from(shares[0]!));
  const leases = new Leases({ view: barrier.view('leases/'), now: () => clock.ms, keeperOf: () => engine });
  return { leases, close: async () => { await seal.seal(); await storage.close(); } };
}

async function measure(name: string, work: () => Promise<unknown>): Promise<void> {
  const start = performance.now();
  const cpu = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(cpu);
  global.gc?.();
  const { heapUsed, rss } = process.memoryUsage();
  rows.push([name, (performance.now() - start) / 1000, (user + system) / 1e6, heapUsed / 2 ** 20, rss / 2 ** 20]);
}

try {
  let core = await open();
  await measure('before', async () => undefined);
  await measure(`register ${COUNT.toLocaleString('en')}`, async () => {
    for (let done = 0; done < COUNT; done += PARALLEL) {
      await Promise.all(Array.from({ length: Math.min(PARALLEL, COUNT - done) }, async (_, i) => {
        const username = `app-${String(done + i)}`;
        engine.accounts.add(username);
        await core.leases.register({ ttlSeconds: 60 + ((done + i) % 600), maxTtlSeconds: 3_600, renewable: true, state: { username } },
          { path: 'database/creds/app', mount: 'database_1', owner: String(i % 64).padStart(64, '0'), defaultTtlSeconds: 60, maxTtlSeconds: 3_600 }, () => Promise.resolve(true));
      }));
    }
  });
  await core.close();
  await measure('restart: open and look for what is due', async () => { core = await open(); await core.leases.sweep(); });
  await measure('one more look, nothing due', () => core.leases.sweep());
  clock.ms += 3_600_000;
  await measure('revoke all, overdue at once', async () => { await core.leases.sweep(); await core.leases.settled(); });
  await core.close();
  printTable(`${COUNT.toLocaleString('en')} leases`, ['', 'seconds', 'CPU seconds', 'heap MB', 'resident MB'], rows);
  if (engine.accounts.size > 0) throw new Error(`${String(engine.accounts.size)} accounts are left`);
} finally {
  rmSync(directory, { recursive: true, force: true });
}
