// TokenStore over the real rules of a View: what is stored, what is usable when, counted uses, revocation with crashes.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { leasePath, TokenStore } from '../../src/auth/token/token-store.ts';
import type { CreatedToken, TokenSpec } from '../../src/auth/token/token-store.ts';
import { MemoryView } from '../fakes/memory-view.ts';

const START = 1_700_000_000_000;
const HOUR = 3_600;

async function openStore(view = new MemoryView()) {
  const clock = { ms: START };
  const store = await TokenStore.open(view, () => clock.ms);
  const make = (more: Partial<TokenSpec> = {}): Promise<CreatedToken> =>
    store.create({ policies: ['app'], path: 'auth/token/create', displayName: 'token', ttlSeconds: HOUR, ...more });
  return { view, clock, store, make, reopen: () => TokenStore.open(view, () => clock.ms) };
}

test('create() stores neither the id nor anything it could be computed from', async () => {
  const { view, store, make } = await openStore();
  const root = await store.createRoot();
  const { id } = await make({ parentId: root.id });
  assert.match(id, /^hvs\.[0-9A-Za-z]{24}$/);
  const stored = [...view.records].map(([key, value]) => key + value.toString('latin1')).join('\n');
  for (const secret of [id, id.slice(4), root.id.slice(4)]) assert.ok(!stored.includes(secret));
});

test('open() keeps the salt, so tokens survive a restart', async () => {
  const { make, reopen } = await openStore();
  const { id, entry } = await make();
  assert.deepEqual(await (await reopen()).lookup(id), entry);
});

test('open() refuses a salt of the wrong length', async () => {
  const view = new MemoryView();
  await view.put('salt', new Uint8Array(5));
  await assert.rejects(TokenStore.open(view, () => START), { code: 'ERR_RECORD_INVALID' });
});

test('lookup() finds nothing under a changed, empty or enormous id', async () => {
  const { store, make } = await openStore();
  const { id } = await make();
  for (const wrong of [`${id}x`, id.slice(0, -1), id.toUpperCase(), '', 'x'.repeat(1_000_000)]) {
    assert.equal(await store.lookup(wrong), undefined);
  }
});

test('lookup() ends a token at its exact end, also from the cache', async () => {
  const { clock, store, make } = await openStore();
  const { id } = await make({ ttlSeconds: 10 });
  clock.ms = START + 9_999;
  assert.ok(await store.lookup(id));
  clock.ms = START + 10_000;
  assert.equal(await store.lookup(id), undefined);
});

test('lookup() refuses a child whose parent ended, and accepts it again after the parent was renewed in time', async () => {
  const { clock, store, make } = await openStore();
  const parent = await make({ ttlSeconds: 10 });
  const child = await make({ ttlSeconds: HOUR, parentId: parent.id });
  assert.ok(await store.lookup(child.id));
  clock.ms = START + 5_000;
  await store.renew(parent.id, 100);
  clock.ms = START + 50_000;
  assert.ok(await store.lookup(child.id), 'the cached end of the parent must not stick');
  clock.ms = START + 105_000;
  assert.equal(await store.lookup(child.id), undefined);
});

test('lookup() refuses a stored entry that claims no end without being root', async () => {
  const { view, store, make } = await openStore();
  const { id } = await make();
  const key = [...view.records.keys()].find((name) => name.startsWith('id/')) ?? '';
  const record = JSON.parse(String(view.records.get(key))) as object;
  for (const damage of [{ expiresAt: null }, { policies: undefined }, { v: 2 }, { extra: 1 }, { condemned: 'no' }]) {
    await view.put(key, Buffer.from(JSON.stringify({ ...record, ...damage })));
    await assert.rejects(store.lookup(id), { code: 'ERR_RECORD_INVALID' }, JSON.stringify(damage));
  }
});

for (const [wish, expected] of [
  [{ ttlSeconds: 0 }, 2_764_800], [{ ttlSeconds: 60 }, 60], [{ ttlSeconds: 9_999_999 }, 2_764_800],
  [{ ttlSeconds: HOUR, explicitMaxTtlSeconds: 60 }, 60], [{ ttlSeconds: 0, explicitMaxTtlSeconds: 60 }, 60],
  [{ ttlSeconds: 5, periodSeconds: 30 }, 30], [{ periodSeconds: 30, explicitMaxTtlSeconds: 20 }, 20],
] as const) {
  test(`create() gives ${expected} seconds for ${JSON.stringify(wish)}, with a warning when cut`, async () => {
    const { make } = await openStore();
    const { entry, warnings } = await make(wish);
    assert.equal(entry.ttlSeconds, expected);
    assert.equal(entry.expiresAt, START + expected * 1000);
    const wished = ('periodSeconds' in wish ? wish.periodSeconds : wish.ttlSeconds) ?? 0;
    assert.equal(warnings.length, wished > expected ? 1 : 0);
  });
}

