// Docker's secret provider protocol over a real unix socket, byte for byte as dockerd 20.10 and newer send it.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, test } from 'node:test';
import { secretProvider } from '../../src/driver/secret-provider.ts';
import type { SecretSource } from '../../src/driver/secret-provider.ts';
import { PurserError } from '../../src/lib/errors.ts';
import { pluginServer } from '../../src/lib/plugin-server.ts';
import { listenOnSocket } from '../../src/lib/unix-socket.ts';
import type { SwarmSecretRequest } from '../../src/wire/node-protocol.ts';
import { recordedLog } from '../fakes/silent-log.ts';

const CANARY = 'canary-value-7f3';
/** As observed from dockerd 20.10.24. */
const OBSERVED = {
  SecretName: 'shop_db', SecretLabels: { 'com.docker.stack.namespace': 'shop', 'purser.ref': 'purser://secret/db#password' }, ServiceID: 'svc1', ServiceName: 'shop_web',
  ServiceLabels: { 'com.docker.stack.image': 'busybox:latest' }, TaskID: 'task1', TaskName: 'shop_web.1.task1', TaskImage: 'busybox:latest', NodeID: 'node1', ServiceEndpointSpec: {},
};

const cleanups: (() => unknown)[] = [];
afterEach(async () => { for (const cleanup of cleanups.splice(0).reverse()) await cleanup(); });

async function serve(source: SecretSource, timeoutMs = 200) {
  const directory = mkdtempSync(join(tmpdir(), 'purser-driver-'));
  const path = join(directory, 'purser.sock');
  const { log, text } = recordedLog();
  const server = pluginServer(secretProvider(source, log, timeoutMs));
  await listenOnSocket(server, path);
  cleanups.push(() => rmSync(directory, { recursive: true, force: true }), () => new Promise((resolve) => { server.closeAllConnections(); server.close(resolve); }));
  return { path, logged: text };
}

/** One request as raw bytes: what Docker's client puts on the wire. The driver closes the connection after its answer. */
function post(path: string, call: string, body: string, host = 'Host: '): Promise<{ status: number; head: string; body: Record<string, unknown> }> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    let answer = '';
    socket.setEncoding('utf8');
    socket.on('data', (chunk: string) => { answer += chunk; });
    socket.on('error', reject);
    socket.on('close', () => {
      const [head = '', rest = ''] = answer.split('\r\n\r\n');
      resolve({ status: Number(head.split(' ')[1]), head, body: JSON.parse(rest) as Record<string, unknown> });
    });
    socket.write(`POST ${call} HTTP/1.1\r\n${host === '' ? '' : `${host}\r\n`}User-Agent: Go-http-client/1.1\r\nContent-Length: ${Buffer.byteLength(body)}\r\nAccept: application/vnd.docker.plugins.v1.2+json\r\n\r\n${body}`);
  });
}

const give: SecretSource = async () => ({ value: Buffer.from(CANARY), version: 2, path: 'secret/db', isFromMemory: false });

for (const [name, host] of [['an empty Host', 'Host: '], ['Docker\'s new Host', 'Host: plugin.moby.localhost'], ['no Host', '']] as const) {
  test(`secretProvider() activates with ${name}`, async () => {
    const { path } = await serve(give);
    const { status, body } = await post(path, '/Plugin.Activate', '', host);
    assert.deepEqual([status, body], [200, { Implements: ['secretprovider', 'VolumeDriver'] }]);
  });
}

