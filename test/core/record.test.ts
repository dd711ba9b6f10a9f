import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';

import { openRecord, sealRecord } from '../../src/core/record.ts';
import { Keyring } from '../../src/core/keyring.ts';
import { Barrier } from '../../src/core/barrier.ts';
import { openCore } from '../../src/core/core.ts';
import { MemoryStorage } from '../../src/storage/memory.ts';

const read = <T>(name: string): T => JSON.parse(readFileSync(new URL(`../vectors/${name}`, import.meta.url), 'utf8')) as T;
const bytes = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex, 'hex'));
const hex = (value: Uint8Array): string => Buffer.from(value).toString('hex');

interface RecordVectors {
  readonly keys: Readonly<Record<string, string>>;
  readonly vectors: readonly { readonly name: string; readonly path: string; readonly record: string; readonly plaintext?: string; readonly error?: string }[];
}

interface StoreVectors {
  readonly share: string;
  readonly store: Readonly<Record<string, string>>;
  readonly plaintext: string;
  readonly refused: readonly { readonly name: string; readonly error: string; readonly keyring: string; readonly sealConfig: string }[];
}

describe('openRecord() on the vectors', () => {
  const { keys, vectors } = read<RecordVectors>('barrier-record.json');
  const keyOf = (term: number): Uint8Array | undefined => keys[term] === undefined ? undefined : bytes(keys[term]);
  for (const vector of vectors) {
    it(`${vector.plaintext === undefined ? 'refuses' : 'opens'}: ${vector.name}`, () => {
      const open = (): Uint8Array => openRecord(vector.path, keyOf, bytes(vector.record));
      if (vector.plaintext === undefined) assert.throws(open, { code: vector.error });
      else assert.equal(hex(open()), vector.plaintext);
    });
  }
});

it('sealRecord() writes the documented layout, with a nonce of its own every time', () => {
  const key = new Uint8Array(32).fill(7);
  const records = Array.from({ length: 50 }, () => sealRecord('a/b', 0x01020304, key, new Uint8Array(10)));
  for (const record of records) {
    assert.equal(record.length, 1 + 4 + 24 + 10 + 16);
    assert.equal(hex(record.subarray(0, 5)), '0101020304');
  }
  assert.equal(new Set(records.map((record) => hex(record.subarray(5, 29)))).size, 50);
});

describe('a stored core, from the vectors', () => {
  const vectors = read<StoreVectors>('core-store.json');

  async function storeOf(entries: Readonly<Record<string, string>>): Promise<MemoryStorage> {
    const storage = new MemoryStorage();
    for (const [key, value] of Object.entries(entries)) await storage.put(key, bytes(value));
    return storage;
  }

  it('opens, and reads records of every term', async () => {
    const { barrier, seal } = openCore(await storeOf(vectors.store));
    assert.equal((await seal.provide(bytes(vectors.share))).sealed, false);
    assert.deepEqual(barrier.keyStatus(), { term: 2, installTime: '2026-01-31T09:00:00.000Z', encryptions: 0 });
    for (const path of ['logical/6a3f/db/prod', 'logical/6a3f/db/test']) assert.equal(hex((await barrier.get(path))!), vectors.plaintext);
  });

  for (const { name, error, keyring, sealConfig } of vectors.refused) {
    it(`stays sealed: ${name}`, async () => {
      const { barrier, seal } = openCore(await storeOf({ ...vectors.store, 'core/keyring': keyring, 'core/seal-config': sealConfig }));
      await assert.rejects(seal.provide(bytes(vectors.share)), { code: error });
      assert.equal(barrier.isSealed, true);
    });
  }
});

it('Keyring.toRecord() says what Keyring.open() understands', () => {
  const rootKey = new Uint8Array(32).fill(3);
  const keyring = Keyring.create(rootKey, { shares: 5, threshold: 3 }).withNewTerm();
  const record = keyring.encrypt('a/b', Buffer.from('value'));
  const reopened = Keyring.open(keyring.toRecord(), rootKey);
  assert.equal(Buffer.from(reopened.decrypt('a/b', record)).toString(), 'value');
  assert.deepEqual([reopened.activeTerm, reopened.sealConfig], [2, { shares: 5, threshold: 3 }]);
});

it('Barrier.seal() overwrites the root key and the key of every term', () => {
  const keyring = Keyring.create(new Uint8Array(32).fill(3), { shares: 1, threshold: 1 });
  const next = keyring.withNewTerm();
  const zeros = (): Uint8Array => new Uint8Array(32);
  const barrier = new Barrier(new MemoryStorage());
  barrier.unseal(next);
  assert.throws(() => openRecord('a', zeros, next.encrypt('a', new Uint8Array(1))), { code: 'ERR_BARRIER_OPEN' });
  barrier.seal();
  for (const wiped of [keyring, next]) {
    openRecord('a', zeros, wiped.encrypt('a', new Uint8Array(1)));
    openRecord('core/keyring', zeros, wiped.toRecord());
  }
});
