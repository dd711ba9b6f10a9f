// The agent as a container, from deploy/agent-stack.yml as it is: a global service whose keeper starts holder and agent beside itself. Swarm secrets
// are delivered and rotate, through an upgrade and a killed agent; removing the stack removes everything, but not while a task has secrets of it.

import assert from 'node:assert/strict';
import { existsSync, rmSync } from 'node:fs';
import { resolve } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { docker, eventually, must, run } from './command.ts';
import { Installation } from './installation.ts';
import { readLoop, VALUES } from './rotation-values.ts';

const ROOT = resolve(import.meta.dirname, '../..');

describe('the agent as a container', () => {
  let purser: Installation;
  let task = '';
  const kept = async (format = '{{.Names}}'): Promise<string[]> => (await docker('ps', '--filter', 'label=com.purser.kept', '--format', format)).split('\n').filter((name) => name !== '').sort();
  const deploy = (): Promise<string> => docker('stack', 'deploy', '--resolve-image', 'never', '--compose-file', `${ROOT}/deploy/agent-stack.yml`, 'purser');
  const isRunning = (): Promise<true | undefined> => purser.answers('/run/purser/agent.sock').then((answers) => answers || undefined);
  const read = (): Promise<string> => docker('exec', task, 'cat', '/run/secrets/db_password');
  const keeperLog = async (): Promise<string> => { const { stdout, stderr } = await run('docker', ['service', 'logs', '--raw', 'purser_agent']); return stdout + stderr; };
  const rotate = async (value: string): Promise<void> => {
    await purser.put('secret/db/prod', { password: value });
    await eventually('the new value', async () => await read() === value);
  };

  before(async () => {
    await docker('swarm', 'init', '--advertise-addr', '10.213.0.1');
    purser = await Installation.start({ driver: true, runtime: false, agent: false });
    await purser.put('secret/db/prod', { password: VALUES[0] });
    await docker('secret', 'create', '--driver', 'purser', '--label', 'purser.ref=purser://secret/db/prod#password', 'db_password');
    await must(`${ROOT}/scripts/build-image.sh`, []);
  });
  after(async () => {
    await run('docker', ['service', 'rm', 'app']);
    await run('docker', ['stack', 'rm', 'purser']);
    await eventually('the tasks to end', async () => (await docker('ps', '--quiet')) === '', 60_000);
    await purser.stop();
    await docker('swarm', 'leave', '--force');
    // The identity of the node, where the stack file keeps it.
    rmSync('/var/lib/purser', { recursive: true, force: true });
  });

  test('the reason for a keeper: Docker leaves out of a stack what an agent needs', async () => {
    const impossible = 'version: "3.8"\nservices: { x: { image: "busybox:latest", command: "true", devices: ["/dev/fuse"], pid: host, security_opt: ["apparmor=unconfined"] } }\n';
    const { stdout, stderr } = await run('docker', ['stack', 'deploy', '--resolve-image', 'never', '--compose-file', '-', 'impossible'], { input: impossible });
    assert.match(stdout + stderr, /Ignoring unsupported options: devices, pid, security_opt/);
    await docker('stack', 'rm', 'impossible');
  });

  test('a stale join token is what docker service logs shows, with what to do', async () => {
    const stale = await purser.purser('node', 'token');
    await purser.purserWithInput(stale, 'agent', 'join', '--token', '-', '--name', 'took-it-too', '--state-dir', '/run/tmp/stale-container');
    await must('docker', ['secret', 'create', 'purser_join_token', '-'], { input: stale });
    await deploy();
    await eventually('the reason', async () => /the join token is wrong, used or expired[^]*hint: make a new token/.test(await keeperLog()), 60_000);
    assert.deepEqual(await kept(), [], 'nothing was started');
    await docker('stack', 'rm', 'purser');
    await eventually('the stack to go', async () => (await docker('ps', '--all', '--quiet')) === '', 60_000);
    await docker('secret', 'rm', 'purser_join_token');
  });

  test('the stack of one service brings holder and agent up, each with what it needs and no more', async () => {
    await must('docker', ['secret', 'create', 'purser_join_token', '-'], { input: await purser.purser('node', 'token') });
    await deploy();
    await eventually('the agent', isRunning, 60_000);
    assert.deepEqual(await kept(), ['purser-agent', 'purser-holder']);
    const nodes = JSON.parse(await purser.purser('node', 'list', '--format', 'json')) as { name: string; driver: boolean; last_seen: string | null }[];
    const name = await docker('info', '--format', '{{.Name}}');
    assert.ok(nodes.some((node) => node.name === name && !node.driver && node.last_seen !== null));
    const [holder, agent] = JSON.parse(await docker('inspect', 'purser-holder', 'purser-agent')) as { HostConfig: { Privileged: boolean; CapAdd: string[]; Devices: unknown[] | null; Binds: string[] }; Config: { Env: string[] } }[];
    assert.ok(holder !== undefined && agent !== undefined);
    assert.deepEqual([holder.HostConfig.Privileged, agent.HostConfig.Privileged, (agent.HostConfig.Devices ?? []).length], [false, false, 0]);
    assert.deepEqual([holder.HostConfig.CapAdd.map((cap) => cap.replace('CAP_', '')), holder.HostConfig.Binds], [['SYS_ADMIN'], ['/run/purser:/run/purser:rshared']]);
    assert.deepEqual([holder, agent].flatMap(({ Config }) => Config.Env.filter((line) => line !== 'PATH=/bin')), [], 'no token in an environment');
  });

  test('Swarm secrets are live, and follow rotations in place', async () => {
    await docker('service', 'create', '--quiet', '--detach', '--no-resolve-image', '--endpoint-mode', 'dnsrr', '--name', 'app', '--secret', 'db_password', 'busybox:latest', 'sleep', '3600');
    task = await eventually('the task', async () => await docker('ps', '--quiet', '--no-trunc', '--filter', 'label=com.docker.swarm.service.name=app') || undefined, 60_000);
    await eventually('the live file', async () => (await docker('exec', task, 'grep', ' /run/secrets/db_password ', '/proc/self/mountinfo')).includes('fuse'));
    const loop = await readLoop(task, '/run/secrets/db_password');
    for (const value of VALUES.slice(1)) {
      await rotate(value);
      await loop.sees(value);
    }
    assert.deepEqual(await loop.stop(), VALUES, 'every version was read, in order, each whole');
    const usage = await eventually('the ledger', async () => {
      const rows = JSON.parse(await purser.purser('usage', '--secret', 'secret/db/prod', '--format', 'json')) as { service?: string; version: number; open_count?: number }[];
      return rows.find(({ service, version }) => service === 'app' && version === VALUES.length);
    });
    assert.ok(usage);
    await eventually('the reader in the ledger', async () => (await purser.purser('usage', '--processes', '--secret', 'secret/db/prod')).includes('/bin/busybox'));
  });

  test('a process outside of the container gets EACCES, as with an agent on the host', async () => {
    const source = (await must('grep', [`${task}/mounts/secrets/`, '/proc/self/mountinfo'])).split(' ')[4] ?? '';
    assert.match((await run('cat', [source])).stderr, /Permission denied/);
  });

  test('kill -9 of the agent, and another image of it, fail no read and lose no rotation', async () => {
    const loop = await readLoop(task, '/run/secrets/db_password');
    await must('kill', ['-9', await docker('inspect', '--format', '{{.State.Pid}}', 'purser-agent')]);
    await rotate('after the kill');
    const holder = await docker('inspect', '--format', '{{.Id}}', 'purser-holder');
    const agent = await docker('inspect', '--format', '{{.Id}}', 'purser-agent');
    await docker('service', 'update', '--quiet', '--detach', '--no-resolve-image', '--args', 'agent keep -- --log-level debug', 'purser_agent');
    await eventually('a new agent', async () => (await run('docker', ['inspect', '--format', '{{.Id}}', 'purser-agent'])).stdout.trim() !== agent && isRunning(), 60_000);
    await rotate('after the update');
    await loop.sees('after the update');
    const values = await loop.stop();
    assert.deepEqual([values[0], values.at(-1)], [VALUES.at(-1), 'after the update']);
    assert.equal(await docker('inspect', '--format', '{{.Id}}', 'purser-holder'), holder, 'the holder is the same');
    assert.equal(await docker('ps', '--quiet', '--no-trunc', '--filter', 'label=com.docker.swarm.service.name=app'), task, 'the same container');
  });

  test('a removed stack leaves the agent to the tasks that have its secrets, and goes completely without them', async () => {
    await docker('stack', 'rm', 'purser');
    await eventually('the keeper to go', async () => (await docker('ps', '--all', '--quiet', '--filter', 'label=com.docker.swarm.service.name=purser_agent')) === '', 60_000);
    assert.deepEqual(await kept(), ['purser-agent', 'purser-holder']);
    await rotate('without a keeper');
    await docker('service', 'rm', 'app');
    await eventually('the task to end', async () => (await docker('ps', '--all', '--quiet', '--filter', 'label=com.docker.swarm.service.name=app')) === '', 60_000);
    // Of no use: the node has joined.
    await docker('secret', 'rm', 'purser_join_token');
    await must('docker', ['secret', 'create', 'purser_join_token', '-'], { input: 'no token at all' });
    await deploy();
    await eventually('the keeper', async () => (await keeperLog()).includes('agent replaced') && isRunning(), 60_000);
    await docker('stack', 'rm', 'purser');
    await eventually('everything to go', async () => (await docker('ps', '--all', '--quiet')) === '', 60_000);
    assert.doesNotMatch(await must('cat', ['/proc/self/mountinfo']), /\/run\/purser\/|mounts\/secrets/);
    assert.deepEqual(['holder.sock', 'agent.sock'].filter((name) => existsSync(`/run/purser/${name}`)), []);
    assert.equal((await run('pgrep', ['-f', 'purser-holder|purser agent'])).stdout, '');
  });
});
