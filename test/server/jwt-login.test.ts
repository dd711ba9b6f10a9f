// The jwt method over a running server, with an identity provider on loopback: what logs in, as whom, with which rights; and what never does.
/* eslint-disable @typescript-eslint/no-unsafe-member-access, @typescript-eslint/no-unsafe-assignment, @typescript-eslint/no-unsafe-argument -- bodies of any shape */

import assert from 'node:assert/strict';
import { createHmac, createPublicKey, generateKeyPairSync, randomUUID } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { exportSPKI, importJWK, SignJWT, type JWK } from 'jose';

import { startIdentityProvider, type IdentityProvider } from '../fakes/identity-provider.ts';
import { startUnsealed, type Answer, type TestServer } from './running.ts';

let server: TestServer;
let provider: IdentityProvider;
before(async () => {
  [server, provider] = await Promise.all([startUnsealed(), startIdentityProvider()]);
});
after(async () => { await server.stop(); await provider.close(); });

const post = (path: string, body: object, token: string | undefined = server.root): Promise<Answer> => server.call('POST', path, { body, token });

/** A new jwt mount, with a role `r` unless the test says otherwise. */
async function mount(config: object = { jwks_url: `${provider.url}/keys` }, role: object = {}): Promise<string> {
  const path = `jwt-${randomUUID().slice(0, 8)}`;
  assert.equal((await post(`sys/auth/${path}`, { type: 'jwt' })).status, 204);
  const { status, text } = await post(`auth/${path}/config`, config);
  assert.equal(status, 204, text);
  const written = await post(`auth/${path}/role/r`, { role_type: 'jwt', user_claim: 'sub', bound_audiences: 'purser', token_policies: ['app'], ...role });
  assert.deepEqual([written.status, written.body.data], [200, null], written.text);
  return `auth/${path}`;
}
const logIn = (path: string, jwt: string, role = 'r'): Promise<Answer> => post(`${path}/login`, { role, jwt }, undefined);
const accessorOf = async (path: string): Promise<string> => (await server.call('GET', 'sys/auth')).body.data[`${path.slice(5)}/`].accessor as string;

