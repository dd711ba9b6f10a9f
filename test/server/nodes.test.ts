// A node against the whole server: join, login, a role, resolve, watch through a rotation, revocation, and the end of the stream.

/* eslint-disable @typescript-eslint/no-unsafe-member-access, @typescript-eslint/no-unsafe-assignment -- bodies of any shape */

import assert from 'node:assert/strict';
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { get, type IncomingMessage } from 'node:http';
import { after, before, describe, test } from 'node:test';
import { SignJWT } from 'jose';
import { decodeJoinToken } from '../../src/wire/join-token.ts';
import { startUnsealed, type TestServer } from './running.ts';

let server: TestServer;
before(async () => {
  server = await startUnsealed();
  await server.call('PUT', 'sys/policies/acl/db', { body: { policy: 'path "secret/data/db" { capabilities = ["read"] }' } });
  await server.call('POST', 'auth/node/role/all', { body: { policies: ['db'], selectors: { image: ['app'] } } });
  await server.call('POST', 'secret/data/db', { body: { data: { password: 'one' } } });
});
after(() => server.stop());

/** Joins and logs in. */
async function join(name: string): Promise<{ readonly nodeId: string; readonly token: string }> {
  const { body: made } = await server.call('POST', 'auth/node/join-token', { body: {} });
  const { id, secret } = decodeJoinToken(made.data.token as string);
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const joined = await server.call('POST', 'auth/node/join', { token: undefined, body: { id, secret, name, version: 'test', public_key: publicKey.export({ format: 'jwk' }) } });
  assert.equal(joined.status, 200, joined.text);
  const { node_id: nodeId, cluster_id: clusterId } = joined.body.data as { node_id: string; cluster_id: string };
  const jwt = await new SignJWT({}).setProtectedHeader({ alg: 'EdDSA' }).setIssuer(nodeId).setSubject(nodeId).setAudience(`purser:${clusterId}`)
    .setIssuedAt().setExpirationTime('60s').setJti(randomUUID()).sign(privateKey);
  const login = await server.call('POST', 'auth/node/login', { token: undefined, body: { jwt } });
  assert.equal(login.status, 200, login.text);
  return { nodeId, token: login.body.auth.client_token as string };
}

/** Opens a watch stream; `next` gives its frames but heartbeats one by one, undefined at its end. */
async function watch(token: string): Promise<{ readonly response: IncomingMessage; readonly next: () => Promise<{ type: string } & Record<string, unknown> | undefined> }> {
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    get(`${server.server.address}/v1/node/watch`, { headers: { 'X-Vault-Token': token }, agent: false }, resolve).on('error', reject);
  });
  const lines = (async function* () {
    let text = '';
    for await (const chunk of response) {
      text += String(chunk);
      for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
        const frame = JSON.parse(text.slice(0, end)) as { type: string } & Record<string, unknown>;
        if (frame.type !== 'heartbeat') yield frame;
        text = text.slice(end + 1);
      }
    }
  })();
  return { response, next: async () => (await lines.next()).value ?? undefined };
}

const resolve = (token: string, image = 'app') => server.call('POST', 'node/resolve', {
  token, body: { workloads: [{ id: 'a'.repeat(64), name: 'web', image, labels: {}, references: ['purser://secret/db#password'] }] },
});

describe('a node', () => {
  test('a node resolves what its roles grant, hears of a rotation, and is cut off when it is revoked', async () => {
    const { nodeId, token } = await join('one');
    const { body } = await resolve(token);
    const [result] = body.data.workloads[0].results;
    assert.deepEqual([Buffer.from(result.value as string, 'base64').toString(), result.version], ['one', 1]);
    assert.equal((await resolve(token, 'other')).body.data.workloads[0].results[0].outcome, 'error');

    const stream = await watch(token);
    assert.deepEqual([stream.response.statusCode, (await stream.next())?.type], [200, 'hello']);
    await server.call('POST', 'secret/data/db', { body: { data: { password: 'two' } } });
    const frame = await stream.next();
    assert.deepEqual([frame?.type, frame?.['path'], frame?.['version']], ['changed', 'secret/db', 2]);

    assert.equal((await server.call('DELETE', `auth/node/nodes/${nodeId}`)).status, 204);
    assert.equal((await stream.next())?.type, 'revoked');
    assert.equal(await stream.next(), undefined);
    assert.equal((await resolve(token)).status, 403);
  });

  test('a node token opens no secret path, and another token no node call', async () => {
    const { token } = await join('two');
    for (const path of ['secret/data/db', 'sys/mounts', 'sys/usage', 'auth/node/nodes?list=true']) assert.equal((await server.call('GET', path, { token })).status, 403, path);
    assert.equal((await resolve(server.root)).status, 403);
    assert.equal((await server.call('GET', 'node/watch')).status, 403);
    const { body } = await server.call('POST', 'auth/token/create', { body: { policies: ['purser-node'], meta: { node_id: 'x' } } });
    assert.equal((await resolve((body.auth?.client_token ?? '') as string)).status, 403);
  });

  test('sealing ends every watch stream', async () => {
    const { token } = await join('three');
    const stream = await watch(token);
    await stream.next();
    assert.equal((await server.call('PUT', 'sys/seal')).status, 204);
    assert.equal(await stream.next(), undefined);
  });
});
