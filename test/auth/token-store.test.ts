// TokenStore over the real rules of a View: what is stored, what is usable when, counted uses, revocation with crashes.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { TokenStore } from '../../src/auth/token/token-store.ts';
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
  assert.deepEqual([...view.records.keys()], ['salt']);
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
  assert.deepEqual([...view.records.keys()], ['salt']);
});

for (let writes = 0; writes <= 9; writes++) {
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
    if (failed) await (writes % 2 === 0 ? store.revoke(top.id) : store.tidy());
    if (writes > 0) assert.deepEqual([...view.records.keys()], ['salt']);
  });
}

test('revoke() wins over a renewal and a use that run at the same time', async () => {
  for (let round = 0; round < 20; round++) {
    const { view, store, make } = await openStore();
    const { id } = await make({ numUses: 50 });
    await Promise.all([store.renew(id, 60), store.use(id), store.revoke(id), store.renew(id, 60), store.use(id)]);
    assert.equal(await store.lookup(id), undefined);
    assert.deepEqual([...view.records.keys()], ['salt']);
  }
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
    assert.deepEqual([...view.records.keys()], ['salt']);
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

test('tidy() removes what ended, with its children, and keeps the rest', async () => {
  const { clock, store, make } = await openStore();
  const short = await make({ ttlSeconds: 10 });
  await make({ parentId: short.id, ttlSeconds: HOUR });
  const spent = await make({ numUses: 1 });
  await store.use(spent.id);
  const kept = await make({ ttlSeconds: HOUR });
  clock.ms += 11_000;
  await store.tidy();
  const accessors: string[] = [];
  for await (const accessor of store.accessors()) accessors.push(accessor);
  assert.deepEqual(accessors, [kept.entry.accessor]);
});
