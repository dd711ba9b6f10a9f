// When a service is updated, and when not, against a manager's API on a real socket that keeps services and counts as Swarm does.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, test } from 'node:test';

import { RollingUpdates } from '../../src/driver/rolling-updates.ts';
import { SwarmEngine } from '../../src/driver/swarm-engine.ts';
import { PurserError } from '../../src/lib/errors.ts';
import { recordedLog } from '../fakes/silent-log.ts';

interface Spec { Name: string; Labels: Record<string, string>; Mode: object; TaskTemplate: { ForceUpdate?: number; Runtime: string; ContainerSpec: object } }

const SECRETS = [{ SecretID: 's1', SecretName: 'db', File: { Name: 'password', UID: '0', GID: '0', Mode: 0o400 } }, { SecretID: 's2' }];
const directory = mkdtempSync(join(tmpdir(), 'purser-rolling-'));
const path = join(directory, 'docker.sock');
const { log, text } = recordedLog();
let manager: { isLeader: boolean; index: number; spec: Spec; tasks: string[]; updates: number; isOutOfSequence: boolean };
let server: Server;
let version: number | PurserError;
let given: Map<string, number>;
let updates: RollingUpdates;

before(async () => {
  server = createServer((request, response) => {
    const url = request.url ?? '';
    const answer = (body: unknown, status = 200): void => { response.writeHead(status).end(JSON.stringify(body)); };
    if (url === '/v1.41/info') return answer({ Swarm: { NodeID: 'n1', ControlAvailable: true } });
    if (url === '/v1.41/nodes/n1') return answer({ ManagerStatus: { Leader: manager.isLeader } });
    if (url === '/v1.41/secrets') return answer([{ ID: 's1', Spec: { Name: 'db', Labels: { 'purser.ref': 'purser://secret/db' }, Driver: { Name: 'purser:latest' } } }, { ID: 's2', Spec: { Name: 'plain' } }]);
    if (url.startsWith('/v1.41/services?')) return answer([{ ID: 'svc', Version: { Index: manager.index }, Spec: manager.spec }]);
    if (url.startsWith('/v1.41/tasks?')) return answer(manager.tasks.map((ID) => ({ ID, NodeID: 'n1', Slot: 1, CreatedAt: '', Spec: { ContainerSpec: { Image: 'busybox' } }, Status: { State: 'running' } })));
    let body = '';
    request.on('data', (chunk: Buffer) => { body += chunk.toString(); }).on('end', () => {
      if (url !== `/v1.41/services/svc/update?version=${String(manager.index)}` || manager.isOutOfSequence) return answer({ message: 'rpc error: update out of sequence' }, 500);
      const spec = JSON.parse(body) as Spec;
      const isNewTasks = spec.TaskTemplate.ForceUpdate !== manager.spec.TaskTemplate.ForceUpdate;
      manager = { ...manager, index: manager.index + 1, spec, updates: manager.updates + Number(isNewTasks) };
      answer({ Warnings: null });
    });
  }).listen(path);
  await new Promise((resolve) => { server.once('listening', resolve); });
});
after(() => {
  server.close();
  rmSync(directory, { recursive: true });
});
beforeEach(() => {
  const spec: Spec = { Name: 'app', Labels: { 'purser.on-rotate': 'update' }, Mode: { Replicated: { Replicas: 1 } }, TaskTemplate: { Runtime: 'container', ContainerSpec: { Image: 'busybox', Secrets: SECRETS, Hosts: ['kept'], Labels: null } } };
  manager = { isLeader: true, index: 7, spec, tasks: ['t1'], updates: 0, isOutOfSequence: false };
  version = 1;
  given = new Map([['t1', 1]]);
  updates = newProcess();
});

function newProcess(): RollingUpdates {
  return new RollingUpdates({
    engine: new SwarmEngine(path), log, driverName: 'purser', givenTo: (task) => given.get(task),
    versionFor: async () => { if (typeof version !== 'number') throw version; return version; },
  });
}

test('look() writes the versions of a new service down without new tasks, and then leaves it alone', async () => {
  await updates.look();
  await updates.look();
  assert.deepEqual([manager.updates, manager.index, manager.spec.Labels['purser.versions']], [0, 8, 'db=1']);
  assert.deepEqual(manager.spec.TaskTemplate.ContainerSpec, { Image: 'busybox', Secrets: SECRETS, Hosts: ['kept'], Labels: null }, 'nothing of it is lost');
});

test('look() updates once for each new version, also when it changed before the first look', async () => {
  version = 2;
  await updates.look();
  assert.deepEqual([manager.updates, manager.spec.Labels['purser.versions']], [1, 'db=2']);
  await updates.look();
  version = 3;
  await updates.look();
  await updates.look();
  assert.deepEqual([manager.updates, manager.spec.Labels['purser.versions'], manager.spec.TaskTemplate.ForceUpdate], [2, 'db=3', 2]);
});

test('another process on another leader goes on where the last one was', async () => {
  version = 2;
  await updates.look();
  given.clear();
  updates = newProcess();
  await updates.look();
  assert.equal(manager.updates, 1, 'the label says that it is done');
  version = 3;
  await updates.look();
  assert.equal(manager.updates, 2);
});

test('a service whose tasks nobody knows the versions of is renewed once', async () => {
  given.clear();
  await updates.look();
  await updates.look();
  assert.equal(manager.updates, 1);
});

test('what Swarm rolled back is not tried again before the next version', async () => {
  const { spec } = manager;
  version = 2;
  await updates.look();
  manager = { ...manager, spec, index: manager.index + 1 };
  await updates.look();
  assert.equal(manager.updates, 1);
  version = 3;
  await updates.look();
  assert.equal(manager.updates, 2);
});

test('look() does nothing on a manager that does not lead, for a change made meanwhile, without tasks, and when the secret is denied', async () => {
  version = 2;
  manager.isLeader = false;
  await updates.look();
  Object.assign(manager, { isLeader: true, isOutOfSequence: true });
  await updates.look();
  Object.assign(manager, { isOutOfSequence: false, tasks: [] });
  await updates.look();
  manager.tasks = ['t1'];
  version = new PurserError('ERR_RESOLVE_DENIED', 'no workload role grants it');
  await updates.look();
  assert.equal(manager.updates, 0);
  assert.match(text(), /a service is not updated/);
  version = 2;
  await updates.look();
  assert.equal(manager.updates, 1, 'and it is done as soon as it can be');
});
