import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { after, before, beforeEach, test } from 'node:test';

import { SignJWT } from 'jose';

import { jwkOf, loginJwt, TestCore, textOf } from '../../server/node/test-core.ts';

let core: TestCore;
let nodeId: string;
let key: KeyObject;
let publicKey: KeyObject;

before(async () => { core = await TestCore.start(); });
after(() => core.close());
beforeEach(async () => {
  core.clockOffset = 0;
  const pair = generateKeyPairSync('ed25519');
  ({ privateKey: key, publicKey } = pair);
  const { id, secret } = await core.joinToken();
  const answer = await core.client().write('auth/node/join', { id, secret, name: `n-${id}`, version: '1', public_key: jwkOf(publicKey) });
  nodeId = textOf(answer['node_id']);
});

const login = (jwt: string) => core.client().request('POST', 'auth/node/login', { jwt });
const now = () => Math.floor(Date.now() / 1000);
const base64 = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');

test('login gives a token for one hour that carries the node policy alone, and the time of the core', async () => {
  const { auth, data } = await login(await loginJwt(nodeId, key, { version: '2.0' }));
  assert.deepEqual(auth?.['policies'], ['purser-node']);
  assert.equal(auth['lease_duration'], 3600);
  assert.equal(auth['renewable'], false);
  assert.equal((auth['metadata'] as Record<string, string>)['node_id'], nodeId);
  assert.ok(Math.abs(Date.parse(textOf(data?.['server_time'])) - Date.now()) < 60_000);
  const node = await core.root.read(`auth/node/nodes/${nodeId}`);
  assert.equal(node['version'], '2.0');
  assert.ok(node['last_seen']);
  await assert.rejects(core.client(textOf(auth['client_token'])).read('secret/data/x'), { status: 403 });
  await assert.rejects(core.client(textOf(auth['client_token'])).list('auth/node/nodes'), { status: 403 });
});

test('login refuses a JWT without a good signature of the node, each in the same words', async () => {
  const claims = { iss: nodeId, sub: nodeId, aud: 'purser:cluster-1', iat: now(), exp: now() + 55, jti: 'jti-0123456789abcdef' };
  const otherKey = generateKeyPairSync('ed25519').privateKey;
  const good = await loginJwt(nodeId, key);
  const [header, payload, signature] = good.split('.') as [string, string, string];
  const x = String(publicKey.export({ format: 'jwk' }).x);
  const hmac = (secret: Uint8Array) => new SignJWT(claims).setProtectedHeader({ alg: 'HS256' }).sign(secret);
  const attacks: Record<string, string> = {
    'alg none': `${base64({ alg: 'none' })}.${base64(claims)}.`,
    'alg none with a signature': `${base64({ alg: 'none' })}.${payload}.${signature}`,
    'HS256 with the public key as JWK': await hmac(Buffer.from(x, 'base64url')),
    'HS256 with the public key as PEM': await hmac(Buffer.from(publicKey.export({ format: 'pem', type: 'spki' }))),
    'another key': await loginJwt(nodeId, otherKey),
    'a changed payload': `${header}.${base64({ ...claims, jti: 'another-jti-012345' })}.${signature}`,
    'an embedded key': await new SignJWT(claims).setProtectedHeader({ alg: 'EdDSA', jwk: jwkOf(publicKey) }).sign(otherKey),
    'an unknown critical header': `${base64({ alg: 'EdDSA', crit: ['x'], x: 1 })}.${payload}.${signature}`,
    'an unknown node': await loginJwt('00000000-0000-4000-8000-000000000000', key),
    'no signature': `${header}.${payload}.`,
  };
  for (const [what, jwt] of Object.entries(attacks)) {
    await assert.rejects(login(jwt), { serverCode: 'ERR_NODE_REVOKED', status: 403, message: 'the core refused the request: the node was revoked or is not known' }, what);
  }
  await login(good);
});

test('login checks every claim', async () => {
  const table: Record<string, object> = {
    'another audience': { aud: 'purser:cluster-2' },
    'a list of audiences': { aud: ['purser:cluster-1', 'x'] },
    'another subject': { sub: 'x' },
    'too long a life': { iat: now(), exp: now() + 62 },
    'an end before the beginning': { iat: now(), exp: now() - 1 },
    'no jti': { jti: undefined },
    'a short jti': { jti: 'x' },
    'no iat': { iat: undefined },
    'a fraction of a second': { iat: now() + 0.5 },
    'an unknown claim': { admin: true },
  };
  for (const [what, claims] of Object.entries(table)) {
    await assert.rejects(login(await loginJwt(nodeId, key, claims)), { serverCode: 'ERR_REQUEST_INVALID', status: 400 }, what);
  }
  for (const jwt of ['', 'x', 'a.b.c', 'x'.repeat(5000)]) await assert.rejects(login(jwt), { status: 400 });
});

