// Entities and aliases: who a login becomes, that no two names meet by accident, and that what was cut off is cut off at once.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { EntityStore } from '../../../src/auth/identity/entity-store.ts';
import { isPurserError } from '../../../src/lib/errors.ts';
import { MemoryView } from '../../fakes/memory-view.ts';

const DENIED = (error: unknown) => isPurserError(error, 'ERR_REQUEST_DENIED');
const INVALID = (message: RegExp) => (error: unknown) => isPurserError(error, 'ERR_REQUEST_INVALID') && message.test(error.message);

async function newStore(): Promise<{ store: EntityStore; view: MemoryView; clock: { now: number } }> {
  const view = new MemoryView();
  const clock = { now: 1_000_000 };
  return { store: await EntityStore.open(view, () => clock.now), view, clock };
}

describe('EntityStore', () => {
  test('logIn() makes an entity once and finds it again, also after a restart and under concurrency', async () => {
    const { store, view } = await newStore();
    const all = await Promise.all(Array.from({ length: 8 }, () => store.logIn('auth_jwt_1', { name: 'ann' })));
    assert.equal(new Set(all.map(({ id }) => id)).size, 1);
    const [first] = all;
    assert.match(first!.name, /^entity_[0-9a-f]{8}$/);
    assert.equal((await (await EntityStore.open(view, Date.now)).logIn('auth_jwt_1', { name: 'ann' })).id, first!.id);
  });

  for (const name of ['Ann', 'ann ', 'ánn', 'a\u0301nn', 'ann/x', '*', 'a|nn']) {
    test(`logIn() takes ${JSON.stringify(name)} for another than ann, and the same name at another mount too`, async () => {
      const { store } = await newStore();
      const ann = await store.logIn('auth_jwt_1', { name: 'ann' });
      assert.notEqual((await store.logIn('auth_jwt_1', { name })).id, ann.id);
      assert.notEqual((await store.logIn('auth_jwt_2', { name: 'ann' })).id, ann.id);
      assert.notEqual((await store.logIn('auth_jwt_1\0ann', { name: 'x' })).id, (await store.logIn('auth_jwt_1', { name: 'annx' })).id);
    });
  }

  for (const name of ['', 'a\u0000b', 'a\nb', '\ud800', 'x'.repeat(513)]) {
    test(`logIn() refuses the name ${JSON.stringify(name.slice(0, 8))}`, async () => {
      const { store, view } = await newStore();
      const before = view.records.size;
      await assert.rejects(store.logIn('auth_jwt_1', { name }), INVALID(/name of an alias/));
      assert.equal(view.records.size, before);
    });
  }

  test('logIn() keeps what the method says now, and writes nothing when that is what it said before', async () => {
    const { store, view } = await newStore();
    const first = await store.logIn('a', { name: 'ann', metadata: { team: 'red' } });
    view.failAfter(0);
    assert.equal((await store.logIn('a', { name: 'ann', metadata: { team: 'red' } })).id, first.id);
    view.failAfter(Infinity);
    const second = await store.logIn('a', { name: 'ann', metadata: { team: 'blue' } });
    assert.deepEqual([second.id, second.aliases[0]?.metadata], [first.id, { team: 'blue' }]);
    assert.deepEqual((await store.ofToken(first.id))?.aliases[0]?.metadata, { team: 'blue' });
  });

  test('a disabled or deleted entity is refused at once, cached or not; a later login of a deleted one is somebody new', async () => {
    const { store } = await newStore();
    const { id } = await store.logIn('a', { name: 'ann' });
    await store.ofToken(id);
    await store.write({ id, disabled: true });
    assert.equal((await store.ofToken(id))?.disabled, true);
    await assert.rejects(store.logIn('a', { name: 'ann' }), DENIED);
    await assert.rejects(store.logIn('a', { name: 'ann', metadata: { a: 'b' } }), DENIED);
    await store.delete({ id });
    assert.equal(await store.ofToken(id), undefined);
    assert.notEqual((await store.logIn('a', { name: 'ann' })).id, id);
  });

  test('write() finds by id or name, never gives one name to two, and compares names without case', async () => {
    const { store } = await newStore();
    const { entity: ann, isNew } = await store.write({ name: 'Ann', policies: ['p'] });
    assert.equal(isNew, true);
    assert.deepEqual((await store.write({ name: 'ANN', metadata: { a: 'b' } })).isNew, false);
    assert.deepEqual([(await store.find({ name: 'ann' }))?.id, (await store.find({ id: ann.id }))?.policies], [ann.id, ['p']]);
    const { entity: bob } = await store.write({ name: 'bob' });
    await assert.rejects(store.write({ id: bob.id, name: 'ann' }), INVALID(/already in use/));
    await assert.rejects(store.write({ id: '00000000-0000-4000-8000-000000000000' }), INVALID(/not found from id/));
    await store.write({ id: bob.id, name: 'rob' });
    assert.equal(await store.find({ name: 'bob' }), undefined);
    assert.equal((await store.find({ name: 'rob' }))?.id, bob.id);
  });

  test('writeAlias() gives a login to an entity that is there, moves it, and keeps one alias a mount', async () => {
    const { store } = await newStore();
    const { entity: ann } = await store.write({ name: 'ann' });
    const { entity: bob } = await store.write({ name: 'bob' });
    const { alias } = await store.writeAlias({ name: 'a@x', mountAccessor: 'm1', entityId: ann.id, customMetadata: { desk: '9' } });
    assert.equal((await store.logIn('m1', { name: 'a@x' })).id, ann.id);
    await assert.rejects(store.writeAlias({ name: 'other', mountAccessor: 'm1', entityId: ann.id }), INVALID(/one alias at a mount/));
    await store.writeAlias({ id: alias.id, entityId: bob.id });
    assert.equal((await store.logIn('m1', { name: 'a@x' })).id, bob.id);
    assert.deepEqual([(await store.find({ id: ann.id }))?.aliases.length, (await store.find({ id: bob.id }))?.aliases[0]?.customMetadata], [0, { desk: '9' }]);
    await store.writeAlias({ name: 'b@x', mountAccessor: 'm2', entityId: bob.id });
    await assert.rejects(store.writeAlias({ id: alias.id, name: 'b@x', mountAccessor: 'm2' }), INVALID(/exists already/));
    await assert.rejects(store.writeAlias({ name: 'x', mountAccessor: 'm3', entityId: '00000000-0000-4000-8000-000000000000' }), INVALID(/canonical ID/));
    await assert.rejects(store.writeAlias({ id: '00000000-0000-4000-8000-000000000000' }), INVALID(/alias id/));
    await store.deleteAlias(alias.id);
    assert.notEqual((await store.logIn('m1', { name: 'a@x' })).id, bob.id);
  });

  test('merge() makes tokens and logins of the others those of the target; a disabled part disables the whole', async () => {
    const { store, view } = await newStore();
    const [ann, bob, eve] = [await store.logIn('m1', { name: 'ann' }), await store.logIn('m2', { name: 'bob' }), await store.logIn('m1', { name: 'eve' })];
    await store.write({ id: bob.id, policies: ['b'], metadata: { k: 'bob', only: 'bob' } });
    await store.write({ id: ann.id, policies: ['a'], metadata: { k: 'ann' } });
    await assert.rejects(store.merge(ann.id, [eve.id]), INVALID(/one alias at a mount/));
    await assert.rejects(store.merge(ann.id, [ann.id]), INVALID(/should not be present/));
    await store.merge(ann.id, [bob.id, bob.id]);
    for (const reopened of [store, await EntityStore.open(view, Date.now)]) {
      const merged = await reopened.ofToken(bob.id);
      assert.deepEqual([merged?.id, merged?.policies, merged?.metadata, merged?.mergedIds], [ann.id, ['a', 'b'], { k: 'ann', only: 'bob' }, [bob.id]]);
      assert.equal((await reopened.logIn('m2', { name: 'bob' })).id, ann.id);
    }
    await store.write({ id: ann.id, disabled: true });
    assert.equal((await store.ofToken(bob.id))?.disabled, true);
    const cleo = await store.logIn('m3', { name: 'cleo' });
    await store.merge(cleo.id, [ann.id]);
    assert.deepEqual([(await store.ofToken(bob.id))?.id, (await store.ofToken(cleo.id))?.disabled], [cleo.id, true]);
    await store.delete({ id: cleo.id });
    assert.deepEqual([await store.ofToken(ann.id), await store.ofToken(bob.id)], [undefined, undefined]);
  });

  test('a change whose write fails changes nothing, neither in memory nor in storage', async () => {
    const { store, view } = await newStore();
    const ann = await store.logIn('m1', { name: 'ann' });
    const before = [...view.records.keys()].sort();
    view.failAfter(0);
    for (const change of [store.write({ id: ann.id, disabled: true }), store.delete({ id: ann.id }), store.writeAlias({ name: 'x', mountAccessor: 'm2', entityId: ann.id }), store.logIn('m1', { name: 'bob' })]) {
      await assert.rejects(change);
    }
    assert.deepEqual([...view.records.keys()].sort(), before);
    assert.equal((await store.ofToken(ann.id))?.disabled, false);
  });

  test('storage keys tell no names', async () => {
    const { store, view } = await newStore();
    await store.logIn('m1', { name: 'ann-canary' });
    await store.write({ name: 'name-canary' });
    assert.deepEqual([...view.records.keys()].filter((key) => key.includes('canary')), []);
  });

  test('ofToken() answers from memory once an entity was read', async () => {
    const { store, view } = await newStore();
    const { id } = await store.logIn('m1', { name: 'ann' });
    const first = await store.ofToken(id);
    const reads = view.gets;
    for (let i = 0; i < 100; i++) assert.equal(store.ofToken(id), first);
    assert.equal(view.gets, reads);
  });
});