describe('auth/jwt', () => {
  test('a token of the provider logs in: Vault’s auth object, an entity, the role’s policies', async () => {
    const path = await mount(undefined, { claim_mappings: { '/org/unit': 'unit' }, token_ttl: '10m', token_max_ttl: '1h' });
    const { status, body } = await logIn(path, await provider.sign({ org: { unit: 'sea' } }), 'R');
    assert.equal(status, 200, JSON.stringify(body));
    const { client_token: token, accessor, entity_id: entity, ...auth } = body.auth;
    assert.match(`${token} ${entity}`, /^hvs\.\w{24} [0-9a-f-]{36}$/);
    assert.deepEqual(auth, {
      policies: ['app', 'default'], token_policies: ['app', 'default'], metadata: { unit: 'sea', role: 'r' }, lease_duration: 600, renewable: true,
      token_type: 'service', orphan: true, mfa_requirement: null, num_uses: 0,
    });
    const self = (await server.call('GET', 'auth/token/lookup-self', { token })).body.data;
    assert.deepEqual([self.accessor, self.entity_id, self.display_name, self.path], [accessor, entity, `${path.slice(5)}-ann`, `${path}/login`]);
    const own = await server.call('GET', `identity/entity/id/${entity}`, { token });
    assert.deepEqual([own.body.data.aliases[0].name, own.body.data.aliases[0].mount_path], ['ann', `${path}/`]);
    assert.equal((await logIn(path, await provider.sign())).body.auth.entity_id, entity);
    assert.notEqual((await logIn(path, await provider.sign({ sub: 'Ann' }))).body.auth.entity_id, entity);
    await server.call('DELETE', `${path}/role/r`);
    assert.equal((await post('auth/token/renew-self', {}, token)).status, 400);
  });

  test('templates, policies and state of the entity count at once, for the token and its children', async () => {
    const path = await mount(undefined, { claim_mappings: { team: 'team' } });
    const accessor = await accessorOf(path);
    await post('sys/policies/acl/app', { policy: `path "secret/data/users/{{identity.entity.aliases.${accessor}.metadata.team}}/*" { capabilities = ["create", "update", "read"] }
path "auth/token/create" { capabilities = ["update"] }` });
    await post('sys/policies/acl/extra', { policy: 'path "secret/data/extra" { capabilities = ["create", "update"] }' });
    const { client_token: token, entity_id: id } = (await logIn(path, await provider.sign({ team: 'red' }))).body.auth;
    const write = async (where: string, who: string) => (await post(`secret/data/${where}`, { data: { a: 1 } }, who)).status;
    assert.deepEqual([await write('users/red/x', token), await write('users/blue/x', token), await write('extra', token)], [200, 403, 403]);
    await post(`identity/entity/id/${id}`, { policies: ['extra'] });
    const child = (await post('auth/token/create', {}, token)).body.auth;
    assert.deepEqual([child.entity_id, child.identity_policies, child.token_policies, child.policies], [id, ['extra'], ['app', 'default'], ['app', 'default', 'extra']]);
    for (const who of [token, child.client_token]) assert.deepEqual([await write('users/red/y', who), await write('extra', who)], [200, 200]);
    assert.deepEqual((await post('sys/capabilities', { token, paths: ['secret/data/users/red/x', 'secret/data/users/blue/x'] })).body.data, {
      'secret/data/users/red/x': ['create', 'read', 'update'], 'secret/data/users/blue/x': ['deny'],
    });
    await post(`identity/entity/id/${id}`, { disabled: true });
    for (const who of [token, child.client_token]) assert.equal((await server.call('GET', 'auth/token/lookup-self', { token: who })).status, 403);
    assert.equal((await logIn(path, await provider.sign({ team: 'red' }))).status, 403);
    await post(`identity/entity/id/${id}`, { disabled: false });
    assert.equal((await server.call('GET', 'secret/data/users/red/x', { token })).status, 200);
    assert.equal((await logIn(path, await provider.sign({ team: '*' }))).body.auth.entity_id, id);
    assert.deepEqual([await write('users/red/x', token), await write('users/*/x', token), await write('users/blue/x', token)], [403, 403, 403]);
    await server.call('DELETE', `identity/entity/id/${id}`);
    assert.equal((await server.call('GET', 'auth/token/lookup-self', { token })).status, 403);
  });

  test('external groups: membership is what the last login said, and its policies count at once, in and out', async () => {
    const path = await mount(undefined, { groups_claim: '/realm/groups' });
    const accessor = await accessorOf(path);
    await post('sys/policies/acl/dev', { policy: 'path "secret/data/dev/*" { capabilities = ["create", "update"] }' });
    const { id: group } = (await post('identity/group', { name: 'developers', type: 'external', policies: 'dev' })).body.data;
    assert.equal((await post('identity/group-alias', { name: 'dev', mount_accessor: accessor, canonical_id: group })).status, 200);
    const write = async (who: string) => (await post('secret/data/dev/x', { data: { a: 1 } }, who)).status;
    const inGroup = (await logIn(path, await provider.sign({ realm: { groups: ['ops', 'dev'] } }))).body.auth;
    assert.deepEqual([inGroup.identity_policies, inGroup.policies, await write(inGroup.client_token)], [['dev'], ['app', 'default', 'dev'], 200]);
    assert.deepEqual((await server.call('GET', `identity/entity/id/${inGroup.entity_id}`)).body.data.group_ids, [group]);
    assert.deepEqual((await server.call('GET', `identity/group/id/${group}`)).body.data.member_entity_ids, [inGroup.entity_id]);
    const other = (await logIn(path, await provider.sign({ sub: 'eve', realm: { groups: ['Dev', 'de', 'dev '] } }))).body.auth;
    assert.equal(await write(other.client_token), 403);
    const elsewhere = await mount(undefined, { groups_claim: 'groups' });
    assert.equal(await write((await logIn(elsewhere, await provider.sign({ groups: 'dev' }))).body.auth.client_token), 403, 'the same name at another mount');
    const out = (await logIn(path, await provider.sign({ realm: { groups: [] } }))).body.auth;
    assert.deepEqual([out.identity_policies, await write(out.client_token), await write(inGroup.client_token)], [undefined, 403, 403]);
    await logIn(path, await provider.sign({ realm: { groups: 'dev' } }));
    assert.equal(await write(inGroup.client_token), 200);
    await server.call('DELETE', `identity/group/id/${group}`);
    assert.equal(await write(inGroup.client_token), 403);
  });

  const FORGED: readonly (readonly [string, (genuine: string) => string | Promise<string>])[] = [
    ['an empty one', () => ''], ['junk', () => 'a.b.c'], ['one without a signature', (jwt) => `${jwt.split('.').slice(0, 2).join('.')}.`],
    ['alg none', (jwt) => `${encode({ alg: 'none' })}.${jwt.split('.')[1]}.`],
    ['alg NONE with the genuine signature', (jwt) => `${encode({ alg: 'NONE' })}.${jwt.split('.').slice(1).join('.')}`],
    ['no alg', (jwt) => `${encode({ kid: 'key-1' })}.${jwt.split('.').slice(1).join('.')}`],
    ['HS256 with the public key as PEM', async (jwt) => hs256(jwt, await pemOf(provider.keys[0]!))],
    ['HS256 with the public key as JWK', (jwt) => hs256(jwt, JSON.stringify(provider.keys[0]))],
    ['HS256 with no key', (jwt) => hs256(jwt, '')],
    ['another key under the same id', async () => signWithOther(provider.keys[0]!.kid)],
    ['another key that it brings along', async () => signWithOther(undefined, true)],
    ['claims that were changed', (jwt) => [jwt.split('.')[0], encode({ ...payloadOf(jwt), sub: 'root' }), jwt.split('.')[2]].join('.')],
    ['a critical header that nobody knows', (jwt) => `${encode({ alg: 'ES256', kid: 'key-1', crit: ['x'], x: 1 })}.${jwt.split('.').slice(1).join('.')}`],
    ['an unencoded payload', (jwt) => `${encode({ alg: 'ES256', kid: 'key-1', crit: ['b64'], b64: false })}.${jwt.split('.').slice(1).join('.')}`],
    ['40,000 characters', (jwt) => `${jwt}${'A'.repeat(40_000)}`],
  ];
  for (const [title, forge] of FORGED) {
    test(`refuses ${title}, and says nothing of the token`, async () => {
      const path = await mount();
      const { status, text } = await logIn(path, await forge(await provider.sign()));
      assert.equal(status, 400, text);
      assert.match(text, /error validating token: |missing token/);
      assert.equal(/eyJ|ann/.test(text), false, text);
    });
  }

  const CLAIMS: readonly (readonly [string, Record<string, unknown>, object, RegExp])[] = [
    ['an expired token', { exp: 1_000_000 }, {}, /expired/], ['a token without exp', { exp: undefined }, {}, /no expiration/], ['a token of tomorrow', { nbf: Math.floor(Date.now() / 1000) + 86_400 }, {}, /not valid yet/],
    ['another audience', { aud: ['x', 'y'] }, {}, /aud claim/], ['an audience of a wrong type', { aud: { purser: true } }, {}, /aud/], ['no audience', { aud: undefined }, {}, /aud claim/],
    ['an audience where the role binds none', {}, { bound_audiences: [], bound_subject: 'ann' }, /^audience claim found in JWT but no audiences bound to the role$/],
    ['another subject', { sub: 'bob' }, { bound_subject: 'ann' }, /subject/], ['a bound claim that is missing', {}, { bound_claims: { '/org/unit': 'sea' } }, /error validating claims/],
    ['a bound claim that does not match its glob', { team: 'red' }, { bound_claims_type: 'glob', bound_claims: { team: ['b*'] } }, /error validating claims/],
    ['no groups where the role wants them', {}, { groups_claim: '/realm/groups' }, /claim not found/], ['groups of a wrong type', { groups: { a: 'dev' } }, { groups_claim: 'groups' }, /string list/], ['groups that are no texts', { groups: ['dev', 1] }, { groups_claim: 'groups' }, /string list/],
    ['no user', { sub: undefined }, {}, /claim "sub" not found/], ['a user that is no text', { sub: 7 }, {}, /could not be converted/], ['a user with a control character', { sub: 'a\u0000' }, {}, /name of an alias/],
  ];
  for (const [title, claims, role, message] of CLAIMS) {
    test(`refuses ${title}`, async () => {
      const { status, body } = await logIn(await mount(undefined, role), await provider.sign(claims));
      assert.deepEqual([status, message.test(body.errors?.[0])], [400, true], JSON.stringify(body));
    });
  }

  test('login names what is missing, and works without a role where there is a default one', async () => {
    const path = await mount({ jwks_url: `${provider.url}/keys`, default_role: 'R', bound_issuer: provider.url });
    assert.equal((await post(`${path}/login`, { jwt: await provider.sign() }, undefined)).status, 200);
    assert.match((await post(`${path}/login`, { role: 'none', jwt: 'x' }, undefined)).text, /role \\"none\\" could not be found/);
    assert.match((await post(`${path}/login`, { role: 'r' }, undefined)).text, /missing token/);
    assert.match((await logIn(path, await provider.sign({ iss: 'https://other' }))).text, /issuer/);
    const bare = `jwt-${randomUUID().slice(0, 8)}`;
    await post(`sys/auth/${bare}`, { type: 'jwt' });
    assert.match((await logIn(`auth/${bare}`, 'x')).text, /could not load configuration/);
  });

  test('a key that is new at the provider is found, one that is withdrawn is not, and strangers cannot make the core ask', async () => {
    const path = await mount();
    assert.equal((await logIn(path, await provider.sign())).status, 200);
    const old = await provider.sign();
    const asked = provider.asked.get('/keys') ?? 0;
    await Promise.all(Array.from({ length: 20 }, async (_, i) => logIn(path, await provider.sign({}, { kid: `made-up-${i}` }))));
    assert.equal((provider.asked.get('/keys') ?? 0) - asked, 0, 'within the cooldown');
    await provider.rotate();
    const again = await mount();
    assert.deepEqual([(await logIn(again, await provider.sign())).status, (await logIn(again, old)).status], [200, 400]);
    assert.equal((await logIn(again, await provider.sign({}, { kid: undefined }))).status, 200, 'a token without kid');
  });

  test('OpenID Connect discovery: the document must be that of the issuer, and so must the token', async () => {
    const path = await mount({ oidc_discovery_url: `${provider.url}/` });
    assert.equal((await logIn(path, await provider.sign())).status, 200);
    assert.match((await logIn(path, await provider.sign({ iss: 'https://other' }))).text, /issuer/);
    provider.overrides.set('/.well-known/openid-configuration', (_request, response) => { response.end(JSON.stringify({ issuer: 'https://other', jwks_uri: `${provider.url}/keys` })); });
    await post('sys/auth/jwt-other', { type: 'jwt' });
    const refused = await post('auth/jwt-other/config', { oidc_discovery_url: provider.url });
    provider.overrides.clear();
    assert.deepEqual([refused.status, /names another issuer/.test(refused.text)], [502, true]);
  });

  test('static keys: each of them, and only keys', async () => {
    const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const other = generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'pem' });
    const pem = publicKey.export({ type: 'spki', format: 'pem' });
    const path = await mount({ jwt_validation_pubkeys: [other, pem], jwt_supported_algs: ['RS256', 'EdDSA'] });
    const sign = (alg: string) => new SignJWT({ sub: 'ann', aud: 'purser' }).setProtectedHeader({ alg }).setIssuedAt().setExpirationTime('1m').sign(privateKey);
    assert.deepEqual([(await logIn(path, await sign('RS256'))).status, (await logIn(path, await sign('PS256'))).status], [200, 400]);
    assert.equal((await logIn(path, hs256(await sign('RS256'), pem as string))).status, 400);
    assert.match((await server.call('GET', `${path}/config`)).body.data.jwt_validation_pubkeys[1], /BEGIN PUBLIC KEY/);
    const secret = await post(`${path}/config`, { jwt_validation_pubkeys: privateKey.export({ type: 'pkcs8', format: 'pem' }) });
    assert.match(secret.text, /has a private key/);
    assert.equal(secret.text.includes('MII'), false);
  });

  const SERVERS: readonly (readonly [string, (response: import('node:http').ServerResponse) => void, RegExp])[] = [
    ['redirects', (response) => { response.writeHead(302, { location: `${provider.url}/keys` }).end(); }, /redirect/],
    ['never stops', (response) => { const write = (): void => { if (!response.destroyed) response.write('x'.repeat(65_536), () => setImmediate(write)); }; write(); }, /larger than/],
    ['is not JSON', (response) => { response.end('<html>CANARY</html>'); }, /does not answer with a JWKS/],
    ['has no keys member', (response) => { response.end('[]'); }, /does not answer with a JWKS/],
    ['has a thousand keys', (response) => { response.end(JSON.stringify({ keys: Array.from({ length: 1000 }, () => provider.keys[0]) })); }, /does not answer with a JWKS/],
    ['fails', (response) => { response.writeHead(500).end(); }, /status 500/],
    ['hangs up', (response) => { response.destroy(); }, /connection was cut/],
    ['is silent', () => undefined, /no answer within 10 s/],
    ['is slow', (response) => { const timer = setInterval(() => response.write(' '), 200); response.on('close', () => clearInterval(timer)); }, /no answer within 10 s/],
  ];
  for (const [title, listener, message] of SERVERS) {
    test(`a JWKS server that ${title} is refused, and its answer not shown`, async () => {
      const key = `/bad-${title.replaceAll(' ', '-')}`;
      provider.overrides.set(key, (_request, response) => listener(response));
      const name = `jwt-${randomUUID().slice(0, 8)}`;
      await post(`sys/auth/${name}`, { type: 'jwt' });
      const { status, text } = await post(`auth/${name}/config`, { jwks_url: provider.url + key });
      assert.deepEqual([status, message.test(text), text.includes('CANARY')], [502, true, false], text);
      assert.equal((await server.call('GET', `auth/${name}/config`)).status, 404);
    });
  }

  const CONFIGS: readonly (readonly [string, object, RegExp])[] = [
    ['no source of keys', {}, /exactly one/], ['two sources', { jwks_url: 'https://a', oidc_discovery_url: 'https://b' }, /exactly one/],
    ['plain HTTP to another machine', { jwks_url: 'http://192.0.2.1/keys' }, /https/], ['a file', { jwks_url: 'file:///etc/passwd' }, /https/], ['credentials', { jwks_url: 'https://u:p@a/keys' }, /credentials/],
    ['HS256', { jwks_url: 'https://a', jwt_supported_algs: ['HS256'] }, /not supported/], ['none', { jwks_url: 'https://a', jwt_supported_algs: 'none' }, /not supported/],
    ['logins by browser', { oidc_discovery_url: 'https://a', oidc_client_id: 'x' }, /oidc_client_id is not supported/], ['a CA that is none', { jwks_url: 'https://a', jwks_ca_pem: 'x' }, /PEM/],
  ];
  for (const [title, config, message] of CONFIGS) {
    test(`config refuses ${title}`, async () => {
      const name = `jwt-${randomUUID().slice(0, 8)}`;
      await post(`sys/auth/${name}`, { type: 'jwt' });
      const { status, text } = await post(`auth/${name}/config`, config);
      assert.deepEqual([status, message.test(text)], [400, true], text);
    });
  }

  const ROLES: readonly (readonly [string, object, RegExp])[] = [
    ['no bound', { user_claim: 'sub' }, /at least one bound/], ['no user claim', { bound_subject: 'x' }, /user claim/], ['root', { user_claim: 'sub', bound_subject: 'x', token_policies: 'root' }, /root/],
    ['another type', { role_type: 'oidc', user_claim: 'sub', bound_subject: 'x' }, /type jwt/],
    ['a metadata key of the method', { user_claim: 'sub', bound_subject: 'x', claim_mappings: { a: 'role' } }, /reserved/], ['two claims for one key', { user_claim: 'sub', bound_subject: 'x', claim_mappings: { a: 'k', b: 'k' } }, /same metadata key/],
    ['a bound claim without values', { user_claim: 'sub', bound_claims: { a: [] } }, /bound claim/], ['a bound claim that is an object', { user_claim: 'sub', bound_claims: { a: {} } }, /bound claim/],
    ['an unknown kind of claims', { user_claim: 'sub', bound_subject: 'x', bound_claims_type: 'regex' }, /string or glob/],
  ];
  for (const [title, role, message] of ROLES) {
    test(`role refuses ${title}`, async () => {
      const path = await mount();
      const { status, text } = await post(`${path}/role/x`, role);
      assert.deepEqual([status, message.test(text)], [400, true], text);
      assert.equal((await server.call('GET', `${path}/role/x`)).status, 404);
    });
  }

  test('roles are read as written, changed in part, listed, deleted; bound addresses hold at the login', async () => {
    const path = await mount();
    await post(`${path}/role/S`, { user_claim: 'sub', bound_claims: { a: 'x', b: [1, true] }, clock_skew_leeway: '-1', expiration_leeway: '1m', token_bound_cidrs: '192.0.2.0/24' });
    await post(`${path}/role/s`, { token_ttl: 60 });
    const { data } = (await server.call('GET', `${path}/role/s`)).body;
    assert.deepEqual([data.bound_claims, data.clock_skew_leeway, data.expiration_leeway, data.token_ttl, data.role_type], [{ a: ['x'], b: [1, true] }, -1, 60, 60, 'jwt']);
    assert.deepEqual((await server.call('LIST', `${path}/role`)).body.data.keys, ['r', 's']);
    assert.equal((await logIn(path, await provider.sign({ a: 'x', b: 1 }), 's')).status, 403);
    assert.equal((await server.call('DELETE', `${path}/role/s`)).status, 204);
    assert.equal((await server.call('GET', `${path}/role/s`)).status, 404);
  });
});

function encode(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

function payloadOf(jwt: string): Record<string, unknown> {
  return JSON.parse(Buffer.from(jwt.split('.')[1]!, 'base64url').toString()) as Record<string, unknown>;
}

function hs256(jwt: string, key: string): string {
  const signed = `${encode({ alg: 'HS256' })}.${jwt.split('.')[1]}`;
  return `${signed}.${createHmac('sha256', key).update(signed).digest('base64url')}`;
}

async function pemOf(jwk: JWK): Promise<string> {
  return exportSPKI(await importJWK(jwk, 'ES256') as Parameters<typeof exportSPKI>[0]);
}

async function signWithOther(kid: string | undefined, bringsKey = false): Promise<string> {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const jwk = createPublicKey(publicKey.export({ type: 'spki', format: 'pem' })).export({ format: 'jwk' }) as JWK;
  const header = { alg: 'ES256', ...(kid === undefined ? {} : { kid }), ...(bringsKey ? { jwk } : {}) };
  return new SignJWT({ sub: 'ann', aud: 'purser' }).setProtectedHeader(header).setIssuedAt().setExpirationTime('1m').sign(privateKey);
}
