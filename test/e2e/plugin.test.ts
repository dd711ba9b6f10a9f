// The managed plugin, made without a registry: small, without privileges, joined by a token that was set, and a stack that uses it.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { docker, eventually, must, run } from './command.ts';
import { Installation } from './installation.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const BUILD = join(ROOT, 'scripts/build-plugin.sh');
/** What the Dockerfile's build runs in its base image, besides Node. */
const BASE_PROGRAMS = ['sh', 'bash', 'readlink', 'mkdir', 'cp', 'dirname', 'chmod', 'sort', 'grep', 'ldd', 'ldconfig', 'cat'];
/** What `docker export` finds besides in a container that never ran. */
const DOCKER_ADDS = new Set(['etc/hostname', 'etc/hosts', 'etc/resolv.conf', 'etc/mtab', 'dev/console', 'dev/pts', 'dev/shm']);
const STACK = `version: "3.8"
services:
  app:
    image: busybox:latest
    command: sleep 600
    secrets: [db_password]
    deploy: { replicas: 2, endpoint_mode: dnsrr }
secrets:
  db_password:
    driver: purser
    labels: { purser.ref: "purser://secret/db/prod#password" }
`;

interface Node { readonly id: string; readonly name: string; readonly driver: boolean; readonly revoked: boolean }

