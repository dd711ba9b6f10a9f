// After a rotation every record moves to the newest term, and nothing that somebody writes meanwhile is lost: under concurrent writers, with
// a seal or a death at every step, with damaged records, and on a real server that is killed.
/* eslint-disable @typescript-eslint/no-unsafe-member-access, @typescript-eslint/no-unsafe-assignment -- bodies of any shape */

import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { openCore } from '../../src/core/core.ts';
import type { Core } from '../../src/core/core.ts';
import { storedKeys } from '../../src/core/stored-keys.ts';
import { Reencryption } from '../../src/server/reencryption.ts';
import { LmdbStorage } from '../../src/storage/lmdb.ts';
import { MemoryStorage } from '../../src/storage/memory.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { eventually } from '../eventually.ts';
import { CuttingStorage } from '../fakes/cutting-storage.ts';
import { run as purser, withEnvironment } from '../cli/run.ts';
import { call, startUnsealed, temporaryDirectory } from './running.ts';

const bytes = (text: string): Uint8Array => Buffer.from(text);
const text = (value: Uint8Array | undefined): string | undefined => value && Buffer.from(value).toString();

interface Opened extends Core { readonly share: Uint8Array }

async function newCore(storage: Storage): Promise<Opened> {
  const core = openCore(storage);
  const [share] = await core.seal.initialize({ shares: 1, threshold: 1 });
  await core.seal.provide(Uint8Array.from(share!));
  return { ...core, share: share! };
}

async function reopen(storage: Storage, share: Uint8Array): Promise<Core> {
  const core = openCore(storage);
  await core.seal.provide(Uint8Array.from(share));
  return core;
}

interface Walk { readonly reencryption: Reencryption; readonly log: string[] }

async function walkOver({ barrier }: Core): Promise<Walk> {
  const log: string[] = [];
  const note = (facts: object, message: string): void => { log.push(`${message} ${JSON.stringify(facts)}`); };
  return { log, reencryption: await Reencryption.open({ barrier, view: barrier.view('rotation/'), log: { info: note, warn: note } }) };
}

/** The terms that the records of the store have, the core's own left out. */
async function termsOf(storage: Storage): Promise<number[]> {
  const terms = new Set<number>();
  for await (const key of storedKeys((prefix, page) => storage.list(prefix, page), ['core/'])) terms.add(Buffer.from((await storage.get(key))!).readUInt32BE(1));
  return [...terms].sort();
}

const fill = (core: Core, count: number, value = 'v'): Promise<void> => core.barrier.transaction(Array.from({ length: count }, (_, i) => ({ kind: 'put', key: `logical/x/${i}`, value: bytes(`${value}${i}`) })));

const until = (what: string, holds: () => boolean | Promise<boolean>) => eventually(what, holds, 120_000);

