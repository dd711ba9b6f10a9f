// The node calls through the whole server: TLS with its own CA, the audited pipeline, storage on disk, and the code that an
// agent uses to join and to log in.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { fetchPinnedCa, joinNode } from '../../../src/client/node/join.ts';
import { CoreClient } from '../../../src/client/core-client.ts';
import { NodeSession } from '../../../src/client/node/session.ts';
import { loadConfig } from '../../../src/server/config.ts';
import { startServer, type RunningServer } from '../../../src/server/server.ts';
import { decodeJoinToken } from '../../../src/wire/join-token.ts';
import type { ResolveResult, WatchFrame } from '../../../src/wire/node-protocol.ts';
import { silent, temporaryDirectory } from '../running.ts';
import { batch, granted, opened } from '../../ledger/entries.ts';
import { textOf, valueText, workload } from './test-core.ts';

const CANARY = 'canary-whole-server';
const directory = temporaryDirectory();
let server: RunningServer;
let root: CoreClient;
let unsealKey: string;
const sessions: NodeSession[] = [];

async function start(): Promise<void> {
  server = await startServer(loadConfig({ dataDir: join(directory.path, 'data'), listen: '127.0.0.1:0', auditFile: join(directory.path, 'audit', 'audit.log') }), silent);
}

before(async () => {
  await start();
  const stranger = new CoreClient({ address: server.address, certificateAuthority: server.caCertificate });
  const { body } = await stranger.request('POST', 'sys/init', { secret_shares: 1, secret_threshold: 1 });
  [unsealKey] = body['keys'] as [string];
  await stranger.request('POST', 'sys/unseal', { key: unsealKey });
  stranger.close();
  root = new CoreClient({ address: server.address, certificateAuthority: server.caCertificate, token: textOf(body['root_token']) });
  await root.write('sys/policies/acl/db', { policy: 'path "secret/data/db/*" { capabilities = ["read"] }' });
  await root.write('auth/node/role/web', { policies: ['db'], selectors: { image: ['nginx*'] } });
  await root.write('secret/data/db/prod', { data: { password: CANARY } });
});
after(async () => {
  for (const session of sessions) session.close();
  root.close();
  await server.close();
  directory.remove();
});

async function joined(name: string): Promise<{ id: string; session: NodeSession; token: string }> {
  const { token } = await root.write('auth/node/join-token');
  const identity = await joinNode({ token: textOf(token), stateDirectory: join(directory.path, name), name });
  const session = new NodeSession(identity);
  sessions.push(session);
  return { id: identity.node_id, session, token: textOf(token) };
}

test('a node joins by its token, pins the CA, resolves, hears of the change, reports, and is cut off when it is revoked', async () => {
  const { id, session, token } = await joined('n1');
  await assert.rejects(joinNode({ token, stateDirectory: join(directory.path, 'again'), name: 'n2' }), { code: 'ERR_NODE_JOIN', message: /wrong, used or expired/ });
  const resolve = async () => {
    const { workloads } = await session.call((client) => client.write('node/resolve', { workloads: [workload(['purser://secret/db/prod#password'])] }));
    return (workloads as unknown as { results: ResolveResult[] }[])[0]?.results[0];
  };
  assert.equal(valueText(await resolve()), CANARY);
  const frames: WatchFrame[] = [];
  for await (const frame of (await session.ready()).watch()) {
    if (frame.type !== 'heartbeat') frames.push(frame);
    if (frame.type === 'hello') await root.write('secret/data/db/prod', { data: { password: `${CANARY}-2` } });
    if (frame.type === 'changed') {
      assert.equal(valueText(await resolve()), `${CANARY}-2`);
      await session.call((client) => client.write('node/usage', batch(1, [granted('a', [frame.path], frame.version), opened('a', frame.path, 2)])));
      await root.delete(`auth/node/nodes/${id}`);
    }
  }
  assert.deepEqual(frames.map(({ type }) => type), ['hello', 'changed', 'revoked']);
  await assert.rejects(resolve(), { code: 'ERR_NODE_REVOKED' });
  const { holdings } = await root.read('sys/usage', { secret: 'secret/db/prod' });
  assert.deepEqual((holdings as unknown as { node: string; version: number; opens: number }[]).map(({ node, version, opens }) => [node, version, opens]), [['n1', 2, 2]]);
});