test('createRoot() makes a token without end that cannot be renewed', async () => {
  const { clock, store } = await openStore();
  const { id, entry } = await store.createRoot({ id: 'chosen' });
  assert.deepEqual([id, entry.expiresAt, entry.policies, entry.renewable], ['chosen', null, ['root'], false]);
  clock.ms += 1e12;
  assert.ok(await store.lookup('chosen'));
  await assert.rejects(store.createRoot({ id: 'chosen' }), { message: 'cannot create a token with a duplicate ID' });
});

test('create() takes a chosen id again once its first owner ended, and the old children stay dead', async () => {
  const { view, clock, store, make } = await openStore();
  await make({ id: 'chosen', ttlSeconds: 10 });
  const child = await make({ parentId: 'chosen' });
  const childRecords = [...view.records];
  clock.ms += 20_000;
  await make({ id: 'chosen' });
  assert.equal(await store.lookup(child.id), undefined);
  for (const [key, value] of childRecords) if (!view.records.has(key)) await view.put(key, value);
  assert.equal(await store.lookup(child.id), undefined, 'even when a crash had left its records');
});

test('create() lets one of several concurrent makers of a chosen id win', async () => {
  const { make } = await openStore();
  const results = await Promise.allSettled(Array.from({ length: 8 }, () => make({ id: 'one' })));
  assert.equal(results.filter((r) => r.status === 'fulfilled').length, 1);
});

test('create() refuses a parent that is not usable', async () => {
  const { clock, store, make } = await openStore();
  const parent = await make({ ttlSeconds: 1 });
  clock.ms += 1_000;
  for (const parentId of ['unknown', parent.id]) {
    await assert.rejects(make({ parentId }), { code: 'ERR_REQUEST_INVALID' });
  }
  const revoked = await make();
  await store.revoke(revoked.id);
  await assert.rejects(make({ parentId: revoked.id }), { code: 'ERR_REQUEST_INVALID' });
});

test('renew() keeps the end within the maximum and never makes a token without end', async () => {
  const { clock, store, make } = await openStore();
  const { id } = await make({ ttlSeconds: 60, explicitMaxTtlSeconds: 100 });
  clock.ms = START + 59_900;
  const renewed = await store.renew(id, 0);
  assert.equal(renewed?.entry.expiresAt, START + 100_000);
  assert.equal(renewed?.warnings.length, 1);
  clock.ms = START + 99_999;
  assert.equal((await store.renew(id, 999_999_999))?.entry.expiresAt, START + 100_000);
  clock.ms = START + 100_000;
  assert.equal(await store.renew(id, 60), undefined);
});

test('renew() of a periodic token gives the period again, beyond the system maximum', async () => {
  const { clock, store, make } = await openStore();
  const { id } = await make({ periodSeconds: 2_000_000 });
  for (let i = 1; i <= 3; i++) {
    clock.ms = START + i * 1_900_000_000;
    assert.equal((await store.renew(id, 5))?.entry.expiresAt, clock.ms + 2_000_000_000);
  }
});

test('renew() of a token that is not renewable changes nothing and warns', async () => {
  const { store, make } = await openStore();
  const { id, entry } = await make({ renewable: false });
  const renewed = await store.renew(id, 60);
  assert.deepEqual(renewed?.entry, entry);
  assert.equal(renewed?.warnings.length, 1);
});

test('use() lets exactly k of n concurrent callers through', async () => {
  const { store, make, reopen } = await openStore();
  const { id } = await make({ numUses: 5 });
  const uses = await Promise.all(Array.from({ length: 40 }, () => store.use(id)));
  const passed = uses.filter((use) => use !== undefined);
  assert.equal(passed.length, 5);
  assert.equal(passed.filter((use) => use.isLast).length, 1);
  assert.equal(await store.use(id), undefined);
  assert.equal(await (await reopen()).use(id), undefined, 'the count is durable');
});

test('use() does not let a request through when the count cannot be written', async () => {
  const { view, store, make } = await openStore();
  const { id } = await make({ numUses: 2 });
  view.failAfter(0);
  await assert.rejects(store.use(id));
  view.failAfter(Infinity);
  assert.equal((await store.use(id))?.entry.usesLeft, 1);
});