describe('Reencryption', () => {
  test('moves every record to the newest term and says so, and a core of one term has nothing to do', async () => {
    const storage = new MemoryStorage();
    const core = await newCore(storage);
    await fill(core, 300);
    const { reencryption, log } = await walkOver(core);
    await reencryption.idle();
    assert.deepEqual([reencryption.status(), log], [{ oldestTerm: 1, isRunning: false, checked: 0, renewed: 0, unreadable: 0 }, []]);
    await core.barrier.rotate();
    reencryption.start();
    assert.equal(reencryption.status().isRunning, true);
    await reencryption.idle();
    assert.deepEqual(reencryption.status(), { oldestTerm: 2, isRunning: false, checked: 300, renewed: 300, unreadable: 0 });
    assert.deepEqual(await termsOf(storage), [2]);
    for (let i = 0; i < 300; i++) assert.equal(text(await core.barrier.get(`logical/x/${i}`)), `v${i}`);
    assert.match(log.at(-1)!, /^all records are under the newest data key \{"term":2,"checked":300,"renewed":300,"seconds":\d+\}$/);
    await reencryption.close();
    const again = await walkOver(core);
    assert.equal(again.reencryption.status().isRunning, false, 'known to be done');
    assert.equal(again.reencryption.status().oldestTerm, 2);
  });

  test('begins by itself after an unseal that finds older terms', async () => {
    const storage = new MemoryStorage();
    const core = await newCore(storage);
    await fill(core, 5);
    await core.barrier.rotate();
    await core.barrier.rotate();
    core.barrier.seal();
    const { reencryption } = await walkOver(await reopen(storage, core.share));
    await reencryption.idle();
    assert.deepEqual([reencryption.status().oldestTerm, await termsOf(storage)], [3, [3]]);
  });

  test('loses no write, delete or new record of those who work meanwhile, over several rotations', async () => {
    const directory = temporaryDirectory();
    const storage = await LmdbStorage.open({ directory: directory.path });
    try {
      const core = await newCore(storage);
      await fill(core, 400);
      const { reencryption } = await walkOver(core);
      const model = new Map(Array.from({ length: 400 }, (_, i) => [`logical/x/${i}`, `v${i}`]));
      let isOver = false;
      let writes = 0;
      // Each writer has keys of its own and waits for each write, so the model is what was acknowledged.
      const writers = Array.from({ length: 8 }, async (_, writer) => {
        for (let step = 0; !isOver; step++) {
          const key = `logical/x/${8 * (step * 7 % 70) + writer}`;
          if (step % 5 === 4) {
            await core.barrier.delete(key);
            model.delete(key);
          } else {
            await core.barrier.put(key, bytes(`${writer}-${step}`));
            model.set(key, `${writer}-${step}`);
          }
          writes++;
        }
      });
      for (let rotation = 2; rotation <= 4; rotation++) {
        await core.barrier.rotate();
        reencryption.start();
        const before = writes;
        await until('writes during the walk', () => writes > before + 200);
      }
      await until('the walks', () => !reencryption.status().isRunning && reencryption.status().oldestTerm === 4);
      isOver = true;
      await Promise.all(writers);
      assert.deepEqual(await termsOf(storage), [4]);
      assert.ok(writes > 600);
      const found = new Map<string, string>();
      for await (const key of core.barrier.keys()) if (key.startsWith('logical/')) found.set(key, text(await core.barrier.get(key))!);
      assert.deepEqual(new Map([...found].sort()), new Map([...model].sort()));
    } finally {
      await storage.close();
      directory.remove();
    }
  });

  test('a write that overtakes the replacing of its record wins, and is looked at again when it has an older term', async () => {
    const storage = new MemoryStorage();
    const core = await newCore(storage);
    await fill(core, 3);
    const stale = (await storage.get('logical/x/1'))!;
    await core.barrier.put('logical/x/1', bytes('newer'));
    const older = (await storage.get('logical/x/1'))!;
    await storage.put('logical/x/1', stale);
    await core.barrier.rotate();
    const replace = storage.replace.bind(storage);
    let raced = 0;
    storage.replace = async (key, expected, value) => {
      if (key === 'logical/x/0' && raced++ === 0) await core.barrier.put(key, bytes('written'));
      if (key === 'logical/x/1' && raced++ < 3) await storage.put(key, older); // under the old term, as a remote store might do it late
      if (key === 'logical/x/2') await core.barrier.delete(key);
      return replace(key, expected, value);
    };
    const { reencryption } = await walkOver(core);
    await reencryption.idle();
    assert.deepEqual([text(await core.barrier.get('logical/x/0')), text(await core.barrier.get('logical/x/1')), await core.barrier.get('logical/x/2')], ['written', 'newer', undefined]);
    assert.deepEqual([await termsOf(storage), reencryption.status().oldestTerm, reencryption.status().renewed], [[2], 2, 1]);
  });

  test('waits for the writes that were begun under the old term', async () => {
    const storage = new MemoryStorage();
    const core = await newCore(storage);
    await fill(core, 2);
    const transaction = storage.transaction.bind(storage);
    let land!: () => void;
    const landed = new Promise<void>((resolve) => { land = resolve; });
    storage.transaction = async (operations) => {
      if (operations.some(({ key }) => key === 'logical/x/late')) await landed;
      return transaction(operations);
    };
    const late = core.barrier.put('logical/x/late', bytes('late'));
    await core.barrier.rotate();
    const { reencryption } = await walkOver(core);
    await new Promise((resolve) => { setTimeout(resolve, 50); });
    assert.deepEqual([reencryption.status().isRunning, reencryption.status().checked], [true, 0]);
    land();
    await late;
    await reencryption.idle();
    assert.deepEqual([await termsOf(storage), text(await core.barrier.get('logical/x/late'))], [[2], 'late']);
  });

  test('a seal in the middle stops it, close() as well, and the next unseal goes on', async () => {
    for (const how of ['seal', 'close'] as const) {
      const storage = new MemoryStorage();
      const core = await newCore(storage);
      await fill(core, 500);
      await core.barrier.rotate();
      const { reencryption, log } = await walkOver(core);
      await until('the first records', () => reencryption.status().renewed > 0);
      if (how === 'close') await reencryption.close();
      await core.seal.seal();
      await reencryption.idle();
      assert.ok(reencryption.status().renewed < 500, `${how}: it was over before`);
      assert.equal(log.length, 1, `${how}: ${log.join('; ')}`);
      assert.deepEqual(await termsOf(storage), [1, 2]);
      const again = await reopen(storage, core.share);
      const second = (await walkOver(again)).reencryption;
      await second.idle();
      assert.deepEqual([await termsOf(storage), second.status().oldestTerm], [[2], 2]);
      assert.equal(second.status().checked, 500);
      assert.ok(second.status().renewed < 500, 'what was done is not done again');
      for (let i = 0; i < 500; i++) assert.equal(text(await again.barrier.get(`logical/x/${i}`)), `v${i}`);
    }
  });

  for (const isApplied of [false, true]) {
    test(`a death at any of its writes, ${isApplied ? 'after' : 'before'} the store had it, leaves records that open, and the next start ends the work`, async () => {
      let cutAt = 1;
      for (; ; cutAt++) {
        const below = new MemoryStorage();
        const core = await newCore(below);
        await fill(core, 6);
        await core.barrier.rotate();
        core.barrier.seal();
        const cutting = new CuttingStorage(below, cutAt, isApplied);
        const { reencryption } = await walkOver(await reopen(cutting, core.share));
        await reencryption.idle();
        await reencryption.close();
        if (!cutting.isCut) break;
        const again = await reopen(below, core.share);
        for (let i = 0; i < 6; i++) assert.equal(text(await again.barrier.get(`logical/x/${i}`)), `v${i}`);
        const second = (await walkOver(again)).reencryption;
        await second.idle();
        assert.deepEqual([second.status().oldestTerm, await termsOf(below)], [2, [2]], `cut at ${cutAt}`);
      }
      assert.equal(cutAt, 8, 'six records and the one that says it is done');
    });
  }

  test('a store that fails is said once and tried again, and nothing is lost', async (context) => {
    context.mock.timers.enable({ apis: ['setTimeout'] });
    const storage = new MemoryStorage();
    const core = await newCore(storage);
    await fill(core, 3);
    await core.barrier.rotate();
    const replace = storage.replace.bind(storage);
    storage.replace = () => Promise.reject(new Error('no space left'));
    const { reencryption, log } = await walkOver(core);
    await reencryption.idle();
    assert.match(log.at(-1)!, /could not be encrypted anew; it is tried again in a minute \{"reason":"no space left"\}/);
    storage.replace = replace;
    context.mock.timers.tick(60_000);
    await reencryption.idle();
    assert.deepEqual([reencryption.status().oldestTerm, await termsOf(storage)], [2, [2]]);
  });

  test('a record that does not open stays as it is, is named, and keeps the term from counting as done', async () => {
    const storage = new MemoryStorage();
    const core = await newCore(storage);
    await fill(core, 20);
    const good = (await storage.get('logical/x/7'))!;
    const damaged = Uint8Array.from(good);
    damaged[damaged.length - 1]! ^= 1;
    await storage.put('logical/x/7', damaged);
    await core.barrier.rotate();
    const { reencryption, log } = await walkOver(core);
    await reencryption.idle();
    const { oldestTerm, renewed, unreadable } = reencryption.status();
    assert.deepEqual([oldestTerm, renewed, unreadable], [1, 19, 1]);
    assert.ok(log.some((line) => line.includes('logical/x/7')) && log.at(-1)!.startsWith('some records do not open'), log.join('; '));
    assert.deepEqual(await storage.get('logical/x/7'), damaged);
    reencryption.start();
    assert.equal(reencryption.status().isRunning, false, 'not again and again');
    await storage.put('logical/x/7', good); // from a backup, under the old term, which is still there
    const again = (await walkOver(core)).reencryption;
    await again.idle();
    assert.deepEqual([again.status().oldestTerm, again.status().renewed, text(await core.barrier.get('logical/x/7'))], [2, 1, 'v7']);
  });

  test('holds a few large records at a time', async () => {
    const storage = new MemoryStorage();
    const core = await newCore(storage);
    for (let i = 0; i < 40; i++) await core.barrier.put(`logical/x/${i}`, new Uint8Array(200_000).fill(i));
    await core.barrier.rotate();
    const replace = storage.replace.bind(storage);
    let [waiting, most] = [0, 0];
    storage.replace = async (...args) => {
      most = Math.max(most, ++waiting);
      await new Promise((resolve) => { setImmediate(resolve); });
      waiting--;
      return replace(...args);
    };
    const { reencryption } = await walkOver(core);
    await reencryption.idle();
    assert.deepEqual([reencryption.status().renewed, most], [40, 1]);
  });
});

