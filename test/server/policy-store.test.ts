// The policy store: what is in force, what a restart finds, and which names reach what.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { openCore } from '../../src/core/core.ts';
import type { View } from '../../src/core/view.ts';
import { isPurserError } from '../../src/lib/errors.ts';
import { PolicyStore } from '../../src/server/policy-store.ts';
import { MemoryStorage } from '../../src/storage/memory.ts';

async function view(): Promise<View> {
  const { barrier, seal } = openCore(new MemoryStorage());
  const [share] = await seal.initialize({ shares: 1, threshold: 1 });
  await seal.provide(share!);
  return barrier.view('policy/');
}
const READ_A = 'path "a" { capabilities = ["read"] }';
const mayRead = (store: PolicyStore, names: readonly string[]): boolean => store.acl(names).check({ path: 'a', operation: 'read' }).allowed;

describe('PolicyStore', () => {
  test('write() holds at once for an ACL of the same names, and after a restart', async () => {
    const records = await view();
    const store = await PolicyStore.open(records);
    assert.equal(mayRead(store, ['p']), false);
    await store.write('P', READ_A);
    assert.equal(mayRead(store, ['p']), true);
    assert.equal(mayRead(await PolicyStore.open(records), ['p']), true);
    await store.delete('p');
    assert.equal(mayRead(store, ['p']), false);
    assert.equal(mayRead(await PolicyStore.open(records), ['p']), false);
  });

  test('acl() of one set is compiled once, and of unknown names grants nothing', async () => {
    const store = await PolicyStore.open(await view());
    assert.equal(store.acl(['default']), store.acl(['default']));
    assert.deepEqual(store.acl(['nothing', 'never']).capabilities('a'), ['deny']);
    assert.deepEqual(store.acl(['root']).capabilities('a'), ['root']);
  });

  test('compile() lets others run in between, and a policy that changes meanwhile counts', async () => {
    const store = await PolicyStore.open(await view());
    const names = Array.from({ length: 400 }, (_, index) => `p${index}`).sort();
    const text = (name: string) => Array.from({ length: 100 }, (_, index) => `path "+/${name}/${index}/+/x" { capabilities = ["read"] }`).join('\n');
    for (const name of names) await store.write(name, text(name));
    assert.equal(store.isCompiled(names), false);
    const compiling = store.compile(names);
    let turns = 0;
    let isDone = false;
    const counting = (async () => { while (!isDone) { await new Promise(setImmediate); turns++; } })();
    await store.write('p0', 'path "a" { capabilities = ["read"] }');
    assert.equal(mayRead(store, ['p0']), true);
    await compiling;
    isDone = true;
    await counting;
    assert.ok(turns > 2, String(turns));
    assert.deepEqual([store.isCompiled(names), mayRead(store, names)], [true, true]);
    assert.deepEqual(store.acl(names).capabilities('s/p0/1/t/x'), ['deny']);
    assert.deepEqual(store.acl(names).capabilities('s/p1/1/t/x'), ['read']);
  });

  test('acl() stays bounded however many sets of names are asked for', async () => {
    const store = await PolicyStore.open(await view());
    await store.write('p', READ_A);
    for (let index = 0; index < 3_000; index++) store.acl(['p', `x${index}`]);
    assert.equal(mayRead(store, ['p']), true);
  });

  test('write() that storage refuses changes nothing', async () => {
    const records = await view();
    const store = await PolicyStore.open({ ...bound(records), put: () => Promise.reject(new Error('disk full')) });
    await assert.rejects(store.write('p', READ_A));
    assert.deepEqual([store.has('p'), mayRead(store, ['p'])], [false, false]);
  });

  for (const name of ['root', 'Root', 'ROOT', 'ｒoot', 'response-wrapping', 'purser-node', '', ' ', 'a b', 'a/b', 'a,b', 'a*', 'a\u200b', 'x'.repeat(129)]) {
    test(`write() refuses the name ${JSON.stringify(name.slice(0, 20))}`, async () => {
      const store = await PolicyStore.open(await view());
      await assert.rejects(store.write(name, READ_A), (error) => isPurserError(error, 'ERR_REQUEST_INVALID'));
    });
  }

  for (const stored of ['', 'no json', '{"v":2,"text":""}', '{"v":1}', '{"v":1,"text":"path"}']) {
    test(`open() refuses the stored policy ${JSON.stringify(stored)} instead of skipping it`, async () => {
      const records = await view();
      await records.put('p', Buffer.from(stored));
      await assert.rejects(PolicyStore.open(records), (error) => isPurserError(error));
    });
  }
});

function bound(records: View): View {
  return {
    get: (key) => records.get(key), put: (key, value) => records.put(key, value), delete: (key) => records.delete(key),
    list: (prefix, page) => records.list(prefix, page), transaction: (operations) => records.transaction(operations), sub: (prefix) => records.sub(prefix),
  };
}
