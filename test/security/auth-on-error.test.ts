// Class 11, the result of a login on error (CVE-2026-46405, GHSA-rh46): whatever fails after a token was made (the audit of the answer, its
// wrapping), nobody has the token and it is not there. And what only the core may ask of an engine cannot be asked by a request.
/* eslint-disable @typescript-eslint/no-unsafe-member-access -- bodies of any shape */

import assert from 'node:assert/strict';
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { SignJWT } from 'jose';
import { FileAuditDevice } from '../../src/audit/file-device.ts';
import { Cubbyholes } from '../../src/engines/cubbyhole/cubbyholes.ts';
import { decodeJoinToken } from '../../src/wire/join-token.ts';
import { startUnsealed, type TestServer } from '../server/running.ts';

let isResponseRefused = false;
let isCubbyholeFull = false;
// eslint-disable-next-line @typescript-eslint/unbound-method -- put back at the end, and called with its device
const { log } = FileAuditDevice.prototype;
// eslint-disable-next-line @typescript-eslint/unbound-method -- likewise
const { write } = Cubbyholes.prototype;
let server: TestServer;
let nodeLogin: () => Promise<string>;

before(async () => {
  FileAuditDevice.prototype.log = function (type, entry) {
    return isResponseRefused && type === 'response' ? Promise.reject(new Error('no space')) : log.call(this, type, entry);
  };
  Cubbyholes.prototype.write = function (...args) {
    return isCubbyholeFull ? Promise.reject(new Error('no space')) : write.apply(this, args);
  };
  server = await startUnsealed();
  for (const type of ['userpass', 'approle']) await server.call('POST', `sys/auth/${type}`, { body: { type } });
  await server.call('POST', 'auth/userpass/users/ann', { body: { password: 'right' } });
  await server.call('POST', 'auth/approle/role/app', { body: { role_id: 'app', bind_secret_id: false, token_bound_cidrs: '127.0.0.0/8' } });
  const { id, secret } = decodeJoinToken((await server.call('POST', 'auth/node/join-token', { body: {} })).body.data.token as string);
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const { node_id: nodeId, cluster_id: clusterId } = (await server.call('POST', 'auth/node/join', {
    token: undefined, body: { id, secret, name: 'n1', version: 'test', public_key: publicKey.export({ format: 'jwk' }) },
  })).body.data as { node_id: string; cluster_id: string };
  nodeLogin = () => new SignJWT({}).setProtectedHeader({ alg: 'EdDSA' }).setIssuer(nodeId).setSubject(nodeId).setAudience(`purser:${clusterId}`)
    .setIssuedAt().setExpirationTime('60s').setJti(randomUUID()).sign(privateKey);
});
after(async () => {
  FileAuditDevice.prototype.log = log;
  Cubbyholes.prototype.write = write;
  await server.stop();
});

const accessors = async (): Promise<number> => ((await server.call('LIST', 'auth/token/accessors')).body.data.keys as unknown[]).length;

const makers: readonly (readonly [title: string, path: string, body: () => object | Promise<object>, isOpen: boolean])[] = [
  ['a userpass login', 'auth/userpass/login/ann', () => ({ password: 'right' }), true],
  ['an approle login', 'auth/approle/login', () => ({ role_id: 'app' }), true],
  ['the login of a node', 'auth/node/login', async () => ({ jwt: await nodeLogin() }), true],
  ['the making of a token', 'auth/token/create', () => ({ policies: 'default' }), false],
];
for (const [title, path, body, isOpen] of makers) {
  const ask = async (headers: Record<string, string> = {}) => server.call('POST', path, { ...(isOpen ? { token: undefined } : {}), headers, body: await body() });

  test(`${title} whose answer cannot be audited leaves no token`, async () => {
    const before = await accessors();
    isResponseRefused = true;
    const answers = [await ask(), await ask({ 'X-Vault-Wrap-TTL': '60s' })];
    isResponseRefused = false;
    assert.deepEqual([answers.map(({ status }) => status), await accessors()], [[500, 500], before]);
    for (const { text } of answers) assert.doesNotMatch(text, /hvs\./);
    assert.equal((await ask()).status, 200);
    assert.equal(await accessors(), before + 1);
  });

  test(`${title} whose answer cannot be wrapped leaves no token`, async () => {
    const before = await accessors();
    isCubbyholeFull = true;
    const { status, text } = await ask({ 'X-Vault-Wrap-TTL': '60s' });
    isCubbyholeFull = false;
    assert.deepEqual([status, await accessors()], [500, before]);
    assert.doesNotMatch(text, /hvs\./);
  });
}

test('a renewal whose answer cannot be audited does not end the token', async () => {
  const { client_token: token } = (await server.call('POST', 'auth/token/create', { body: { policies: 'default' } })).body.auth as { client_token: string };
  isResponseRefused = true;
  const { status } = await server.call('POST', 'auth/token/renew-self', { token, body: {} });
  isResponseRefused = false;
  assert.deepEqual([status, (await server.call('GET', 'auth/token/lookup-self', { token })).status], [500, 200]);
});

test('a wrong login leaves no token, whatever it asks to be wrapped into', async () => {
  const before = await accessors();
  for (const headers of [{}, { 'X-Vault-Wrap-TTL': '60s' }]) {
    const { status, text } = await server.call('POST', 'auth/userpass/login/ann', { token: undefined, headers, body: { password: 'wrong' } });
    assert.equal(status, 400);
    assert.doesNotMatch(text, /hvs\./);
  }
  assert.equal(await accessors(), before);
});

for (const path of ['auth/userpass/renew', 'auth/userpass/renewLogin', 'auth/userpass/tidy', 'auth/userpass/users/ann/renew', 'auth/approle/login/renew', 'secret/revokeLease', 'secret/readSecret', 'secret/describeSecret', 'auth/node/issueToken', 'auth/token/withdraw']) {
  test(`${path}, an operation of the core itself, is no path of the API, not even for root`, async () => {
    for (const method of ['GET', 'POST', 'PUT', 'DELETE', 'LIST']) {
      const { status } = await server.call(method, path, method === 'POST' || method === 'PUT' ? { body: {} } : {});
      assert.ok(status >= 400 && status < 500, `${method}: ${String(status)}`);
    }
  });
}
