// Who answers at Docker's path: the agent by its link, or the driver by its own socket, and never nobody for long.

import assert from 'node:assert/strict';
import { existsSync, lstatSync, mkdtempSync, readlinkSync, rmSync } from 'node:fs';
import { Agent, request } from 'node:http';
import type { RequestListener } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, test } from 'node:test';
import { PurserError } from '../../../src/lib/errors.ts';
import { pluginServer } from '../../../src/lib/plugin-server.ts';
import { listenOnSocket } from '../../../src/lib/unix-socket.ts';
import { servePlugin } from '../../../src/agent/volume/plugin-server.ts';
import { volumeDriver } from '../../../src/agent/volume/volume-driver.ts';
import type { VolumeCalls } from '../../../src/agent/volume/volume-driver.ts';
import { secretProvider } from '../../../src/driver/secret-provider.ts';
import { volumeRelay } from '../../../src/driver/volume-relay.ts';
import { eventually } from '../../eventually.ts';
import { recordedLog } from '../../fakes/silent-log.ts';

const ID = 'a'.repeat(64);
const BOTH = { Implements: ['secretprovider', 'VolumeDriver'] };
const VOLUME = { name: 'db', created: 0, files: [{ name: 'pw', text: 'purser://secret/db?default=hunter2#pw', uid: 0, gid: 0, mode: 0o444 }] };
const cleanups: (() => unknown)[] = [];
afterEach(async () => { for (const cleanup of cleanups.splice(0).reverse()) await cleanup(); });

function paths() {
  const directory = mkdtempSync(join(tmpdir(), 'purser-plugin-'));
  cleanups.push(() => rmSync(directory, { recursive: true }));
  return { own: join(directory, 'plugin.sock'), docker: join(directory, 'plugins', 'purser.sock') };
}

const calls: VolumeCalls = {
  create: async (name, options) => { if (options['bad'] !== undefined) throw new PurserError('ERR_WORKLOAD_INVALID', `no ${name}`, { hint: 'do better' }); },
  remove: async () => undefined, all: () => [VOLUME], mount: async (_name, id) => `/ro/${id}/files`, unmount: async () => undefined,
  get: (name) => { if (name !== 'db') throw new PurserError('ERR_WORKLOAD_INVALID', 'there is no volume of this name'); return VOLUME; },
};

function ask(socketPath: string, path: string, body: string | object = '', connections?: Agent): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const text = typeof body === 'string' ? body : JSON.stringify(body);
    request({ socketPath, path, method: 'POST', agent: connections }, (response) => {
      let answer = '';
      response.on('data', (chunk) => { answer += String(chunk); }).on('end', () => { resolve(JSON.parse(answer)); });
    }).on('error', reject).end(text);
  });
}

async function agent(own: string, docker: string | undefined) {
  const { log, text } = recordedLog();
  const server = await servePlugin(volumeDriver(calls, log), own, docker, log);
  cleanups.push(() => server.close());
  return { server, text };
}

async function driver(socket: string, agentSocket: string) {
  const { log } = recordedLog();
  const listener: RequestListener = secretProvider(async () => ({ value: Buffer.from('v'), version: 1, path: 'p', isFromMemory: false }), log, 200, volumeRelay(agentSocket));
  const server = pluginServer(listener);
  rmSync(socket, { force: true });
  await listenOnSocket(server, socket);
  const stop = (): Promise<void> => new Promise((resolve) => { server.closeAllConnections(); server.close(() => resolve()); });
  cleanups.push(stop);
  return { stop };
}

