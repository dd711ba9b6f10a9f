import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, it } from 'node:test';
import fc from 'fast-check';
import { open } from 'lmdb';

import { pagesNeeded } from '../../src/storage/lmdb-space.ts';
import type { LmdbStats } from '../../src/storage/lmdb-space.ts';
import type { StorageOperation } from '../../src/storage/storage.ts';

const directory = mkdtempSync(join(tmpdir(), 'purser-space-'));
after(() => rmSync(directory, { recursive: true, force: true }));

it('pagesNeeded() is never less than what LMDB takes', async () => {
  const size = fc.constantFrom(0, 50, 900, 1_100, 2_100, 5_000, 60_000);
  const key = fc.tuple(fc.nat(400), fc.constantFrom(0, 40, 1_800)).map(([number, padding]) => String(number).padStart(12, '0') + 'k'.repeat(padding));
  const operation: fc.Arbitrary<StorageOperation> = fc.oneof(
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('put' as const), key, value: size.map((bytes) => new Uint8Array(bytes)) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('delete' as const), key }) },
  );
  let run = 0;
  await fc.assert(fc.asyncProperty(fc.array(fc.array(operation, { minLength: 1, maxLength: 300, size: 'max' }), { minLength: 1, maxLength: 8 }), async (transactions) => {
    const database = open<Buffer, Buffer>({ path: join(directory, String(run++)), noSubdir: false, keyEncoding: 'binary', encoding: 'binary', overlappingSync: false, noSync: true });
    const stats = (): LmdbStats => { database.resetReadTxn(); return database.getStats() as LmdbStats; };
    for (const operations of transactions) {
      const before = stats();
      database.transactionSync(() => {
        for (const op of operations) {
          if (op.kind === 'put') database.putSync(Buffer.from(op.key), Buffer.from(op.value));
          else database.removeSync(Buffer.from(op.key));
        }
      });
      assert.ok(stats().lastPageNumber - before.lastPageNumber <= pagesNeeded(before, operations));
    }
    await database.close();
  }), { numRuns: 25 });
});
