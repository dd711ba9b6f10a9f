// Class 4, reaching root by another spelling of its name (CVE-2025-5999, CVE-2024-9180): no token, role, user or entity gets the
// policy root, whatever letters, blanks or look-alikes it is written with, unless the asker is root.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startUnsealed, type TestServer } from '../server/running.ts';
import { tokenWith } from './tokens.ts';

let server: TestServer;
let token: string;
before(async () => {
  server = await startUnsealed({ audit: false });
  await server.call('POST', 'sys/auth/userpass', { body: { type: 'userpass' } });
  await server.call('POST', 'sys/auth/approle', { body: { type: 'approle' } });
  ({ token } = await tokenWith(server, 'admin', 'path "auth/*" { capabilities = ["create", "read", "update", "list", "sudo"] } path "identity/*" { capabilities = ["create", "read", "update"] }'));
});
after(() => server.stop());

async function isRoot(found: string): Promise<boolean> {
  return (await server.call('GET', 'sys/policy', { token: found })).status === 200;
}

for (const name of ['root', 'Root', 'ROOT', ' root', 'root ', '\troot', 'rooT', '\uff52oot', 'ro\u200bot', 'root\u0000', 'r\u043eot', 'root,default', 'default,root']) {
  test(`the policy ${JSON.stringify(name)} makes no root token`, async () => {
    const made = await server.call('POST', 'auth/token/create', { token, body: { policies: [name] } });
    if (made.status === 200) assert.equal(await isRoot((made.body as { auth: { client_token: string } }).auth.client_token), false);
    const user = `u${Buffer.from(name).toString('hex')}`;
    await server.call('POST', `auth/userpass/users/${user}`, { token, body: { password: 'a long password', token_policies: [name] } });
    const login = await server.call('POST', `auth/userpass/login/${user}`, { token: undefined, body: { password: 'a long password' } });
    if (login.status === 200) assert.equal(await isRoot((login.body as { auth: { client_token: string } }).auth.client_token), false);
    const role = `auth/approle/role/${user}`;
    await server.call('POST', role, { token, body: { token_policies: [name], bind_secret_id: true } });
    const id = (await server.call('GET', `${role}/role-id`, { token })).body as { data?: { role_id: string } };
    const secret = (await server.call('POST', `${role}/secret-id`, { token, body: {} })).body as { data?: { secret_id: string } };
    const byRole = await server.call('POST', 'auth/approle/login', { token: undefined, body: { role_id: id.data?.role_id ?? 'none', secret_id: secret.data?.secret_id ?? 'none' } });
    if (byRole.status === 200) assert.equal(await isRoot((byRole.body as { auth: { client_token: string } }).auth.client_token), false);
    assert.notEqual((await server.call('PUT', `sys/policies/acl/${encodeURIComponent(name)}`, { body: { policy: 'path "x" { capabilities = ["read"] }' } })).status === 204
      && name.normalize('NFKC').trim().toLowerCase() === 'root', true, 'the policy of that name cannot be written');
  });
}