test('the agent answers every call of the protocol through the link, and takes the link away when it stops', async () => {
  const { own, docker } = paths();
  const { server, text } = await agent(own, docker);
  assert.equal(readlinkSync(docker), own);
  for (const [path, body, answer] of [
    ['/Plugin.Activate', '', BOTH],
    ['/VolumeDriver.Create', { Name: 'db', Opts: null }, { Err: '' }],
    ['/VolumeDriver.Create', { Name: 'x', Opts: { bad: 'hunter2' } }, { Err: 'purser: no x (do better)' }],
    ['/VolumeDriver.Get', { Name: 'db' }, { Volume: { Name: 'db', Mountpoint: '', CreatedAt: '1970-01-01T00:00:00.000Z', Status: { pw: 'purser://secret/db#pw' } }, Err: '' }],
    ['/VolumeDriver.Get', { Name: 'other' }, { Err: 'purser: there is no volume of this name' }],
    ['/VolumeDriver.List', {}, { Volumes: [{ Name: 'db', Mountpoint: '', CreatedAt: '1970-01-01T00:00:00.000Z' }], Err: '' }],
    ['/VolumeDriver.Mount', { Name: 'db', ID }, { Mountpoint: `/ro/${ID}/files`, Err: '' }],
    ['/VolumeDriver.Mount', { Name: 'db', ID: '../x' }, { Err: 'purser: the request of Docker is not a call for a volume' }],
    ['/VolumeDriver.Mount', { Name: 'db' }, { Err: 'purser: the request of Docker names no mount' }],
    ['/VolumeDriver.Unmount', { Name: 'db', ID }, { Err: '' }],
    ['/VolumeDriver.Path', { Name: 'db' }, { Mountpoint: '', Err: '' }],
    ['/VolumeDriver.Remove', { Name: 'db' }, { Err: '' }],
    ['/VolumeDriver.Remove', {}, { Err: 'purser: the request of Docker names no volume' }],
    ['/VolumeDriver.Create', '{"Name":"hunter2', { Err: 'purser: the request of Docker is not a call for a volume' }],
    ['/VolumeDriver.Capabilities', {}, { Capabilities: { Scope: 'local' }, Err: '' }],
    ['/VolumeDriver.Other', {}, { Err: 'there is no such call' }],
    ['/SecretProvider.GetSecret', {}, { Err: 'purser: the driver does not run on this manager', DoNotReuse: true }],
  ] as const) assert.deepEqual(await ask(docker, path, body), answer, path);
  assert.equal(text().includes('hunter2'), false);
  await server.close();
  assert.equal(existsSync(docker), false);
});

test('the driver answers for secrets at the same path and hands the calls for volumes on', async () => {
  const { own, docker } = paths();
  await agent(own, docker);
  await driver(docker, own);
  assert.equal(lstatSync(docker).isSocket(), true);
  assert.deepEqual(await ask(docker, '/Plugin.Activate'), BOTH);
  assert.deepEqual(await ask(docker, '/VolumeDriver.Mount', { Name: 'db', ID }), { Mountpoint: `/ro/${ID}/files`, Err: '' });
  assert.deepEqual(await ask(docker, '/SecretProvider.GetSecret', { SecretName: 's', TaskID: 't', NodeID: 'n' }), { Value: 'dg==', DoNotReuse: true });
});

test('a client that keeps its connections, as Docker does, reaches the driver from the moment it has the path', async () => {
  const { own, docker } = paths();
  const connections = new Agent({ keepAlive: true });
  cleanups.push(() => { connections.destroy(); });
  await agent(own, docker);
  assert.deepEqual(await ask(docker, '/VolumeDriver.List', {}, connections), { Volumes: [{ Name: 'db', Mountpoint: '', CreatedAt: '1970-01-01T00:00:00.000Z' }], Err: '' });
  await driver(docker, own);
  assert.deepEqual(await ask(docker, '/SecretProvider.GetSecret', { SecretName: 's', TaskID: 't', NodeID: 'n' }, connections), { Value: 'dg==', DoNotReuse: true });
});

test('without an agent the driver has no volumes and says so', async () => {
  const { own } = paths();
  const socket = `${own}.driver`;
  await driver(socket, own);
  assert.deepEqual(await ask(socket, '/VolumeDriver.List', {}), { Volumes: [], Err: '' });
  assert.match(String((await ask(socket, '/VolumeDriver.Mount', { Name: 'db', ID }) as { Err: string }).Err), /no agent runs on this host/);
});

test('an agent leaves a driver its path, and comes back when the driver is gone for a while', async () => {
  const { own, docker } = paths();
  const first = await agent(own, docker);
  const { stop } = await driver(docker, own);
  await first.server.close();
  assert.equal(lstatSync(docker).isSocket(), true, 'not ours to take away');
  await agent(own, docker);
  assert.equal(lstatSync(docker).isSocket(), true);
  await stop();
  await eventually('the path of the agent', () => existsSync(docker));
  assert.equal(readlinkSync(docker), own);
  assert.deepEqual(await ask(docker, '/Plugin.Activate'), BOTH);
});
