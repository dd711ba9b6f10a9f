// Secrets, tokens and audit keys over the real barrier: nothing in storage is readable, and no record works at another place.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

import { FileAuditDevice } from '../../src/audit/file-device.ts';
import { TokenStore } from '../../src/auth/token/token-store.ts';
import { Barrier } from '../../src/core/barrier.ts';
import { Keyring } from '../../src/core/keyring.ts';
import type { JsonObject, Operation } from '../../src/core/logical.ts';
import { KvEngine } from '../../src/engines/kv/kv-engine.ts';
import { MemoryStorage } from '../../src/storage/memory.ts';

function setUp() {
  const storage = new MemoryStorage();
  const barrier = new Barrier(storage);
  const keyring = Keyring.create(randomBytes(32), { shares: 1, threshold: 1 });
  barrier.unseal(keyring);
  const engine = new KvEngine({ view: barrier.view('logical/m1/'), now: Date.now });
  const call = (operation: Operation, path: string, data: JsonObject = {}) =>
    engine.handle({ operation, path, mountPoint: 'secret/', data, remoteAddress: '' });
  return { storage, barrier, call };
}

async function everything(storage: MemoryStorage, prefix = ''): Promise<[string, Uint8Array][]> {
  const found: [string, Uint8Array][] = [];
  for (const name of await storage.list(prefix)) {
    if (name.endsWith('/')) found.push(...await everything(storage, prefix + name));
    else found.push([prefix + name, await storage.get(prefix + name) as Uint8Array]);
  }
  return found;
}

test('storage holds no secret, token or audit key in clear', async (t) => {
  const { storage, barrier, call } = setUp();
  const directory = mkdtempSync(join(tmpdir(), 'purser-barrier-test-'));
  t.after(() => { rmSync(directory, { recursive: true, force: true }); });
  await call('update', 'data/db/prod', { data: { password: 'canary-value' } });
  const tokens = await TokenStore.open(barrier.view('token/'), Date.now);
  const { id, entry } = await tokens.create({ policies: ['canary-policy'], path: 'p', displayName: 'd' });
  const device = await FileAuditDevice.open({ path: join(directory, 'a.log'), directory, view: barrier.view('audit/device/a/'), now: Date.now });
  await device.close();
  const stored = (await everything(storage)).map(([key, value]) => key + Buffer.from(value).toString('latin1')).join('\n');
  for (const secret of ['canary-value', 'canary-policy', id.slice(4), entry.accessor]) assert.ok(!stored.includes(secret));
  assert.ok(stored.includes('logical/m1/data/1/db/prod'), 'paths are not encrypted, as FORMAT.md says');
});

test('the data of one version or secret does not read as that of another', async () => {
  const { storage, call } = setUp();
  for (const path of ['a', 'b']) for (const n of [1, 2]) await call('update', `data/${path}`, { data: { n } });
  for (const [from, to, path] of [['data/1/a', 'data/2/a', 'data/a'], ['data/2/a', 'data/2/b', 'data/b']] as const) {
    await storage.put(`logical/m1/${to}`, await storage.get(`logical/m1/${from}`) as Uint8Array);
    await assert.rejects(call('read', path), { code: 'ERR_BARRIER_OPEN' });
  }
});

test('a secret at the longest path is written, read, listed and removed', async () => {
  const { storage, call } = setUp();
  const path = `${'d'.repeat(900)}/${'n'.repeat(899)}`;
  await call('update', `data/${path}`, { data: { a: 1 } });
  assert.deepEqual((await call('read', `data/${path}`))?.data?.['data'], { a: 1 });
  assert.deepEqual((await call('list', `metadata/${'d'.repeat(900)}/`))?.data, { keys: ['n'.repeat(899)] });
  await call('delete', `metadata/${path}`);
  assert.deepEqual(await everything(storage), []);
});

test('a sealed core gives no value, lists nothing and counts no use', async () => {
  const { barrier, call } = setUp();
  const tokens = await TokenStore.open(barrier.view('token/'), Date.now);
  await call('update', 'data/a', { data: { a: 1 } });
  const { id } = await tokens.create({ policies: [], path: 'p', displayName: 'd', numUses: 1 });
  await call('read', 'data/a');
  barrier.seal();
  await assert.rejects(call('read', 'data/a'), { code: 'ERR_BARRIER_SEALED' });
  await assert.rejects(call('list', 'metadata/'), { code: 'ERR_BARRIER_SEALED' });
  await assert.rejects(tokens.use(id), { code: 'ERR_BARRIER_SEALED' });
});