test('lookupCaller() still serves the request of the last use, finishUse() then removes every record', async () => {
  const { view, store, make } = await openStore();
  const { id } = await make({ numUses: 1 });
  await store.finishUse(id);
  assert.ok(await store.lookup(id), 'nothing to finish before the last use');
  assert.equal((await store.use(id))?.isLast, true);
  assert.equal(await store.lookup(id), undefined);
  assert.ok(await store.lookupCaller(id));
  await store.finishUse(id);
  assert.equal(await store.lookupCaller(id), undefined);
  assert.deepEqual([...view.records.keys()].sort(), ['batch-key', 'salt']);
});

/** root → a, b; a → a1, a2; a1 → a11. */
async function plantTree(make: (more?: Partial<TokenSpec>) => Promise<CreatedToken>) {
  const top = await make();
  const a = await make({ parentId: top.id });
  const b = await make({ parentId: top.id });
  const a1 = await make({ parentId: a.id });
  const a2 = await make({ parentId: a.id });
  const a11 = await make({ parentId: a1.id });
  return { top, ids: [a, b, a1, a2, a11].map((token) => token.id) };
}

test('revoke() takes the whole tree and leaves no record', async () => {
  const { view, store, make } = await openStore();
  const { top, ids } = await plantTree(make);
  for (const id of ids) assert.ok(await store.lookup(id));
  await store.revoke(top.id);
  for (const id of [top.id, ...ids]) assert.equal(await store.lookup(id), undefined);
  assert.deepEqual([...view.records.keys()].sort(), ['batch-key', 'salt']);
});

for (let writes = 0; writes <= 7; writes++) {
  test(`revoke() that dies after ${writes} writes leaves no child without its parent usable, and finishes when repeated`, async () => {
    const { view, store, make, reopen } = await openStore();
    const { top, ids } = await plantTree(make);
    for (const id of ids) await store.lookup(id); // warm the cache: it must not hide the crash
    view.failAfter(writes);
    const failed = await store.revoke(top.id).then(() => false, () => true);
    view.failAfter(Infinity);
    for (const after of [store, await reopen()]) {
      const usable = await Promise.all(ids.map((id) => after.lookup(id)));
      assert.equal(usable.filter((entry) => entry !== undefined).length, writes === 0 ? ids.length : 0);
      assert.equal(await after.lookup(top.id) === undefined, writes > 0);
    }
    if (failed) await (writes % 2 === 0 ? store.revoke(top.id) : (await reopen()).sweep());
    if (writes > 0) assert.deepEqual([...view.records.keys()].sort(), ['batch-key', 'salt']);
  });
}

test('revoke() wins over a renewal and a use that run at the same time', async () => {
  for (let round = 0; round < 20; round++) {
    const { view, store, make } = await openStore();
    const { id } = await make({ numUses: 50 });
    await Promise.all([store.renew(id, 60), store.use(id), store.revoke(id), store.renew(id, 60), store.use(id)]);
    assert.equal(await store.lookup(id), undefined);
    assert.deepEqual([...view.records.keys()].sort(), ['batch-key', 'salt']);
  }
});

test('revoke() drops the token and its descendants from the cache, and nobody else', async () => {
  const { view, store, make } = await openStore();
  const parent = await make();
  const child = await make({ parentId: parent.id });
  const grandchild = await make({ parentId: child.id });
  const [brother, stranger] = [await make({ parentId: parent.id }), await make()];
  const all = [parent, child, grandchild, brother, stranger];
  for (const { id } of all) await store.lookup(id);
  await store.revoke(child.id);
  const before = view.gets;
  for (const { id } of [parent, brother, stranger]) assert.ok(await store.lookup(id));
  assert.equal(view.gets, before, 'from the cache');
  for (const { id } of [child, grandchild]) assert.equal(await store.lookup(id), undefined);
});

test('revoke() does not let a lookup that was under way keep the token in the cache', async () => {
  const { store, make } = await openStore();
  for (let round = 0; round < 20; round++) {
    const parent = await make();
    const { id } = await make({ parentId: parent.id });
    await Promise.all([store.lookup(id), store.revoke(parent.id), store.lookup(id), ...Array.from({ length: round }, () => store.lookup(id))]);
    assert.equal(await store.lookup(id), undefined);
  }
});

