// The kubernetes method over a running server with TLS, against an API server over real HTTPS; and the recipe of the blogs, with curl.
/* eslint-disable @typescript-eslint/no-unsafe-member-access, @typescript-eslint/no-unsafe-assignment -- bodies of any shape */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import type { RequestListener } from 'node:http';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { promisify } from 'node:util';

import { CoreClient } from '../../src/client/core-client.ts';
import { loadConfig } from '../../src/server/config.ts';
import { startServer, type RunningServer } from '../../src/server/server.ts';
import { startKubernetesApi, type Account, type KubernetesApi } from '../fakes/kubernetes-api.ts';
import { silent, startUnsealed, temporaryDirectory, type Answer, type TestServer } from './running.ts';

const APP: Account = { name: 'app', namespace: 'shop', uid: 'f0e1d2c3-0001' };
let api: KubernetesApi;
let server: TestServer;
before(async () => { [api, server] = await Promise.all([startKubernetesApi(), startUnsealed()]); });
afterEach(() => { Object.assign(api, { override: undefined, change: undefined }); });
after(async () => { await server.stop(); await api.close(); });

const post = (path: string, body: object, token: string | undefined = server.root): Promise<Answer> => server.call('POST', path, { body, token });

async function mount(config: object = {}, role: object = {}): Promise<string> {
  const path = `k-${randomUUID().slice(0, 8)}`;
  assert.equal((await post(`sys/auth/${path}`, { type: 'kubernetes' })).status, 204);
  const { status, text } = await post(`auth/${path}/config`, { kubernetes_host: api.url, kubernetes_ca_cert: api.caCert, token_reviewer_jwt: api.reviewer, ...config });
  assert.equal(status, 204, text);
  const written = await post(`auth/${path}/role/demo`, { bound_service_account_names: 'app', bound_service_account_namespaces: 'shop', token_policies: 'app', token_ttl: '20m', ...role });
  assert.equal(written.status, 204, written.text);
  return `auth/${path}`;
}
const logIn = (path: string, jwt: string, role = 'demo'): Promise<Answer> => post(`${path}/login`, { role, jwt }, undefined);