describe('the managed plugin', () => {
  let purser: Installation;
  const nodes = async (): Promise<Node[]> => (JSON.parse(await purser.purser('node', 'list', '--format', 'json')) as Node[]).filter(({ name, revoked }) => name === 'plugin-1' && !revoked);
  const tasks = async (): Promise<string[]> => (await docker('ps', '--quiet', '--no-trunc', '--filter', 'label=com.docker.swarm.service.name=shop_app')).split('\n').filter((id) => id !== '');
  const pluginLog = (): string => readFileSync('/run/sandbox/dockerd.log', 'utf8').split('\n').filter((line) => line.includes('plugin=')).join('\n');

  before(async () => {
    await docker('swarm', 'init', '--advertise-addr', '10.213.0.1');
    purser = await Installation.start();
    await purser.put('secret/db/prod', { password: 'from the plugin' });
    await must(BUILD, []);
  });
  after(async () => {
    await run('docker', ['stack', 'rm', 'shop']);
    await eventually('the tasks to end', async () => (await docker('ps', '--quiet')) === '');
    await run('docker', ['plugin', 'disable', '--force', 'purser']);
    await docker('plugin', 'rm', 'purser');
    await purser.stop();
    await docker('swarm', 'leave', '--force');
  });

  test('is one file on Node, below 60 MB compressed, with no capability, device, or mount of the host', async () => {
    const folder = '/run/tmp/plugin';
    await must(BUILD, ['--output', folder, 'other']);
    const files = readdirSync(join(folder, 'rootfs'), { recursive: true, encoding: 'utf8' });
    assert.ok(files.includes('bin/node') && files.includes('purser') && !files.some((name) => /node_modules|\.node$|bin\/(?:ba)?sh$/.test(name)));
    const compressed = Number(execFileSync('sh', ['-c', `tar -C ${folder} -c . | gzip -6 | wc -c`], { encoding: 'utf8' }));
    assert.ok(compressed < 60e6, `${String(compressed)} bytes`);
    const [{ Config: config }] = JSON.parse(await docker('plugin', 'inspect', 'purser')) as [{ Config: { Linux: { Capabilities: string[] | null; AllowAllDevices: boolean; Devices: unknown[] | null }; Mounts: unknown[] | null; PidHost: boolean; IpcHost: boolean } }];
    assert.deepEqual([config.Linux.Capabilities ?? [], config.Linux.AllowAllDevices, config.Linux.Devices ?? [], config.Mounts ?? [], config.PidHost, config.IpcHost], [[], false, [], [], false, false]);
  });

  test('its Dockerfile makes the same from an image with Node', async () => {
    const [base, made] = ['/run/tmp/base', '/run/tmp/from-dockerfile'];
    await must('sh', [join(ROOT, 'plugin/rootfs.sh'), base, process.execPath, join(ROOT, 'dist/purser'), ...BASE_PROGRAMS]);
    await must('ldconfig', ['-r', base]);
    await must('sh', ['-c', `tar -C ${base} --owner 0 --group 0 -c . | docker import - test/node`]);
    await must('env', ['NODE_IMAGE=test/node', BUILD, '--docker', '--output', made, 'other']);
    const list = (folder: string): string[] => readdirSync(join(folder, 'rootfs'), { recursive: true, encoding: 'utf8' }).sort();
    assert.deepEqual(list(made).filter((name) => !DOCKER_ADDS.has(name)), list('/run/tmp/plugin'));
    assert.equal(readFileSync(join(made, 'rootfs/purser'), 'utf8'), readFileSync(join(ROOT, 'dist/purser'), 'utf8'));
    assert.match(await must('chroot', [join(made, 'rootfs'), '/bin/node', '/purser', '--version']), /^\d/);
    await docker('rmi', 'test/node');
  });

  test('a stale join token fails docker plugin enable, and the log of dockerd says why and what to do', async () => {
    const stale = await purser.purser('node', 'token', '--driver');
    await purser.purserWithInput(stale, 'agent', 'join', '--token', '-', '--name', 'took-it', '--state-dir', '/run/tmp/took-it');
    await docker('plugin', 'set', 'purser', `PURSER_JOIN_TOKEN=${stale}`);
    assert.notEqual((await run('docker', ['plugin', 'enable', 'purser'])).status, 0);
    assert.match(pluginLog(), /this plugin cannot join its core, and docker plugin enable will fail/);
    assert.match(pluginLog(), /the join token is wrong, used or expired/);
    assert.match(pluginLog(), /docker plugin set PURSER_JOIN_TOKEN=/);
  });

  test('joins with the token that was set, and a stack gets its secrets', async () => {
    await docker('plugin', 'set', 'purser', `PURSER_JOIN_TOKEN=${await purser.purser('node', 'token', '--driver')}`, 'PURSER_NODE_NAME=plugin-1', 'PURSER_ADDR=https://127.0.0.1:8200');
    await docker('plugin', 'enable', 'purser');
    assert.deepEqual((await nodes()).map(({ driver }) => driver), [true]);
    writeFileSync('/run/tmp/stack.yml', STACK);
    await docker('stack', 'deploy', '--resolve-image', 'never', '--compose-file', '/run/tmp/stack.yml', 'shop');
    const ids = await eventually('two tasks', async () => { const found = await tasks(); return found.length === 2 && found; }, 60_000);
    for (const id of ids) assert.equal(await docker('exec', id, 'cat', '/run/secrets/db_password'), 'from the plugin');
    await purser.put('secret/db/prod', { password: 'rotated' });
    for (const id of ids) await eventually('the new value', async () => (await docker('exec', id, 'cat', '/run/secrets/db_password')) === 'rotated');
  });

  test('its identity survives disable and enable, and the tasks do not notice', async () => {
    const [before] = await nodes();
    const ids = await tasks();
    await docker('plugin', 'disable', '--force', 'purser');
    await docker('plugin', 'enable', 'purser');
    assert.deepEqual((await nodes()).map(({ id }) => id), [before?.id]);
    await docker('service', 'scale', '--detach', 'shop_app=3');
    const all = await eventually('a third task', async () => { const found = await tasks(); return found.length === 3 && found; }, 60_000);
    assert.ok(ids.every((id) => all.includes(id)));
    const [third = ''] = all.filter((id) => !ids.includes(id));
    assert.equal(await docker('exec', third, 'cat', '/run/secrets/db_password'), 'rotated');
  });
});
