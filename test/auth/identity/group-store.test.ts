// Groups: who is in, what that gives, and that a failed write or a restart leaves nobody in who was put out.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { EntityStore } from '../../../src/auth/identity/entity-store.ts';
import { GroupStore } from '../../../src/auth/identity/group-store.ts';
import { isPurserError } from '../../../src/lib/errors.ts';
import { MemoryView } from '../../fakes/memory-view.ts';

const INVALID = (message: RegExp) => (error: unknown) => isPurserError(error, 'ERR_REQUEST_INVALID') && message.test(error.message);

async function setUp() {
  const view = new MemoryView();
  const entities = await EntityStore.open(view, Date.now);
  const groups = await GroupStore.open(view.sub('group/'), Date.now);
  return { view, entities, groups, reopened: () => GroupStore.open(view.sub('group/'), Date.now) };
}

describe('GroupStore', () => {
  test('an internal group gives its policies to the entities that it names, until it does not', async () => {
    const { entities, groups, reopened } = await setUp();
    const [ann, bob] = [await entities.logIn('m', { name: 'ann' }), await entities.logIn('m', { name: 'bob' })];
    const { group } = await groups.write({ name: 'Devs', policies: ['dev'], members: [ann.id, ann.id] });
    await groups.write({ name: 'all', policies: ['all', 'dev'], members: [ann.id, bob.id] });
    for (const store of [groups, await reopened()]) {
      assert.deepEqual([store.policiesOf(ann), store.policiesOf(bob)], [['all', 'dev'], ['all', 'dev']]);
      assert.deepEqual([store.byName('DEVS')?.members, store.of(ann).length, store.of(bob).length], [[ann.id], 2, 1]);
    }
    assert.equal(groups.policiesOf(ann), groups.policiesOf(ann), 'the same list as long as nothing changes');
    await groups.write({ name: 'all', policies: ['all'], members: [ann.id] });
    assert.deepEqual([groups.policiesOf(ann), groups.policiesOf(bob)], [['all', 'dev'], []]);
    await groups.delete(group.id);
    assert.deepEqual([groups.policiesOf(ann), (await reopened()).policiesOf(ann)], [['all'], ['all']]);
  });

  test('refresh() makes the login’s groups of that mount the entity’s, and leaves others alone', async () => {
    const { entities, groups, reopened } = await setUp();
    const ann = await entities.logIn('m1', { name: 'ann' });
    for (const [name, accessor, alias] of [['dev', 'm1', 'd'], ['ops', 'm1', 'o'], ['far', 'm2', 'd']] as const) {
      const { group } = await groups.write({ name, type: 'external', policies: [name] });
      await groups.writeAlias(group.id, { mountAccessor: accessor, name: alias });
    }
    await groups.refresh(ann, 'm1', ['d', 'o', 'unknown']);
    assert.deepEqual([groups.policiesOf(ann), (await reopened()).policiesOf(ann)], [['dev', 'ops'], ['dev', 'ops']]);
    await groups.refresh(ann, 'm2', []);
    await groups.refresh(ann, 'm1', ['o']);
    assert.deepEqual([groups.policiesOf(ann), (await reopened()).policiesOf(ann)], [['ops'], ['ops']]);
    await groups.deleteAlias(groups.byAlias('m1', 'o')!.alias!.id);
    assert.deepEqual(groups.policiesOf(ann), []);
  });

  test('refresh() writes nothing when nothing changes, and fails whole when it cannot write', async () => {
    const { view, entities, groups } = await setUp();
    const ann = await entities.logIn('m1', { name: 'ann' });
    const { group } = await groups.write({ name: 'dev', type: 'external', policies: ['dev'] });
    await groups.writeAlias(group.id, { mountAccessor: 'm1', name: 'd' });
    view.failAfter(0);
    await groups.refresh(ann, 'm1', []);
    await assert.rejects(groups.refresh(ann, 'm1', ['d']));
    assert.deepEqual(groups.policiesOf(ann), []);
  });

  test('member groups give through any number of groups, over a restart, and a stored circle ends the walk', async () => {
    const { view, entities, groups, reopened } = await setUp();
    const ann = await entities.logIn('m', { name: 'ann' });
    let below = (await groups.write({ name: 'g0', policies: ['p0'], members: [ann.id] })).group;
    const first = below;
    for (let n = 1; n <= 20; n++) below = (await groups.write({ name: `g${n}`, policies: [`p${n}`], memberGroups: [below.id, first.id] })).group;
    for (const store of [groups, await reopened()]) assert.equal(store.policiesOf(ann).length, 21);
    await assert.rejects(groups.write({ id: first.id, memberGroups: [below.id] }), INVALID(/member of itself/));
    await groups.write({ id: first.id, name: 'renamed' });
    assert.equal(groups.policiesOf(ann).length, 21);
    await view.sub('group/').put(first.id, Buffer.from(JSON.stringify({ ...first, memberGroups: [below.id] })));
    assert.equal((await reopened()).policiesOf(ann).length, 21);
  });

  test('a merged entity keeps what its parts were members of, and a login can put it out of it', async () => {
    const { entities, groups } = await setUp();
    const [ann, bob] = [await entities.logIn('m1', { name: 'ann' }), await entities.logIn('m2', { name: 'bob' })];
    await groups.write({ name: 'int', policies: ['int'], members: [bob.id] });
    const { group } = await groups.write({ name: 'ext', type: 'external', policies: ['ext'] });
    await groups.writeAlias(group.id, { mountAccessor: 'm2', name: 'e' });
    await groups.refresh(bob, 'm2', ['e']);
    await entities.merge(ann.id, [bob.id]);
    const merged = (await entities.ofToken(bob.id))!;
    assert.deepEqual([merged.id, groups.policiesOf(merged)], [ann.id, ['ext', 'int']]);
    await groups.refresh(merged, 'm2', []);
    assert.deepEqual([groups.policiesOf(merged), groups.byId(group.id)?.members], [['int'], []]);
  });

  test('refuses names of two groups, changed types, members of external groups by hand, and aliases that are taken', async () => {
    const { groups } = await setUp();
    const { group: one } = await groups.write({ name: 'one' });
    const { group: two } = await groups.write({ name: 'two', type: 'external' });
    const { group: three } = await groups.write({ name: 'three', type: 'external' });
    await groups.writeAlias(two.id, { mountAccessor: 'm', name: 'x' });
    const id = '00000000-0000-4000-8000-000000000000';
    await assert.rejects(groups.write({ id: two.id, name: 'ONE' }), INVALID(/in use/));
    await assert.rejects(groups.write({ id }), INVALID(/not found/));
    await assert.rejects(groups.write({ id: one.id, type: 'external' }), INVALID(/type cannot/));
    await assert.rejects(groups.write({ id: two.id, members: [id] }), INVALID(/manually/));
    await assert.rejects(groups.writeAlias(three.id, { mountAccessor: 'm', name: 'x' }), INVALID(/exists already/));
    await assert.rejects(groups.writeAlias(one.id, { mountAccessor: 'm', name: 'y' }), INVALID(/external/));
    await assert.rejects(groups.writeAlias(id, { mountAccessor: 'm', name: 'y' }), INVALID(/canonical_id/));
  });

  test('another name of an external group is another group: nobody is in by the old one', async () => {
    const { entities, groups } = await setUp();
    const ann = await entities.logIn('m', { name: 'ann' });
    const { group } = await groups.write({ name: 'ext', type: 'external', policies: ['p'] });
    await groups.writeAlias(group.id, { mountAccessor: 'm', name: 'interns' });
    await groups.refresh(ann, 'm', ['interns']);
    await groups.writeAlias(group.id, { mountAccessor: 'm', name: 'interns' });
    assert.deepEqual(groups.policiesOf(ann), ['p']);
    await groups.writeAlias(group.id, { mountAccessor: 'm', name: 'admins' });
    assert.deepEqual(groups.policiesOf(ann), []);
  });
});