test('a child made while its parent is being revoked is never usable afterwards', async () => {
  for (let delay = 0; delay < 8; delay++) {
    const { view, store, make } = await openStore();
    const parent = await make();
    const revoking = store.revoke(parent.id);
    for (let i = 0; i < delay; i++) await new Promise((resolve) => { setImmediate(resolve); });
    const child = await make({ parentId: parent.id }).catch(() => undefined);
    await revoking;
    if (child !== undefined) assert.equal(await store.lookup(child.id), undefined);
    await store.tidy();
    assert.deepEqual([...view.records.keys()].sort(), ['batch-key', 'salt']);
  }
});

test('revokeOrphan() removes one token and frees its children', async () => {
  const { store, make } = await openStore();
  const { top, ids } = await plantTree(make);
  assert.equal(await store.revokeOrphan(top.id), true);
  assert.equal(await store.revokeOrphan(top.id), false);
  for (const id of ids) assert.ok(await store.lookup(id));
  const freed = await store.lookup(ids[0] ?? '');
  assert.equal(freed?.parent, null);
});

test('revokeByAccessor() revokes by accessor and reports an unknown one', async () => {
  const { store, make } = await openStore();
  const { id, entry } = await make();
  assert.equal(await store.revokeByAccessor(entry.accessor), true);
  assert.equal(await store.revokeByAccessor(entry.accessor), false);
  assert.equal(await store.lookup(id), undefined);
});

test('revokeWhere() revokes the tokens of one node, over several pages, and no other', async () => {
  const { store, make } = await openStore();
  const tokens = await Promise.all(Array.from({ length: 150 }, (_, i) => make({ metadata: { node_id: i % 2 === 0 ? 'n1' : 'n2' } })));
  assert.equal(await store.revokeWhere((entry) => entry.metadata['node_id'] === 'n1'), 75);
  const left = await Promise.all(tokens.map(({ id }) => store.lookup(id)));
  assert.ok(left.every((entry, i) => (entry !== undefined) === (i % 2 === 1)));
});

test('tidy() and sweep() remove what ended, with its children, and keep the rest and a last use under way', async () => {
  const { clock, store, make, reopen } = await openStore();
  const short = await make({ ttlSeconds: 10 });
  await make({ parentId: short.id, ttlSeconds: HOUR });
  const spent = await make({ numUses: 1 });
  await store.use(spent.id);
  const kept = await make({ ttlSeconds: HOUR });
  clock.ms += 11_000;
  for (const remove of [() => store.tidy(), () => store.sweep()]) {
    await remove();
    assert.ok(await store.lookupCaller(spent.id));
  }
  await (await reopen()).sweep();
  const accessors: string[] = [];
  for await (const accessor of store.accessors()) accessors.push(accessor);
  assert.deepEqual(accessors, [kept.entry.accessor]);
});

test('sweep() costs nothing for tokens that did not end, and one broken entry does not keep the others', async () => {
  const { view, clock, store, make } = await openStore();
  const broken = await make({ ttlSeconds: 10 });
  for (let i = 0; i < 100; i++) await make({ ttlSeconds: 20 });
  const before = view.gets;
  assert.equal(await store.sweep(), 0);
  assert.equal(view.gets, before);
  await view.put(`id/${broken.entry.key}`, Buffer.from('{}'));
  clock.ms += 30_000;
  await assert.rejects(store.sweep(), { code: 'ERR_RECORD_INVALID' });
  assert.equal([...view.records.keys()].filter((key) => key.startsWith('id/')).length, 1);
});

test('a token ends with what belongs to it, which goes before its entry, also after a crash', async () => {
  const view = new MemoryView();
  const ended: string[] = [];
  let fails = false;
  const open = () => TokenStore.open(view, () => START, async (key) => {
    if (fails) throw new Error('the engine is down');
    ended.push(key);
  });
  const store = await open();
  const make = (more: Partial<TokenSpec> = {}) => store.create({ policies: ['app'], path: 'p', displayName: 'd', ttlSeconds: HOUR, ...more });
  const parent = await make();
  const child = await make({ parentId: parent.id });
  fails = true;
  await assert.rejects(store.revoke(parent.id));
  assert.equal(await store.lookup(parent.id) ?? await store.lookup(child.id), undefined);
  fails = false;
  await (await open()).sweep();
  assert.deepEqual(ended, [child.entry.key, parent.entry.key]);
  assert.deepEqual([...view.records.keys()].sort(), ['batch-key', 'salt']);
});

