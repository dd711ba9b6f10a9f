// atEndOfTurn(): what is asked for together runs together, and what follows from it needs no further turn of the event loop.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';

import { atEndOfTurn } from '../../src/lib/turn.ts';

test('tasks wait for what runs now, for ticks and for promises, and keep their order', async () => {
  const order: string[] = [];
  for (const name of ['first', 'second']) atEndOfTurn(() => { order.push(name); });
  process.nextTick(() => { order.push('tick'); });
  void Promise.resolve().then(() => { order.push('promise'); });
  assert.deepEqual(order, []);
  await nextTurn();
  assert.deepEqual(order.slice(0, 2).sort(), ['promise', 'tick']);
  assert.deepEqual(order.slice(2), ['first', 'second']);
});

test('a task that callers ask for behind another one runs once all of them went on, in the same turn', async () => {
  const order: string[] = [];
  let asked = 0;
  const goOn = async (answer: Promise<void>): Promise<void> => {
    await answer;
    for (let i = 0; i < 5; i++) await Promise.resolve();
    order.push('went on');
    if (++asked === 1) atEndOfTurn(() => { order.push('next task'); });
  };
  let answer!: () => void;
  const answered = new Promise<void>((resolve) => { answer = resolve; });
  const callers = [goOn(answered), goOn(answered), goOn(answered)];
  atEndOfTurn(() => {
    setImmediate(() => { order.push('next turn'); });
    answer();
  });
  await Promise.all(callers);
  await nextTurn();
  await nextTurn();
  assert.deepEqual(order, ['went on', 'went on', 'went on', 'next task', 'next turn']);
});

test('the next turn has an end of its own', async () => {
  const order: string[] = [];
  await new Promise<void>((resolve) => { atEndOfTurn(resolve); });
  await new Promise<void>((resolve) => {
    setTimeout(() => {
      atEndOfTurn(() => { order.push('task'); resolve(); });
      process.nextTick(() => { order.push('tick'); });
      setImmediate(() => { order.push('immediate'); });
    }, 1);
  });
  await nextTurn();
  assert.deepEqual(order, ['tick', 'task', 'immediate']);
});

test('who asks again and again lets other turns come', async () => {
  let asked = 0;
  let turns = 0;
  let isDone = false;
  const count = (): void => { if (!isDone) { turns++; setImmediate(count); } };
  setImmediate(count);
  for (; asked < 100; asked++) await new Promise<void>((resolve) => { atEndOfTurn(resolve); });
  isDone = true;
  assert.ok(turns >= 24, `${String(turns)} turns for ${String(asked)} tasks`);
});
