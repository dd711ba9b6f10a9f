import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { createRemoteJWKSet, decodeJwt, decodeProtectedHeader, jwtVerify } from 'jose';

import { IdentityKeys } from '../../../src/auth/node/identity-keys.ts';
import type { IdentityResult, Workload } from '../../../src/wire/node-protocol.ts';
import { MemoryView } from '../../fakes/memory-view.ts';
import { TestCore, type TestNode } from './test-core.ts';

const YEAR_MS = 366 * 24 * 3600_000;
const ID = 'c'.repeat(64);
let core: TestCore;
let node: TestNode;

before(async () => {
  core = await TestCore.start();
  node = await core.join('n1', { swarmNodeId: 'swarm1' });
  await core.role('web', { selectors: { image: ['nginx*'] }, identity_audiences: ['https://api.internal', 'vault-*'] });
  await core.role('short', { selectors: { label: { team: ['a'] } }, identity_audiences: ['vault-*'], identity_ttl: '45s' });
  await core.role('other', { selectors: { image: ['redis'] }, identity_audiences: ['*'] });
});
after(() => core.close());

async function ask(audiences: readonly string[], facts: Partial<Workload> = {}, from = node): Promise<IdentityResult> {
  const { workloads } = await from.client.write('node/identity', { workloads: [{ id: ID, name: 'web', image: 'nginx:1.27', labels: {}, ...facts, audiences }] }, { isRepeatable: true });
  const [answer] = workloads as unknown as { id: string; result: IdentityResult }[];
  assert.equal(answer?.id, ID);
  return answer.result;
}

async function token(audiences: readonly string[], facts: Partial<Workload> = {}): Promise<string> {
  const result = await ask(audiences, facts);
  assert.equal(result.outcome, 'value', JSON.stringify(result));
  return result.outcome === 'value' ? result.token : '';
}

async function document(path: string): Promise<Record<string, unknown>> {
  const answer = await fetch(`${core.address}/v1/identity/oidc/.well-known/${path}`);
  assert.equal(answer.status, 200);
  return await answer.json() as Record<string, unknown>;
}

test('an identity says who the container is, and verifies with the published keys by way of the discovery document', async () => {
  const text = await token(['https://api.internal'], { image_digest: 'sha256:aa', service: 'shop_web', stack: 'shop' });
  const discovery = await document('openid-configuration');
  assert.equal(discovery['issuer'], `${core.address}/v1/identity/oidc`);
  assert.deepEqual(discovery['id_token_signing_alg_values_supported'], ['EdDSA']);
  const { payload } = await jwtVerify(text, createRemoteJWKSet(new URL(String(discovery['jwks_uri']))), { issuer: String(discovery['issuer']), audience: 'https://api.internal', algorithms: ['EdDSA'] });
  const { iat, exp, jti, ...claims } = payload;
  assert.deepEqual(claims, {
    iss: discovery['issuer'], sub: `workload:n1/${ID}`, aud: 'https://api.internal', node: 'n1', container: { id: ID, name: 'web' }, image: 'nginx:1.27',
    image_digest: 'sha256:aa', service: 'shop_web', stack: 'shop',
  });
  assert.equal((exp ?? 0) - (iat ?? 0), 600);
  assert.match(String(jti), /^[0-9a-f-]{36}$/);
});

test('several audiences become a list, and no private key is published', async () => {
  assert.deepEqual(decodeJwt(await token(['https://api.internal', 'vault-eu'])).aud, ['https://api.internal', 'vault-eu']);
  const { keys } = await document('keys') as { keys: Record<string, unknown>[] };
  assert.deepEqual(keys.map((key) => Object.keys(key).sort()), [['alg', 'crv', 'kid', 'kty', 'use', 'x']]);
});

test('the shortest life of the roles that allow an audience counts', async () => {
  const result = await ask(['vault-eu'], { labels: { team: 'a' } });
  assert.equal(result.outcome === 'value' && result.ttl, 45);
  assert.equal((await ask(['https://api.internal'], { labels: { team: 'a' } }) as { ttl?: number }).ttl, 600, 'a role that does not allow the audience has no say');
});

test('an audience that no role of this container allows is refused, also beside an allowed one', async () => {
  for (const audiences of [['https://other'], ['https://api.internal', 'https://other'], ['vault']]) {
    const result = await ask(audiences);
    assert.deepEqual(result, { outcome: 'error', code: 'ERR_RESOLVE_DENIED', message: `no workload role lets this container identify itself to ${audiences.at(-1) ?? ''}` });
  }
  assert.equal((await ask(['vault-eu'], { image: 'postgres' })).outcome, 'error');
});

test('only a node may ask, and what it sends is checked', async () => {
  await assert.rejects(core.root.write('node/identity', { workloads: [] }), { code: 'ERR_CLIENT_RESPONSE' });
  for (const audiences of [[], ['a b'], ['a,b'], [''], ['x'.repeat(257)], Array.from({ length: 9 }, (_, i) => `a${i}`)]) await assert.rejects(ask(audiences), /audiences/);
});

test('a Swarm task gets its identity on its own node and as its own service only', async () => {
  const driver = await core.join('manager', { driver: true, swarmNodeId: 'swarm0' });
  await core.policy('db', 'path "secret/data/db" { capabilities = ["read"] }');
  await core.role('db', { policies: ['db'], any: true });
  await core.put('db', { password: 'x' });
  await driver.client.write('node/swarm-secret', {
    secret_name: 's', secret_labels: { 'purser.ref': 'purser://secret/db#password' }, service_id: 'svc1', service_name: 'shop_web', task_id: 'task1', task_name: 'shop_web.1', task_image: 'nginx', node_id: 'swarm1',
  });
  const facts = { task_id: 'task1', service: 'shop_web' };
  assert.equal((await ask(['vault-eu'], facts)).outcome, 'value');
  assert.equal((await ask(['vault-eu'], { ...facts, service: 'shop_admin' })).outcome, 'error');
  assert.equal((await ask(['vault-eu'], facts, await core.join('n2', { swarmNodeId: 'swarm2' }))).outcome, 'error');
});

test('the key survives a restart', async () => {
  const first = await token(['vault-eu']);
  await core.restart();
  assert.equal(decodeProtectedHeader(await token(['vault-eu'])).kid, decodeProtectedHeader(first).kid);
});

test('sign() replaces the key after a year, once however many ask, and published() keeps the one before', async () => {
  const view = new MemoryView();
  let now = Date.now();
  const keys = await IdentityKeys.load(view, () => now);
  assert.deepEqual(keys.published(), []);
  const kid = (text: string): string | undefined => decodeProtectedHeader(text).kid;
  const first = kid(await keys.sign({}));
  now += YEAR_MS;
  const later = await Promise.all([keys.sign({}), keys.sign({}), keys.sign({})]);
  const [second, ...others] = [...new Set(later.map(kid))];
  assert.deepEqual(others, []);
  assert.deepEqual(keys.published().map((key) => key['kid']), [second, first]);
  now += YEAR_MS;
  const third = kid(await (await IdentityKeys.load(view, () => now)).sign({}));
  assert.deepEqual((await IdentityKeys.load(view, () => now)).published().map((key) => key['kid']), [third, second]);
});
