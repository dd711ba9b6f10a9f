// Class 13, tampered and moved records (and nonces used twice): whoever can write the store of a core that is down makes its records
// unreadable, and nothing else: no value of another path, no older term, no token that works. A real server on LMDB.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { loadConfig } from '../../src/server/config.ts';
import { startServer } from '../../src/server/server.ts';
import { LmdbStorage } from '../../src/storage/lmdb.ts';
import { call, silent, temporaryDirectory } from '../server/running.ts';

const HEADER_BYTES = 5;
const NONCE_BYTES = 24;
const { path: directory, remove } = temporaryDirectory();
const dataDir = join(directory, 'data');
const config = loadConfig({ listen: '127.0.0.1:0', http: true, dataDir, autoUnsealKeyFile: join(directory, 'key'), initIfNeeded: true });
let root: string;
let records: Map<string, Uint8Array>;

/** Runs `use` against the core, which is stopped afterwards. */
async function withCore<T>(use: (ask: (method: string, path: string, body?: object, token?: string) => ReturnType<typeof call>) => Promise<T>): Promise<T> {
  const server = await startServer(config, silent);
  try {
    root = readFileSync(join(dataDir, 'root-token'), 'utf8').trim();
    return await use((method, path, body, token = root) => call(server.address, method, path, { token, ...(body === undefined ? {} : { body }) }));
  } finally {
    await server.close();
  }
}

/** All records below `prefix` of a store that nobody uses. */
async function readAll(storage: LmdbStorage, prefix: string, into = new Map<string, Uint8Array>()): Promise<Map<string, Uint8Array>> {
  for (const name of await storage.list(prefix)) {
    if (name.endsWith('/')) await readAll(storage, prefix + name, into);
    else into.set(prefix + name, (await storage.get(prefix + name))!);
  }
  return into;
}

/** Changes the store while the core is down. */
async function tamper(change: (storage: LmdbStorage) => Promise<void>): Promise<void> {
  const storage = await LmdbStorage.open({ directory: join(dataDir, 'store') });
  try { await change(storage); } finally { await storage.close(); }
}

const keyOf = (ending: string): string => [...records.keys()].find((key) => key.startsWith('logical/') && key.endsWith(ending))!;

before(async () => {
  await withCore(async (ask) => {
    for (const [name, value] of [['mine', 'canary-mine'], ['theirs', 'canary-theirs']]) await ask('POST', `secret/data/${name!}`, { data: { a: value } });
    await ask('PUT', 'sys/rotate');
    await ask('POST', 'secret/data/newer', { data: { a: 'canary-newer' } });
  });
  const storage = await LmdbStorage.open({ directory: join(dataDir, 'store') });
  records = await readAll(storage, '');
  await storage.close();
});
after(remove);

test('no nonce is used twice, and no record holds a value in clear', () => {
  const nonces = [...records.values()].filter((record) => record[0] === 1).map((record) => Buffer.from(record.subarray(HEADER_BYTES, HEADER_BYTES + NONCE_BYTES)).toString('hex'));
  assert.ok(nonces.length > 10);
  assert.equal(new Set(nonces).size, nonces.length);
  for (const record of records.values()) assert.ok(!Buffer.from(record).includes('canary') && !Buffer.from(record).includes(root));
});

const MINE = 'data/1/mine';
const attacks: readonly (readonly [title: string, attack: (record: Uint8Array) => Uint8Array])[] = [
  ['the record of another secret in its place', () => records.get(keyOf('data/1/theirs'))!],
  ['a byte of the ciphertext changed', (record) => flipped(record, record.length - 20)],
  ['a byte of the tag changed', (record) => flipped(record, record.length - 1)],
  ['a byte of the nonce changed', (record) => flipped(record, HEADER_BYTES)],
  // The walk after the rotation may have come to the record or not.
  ['the other term that there is', (record) => withTerm(record, Buffer.from(record).readUInt32BE(1) === 1 ? 2 : 1)],
  ['the term of the root key', (record) => withTerm(record, 0)],
  ['a term that there is not', (record) => withTerm(record, 4_000_000_000)],
  ['another version of the format', (record) => flipped(record, 0)],
  ['the end cut off', (record) => record.subarray(0, -1)],
  ['its header alone', (record) => record.subarray(0, HEADER_BYTES)],
  ['nothing', () => new Uint8Array(0)],
];
for (const [title, attack] of attacks) {
  test(`a stored version with ${title} is not answered, and others are`, async () => {
    const key = keyOf(MINE);
    await tamper((storage) => storage.put(key, attack(Uint8Array.from(records.get(key)!))));
    await withCore(async (ask) => {
      const { status, text } = await ask('GET', 'secret/data/mine');
      assert.equal(status, 500);
      assert.doesNotMatch(text, /canary/);
      assert.match((await ask('GET', 'secret/data/theirs')).text, /canary-theirs/);
      assert.match((await ask('GET', 'secret/data/newer')).text, /canary-newer/);
    });
    await tamper((storage) => storage.put(key, records.get(key)!));
    await withCore(async (ask) => assert.match((await ask('GET', 'secret/data/mine')).text, /canary-mine/));
  });
}

test('the record of the root token under the name of another makes nobody root', async () => {
  const tokens = [...records.keys()].filter((key) => key.startsWith('token/id/'));
  const forged = `token/id/${'0'.repeat(64)}`;
  await tamper((storage) => storage.put(forged, records.get(tokens[0]!)!));
  await withCore(async (ask) => {
    assert.equal((await ask('GET', 'auth/token/lookup-self', undefined, 'hvs.forged')).status, 403);
    assert.equal((await ask('GET', 'auth/token/lookup-self')).status, 200);
  });
  await tamper((storage) => storage.delete(forged));
});

function flipped(record: Uint8Array, index: number): Uint8Array {
  record[index]! ^= 1;
  return record;
}

function withTerm(record: Uint8Array, term: number): Uint8Array {
  new DataView(record.buffer, record.byteOffset).setUint32(1, term);
  return record;
}
