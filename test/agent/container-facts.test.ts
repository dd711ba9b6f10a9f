// Docker's own record of a container, as engines write it, and records that are not understood.

import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, test } from 'node:test';
import { readContainerFacts } from '../../src/agent/container-facts.ts';
import { isPurserError } from '../../src/lib/errors.ts';

const ID = 'ab'.repeat(32);
const roots: string[] = [];
afterEach(() => { for (const root of roots.splice(0)) rmSync(root, { recursive: true, force: true }); });

function rootWith(content: string): string {
  const root = mkdtempSync(join(tmpdir(), 'purser-docker-'));
  roots.push(root);
  mkdirSync(join(root, 'containers', ID), { recursive: true });
  writeFileSync(join(root, 'containers', ID, 'config.v2.json'), content);
  return root;
}

const TASK = {
  StreamConfig: {}, State: { Running: true, Pid: 4711, StartedAt: '2026-03-01T10:00:00.123456789Z' }, ID, Name: '/shop_web.1.abc', Image: `sha256:${'1'.repeat(64)}`,
  Config: { Image: `nginx:1.27@sha256:${'2'.repeat(64)}`, Env: ['A=b'], Labels: { 'com.docker.swarm.service.name': 'shop_web', 'com.docker.swarm.task.id': 'task1', 'com.docker.stack.namespace': 'shop', 'purser.file.x': 'purser://a/b?default=hunter2', team: 'a' } },
  SecretReferences: [
    { File: { Name: 'db', UID: '33', GID: '34', Mode: 288 }, SecretID: 'sec1', SecretName: 'shop_db' },
    { File: { Name: '/etc/app/key', UID: '0', GID: '0', Mode: 292 }, SecretID: 'sec2', SecretName: 'shop_key' },
    { SecretID: 'sec3', SecretName: 'runtime' },
  ],
};

test('readContainerFacts() reads a Swarm task: what it is, secrets, state', async () => {
  const facts = await readContainerFacts(rootWith(JSON.stringify(TASK)), ID);
  assert.deepEqual(facts.container, { id: ID, name: '/shop_web.1.abc', image: TASK.Config.Image, imageId: TASK.Image, labels: TASK.Config.Labels });
  assert.deepEqual(facts.swarmSecrets, [
    { secretId: 'sec1', secretName: 'shop_db', target: '/run/secrets/db', uid: 33, gid: 34, mode: 0o440 },
    { secretId: 'sec2', secretName: 'shop_key', target: '/etc/app/key', uid: 0, gid: 0, mode: 0o444 },
  ]);
  assert.deepEqual([facts.isRunning, facts.pid, facts.startedAt], [true, 4711, Date.parse('2026-03-01T10:00:00.123Z')]);
});

test('readContainerFacts() reads a plain container that never ran', async () => {
  const facts = await readContainerFacts(rootWith(JSON.stringify({ ID, Name: '/web', Image: 'sha256:1', Config: { Image: 'busybox', Labels: null }, State: { StartedAt: '0001-01-01T00:00:00Z' }, SecretReferences: null })), ID);
  assert.deepEqual(facts.container, { id: ID, name: '/web', image: 'busybox', imageId: 'sha256:1', labels: {} });
  assert.deepEqual([facts.swarmSecrets, facts.isRunning, facts.pid, facts.startedAt], [[], false, 0, 0]);
});

for (const [name, content] of [
  ['half a record', JSON.stringify(TASK).slice(0, 200)], ['an empty record', ''], ['the record of another container', JSON.stringify({ ...TASK, ID: 'cd'.repeat(32) })],
  ['labels that are no texts', JSON.stringify({ ...TASK, Config: { ...TASK.Config, Labels: { a: 1 } } })],
  ['a secret id that leaves its directory', JSON.stringify({ ...TASK, SecretReferences: [{ ...TASK.SecretReferences[0], SecretID: '../../x' }] })],
] as const) {
  test(`readContainerFacts() refuses ${name} without quoting it`, async () => {
    await assert.rejects(readContainerFacts(rootWith(content), ID), (error) => isPurserError(error, 'ERR_RUNTIME_BUNDLE') && !error.message.includes('hunter2'));
  });
}