test('leases: tokens with an end are listed by path, found by their id, and revoked by it or by path', async () => {
  const { store, make } = await openStore();
  const a = await make({ path: 'auth/userpass/login/ann' });
  const b = await make({ path: 'auth/userpass/login/bob' });
  const other = await make({ path: 'auth/userpassx/login/ann' });
  await store.createRoot();
  const id = leasePath(a.entry);
  assert.deepEqual(await store.listLeases('auth/userpass/login/'), ['ann/', 'bob/']);
  assert.deepEqual(await store.listLeases('auth/userpass/login/ann/'), [`h${a.entry.key}`]);
  assert.deepEqual(await store.lookupLease(id), a.entry);
  for (const wrong of [`auth/userpass/login/bob/h${a.entry.key}`, id.slice(0, -1), `h${a.entry.key}`, '']) assert.equal(await store.lookupLease(wrong), undefined);
  assert.deepEqual([await store.revokeLease(`x/h${a.entry.key}`), await store.revokeLease(id), await store.revokeLease(id)], [false, true, false]);
  assert.equal(await store.lookup(a.id), undefined);
  await store.revokeLeasesBelow('auth/userpass/');
  assert.equal(await store.lookup(b.id), undefined);
  assert.ok(await store.lookup(other.id));
});

test('create() gives policies of the core itself to nobody who does not say so', async () => {
  const { make } = await openStore();
  for (const name of ['response-wrapping', 'purser-node', ' Response-Wrapping']) {
    await assert.rejects(make({ policies: ['app', name] }), { code: 'ERR_REQUEST_INVALID', message: /cannot assign policy/ });
  }
  assert.deepEqual((await make({ policies: ['response-wrapping'], mayBeInternal: true })).entry.policies, ['response-wrapping']);
});

test('a batch token stores nothing, says what it was made with, and ends at its time', async () => {
  const { view, clock, store, make, reopen } = await openStore();
  const parent = await make();
  const before = view.records.size;
  const { id, entry } = await make({ type: 'batch', parentId: parent.id, ttlSeconds: 10, metadata: { team: 'db' }, boundCidrs: ['10.0.0.0/8'], entityId: 'e', role: 'r' });
  assert.equal(view.records.size, before);
  assert.match(id, /^hvb\.[\w-]{200,}$/);
  for (const among of [store, await reopen()]) assert.deepEqual(await among.lookup(id), entry);
  assert.deepEqual([entry.type, entry.key, entry.accessor, entry.renewable, entry.metadata, entry.boundCidrs, entry.entityId, entry.role], ['batch', '', '', false, { team: 'db' }, ['10.0.0.0/8'], 'e', 'r']);
  clock.ms += 9_999;
  assert.ok(await store.lookup(id));
  clock.ms += 1;
  assert.equal(await store.lookup(id), undefined);
});

test('a batch token ends with its parent, also when that is only removed from above it', async () => {
  const { store, make } = await openStore();
  const [revoked, orphaned] = [await make(), await make()];
  const [a, b, alone] = [await make({ type: 'batch', parentId: revoked.id }), await make({ type: 'batch', parentId: orphaned.id }), await make({ type: 'batch' })];
  assert.ok(await store.lookup(a.id) && await store.lookup(b.id));
  await store.revoke(revoked.id);
  await store.revokeOrphan(orphaned.id);
  assert.deepEqual([await store.lookup(a.id), await store.lookup(b.id)], [undefined, undefined]);
  assert.ok(await store.lookup(alone.id));
});

test('a batch token cannot be renewed, revoked, counted or changed by a byte', async () => {
  const { store, make } = await openStore();
  const { id } = await make({ type: 'batch' });
  await assert.rejects(store.renew(id, 5), { message: 'batch tokens cannot be renewed' });
  await assert.rejects(store.revoke(id), { message: 'batch tokens cannot be revoked' });
  await assert.rejects(store.revokeOrphan(id), { message: 'batch tokens cannot be revoked' });
  assert.equal((await store.use(id))?.isLast, false);
  const other = await TokenStore.open(new MemoryView(), () => START);
  assert.equal(await other.lookup(id), undefined, 'of another core');
  for (const i of [3, 4, 20, 40, id.length - 1]) {
    const changed = `${id.slice(0, i)}${id[i] === 'A' ? 'B' : 'A'}${id.slice(i + 1)}`;
    assert.equal(await store.lookup(changed), undefined, String(i));
  }
  for (const wrong of ['hvb.', `${id}=`, `${id}A`, `hvb.${'A'.repeat(10_000)}`, `hvb.${'A'.repeat(60)}`, 'hvb.\u{1F600}']) assert.equal(await store.lookup(wrong), undefined);
  await assert.rejects(make({ type: 'batch', metadata: { a: 'x'.repeat(5_000) } }), { message: 'a batch token cannot hold that much' });
});
