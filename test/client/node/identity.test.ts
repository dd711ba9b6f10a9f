// The identity files: whole or refused, private or refused, never made anew by themselves.

import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { chmodSync, mkdtempSync, readFileSync, readdirSync, renameSync, rmSync, statSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, test } from 'node:test';
import { loadIdentity, lockStateDirectory, requireIdentity, storeIdentity } from '../../../src/client/node/identity.ts';
import type { NodeIdentity } from '../../../src/client/node/identity.ts';
import { isPurserError } from '../../../src/lib/errors.ts';

const directories: string[] = [];
afterEach(() => { for (const directory of directories.splice(0)) rmSync(directory, { recursive: true, force: true }); });

const { privateKey } = generateKeyPairSync('ed25519');
const identity: NodeIdentity = { node_id: 'n1', cluster_id: 'c1', address: 'https://core:8200', name: 'web-1', ca: '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n', key: privateKey };

function directory(): string {
  const path = mkdtempSync(join(tmpdir(), 'purser-identity-'));
  directories.push(path);
  return join(path, 'agent');
}

test('storeIdentity() and loadIdentity() are inverse, in private files', async () => {
  const path = directory();
  await storeIdentity(path, identity);
  const { key, ...record } = await requireIdentity(path);
  assert.deepEqual(record, { node_id: 'n1', cluster_id: 'c1', address: 'https://core:8200', name: 'web-1', ca: identity.ca });
  assert.ok(key.equals(privateKey));
  assert.equal(statSync(path).mode & 0o777, 0o700);
  for (const name of readdirSync(path)) assert.equal(statSync(join(path, name)).mode & 0o777, 0o600, name);
  assert.doesNotMatch(readFileSync(join(path, 'node.json'), 'utf8'), /PRIVATE/);
});

test('loadIdentity() of a machine that never joined is undefined, and requireIdentity() says how to join', async () => {
  const path = directory();
  assert.equal(await loadIdentity(path), undefined);
  await assert.rejects(requireIdentity(path), (error) => isPurserError(error, 'ERR_NODE_UNJOINED') && /purser agent join/.test(error.hint ?? ''));
});

const damages: [string, (path: string) => void][] = [
  ['a half-written record', (path) => truncateSync(join(path, 'node.json'), 20)],
  ['an empty record', (path) => truncateSync(join(path, 'node.json'), 0)],
  ['a record with an unknown field', (path) => writeFileSync(join(path, 'node.json'), JSON.stringify({ ...JSON.parse(readFileSync(join(path, 'node.json'), 'utf8')) as object, x: 1 }))],
  ['a record of another format', (path) => writeFileSync(join(path, 'node.json'), readFileSync(join(path, 'node.json'), 'utf8').replace('"format": 1', '"format": 2'))],
  ['a record without the node id', (path) => writeFileSync(join(path, 'node.json'), readFileSync(join(path, 'node.json'), 'utf8').replace('node_id', 'id'))],
  ['a half-written key', (path) => truncateSync(join(path, 'node.key'), 40)],
  ['an empty key', (path) => truncateSync(join(path, 'node.key'), 0)],
  ['a key of another kind', (path) => writeFileSync(join(path, 'node.key'), generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ type: 'pkcs8', format: 'pem' }))],
  ['a missing key', (path) => rmSync(join(path, 'node.key'))],
  ['a missing record', (path) => rmSync(join(path, 'node.json'))],
  ['a key that the group can read', (path) => chmodSync(join(path, 'node.key'), 0o640)],
  ['a record that all can write', (path) => chmodSync(join(path, 'node.json'), 0o602)],
  ['a directory that others can enter', (path) => chmodSync(path, 0o755)],
  ['a key behind a link', (path) => { renameSync(join(path, 'node.key'), join(path, 'moved')); symlinkSync(join(path, 'moved'), join(path, 'node.key')); }],
];

for (const [name, damage] of damages) {
  test(`loadIdentity() refuses ${name}, with a hint, and changes nothing`, async () => {
    const path = directory();
    await storeIdentity(path, identity);
    damage(path);
    const before = readdirSync(path).map((file) => [file, statSync(join(path, file)).size]);
    await assert.rejects(loadIdentity(path), (error) => isPurserError(error, 'ERR_STATE_CORRUPT') && error.hint !== undefined && !/PRIVATE|BEGIN/.test(error.message));
    assert.deepEqual(readdirSync(path).map((file) => [file, statSync(join(path, file)).size]), before);
  });
}

test('lockStateDirectory() admits one process at a time', async () => {
  const path = directory();
  await storeIdentity(path, identity);
  const lock = lockStateDirectory(path);
  assert.throws(() => lockStateDirectory(path), (error) => isPurserError(error, 'ERR_STATE_LOCKED'));
  lock.release();
  lockStateDirectory(path).release();
});
