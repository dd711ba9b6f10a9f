// Class 3, template injection (GHSA-59w7, CVE-2021-43998): whoever chooses their own name at an identity provider must not choose
// what a policy template becomes. The names come in by real logins, the requests by HTTP.
/* eslint-disable @typescript-eslint/no-unsafe-member-access, @typescript-eslint/no-unsafe-assignment -- bodies of any shape */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startIdentityProvider, type IdentityProvider } from '../fakes/identity-provider.ts';
import { startUnsealed, type TestServer } from '../server/running.ts';

let server: TestServer;
let provider: IdentityProvider;
let accessor: string;
const post = (path: string, body: object, token: string | undefined = server.root) => server.call('POST', path, { body, token });

before(async () => {
  [server, provider] = await Promise.all([startUnsealed(), startIdentityProvider()]);
  await post('sys/auth/jwt', { type: 'jwt' });
  await post('auth/jwt/config', { jwks_url: `${provider.url}/keys` });
  await post('auth/jwt/role/r', { role_type: 'jwt', user_claim: 'sub', bound_audiences: 'purser', token_policies: 'own', claim_mappings: { team: 'team' } });
  accessor = (await server.call('GET', 'sys/auth')).body.data['jwt/'].accessor;
  const alias = `identity.entity.aliases.${accessor}`;
  await post('sys/policies/acl/own', { policy: `
    path "secret/data/{{${alias}.name}}" { capabilities = ["read"] }
    path "secret/data/{{${alias}.name}}/*" { capabilities = ["read"] }
    path "secret/data/team/{{${alias}.metadata.team}}/*" { capabilities = ["read"] }` });
  for (const path of ['ann', 'ann/x', 'bob', 'bob/x', 'team/red/x', 'team/blue/x', 'top', 'a/b', '+', '*', 'ä']) await post(`secret/data/${encodeURI(path)}`, { data: { a: 'canary-value' } });
});
after(async () => { await server.stop(); await provider.close(); });

async function readable(claims: Record<string, unknown>): Promise<string[]> {
  const { status, body } = await post('auth/jwt/login', { role: 'r', jwt: await provider.sign(claims) }, undefined);
  if (status !== 200) return [`login ${String(status)}`];
  const found: string[] = [];
  for (const path of ['ann', 'ann/x', 'bob', 'bob/x', 'team/red/x', 'team/blue/x', 'top', 'a/b', '+', '*', 'ä']) {
    const { text } = await server.call('GET', `secret/data/${encodeURI(path)}`, { token: body.auth.client_token as string });
    if (text.includes('canary-value')) found.push(path);
  }
  return found;
}

test('an ordinary name and team read their own, and nothing else', async () => {
  assert.deepEqual(await readable({ sub: 'ann', team: 'red' }), ['ann', 'ann/x', 'team/red/x']);
  assert.deepEqual(await readable({ sub: 'bob', team: 'blue' }), ['bob', 'bob/x', 'team/blue/x']);
});

for (const name of ['*', '+', 'ann/*', 'ann/x', '../bob', '..', '.', 'a/b', '/', 'bob*', '{{identity.entity.name}}', '{{', ' bob', 'bob ', 'b\\ob', 'bob\u200b', '\u202ebob', 'ｂｏｂ', 'BOB', 'Ä', 'x'.repeat(300)]) {
  test(`somebody called ${JSON.stringify(name.slice(0, 30))} reads nothing of anybody else`, async () => {
    const found = await readable({ sub: name, team: 'none' });
    assert.deepEqual(found.filter((path) => !path.startsWith('login 4')), []);
  });
  test(`the team ${JSON.stringify(name.slice(0, 30))} opens nothing`, async () => {
    const found = await readable({ sub: 'carl', team: name });
    assert.deepEqual(found.filter((path) => !path.startsWith('login 4')), []);
  });
}

test('a name that a template cannot hold blocks what a broader rule would give in its place', async () => {
  await post('sys/policies/acl/own', { policy: `
    path "secret/data/*" { capabilities = ["read"] }
    path "secret/data/{{identity.entity.aliases.${accessor}.name}}" { capabilities = ["deny"] }` });
  assert.deepEqual((await readable({ sub: 'bob' })).includes('bob'), false);
  assert.deepEqual(await readable({ sub: '*' }), [], 'the deny is for a path that nobody can name, so nothing below is given');
});
