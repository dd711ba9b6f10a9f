// Class 12, ids of somebody else (CVE-2023-24999): the accessor of another role destroys nothing, and a token's accessor is no token.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startUnsealed, type TestServer } from '../server/running.ts';
import { tokenWith } from './tokens.ts';

let server: TestServer;
before(async () => {
  server = await startUnsealed({ audit: false });
  await server.call('POST', 'sys/auth/approle', { body: { type: 'approle' } });
  for (const role of ['mine', 'theirs']) await server.call('POST', `auth/approle/role/${role}`, { body: { token_policies: ['default'] } });
});
after(() => server.stop());

test('an accessor of another role is refused by lookup and destroy, and its secret id still logs in', async () => {
  const { token } = await tokenWith(server, 'mine', 'path "auth/approle/role/mine/*" { capabilities = ["create", "read", "update", "delete"] }');
  const { data: { role_id: roleId } } = (await server.call('GET', 'auth/approle/role/theirs/role-id')).body as { data: { role_id: string } };
  const { data: { secret_id: secretId, secret_id_accessor: accessor } } = (await server.call('POST', 'auth/approle/role/theirs/secret-id', { body: {} })).body as { data: { secret_id: string; secret_id_accessor: string } };
  for (const [path, body] of [['secret-id-accessor/lookup', { secret_id_accessor: accessor }], ['secret-id-accessor/destroy', { secret_id_accessor: accessor }], ['secret-id/lookup', { secret_id: secretId }], ['secret-id/destroy', { secret_id: secretId }]] as const) {
    const { status, text } = await server.call('POST', `auth/approle/role/mine/${path}`, { token, body });
    assert.ok(status === 204 || status >= 400 && status < 500, `${path}: ${status}`);
    assert.doesNotMatch(text, /secret_id_ttl/);
  }
  assert.equal((await server.call('POST', 'auth/approle/login', { token: undefined, body: { role_id: roleId, secret_id: secretId } })).status, 200);
});

test('a secret id of one role does not log in with the id of another', async () => {
  const { data: { role_id: mine } } = (await server.call('GET', 'auth/approle/role/mine/role-id')).body as { data: { role_id: string } };
  const { data: { secret_id: theirs } } = (await server.call('POST', 'auth/approle/role/theirs/secret-id', { body: {} })).body as { data: { secret_id: string } };
  assert.equal((await server.call('POST', 'auth/approle/login', { token: undefined, body: { role_id: mine, secret_id: theirs } })).status, 400);
});

test('an accessor is not a token, and a token that may not may not use it', async () => {
  const { accessor, token } = await tokenWith(server, 'plain', 'path "secret/data/x" { capabilities = ["read"] }');
  assert.equal((await server.call('GET', 'auth/token/lookup-self', { token: accessor })).status, 403);
  for (const path of ['lookup-accessor', 'revoke-accessor', 'renew-accessor']) assert.equal((await server.call('POST', `auth/token/${path}`, { token, body: { accessor } })).status, 403);
});
