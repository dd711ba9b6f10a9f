// PlainKvEngine: Vault's KV version 1, and the way from it to version 2, cut off after each write.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import type { JsonObject, LogicalResponse, Operation } from '../../src/core/logical.ts';
import { KvEngine } from '../../src/engines/kv/kv-engine.ts';
import { PlainKvEngine } from '../../src/engines/kv/plain-kv-engine.ts';
import { MemoryView } from '../fakes/memory-view.ts';

const NOW = 1_700_000_000_000;

function setUp(view = new MemoryView()) {
  const changes: [string, number][] = [];
  const engine = new PlainKvEngine({ view, defaultLeaseSeconds: () => 1_800 }, (path, version) => { changes.push([path, version]); });
  const call = (operation: Operation, path: string, data: JsonObject = {}): Promise<LogicalResponse | undefined> =>
    engine.handle({ operation, path, mountPoint: 'old/', data, remoteAddress: '' });
  return { view, changes, engine, call };
}

function upgraded(view: MemoryView) {
  const engine = new KvEngine({ view, now: () => NOW });
  const read = async (operation: Operation, path: string) => (await engine.handle({ operation, path, mountPoint: 'old/', data: {}, remoteAddress: '' }))?.data;
  return { engine, read };
}

test('a secret is the whole body of the write, replaced by the next and gone after a delete', async () => {
  const { call } = setUp();
  assert.equal(await call('create', 'db/prod', { password: 'one', data: { x: 1 } }), undefined);
  assert.deepEqual((await call('read', 'db/prod'))?.data, { password: 'one', data: { x: 1 } });
  await call('update', 'db/prod', { user: 'app' });
  assert.deepEqual((await call('read', 'db/prod'))?.data, { user: 'app' });
  for (const path of ['db', 'db/prod/x', 'none']) assert.equal(await call('read', path), undefined);
  await call('delete', 'db/prod');
  await call('delete', 'db/prod');
  assert.equal(await call('read', 'db/prod'), undefined);
});

for (const [data, seconds] of [
  [{ a: 1 }, 1_800], [{ ttl: '1h' }, 3600], [{ lease: 90 }, 90], [{ ttl: '5m', lease: '1h' }, 300], [{ ttl: 'soon' }, 1_800], [{ ttl: { x: 1 } }, 1_800], [{ ttl: 0 }, 1_800],
] as [JsonObject, number][]) {
  test(`the lease duration of ${JSON.stringify(data)} is ${seconds} s`, async () => {
    const { call } = setUp();
    await call('update', 's', data);
    assert.equal((await call('read', 's'))?.leaseSeconds, seconds);
  });
}

test('lists name secrets and folders', async () => {
  const { call } = setUp();
  for (const path of ['a', 'a/b', 'c/d/e']) await call('update', path, { x: 1 });
  assert.deepEqual((await call('list', ''))?.data, { keys: ['a', 'a/', 'c/'] });
  assert.deepEqual((await call('list', 'c/'))?.data, { keys: ['d/'] });
  assert.equal(await call('list', 'none/'), undefined);
});

test('an empty write, a patch and a missing path are refused', async () => {
  const { call } = setUp();
  await assert.rejects(call('update', 's', {}), { code: 'ERR_REQUEST_INVALID', message: 'missing data fields' });
  await assert.rejects(call('patch', 's', { a: 1 }), { code: 'ERR_REQUEST_UNSUPPORTED' });
  await assert.rejects(call('update', '', { a: 1 }), { code: 'ERR_REQUEST_INVALID' });
});

test('the revision grows with every change, also across a removal, and listeners hear of it', async () => {
  const { call, engine, changes } = setUp();
  await call('update', 's', { a: 1 });
  await call('update', 's', { a: 2 });
  await call('delete', 's');
  await call('delete', 's');
  assert.equal(await engine.readSecret('s'), undefined);
  await call('update', 's', { a: 3 });
  assert.deepEqual(await engine.readSecret('s'), { data: { a: 3 }, version: 3 });
  assert.equal(await engine.readSecret('s', 3), undefined, 'no version can be pinned');
  assert.deepEqual(changes, [['s', 1], ['s', 2], ['s', 0], ['s', 3]]);
});

test('concurrent writes of one secret each get a revision of their own', async () => {
  const { call, changes } = setUp();
  await Promise.all(Array.from({ length: 20 }, (_, i) => call('update', 's', { i })));
  assert.deepEqual(changes.map(([, version]) => version), Array.from({ length: 20 }, (_, i) => i + 1));
});

test('close() waits for writes under way and refuses later ones', async () => {
  const { call, engine, view } = setUp();
  const write = call('update', 'early', { a: 1 });
  await engine.close();
  assert.ok(view.records.has('plain/early'));
  await write;
  await assert.rejects(call('update', 'late', { a: 1 }), { code: 'ERR_REQUEST_BUSY' });
  await assert.rejects(call('read', 'moved'), { code: 'ERR_REQUEST_BUSY' });
  assert.ok(!view.records.has('plain/late'));
});

test('version 2 takes over what version 1 holds: values, folders and the count of changes', async () => {
  const { view, call } = setUp();
  await call('update', 'a/b', { x: 1 });
  for (let i = 0; i < 7; i++) await call('update', 'a', { i });
  await call('update', 'gone', { x: 1 });
  await call('delete', 'gone');
  for (let i = 0; i < 200; i++) await call('update', `many/${i}`, { i });
  const { read, engine } = upgraded(view);
  assert.deepEqual(await read('list', 'metadata/'), { keys: ['a', 'a/', 'many/'] });
  assert.equal(((await read('list', 'metadata/many/'))?.['keys'] as string[]).length, 200);
  assert.deepEqual((await read('read', 'data/a'))?.['data'], { i: 6 });
  assert.deepEqual((await engine.readSecret('a'))?.version, 7);
  assert.deepEqual((await engine.readSecret('a/b')), { data: { x: 1 }, version: 1 });
  await engine.handle({ operation: 'update', path: 'data/a', mountPoint: 'old/', data: { data: { i: 7 } }, remoteAddress: '' });
  assert.equal((await engine.readSecret('a'))?.version, 8);
  assert.deepEqual([...view.records.keys()].filter((key) => /^(?:plain|gone)\//.test(key)), []);
});

test('an upgrade that fails after any write goes on with the next request, and loses nothing', async () => {
  for (let writes = 0; writes < 8; writes++) {
    const { view, call } = setUp();
    for (const path of ['a', 'a/b', 'c']) await call('update', path, { path });
    await call('update', 'gone', { x: 1 });
    await call('delete', 'gone');
    view.failAfter(writes);
    const { engine } = upgraded(view);
    await engine.readSecret('a').catch(() => undefined);
    view.failAfter(Infinity);
    for (const at of [engine, upgraded(view).engine]) {
      for (const path of ['a', 'a/b', 'c']) assert.deepEqual(await at.readSecret(path), { data: { path }, version: 1 }, `${path} after ${writes} writes`);
    }
    assert.deepEqual([...view.records.keys()].filter((key) => /^(?:plain|gone)\//.test(key)), []);
  }
});
