// Holdings: a node that means harm fills its own share of the core's memory and no more.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DRIVER_MEMORY, Holdings, LINGER_MS } from '../../../src/server/node/holdings.ts';

const container = (n: number): string => n.toString(16).padStart(64, '0');

test('add() refuses a node that holds too many paths, notes nothing of it, and leaves other nodes alone', () => {
  const holdings = new Holdings(() => 0);
  const long = 'x'.repeat(1_000);
  let count = 0;
  while (holdings.add('bad', container(count), `${long}${String(count)}`)) count++;
  assert.ok(count > 10_000 && count < 100_000, `long paths count by their length: ${String(count)}`);
  assert.equal(holdings.holdsContainer('bad', container(count)), false, 'a refused container leaves nothing behind');
  assert.equal(holdings.add('bad', container(0), `${long}0`), true, 'what is held stays held');
  assert.equal(holdings.add('good', container(0), 'secret/a'), true);
});

test('add() takes paths again after the ones before were released', () => {
  let now = 0;
  const holdings = new Holdings(() => now);
  const long = 'x'.repeat(1_000_000);
  let count = 0;
  while (holdings.add('n', container(count), `${long}${String(count)}`)) count++;
  holdings.setHolding('n', container(0), false);
  now = LINGER_MS;
  holdings.sweep();
  assert.equal(holdings.add('n', container(count), `${long}again`), true);
  assert.deepEqual([...holdings.nodesHolding(`${long}0`)], []);
});

test('summary() counts containers and secrets that are held now, and not what a driver remembers', () => {
  const holdings = new Holdings(() => 0);
  for (const path of ['a', 'b']) holdings.add('node', container(1), path);
  holdings.add('node', container(2), 'a');
  holdings.add('node', container(3), 'c');
  holdings.add('node', DRIVER_MEMORY, 'd');
  holdings.setHolding('node', container(3), false);
  assert.deepEqual(holdings.summary('node'), { containers: 2, secrets: 2 });
  assert.deepEqual(holdings.summary('other'), { containers: 0, secrets: 0 });
});
