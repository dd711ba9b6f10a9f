// Opens the store named on the command line and prints the code of the refusal, or "opened".
import { LmdbStorage } from '../../src/storage/lmdb.ts';

const result = await LmdbStorage.open({ directory: process.argv[2]! }).then(
  async (storage) => { await storage.close(); return 'opened'; },
  (error: { code?: string }) => error.code);
process.stdout.write(`${result}\n`);