test('a container logs in with the identity that the core signed for it, by way of the discovery document over TLS', async () => {
  const { session } = await joined('n4');
  await root.write('auth/node/role/identity', { selectors: { image: ['nginx*'] }, identity_audiences: ['purser'] });
  await root.write('sys/auth/containers', { type: 'jwt' });
  await root.write('auth/containers/config', { oidc_discovery_url: `${server.address}/v1/identity/oidc`, oidc_discovery_ca_pem: server.caCertificate });
  await root.write('auth/containers/role/web', {
    user_claim: '/container/name', user_claim_json_pointer: true, bound_audiences: 'purser', bound_claims_type: 'glob', bound_claims: { image: 'nginx:*', node: 'n4' }, token_policies: 'db',
  });
  const identify = async (image: string): Promise<string> => {
    const { workloads } = await session.call((client) => client.write('node/identity', { workloads: [{ id: 'c'.repeat(64), name: 'web', image, labels: {}, audiences: ['purser'] }] }));
    return textOf((workloads as unknown as { result: { token: string } }[])[0]?.result.token);
  };
  const stranger = new CoreClient({ address: server.address, certificateAuthority: server.caCertificate });
  const { client_token: token } = await stranger.authenticate('auth/containers/login', { role: 'web', jwt: await identify('nginx:1.27') });
  await assert.rejects(stranger.authenticate('auth/containers/login', { role: 'web', jwt: await identify('nginx') }), { message: /error validating claims/ });
  stranger.close();
  const container = new CoreClient({ address: server.address, certificateAuthority: server.caCertificate, token: textOf(token) });
  assert.match(textOf(((await container.read('secret/data/db/prod'))['data'] as Record<string, string>)['password']), /^canary-whole-server/);
  assert.equal((await container.read('auth/token/lookup-self'))['display_name'], 'containers-web');
  container.close();
});

test('the CA is believed only when its hash is the one in the token', async () => {
  const { token } = await root.write('auth/node/join-token');
  const { address, ca } = decodeJoinToken(textOf(token));
  assert.equal(await fetchPinnedCa(address, textOf(ca)), server.caCertificate);
  await assert.rejects(fetchPinnedCa(address, '0'.repeat(64)), { code: 'ERR_CLIENT_TLS' });
});

test('sealing ends the watch streams, and after the unseal the node, its roles and the ledger are there', async () => {
  const { session } = await joined('n3');
  const frames: string[] = [];
  for await (const frame of (await session.ready()).watch()) {
    frames.push(frame.type);
    if (frame.type === 'hello') await root.write('sys/seal');
  }
  assert.deepEqual(frames.filter((type) => type !== 'heartbeat'), ['hello']);
  await root.write('sys/unseal', { key: unsealKey });
  const { workloads } = await session.call((client) => client.write('node/resolve', { workloads: [workload(['purser://secret/db/prod#password'])] }));
  assert.equal((workloads as unknown as { results: ResolveResult[] }[])[0]?.results[0]?.outcome, 'value');
  assert.equal(((await root.read('sys/usage', { node: 'n1' }))['holdings'] as unknown[]).length, 1);
});

test('the audit file names the calls of nodes and holds no value, secret or token', () => {
  const text = readFileSync(join(directory.path, 'audit', 'audit.log'), 'utf8');
  for (const path of ['node/resolve', 'node/watch', 'node/usage', 'auth/node/login', 'auth/node/join']) assert.ok(text.includes(`"${path}"`), path);
  for (const secret of [CANARY, Buffer.from(CANARY).toString('base64'), 'purser-join-1.']) assert.ok(!text.includes(secret));
});

test('a secret of kv version 1 is resolved, and its rotation is pushed', async () => {
  await root.write('sys/mounts/old', { type: 'kv', options: { version: '1' } });
  await root.write('sys/policies/acl/old', { policy: 'path "old/db/*" { capabilities = ["read"] }' });
  await root.write('auth/node/role/old', { policies: ['old'], selectors: { image: ['nginx*'] } });
  await root.write('old/db/prod', { password: CANARY });
  const { session } = await joined('n-old');
  const resolve = async () => {
    const { workloads } = await session.call((client) => client.write('node/resolve', { workloads: [workload(['purser://old/db/prod#password'])] }));
    return (workloads as unknown as { results: ResolveResult[] }[])[0]?.results[0];
  };
  assert.equal(valueText(await resolve()), CANARY);
  const changed: WatchFrame[] = [];
  for await (const frame of (await session.ready()).watch()) {
    if (frame.type === 'hello') await root.write('old/db/prod', { password: `${CANARY}-2` });
    if (frame.type !== 'changed') continue;
    changed.push(frame);
    break;
  }
  assert.deepEqual(changed.map((frame) => frame.type === 'changed' && [frame.path, frame.version]), [['old/db/prod', 2]]);
  assert.equal(valueText(await resolve()), `${CANARY}-2`);
});

test('the audit log keeps how many rows an answer about usage had, not a hash for each of their fields', async () => {
  const { holdings } = await root.read('sys/usage', { released: 'true' }) as { holdings: unknown[] };
  assert.ok(holdings.length > 0);
  const line = readFileSync(join(directory.path, 'audit', 'audit.log'), 'utf8').trim().split('\n').map((text) => JSON.parse(text) as { type: string; request: { path: string }; response?: { data?: Record<string, unknown> } }).filter(({ type, request }) => type === 'response' && request.path === 'sys/usage').at(-1);
  assert.deepEqual(line?.response?.data, { holdings: holdings.length });
});