test('secretProvider() gives the value with DoNotReuse and hands Docker\'s request over in snake case', async () => {
  let asked: SwarmSecretRequest | undefined;
  const { path, logged } = await serve(async (request) => { asked = request; return give(request); });
  const { status, body } = await post(path, '/SecretProvider.GetSecret', JSON.stringify(OBSERVED));
  assert.equal(status, 200);
  assert.deepEqual(body, { Value: Buffer.from(CANARY).toString('base64'), DoNotReuse: true });
  assert.deepEqual(asked, {
    secret_name: 'shop_db', secret_labels: OBSERVED.SecretLabels, service_id: 'svc1', service_name: 'shop_web', service_labels: OBSERVED.ServiceLabels,
    task_id: 'task1', task_name: 'shop_web.1.task1', task_image: 'busybox:latest', node_id: 'node1',
  });
  assert.match(logged(), /"secret":"shop_db","service":"shop_web".*"version":2/);
  assert.doesNotMatch(logged(), new RegExp(`${CANARY}|${Buffer.from(CANARY).toString('base64')}`));
});

test('secretProvider() takes a request without the optional fields', async () => {
  const { path } = await serve(give);
  const { body } = await post(path, '/SecretProvider.GetSecret', JSON.stringify({ SecretName: 's', TaskID: 't', NodeID: 'n', Future: { a: 1 } }));
  assert.equal(body['Value'], Buffer.from(CANARY).toString('base64'));
});

const refusals: [string, SecretSource, RegExp][] = [
  ['the core refuses', async () => { throw new PurserError('ERR_RESOLVE_DENIED', 'no workload role grants this reference'); }, /^purser: no workload role grants this reference$/],
  ['the core does not answer', () => new Promise(() => undefined), /^purser: the core did not answer within 0\.2 s$/],
  ['something fails inside', async () => { throw new Error(CANARY); }, /^purser: the driver failed$/],
  ['the value is empty', async () => ({ value: Buffer.alloc(0), version: 1, path: 'secret/db', isFromMemory: false }), /0 bytes, Swarm takes 1 to 511999/],
  ['the value is too large', async () => ({ value: Buffer.alloc(512_000), version: 1, path: 'secret/db', isFromMemory: false }), /512000 bytes/],
];
for (const [name, source, says] of refusals) {
  test(`secretProvider() answers Err with DoNotReuse when ${name}, and logs why`, async () => {
    const { path, logged } = await serve(source);
    const { status, body } = await post(path, '/SecretProvider.GetSecret', JSON.stringify(OBSERVED));
    assert.equal(status, 200);
    assert.equal(body['DoNotReuse'], true);
    assert.equal(body['Value'], undefined);
    assert.match(String(body['Err']), says);
    assert.match(logged(), /"service":"shop_web".*secret refused/);
    assert.doesNotMatch(logged(), new RegExp(CANARY));
  });
}

const invalid: [string, string, number][] = [
  ['no JSON', 'x', 200], ['an array', '[]', 200], ['nothing', '', 200], ['no task', JSON.stringify({ SecretName: 's', NodeID: 'n' }), 200],
  ['wrong types', JSON.stringify({ ...OBSERVED, SecretLabels: 'x' }), 200], ['more than 1 MiB', JSON.stringify({ ...OBSERVED, SecretName: 'x'.repeat(1_100_000) }), 413],
];
for (const [name, body, status] of invalid) {
  test(`secretProvider() refuses ${name} without asking the core`, async () => {
    let calls = 0;
    const { path } = await serve(async (request) => { calls++; return give(request); });
    const answer = await post(path, '/SecretProvider.GetSecret', body);
    assert.equal(answer.status, status);
    assert.equal(answer.body['DoNotReuse'], true);
    assert.ok(answer.body['Err']);
    assert.equal(calls, 0);
  });
}

test('secretProvider() says 404 to other calls', async () => {
  const { path } = await serve(give);
  assert.equal((await post(path, '/SecretDriver.Get', '{}')).status, 404);
});

test('listenOnSocket() makes a socket for its owner only, and leaves a live one alone', async () => {
  const { path } = await serve(give);
  assert.equal(statSync(path).mode & 0o777, 0o600);
  await assert.rejects(listenOnSocket(pluginServer(() => undefined), path), /another process listens/);
  assert.equal((await post(path, '/Plugin.Activate', '')).status, 200);
});
