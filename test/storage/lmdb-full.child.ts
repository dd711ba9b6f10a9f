// Fills the small file system named on the command line and prints, as JSON, how the store behaved.
import { LmdbStorage } from '../../src/storage/lmdb.ts';

const directory = process.argv[2]!;
let storage = await LmdbStorage.open({ directory });
const acknowledged = new Set<string>();
const codeOf = (error: unknown): string => (error as { code?: string }).code ?? String(error);
const put = (key: string, size: number): Promise<string> => storage.put(key, new Uint8Array(size).fill(7)).then(
  () => { acknowledged.add(key); return 'stored'; }, codeOf);
const lost = async (): Promise<number> => {
  let missing = 0;
  for (const key of acknowledged) if (await storage.get(key) === undefined) missing++;
  return missing;
};

let refusedWith = 'stored';
for (let i = 0; refusedWith === 'stored'; i++) refusedWith = await put(`fill/${i}`, 4_000);
const report: Record<string, unknown> = { refusedWith, lost: await lost() };

let refusedAgain = 0;
for (let i = 0; i < 20; i++) if (await put(`again/${i}`, 100_000) === 'ERR_STORAGE_FULL') refusedAgain++;
report['refusedAgain'] = refusedAgain;

for (const key of [...acknowledged].slice(0, 120)) {
  await storage.delete(key);
  acknowledged.delete(key);
}
const [, small] = await Promise.all([put('large', 1_000_000), put('small', 10)]);
report['smallBesideLarge'] = small;
report['afterDelete'] = await put('after', 4_000);

await storage.close();
storage = await LmdbStorage.open({ directory });
report['lostAfterReopen'] = await lost();
await storage.close();
process.stdout.write(JSON.stringify(report));
