// ReadThroughCache and randomBase62(): small, but everything hot or unguessable stands on them.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { randomBase62 } from '../../src/lib/random-id.ts';
import { ReadThroughCache } from '../../src/lib/read-through-cache.ts';

test('load() does not keep what a writer made stale while it ran', async () => {
  const cache = new ReadThroughCache<string>(10);
  let finish!: (value: string) => void;
  const loading = cache.load('k', () => new Promise((resolve) => { finish = resolve; }));
  cache.forget('k');
  finish('old');
  assert.equal(await loading, 'old');
  assert.equal(cache.get('k'), undefined);
  await cache.load('k', async () => 'new');
  assert.equal(cache.get('k'), 'new');
  cache.forgetWhere((value) => value === 'other');
  assert.equal(cache.get('k'), 'new');
  cache.forgetWhere((value) => value === 'new');
  assert.equal(cache.get('k'), undefined);
});

test('put() keeps what a writer stored, also against a load that began before', async () => {
  const cache = new ReadThroughCache<string>(10);
  let finish!: (value: string) => void;
  const loading = cache.load('k', () => new Promise((resolve) => { finish = resolve; }));
  cache.put('k', 'new');
  finish('old');
  assert.equal(await loading, 'old');
  assert.equal(cache.get('k'), 'new');
});

test('load() drops the least recently used entry beyond the capacity', async () => {
  const cache = new ReadThroughCache<number>(2);
  for (const [key, value] of [['a', 1], ['b', 2]] as const) await cache.load(key, async () => value);
  cache.get('a');
  await cache.load('c', async () => 3);
  assert.deepEqual(['a', 'b', 'c'].map((key) => cache.get(key)), [1, undefined, 3]);
});

test('randomBase62() uses all 62 characters evenly and never repeats', () => {
  const ids = Array.from({ length: 5_000 }, () => randomBase62(24));
  assert.equal(new Set(ids).size, ids.length);
  const counts = new Map<string, number>();
  for (const character of ids.join('')) counts.set(character, (counts.get(character) ?? 0) + 1);
  assert.equal(counts.size, 62);
  const expected = 5_000 * 24 / 62;
  // Six standard deviations: fails by chance once in some ten million runs.
  for (const count of counts.values()) assert.ok(Math.abs(count - expected) < 6 * Math.sqrt(expected), String(count));
});
