// An expensive answer, asked for by many.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { rationed } from '../../src/server/usage/rationed.ts';

test('rationed() computes a slow answer once for all who ask, and again after nine times as long', async () => {
  let [clock, computed] = [0, 0];
  const ask = rationed(async () => { await Promise.resolve(); clock += 100; return ++computed; }, () => clock);
  assert.deepEqual(await Promise.all([ask(), ask(), ask()]), [1, 1, 1]);
  clock = 999;
  assert.equal(await ask(), 1);
  clock = 1_000;
  assert.equal(await ask(), 2);
});

test('rationed() keeps no quick answer, and no failure', async () => {
  let [clock, computed] = [0, 0];
  const quick = rationed(async () => { clock += 5; return ++computed; }, () => clock);
  assert.deepEqual([await quick(), await quick()], [1, 2]);
  let isBroken = true;
  const failing = rationed(async () => { clock += 500; if (isBroken) throw new Error('broken'); return 'well'; }, () => clock);
  await assert.rejects(failing());
  isBroken = false;
  assert.equal(await failing(), 'well');
});
