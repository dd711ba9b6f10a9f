import assert from 'node:assert/strict';
import { it } from 'node:test';
import { setImmediate } from 'node:timers/promises';

import { KeyedLock } from '../../src/lib/keyed-lock.ts';

it('run() lets nobody else in between a read and its write', async () => {
  const lock = new KeyedLock();
  let value = 0;
  await Promise.all(Array.from({ length: 50 }, () => lock.run('key', async () => {
    const read = value;
    await setImmediate();
    value = read + 1;
  })));
  assert.equal(value, 50);
});

it('run() serves one key in order, and other keys at once', async () => {
  const lock = new KeyedLock();
  const order: string[] = [];
  let open!: () => void;
  const gate = new Promise<void>((resolve) => { open = resolve; });
  const first = lock.run('a', async () => { await gate; order.push('a1'); });
  const second = lock.run('a', async () => { order.push('a2'); });
  await lock.run('__proto__', async () => { order.push('b'); });
  open();
  await Promise.all([first, second]);
  assert.deepEqual(order, ['b', 'a1', 'a2']);
});

it('run() hands the result and the error out, and the lock on', async () => {
  const lock = new KeyedLock();
  await assert.rejects(lock.run('a', async () => { throw new Error('inside'); }), { message: 'inside' });
  assert.equal(await lock.run('a', async () => 7), 7);
});