describe('auth/kubernetes', () => {
  test('a service account logs in: metadata, policies and alias as Vault gives them', async () => {
    const path = await mount();
    const { status, body } = await logIn(path, await api.token(APP));
    assert.equal(status, 200, JSON.stringify(body));
    const { client_token: token, entity_id: entity, metadata, policies, lease_duration } = body.auth;
    assert.deepEqual([metadata, policies, lease_duration], [
      { role: 'demo', service_account_name: 'app', service_account_namespace: 'shop', service_account_uid: APP.uid, service_account_secret_name: '' }, ['app', 'default'], 1200]);
    const own = (await server.call('GET', `identity/entity/id/${entity}`, { token })).body.data.aliases[0];
    assert.deepEqual([own.name, own.metadata.service_account_namespace, own.mount_type], [APP.uid, 'shop', 'kubernetes']);
    assert.equal((await logIn(path, await api.token(APP, { legacy: true }))).body.auth.metadata.service_account_secret_name, 'app-token-x');
    assert.equal((await logIn(path, await api.token({ ...APP, uid: 'another' }))).body.auth.entity_id === entity, false, 'an account made anew is somebody else');
    assert.equal((await logIn(await mount({}, { alias_name_source: 'serviceaccount_name' }), await api.token(APP))).status, 200);
  });

  test('names and namespaces are exact or globs, and what a token merely claims opens nothing', async () => {
    const path = await mount({}, { bound_service_account_names: ['web-*', 'app'], bound_service_account_namespaces: ['shop', 'team-*'] });
    const other = (change: Partial<Account>): Account => ({ ...APP, uid: randomUUID(), ...change });
    for (const [account, status] of [[other({ name: 'web-1' }), 200], [other({ namespace: 'team-a' }), 200], [other({ name: 'web' }), 403], [other({ namespace: 'shop-2' }), 403], [other({ name: 'App' }), 403]] as const) {
      assert.equal((await logIn(path, await api.token(account))).status, status, `${account.namespace}/${account.name}`);
    }
    const evil = other({ name: 'evil', namespace: 'evil' });
    assert.equal((await logIn(path, await api.token(evil, { claimed: { name: 'app', namespace: 'shop' } }))).status, 403);
    assert.equal((await logIn(path, await api.token(evil, { claimed: { ...APP } }))).status, 403);
    assert.equal((await logIn(path, await api.token(APP, { claimed: { uid: 'other' } }))).status, 403);
  });

  test('a token that is not good, or was, is refused; the API server is not asked for what the role would refuse', async () => {
    const path = await mount();
    const token = await api.token(APP);
    assert.equal((await logIn(path, token)).status, 200);
    api.forget(token);
    const refused = await logIn(path, token);
    assert.deepEqual([refused.status, refused.body.errors], [403, ['permission denied']]);
    const asked = api.reviews.length;
    for (const jwt of ['x', 'a.b.c', `${'A'.repeat(40_000)}.b.c`, await api.token({ ...APP, name: 'other' })]) assert.ok([400, 403].includes((await logIn(path, jwt)).status));
    assert.equal(api.reviews.length, asked);
    assert.match((await logIn(path, token, 'none')).text, /invalid role name \\"none\\"/);
    assert.match((await post(`${path}/login`, { role: 'demo' }, undefined)).text, /missing jwt/);
    assert.match((await post(`${path}/login`, { jwt: token }, undefined)).text, /missing role/);
  });

  test('an audience of the role must be one of the token, also for an API server that leaves audiences out', async () => {
    const path = await mount({}, { audience: 'purser' });
    assert.equal((await logIn(path, await api.token(APP, { audiences: ['purser', 'x'] }))).status, 200);
    assert.deepEqual(api.reviews.at(-1)?.spec.audiences, ['purser']);
    assert.equal((await logIn(path, await api.token(APP))).status, 403);
    const token = await api.token(APP, { audiences: ['purser'] });
    api.change = (status) => ({ ...status, audiences: undefined });
    assert.equal((await logIn(path, token)).status, 403);
    api.change = undefined;
    assert.equal((await logIn(await mount(), token)).status, 403, 'a token for us alone is not one for the API server');
  });

  test('without a reviewer the token asks for itself; with keys its signature is checked here too; the issuer where wanted', async () => {
    const itself = await mount({ token_reviewer_jwt: '' });
    assert.deepEqual([(await logIn(itself, await api.token(APP, { mayReview: true }))).status, (await logIn(itself, await api.token(APP))).status], [200, 403]);
    const signed = await mount({ pem_keys: [api.publicKey] });
    const token = await api.token(APP);
    assert.deepEqual([(await logIn(signed, token)).status, (await logIn(signed, `${token.slice(0, -4)}AAAA`)).status], [200, 403]);
    const issued = await mount({ disable_iss_validation: false, issuer: 'https://kubernetes.default.svc' });
    assert.deepEqual([(await logIn(issued, await api.token(APP))).status, (await logIn(issued, await api.token(APP, { issuer: 'https://other' }))).status], [200, 403]);
  });

  const user = { username: 'system:serviceaccount:shop:app', uid: APP.uid, groups: ['system:serviceaccounts'] };
  const ANSWERS: readonly (readonly [string, unknown])[] = [
    ['says nothing', {}], ['says no', { authenticated: false, user }], ['names a person', { authenticated: true, user: { ...user, username: 'admin' } }],
    ['names a person like an account', { authenticated: true, user: { ...user, username: 'x:system:serviceaccount:shop:app' } }], ['leaves the uid out', { authenticated: true, user: { ...user, uid: '' } }],
    ['leaves the group of accounts out', { authenticated: true, user: { ...user, groups: [] } }], ['has a longer name', { authenticated: true, user: { ...user, username: 'system:serviceaccount:shop:app:x' } }],
  ];
  for (const [title, status] of ANSWERS) {
    test(`an API server that ${title} lets nobody in`, async () => {
      const path = await mount();
      api.change = () => status;
      assert.equal((await logIn(path, await api.token(APP))).status, 403);
    });
  }

  const FAULTS: readonly (readonly [string, RequestListener, object, RegExp])[] = [
    ['redirects', (_request, response) => { response.writeHead(307, { location: `${'https://127.0.0.1:1'}/` }).end(); }, {}, /redirect/],
    ['answers without end', (_request, response) => { const write = (): void => { if (!response.destroyed) response.write('x'.repeat(65_536), () => setImmediate(write)); }; write(); }, {}, /larger than/],
    ['is no JSON', (_request, response) => { response.end('<html>CANARY'); }, {}, /does not answer with a TokenReview/],
    ['says authenticated in another type', (_request, response) => { response.end('{"status":{"authenticated":"true"}}'); }, {}, /does not answer with a TokenReview/],
    ['fails', (_request, response) => { response.writeHead(500).end('CANARY'); }, {}, /status 500/],
    ['does not know the reviewer', (_request, response) => { response.writeHead(401).end(); }, {}, /does not let the reviewer/],
    ['is silent', () => undefined, {}, /no answer within 10 s/],
    ['has another certificate', (_request, response) => { response.end(); }, { kubernetes_ca_cert: '' }, /certificate is not trusted/],
    ['is not there', (_request, response) => { response.end(); }, { kubernetes_host: 'https://127.0.0.1:1' }, /connection refused/],
  ];
  for (const [title, listener, config, message] of FAULTS) {
    test(`an API server that ${title} is an error that names no token and no answer`, async () => {
      const path = await mount(config);
      const token = await api.token(APP);
      api.override = listener;
      const { status, text } = await logIn(path, token);
      assert.deepEqual([status, message.test(text), /CANARY|canary|eyJ/.test(text)], [502, true, false], text);
    });
  }

  const CONFIGS: readonly (readonly [string, object, RegExp])[] = [
    ['no host', {}, /no host/], ['plain HTTP', { kubernetes_host: 'http://127.0.0.1:8001' }, /https/], ['a CA that is none', { kubernetes_host: 'https://a', kubernetes_ca_cert: '-----BEGIN CERTIFICATE-----\nx' }, /PEM/],
    ['a key that is none', { kubernetes_host: 'https://a', pem_keys: ['x'] }, /public key/], ['a reviewer token that would break the header', { kubernetes_host: 'https://a', token_reviewer_jwt: 'a\r\nx: y' }, /not a token/],
    ['issuer validation without an issuer', { kubernetes_host: 'https://a', disable_iss_validation: false }, /issuer must be set/],
  ];
  for (const [title, config, message] of CONFIGS) {
    test(`config refuses ${title}`, async () => {
      const name = `k-${randomUUID().slice(0, 8)}`;
      await post(`sys/auth/${name}`, { type: 'kubernetes' });
      const { status, text } = await post(`auth/${name}/config`, config);
      assert.deepEqual([status, message.test(text)], [400, true], text);
    });
  }

  test('roles refuse everybody and nobody; config and roles are read back without the reviewer’s token', async () => {
    const path = await mount();
    for (const [role, message] of [[{ bound_service_account_names: '*', bound_service_account_namespaces: '*' }, /both/], [{ bound_service_account_names: 'a' }, /namespaces/], [{ bound_service_account_namespaces: 'a' }, /names/],
      [{ bound_service_account_names: 'a', bound_service_account_namespaces: 'b', alias_name_source: 'x' }, /alias_name_source/], [{ bound_service_account_names: 'a', bound_service_account_namespaces: 'b', bound_service_account_namespace_selector: '{}' }, /selector/]] as const) {
      const { status, text } = await post(`${path}/role/x`, role);
      assert.deepEqual([status, message.test(text)], [400, true], text);
    }
    const { text, body } = await server.call('GET', `${path}/config`);
    assert.deepEqual([body.data.kubernetes_host, body.data.token_reviewer_jwt_set, text.includes('canary')], [api.url, true, false]);
    assert.deepEqual((await server.call('GET', `${path}/role/demo`)).body.data.bound_service_account_names, ['app']);
    assert.deepEqual((await server.call('LIST', `${path}/role`)).body.data.keys, ['demo']);
    assert.equal((await server.call('DELETE', `${path}/role/demo`)).status, 204);
    assert.equal((await logIn(path, await api.token(APP))).status, 400);
    const audit = readFileSync(join(server.directory, 'audit', 'audit.log'), 'utf8');
    assert.deepEqual([audit.includes('canary'), /eyJhbGciOi/.test(audit)], [false, false]);
  });
});

