import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { storedKeys } from '../../src/core/stored-keys.ts';
import { MemoryStorage } from '../../src/storage/memory.ts';
import type { Storage } from '../../src/storage/storage.ts';

async function storeOf(keys: readonly string[]): Promise<MemoryStorage> {
  const storage = new MemoryStorage();
  await storage.transaction(keys.map((key) => ({ kind: 'put', key, value: new Uint8Array(0) })));
  return storage;
}

async function keysOf(list: Storage['list'], without: readonly string[] = []): Promise<string[]> {
  const keys: string[] = [];
  for await (const key of storedKeys(list, without)) keys.push(key);
  return keys;
}

describe('storedKeys()', () => {
  it('finds every key once: names that are folders too, folders larger than a page, deep ones', async () => {
    const keys = [
      'a', 'a/b', 'a/b/c', 'a!', 'core/keyring', 'corex', `deep/${'d/'.repeat(900)}e`, '..', 'x/__proto__/y',
      ...Array.from({ length: 200 }, (_, i) => `many/${i}`), ...Array.from({ length: 130 }, (_, i) => `folders/${i}/x`), ...Array.from({ length: 64 }, (_, i) => `page/${i}`),
    ];
    const storage = await storeOf(keys);
    const found = await keysOf((prefix, page) => storage.list(prefix, page));
    assert.deepEqual(found.toSorted(), keys.toSorted());
  });

  it('finds nothing in an empty store, and leaves out what it is told to, at the top only', async () => {
    const empty = new MemoryStorage();
    assert.deepEqual(await keysOf((prefix, page) => empty.list(prefix, page)), []);
    const storage = await storeOf(['core/keyring', 'core/seal-config', 'x/core/a', 'core2/a']);
    assert.deepEqual(await keysOf((prefix, page) => storage.list(prefix, page), ['core/']), ['core2/a', 'x/core/a']);
  });

  it('asks for pages, and holds no more than one for each level', async () => {
    const storage = await storeOf(Array.from({ length: 1_000 }, (_, i) => `many/${i}`));
    const sizes: number[] = [];
    await keysOf(async (prefix, page) => {
      const names = await storage.list(prefix, page);
      sizes.push(names.length);
      return names;
    });
    assert.ok(Math.max(...sizes) <= 64 && sizes.length >= 16);
  });

  it('goes on when what it has just named disappears', async () => {
    const keys = Array.from({ length: 300 }, (_, i) => `f/${String(i).padStart(3, '0')}/x`);
    const storage = await storeOf(keys);
    const found: string[] = [];
    for await (const key of storedKeys((prefix, page) => storage.list(prefix, page), [])) {
      found.push(key);
      await storage.delete(key);
    }
    assert.deepEqual(found, keys);
  });
});
