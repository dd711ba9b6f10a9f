// Secret ids by themselves: time, crashes, what is stored.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SecretIds, type SecretIdWish } from '../../../src/auth/approle/secret-ids.ts';
import { MemoryView } from '../../fakes/memory-view.ts';

const START = 1_700_000_000_000;
const WISH: SecretIdWish = { ttlSeconds: 0, numUses: 0, metadata: {}, cidrs: [], tokenBoundCidrs: [] };
const role = (uid: string) => ({ uid, macKey: Buffer.alloc(32, uid).toString('base64') });
const A = role('a');
const B = role('b');
const allow = (): void => undefined;

function setUp() {
  const clock = { ms: START };
  const view = new MemoryView();
  return { clock, view, ids: new SecretIds(view, () => clock.ms) };
}

test('create() stores neither secret id nor accessor key in clear', async () => {
  const { view, ids } = setUp();
  const { secretId, accessor } = await ids.create(A, WISH);
  for (const [key, value] of view.records) {
    assert.equal(key.includes(secretId) || key.includes(accessor), false);
    assert.equal(value.toString().includes(secretId), false);
  }
});

test('one that has ended is not there, to the millisecond, and its name is free again', async () => {
  const { clock, ids } = setUp();
  const { accessor } = await ids.create(A, { ...WISH, ttlSeconds: 60 }, 'chosen');
  clock.ms += 59_999;
  assert.ok(await ids.find(A, 'chosen'));
  clock.ms += 1;
  assert.equal(await ids.find(A, 'chosen'), undefined);
  assert.equal(await ids.findByAccessor(A, accessor), undefined);
  assert.equal(await ids.use(A, 'chosen', allow), undefined);
  assert.deepEqual(await ids.accessors(A), []);
  await ids.create(A, WISH, 'chosen');
  assert.equal(await ids.findByAccessor(A, accessor), undefined);
  assert.equal((await ids.accessors(A)).length, 1);
});

test('use() takes no use when the check refuses, and none when it cannot be stored', async () => {
  const { view, ids } = setUp();
  const { secretId } = await ids.create(A, { ...WISH, numUses: 2 });
  await assert.rejects(ids.use(A, secretId, () => { throw new Error('refused'); }), /refused/);
  view.failAfter(0);
  await assert.rejects(ids.use(A, secretId, allow));
  view.failAfter(Infinity);
  assert.equal((await ids.find(A, secretId))!.usesLeft, 2);
  await ids.use(A, secretId, allow);
  await ids.use(A, secretId, allow);
  assert.equal(await ids.use(A, secretId, allow), undefined);
  assert.equal(view.records.size, 0);
});

test('tidy() removes what has ended and what belongs to no role, and nothing else', async () => {
  const { clock, view, ids } = setUp();
  const { secretId } = await ids.create(A, WISH);
  for (let i = 0; i < 150; i++) await ids.create(A, { ...WISH, ttlSeconds: 60 });
  for (let i = 0; i < 150; i++) await ids.create(B, WISH);
  clock.ms += 60_000;
  await ids.tidy(async () => [A]);
  assert.equal(view.records.size, 2);
  assert.ok(await ids.find(A, secretId));
});

test('a removal that a crash interrupts is finished by tidy()', async () => {
  const { view, ids } = setUp();
  for (let i = 0; i < 100; i++) await ids.create(B, WISH);
  view.failAfter(1);
  await assert.rejects(ids.wipe('b'));
  view.failAfter(Infinity);
  await ids.tidy(async () => [A]);
  assert.equal(view.records.size, 0);
});