describe('the recipe of the blogs', () => {
  const directory = temporaryDirectory();
  let secure: RunningServer;
  before(async () => { secure = await startServer(loadConfig({ dataDir: join(directory.path, 'data'), listen: '127.0.0.1:0', auditFile: join(directory.path, 'audit', 'audit.log') }), silent); });
  after(async () => { await secure.close(); directory.remove(); });

  test('POST the service account’s JWT and a role, take the client token, read the secret: with curl', async () => {
    const stranger = new CoreClient({ address: secure.address, certificateAuthority: secure.caCertificate });
    const { body } = await stranger.request('POST', 'sys/init', { secret_shares: 1, secret_threshold: 1 });
    await stranger.request('POST', 'sys/unseal', { key: (body['keys'] as string[])[0] });
    stranger.close();
    const root = new CoreClient({ address: secure.address, certificateAuthority: secure.caCertificate, token: body['root_token'] as string });
    await root.write('secret/data/app', { data: { password: 'from-the-core' } });
    await root.write('sys/policies/acl/app', { policy: 'path "secret/data/app" { capabilities = ["read"] }' });
    await root.write('sys/auth/kubernetes', { type: 'kubernetes' });
    await root.write('auth/kubernetes/config', { kubernetes_host: api.url, kubernetes_ca_cert: api.caCert, token_reviewer_jwt: api.reviewer });
    await root.write('auth/kubernetes/role/demo', { bound_service_account_names: ['app'], bound_service_account_namespaces: ['shop'], policies: ['app'], ttl: '1h' });
    root.close();
    const [ca, tokenFile] = [join(directory.path, 'ca.pem'), join(directory.path, 'token')];
    writeFileSync(ca, secure.caCertificate ?? '');
    writeFileSync(tokenFile, `${await api.token(APP)}\n`);
    const script = `
      KUBE_TOKEN=$(cat ${tokenFile})
      VAULT_TOKEN=$(curl -s --cacert ${ca} --request POST --data '{"jwt": "'"$KUBE_TOKEN"'", "role": "demo"}' ${secure.address}/v1/auth/kubernetes/login | sed 's/.*"client_token":"\\([^"]*\\)".*/\\1/')
      curl -s --cacert ${ca} --header "X-Vault-Token: $VAULT_TOKEN" ${secure.address}/v1/secret/data/app`;
    const { stdout } = await promisify(execFile)('sh', ['-c', script]);
    assert.deepEqual((JSON.parse(stdout) as { data: { data: unknown } }).data.data, { password: 'from-the-core' });
  });
});
