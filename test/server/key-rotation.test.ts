import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { openCore } from '../../src/core/core.ts';
import type { Barrier } from '../../src/core/barrier.ts';
import { KeyRotation } from '../../src/server/key-rotation.ts';
import { MemoryStorage } from '../../src/storage/memory.ts';
import { CuttingStorage } from '../fakes/cutting-storage.ts';

const DAY = 24 * 3_600;

async function openBarrier(storage: MemoryStorage | CuttingStorage = new MemoryStorage()): Promise<Barrier> {
  const { barrier, seal } = openCore(storage);
  const [share] = await seal.initialize({ shares: 1, threshold: 1 });
  await seal.provide(share!);
  return barrier;
}

async function openRotation(barrier: Barrier, now = Date.now): Promise<{ rotation: KeyRotation; outcomes: unknown[] }> {
  const outcomes: unknown[] = [];
  return { outcomes, rotation: await KeyRotation.open({ barrier, view: barrier.view('rotation/'), now, onNewTerm: () => undefined, onRotation: (outcome) => outcomes.push(outcome) }) };
}

const write = async (barrier: Barrier, count: number): Promise<void> => { for (let i = 0; i < count; i += 1) await barrier.put('logical/x/a', Buffer.from('v')); };

describe('KeyRotation', () => {
  test('check() rotates once the interval has passed, and not before', async () => {
    let now = Date.now();
    const { rotation, outcomes } = await openRotation(await openBarrier(), () => now);
    await rotation.configure({ maxOperations: 1_000_000, intervalSeconds: DAY, isEnabled: true });
    await rotation.check();
    assert.equal(rotation.status().term, 1);
    now += DAY * 1000 + 1_000;
    await rotation.check();
    assert.deepEqual([rotation.status().term, outcomes], [2, [{ term: 2 }]]);
    await rotation.configure({ ...rotation.config, isEnabled: false });
    now += 10 * DAY * 1000;
    await rotation.check();
    assert.equal(rotation.status().term, 2);
    await rotation.close();
  });

  test('check() rotates after max_operations, counted over restarts', async () => {
    const barrier = await openBarrier();
    const first = await openRotation(barrier);
    await first.rotation.configure({ maxOperations: 1_000_000, intervalSeconds: 0, isEnabled: true });
    // What a busy process would have left behind.
    await barrier.view('rotation/').put('state', Buffer.from(JSON.stringify({ v: 1, maxOperations: 1_000_000, intervalSeconds: 0, isEnabled: true, term: 1, encryptions: 999_990 })));
    const { rotation, outcomes } = await openRotation(barrier);
    await rotation.check();
    assert.equal(rotation.status().term, 1);
    await write(barrier, 20);
    await rotation.check();
    assert.deepEqual(outcomes, [{ term: 2 }]);
    assert.ok(rotation.status().encryptions < 10, 'the count belongs to the new term');
    await Promise.all([first.rotation.close(), rotation.close()]);
  });

  test('close() keeps the count, and an idle core writes nothing', async () => {
    const barrier = await openBarrier();
    const { rotation } = await openRotation(barrier);
    await write(barrier, 50);
    await rotation.close();
    const before = barrier.keyStatus().encryptions;
    const { rotation: idle } = await openRotation(barrier);
    for (let i = 0; i < 5; i += 1) await idle.check();
    assert.equal(barrier.keyStatus().encryptions, before);
    await idle.close();
  });

  test('check() reports a failing store and goes on with the old term', async () => {
    const cutting = new CuttingStorage(new MemoryStorage(), 4, false);
    const barrier = await openBarrier(cutting);
    let now = Date.now();
    const { rotation, outcomes } = await openRotation(barrier, () => now);
    await rotation.configure({ maxOperations: 1_000_000, intervalSeconds: DAY, isEnabled: true });
    await write(barrier, 1);
    now += 2 * DAY * 1000;
    await rotation.check();
    assert.equal(rotation.status().term, 1);
    assert.equal(outcomes.length, 1);
    assert.ok('error' in (outcomes[0] as object));
  });

  test('check() says nothing about a core that was sealed meanwhile', async () => {
    const barrier = await openBarrier();
    const { rotation, outcomes } = await openRotation(barrier);
    barrier.seal();
    await rotation.check();
    assert.deepEqual(outcomes, []);
  });

  test('refuses numbers outside of the bounds', async () => {
    const { rotation } = await openRotation(await openBarrier());
    for (const [maxOperations, intervalSeconds] of [[999_999, 0], [4_000_000_000, 0], [1_000_000, 60], [1_000_000, -1]] as const) {
      assert.throws(() => rotation.configure({ maxOperations, intervalSeconds, isEnabled: true }), { code: 'ERR_REQUEST_INVALID' });
    }
    await rotation.close();
  });
});