test('sys/key-status, purser rotate status and the metrics tell how far it is', async () => {
  const server = await startUnsealed({ audit: false });
  const restore = withEnvironment({ PURSER_ADDR: server.server.address, PURSER_TOKEN: server.root });
  try {
    for (let i = 0; i < 30; i++) await server.call('PUT', `secret/data/${i}`, { body: { data: { a: String(i) } } });
    const before = (await server.call('GET', 'sys/key-status')).body.data;
    assert.deepEqual([before.term, before.oldest_term, before.reencryption], [1, 1, 'done']);
    assert.equal((await purser('rotate')).status, 0);
    await until('the walk', async () => (await server.call('GET', 'sys/key-status')).body.data.reencryption === 'done');
    const { data, term } = (await server.call('GET', 'sys/key-status')).body;
    assert.deepEqual([term, data.oldest_term, data.reencryption_unreadable], [2, 2, 0]);
    assert.ok(data.reencryption_renewed >= 60, String(data.reencryption_renewed));
    const status = await purser('rotate', 'status');
    assert.match(status.out, /^oldest_term +2$/m);
    assert.match(status.out, /^reencryption +done$/m);
    const metrics = await (await fetch(`${server.server.address}/v1/sys/metrics?format=prometheus`, { headers: { 'X-Vault-Token': server.root } })).text();
    for (const line of ['purser_barrier_term 2', 'purser_barrier_oldest_term 2', `purser_reencrypted_records_total ${data.reencryption_renewed}`]) assert.ok(metrics.includes(`\n${line}\n`), line);
    for (let i = 0; i < 30; i++) assert.equal((await server.call('GET', `secret/data/${i}`)).body.data.data.a, String(i));
  } finally {
    restore();
    await server.stop();
  }
});

