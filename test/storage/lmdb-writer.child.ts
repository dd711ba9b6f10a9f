// Writes to the store named on the command line until it is killed, and prints each key once its write is acknowledged.
import { writeSync } from 'node:fs';

import { LmdbStorage } from '../../src/storage/lmdb.ts';

const storage = await LmdbStorage.open({ directory: process.argv[2]! });
for (let i = 0; i < 100_000; i += 8) {
  await Promise.all(Array.from({ length: 8 }, async (_, j) => {
    const key = `key/${i + j}`;
    await storage.put(key, Buffer.from(key));
    writeSync(1, `${key}\n`);
  }));
}