test('login accepts clocks 55 s apart and names the difference beyond the leeway', async () => {
  for (const offset of [-55_000, 55_000]) {
    core.clockOffset = offset;
    await login(await loginJwt(nodeId, key));
  }
  core.clockOffset = -300_000;
  await assert.rejects(login(await loginJwt(nodeId, key)), { serverCode: 'ERR_NODE_CLOCK', message: /the clock of the node is (299|300|301) s ahead of the clock of the core/ });
  core.clockOffset = 300_000;
  await assert.rejects(login(await loginJwt(nodeId, key)), { serverCode: 'ERR_NODE_CLOCK', message: /(299|300|301) s behind/ });
  await assert.rejects(login(await loginJwt(nodeId, generateKeyPairSync('ed25519').privateKey)), { serverCode: 'ERR_NODE_REVOKED' });
});

test('login accepts a JWT once, in parallel and after a restart too', async () => {
  const parallel = await loginJwt(nodeId, key);
  const results = await Promise.allSettled(Array.from({ length: 10 }, () => login(parallel)));
  assert.equal(results.filter(({ status }) => status === 'fulfilled').length, 1);
  const jwt = await loginJwt(nodeId, key);
  await login(jwt);
  await assert.rejects(login(jwt), /used before/);
  await core.restart();
  await assert.rejects(login(jwt), /used before/);
  await login(await loginJwt(nodeId, key));
});

test('login bounds the JWT ids it remembers, and forgets them with their end', async () => {
  for (let i = 0; i < 128; i++) await login(await loginJwt(nodeId, key));
  await assert.rejects(login(await loginJwt(nodeId, key)), /too often/);
  core.clockOffset = 120_000;
  const later = now() + 120;
  await login(await loginJwt(nodeId, key, { iat: later, exp: later + 50 }));
});

test('login pins the Swarm node: neither another one later, nor one that another live node is', async () => {
  const pin = { swarm_node_id: 'swarmnode1' };
  await login(await loginJwt(nodeId, key, pin));
  await login(await loginJwt(nodeId, key));
  await assert.rejects(login(await loginJwt(nodeId, key, { swarm_node_id: 'swarmnode2' })), { status: 403, message: /not the Swarm node/ });
  const thief = await core.join('thief');
  await assert.rejects(core.logIn(thief.id, thief.key, pin), { status: 403 });
  await assert.rejects(core.join('second', { swarmNodeId: 'swarmnode1' }), /another node is this Swarm node/);
  await core.root.delete(`auth/node/nodes/${nodeId}`);
  await core.join('third', { swarmNodeId: 'swarmnode1' });
});

test('revocation refuses the login and every call at once, and stays after a restart', async () => {
  const client = core.client(await core.logIn(nodeId, key));
  await client.write('node/resolve', { workloads: [{ id: 'a'.repeat(64), name: 'x', image: 'y', labels: {}, references: [] }] });
  await core.root.delete(`auth/node/nodes/${nodeId}`);
  await core.root.delete(`auth/node/nodes/${nodeId}`);
  await assert.rejects(client.write('node/resolve', {}), { status: 403 });
  await assert.rejects(login(await loginJwt(nodeId, key)), { serverCode: 'ERR_NODE_REVOKED' });
  await core.restart();
  await assert.rejects(login(await loginJwt(nodeId, key)), { serverCode: 'ERR_NODE_REVOKED' });
  await assert.rejects(core.root.delete('auth/node/nodes/none'), { status: 404 });
});

test('a revocation whose write fails holds until the restart, and a second one completes it', async () => {
  core.view.failAfter(0);
  await assert.rejects(core.root.delete(`auth/node/nodes/${nodeId}`), { status: 500 });
  core.view.failAfter(Infinity);
  await assert.rejects(login(await loginJwt(nodeId, key)), { serverCode: 'ERR_NODE_REVOKED' });
  await core.root.delete(`auth/node/nodes/${nodeId}`);
  await core.restart();
  await assert.rejects(login(await loginJwt(nodeId, key)), { serverCode: 'ERR_NODE_REVOKED' });
});