test('a real server that is killed in the middle goes on after its next start, and lost nothing', { timeout: 300_000 }, async () => {
  const SECRETS = 1_500;
  const { path: directory, remove } = temporaryDirectory();
  const running = new Set<ChildProcess>();
  const start = async (): Promise<{ readonly server: ChildProcess; readonly address: string }> => {
    const server = spawn(process.execPath, [fileURLToPath(new URL('../../dist/purser', import.meta.url)), 'server', '--http', '--listen', '127.0.0.1:0', '--data-dir', join(directory, 'data'), '--auto-unseal-key-file', join(directory, 'key'), '--init-if-needed'], { stdio: ['ignore', 'ignore', 'pipe'] });
    running.add(server);
    const address = await new Promise<string>((resolve, reject) => {
      createInterface({ input: server.stderr }).on('line', (line) => {
        const entry = line.startsWith('{') ? JSON.parse(line) as { msg: string; address?: string } : undefined;
        if (entry?.msg === 'listening') resolve(entry.address!);
      });
      server.once('exit', (code) => { reject(new Error(`the server ended with ${String(code)}`)); });
    });
    return { server, address };
  };
  const end = async (server: ChildProcess, signal: NodeJS.Signals): Promise<void> => {
    const ended = once(server, 'exit');
    server.kill(signal);
    await ended;
    running.delete(server);
  };
  try {
    let core = await start();
    const token = readFileSync(join(directory, 'data', 'root-token'), 'utf8').trim();
    const put = (address: string, name: string, value: string) => call(address, 'PUT', `secret/data/${name}`, { token, body: { data: { value } } });
    const state = async (address: string): Promise<Record<string, unknown>> => (await call(address, 'GET', 'sys/key-status', { token })).body.data as Record<string, unknown>;
    for (let i = 0; i < SECRETS; i += 50) await Promise.all(Array.from({ length: 50 }, (_, j) => put(core.address, String(i + j), `v${i + j}`)));
    const acknowledged = new Map<string, string>();
    /** The last write before each kill, which may have been stored or not. */
    const open: { readonly name: string; readonly value: string }[] = [];
    let rotations = 0;
    let after: Record<string, unknown>;
    do {
      assert.ok(++rotations <= 10, 'each walk was over before the server was killed and asked');
      assert.equal((await call(core.address, 'PUT', 'sys/rotate', { token })).status, 204);
      let sent = { name: '', value: '' };
      const writer = (async () => {
        for (let i = 0; ; i++) {
          sent = { name: String(i * 13 % SECRETS), value: `w${i}` };
          if ((await put(core.address, sent.name, sent.value)).status === 200) acknowledged.set(sent.name, sent.value);
        }
      })().catch(() => undefined); // until the server dies
      await until('the first hundred records', async () => Number((await state(core.address))['reencryption_renewed']) > 100);
      await end(core.server, 'SIGKILL');
      await writer;
      open.push(sent);
      assert.ok(acknowledged.size > 0);
      core = await start();
      after = await state(core.address);
    } while (after['reencryption'] === 'done'); // on a machine that stands still
    assert.deepEqual([after['term'], after['oldest_term'], after['reencryption']], [rotations + 1, rotations, 'running']);
    await until('the rest', async () => (await state(core.address))['reencryption'] === 'done');
    for (let i = 0; i < SECRETS; i++) {
      const value = (await call(core.address, 'GET', `secret/data/${i}`, { token })).body.data.data.value as string;
      const written = acknowledged.get(String(i)) ?? `v${i}`;
      assert.ok(value === written || open.some((sent) => sent.name === String(i) && sent.value === value), `${i}: ${value}, not ${written}`);
    }
    await end(core.server, 'SIGTERM');
    const storage = await LmdbStorage.open({ directory: join(directory, 'data', 'store') });
    assert.deepEqual(await termsOf(storage), [rotations + 1]);
    await storage.close();
  } finally {
    for (const server of running) server.kill('SIGKILL');
    remove();
  }
});
