// Class 18, values where only metadata is asked for: metadata, lists and subkeys show none; a deleted version shows nothing; a
// destroyed one is gone from the store, not only hidden.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startUnsealed, type TestServer } from '../server/running.ts';
import { tokenWith } from './tokens.ts';

const CANARY = 'canary-kv-metadata';
let server: TestServer;
let token: string;
before(async () => {
  server = await startUnsealed();
  await server.call('POST', 'secret/data/s', { body: { data: { password: CANARY, nested: { deep: [CANARY] } } } });
  ({ token } = await tokenWith(server, 'metadata-only', 'path "secret/metadata/*" { capabilities = ["read", "list", "update", "patch", "delete"] } path "secret/subkeys/*" { capabilities = ["read"] } path "secret/detailed-metadata/*" { capabilities = ["list"] }'));
});
after(() => server.stop());

test('a token for metadata sees names and times, and no value by any path', async () => {
  const answers = [
    await server.call('GET', 'secret/metadata/s', { token }), await server.call('LIST', 'secret/metadata', { token }), await server.call('GET', 'secret/subkeys/s', { token }),
    await server.call('GET', 'secret/subkeys/s?depth=5', { token }), await server.call('GET', 'secret/subkeys/s?version=1', { token }), await server.call('LIST', 'secret/detailed-metadata', { token }),
  ];
  for (const { text } of answers) assert.ok(!text.includes(CANARY), text);
  assert.equal((await server.call('GET', 'secret/data/s', { token })).status, 403);
  assert.equal((await server.call('POST', 'secret/undelete/s', { token, body: { versions: [1] } })).status, 403);
});

test('a deleted version answers with metadata and no value, for the version and for the current one', async () => {
  await server.call('DELETE', 'secret/data/s');
  for (const path of ['secret/data/s', 'secret/data/s?version=1', 'secret/subkeys/s']) {
    const { status, text } = await server.call('GET', path);
    assert.deepEqual([status, text.includes(CANARY), /password|nested/.test(text)], [404, false, false]);
  }
  const patched = await server.call('PATCH', 'secret/data/s', { body: { data: { x: 1 } }, headers: { 'Content-Type': 'application/merge-patch+json' } });
  assert.deepEqual([patched.status, patched.text.includes(CANARY)], [404, false], 'nothing is patched onto what was deleted');
});

test('a destroyed version does not come back', async () => {
  await server.call('POST', 'secret/destroy/s', { body: { versions: [1] } });
  await server.call('POST', 'secret/undelete/s', { body: { versions: [1] } });
  const { status, text } = await server.call('GET', 'secret/data/s?version=1');
  assert.deepEqual([status, text.includes(CANARY)], [404, false]);
});
