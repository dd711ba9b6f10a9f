// The units under a real systemd, in a machine of its own inside the sandbox (scripts/sandbox-systemd.sh), installed by the README's lines and nothing else:
// core, agent with runtime, and driver, with Docker as Debian's units start it: cgroup v2, systemd as cgroup driver.

import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { eventually, must, run, type Result } from './command.ts';
import './installation.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const BOOT = join(ROOT, 'scripts/sandbox-systemd.sh');
const REF = 'purser://secret/db/prod#password';
const CA = '/var/lib/purser/server/tls/ca.pem';

describe('under systemd', () => {
  let namespaces: ChildProcess;
  let init = '';

  /** Runs a program inside the machine, with an environment as a login there has it. */
  const tryInside = (argv: readonly string[], input = ''): Promise<Result> => run('nsenter', ['--target', init, '--mount', '--pid', '--net', '--cgroup',
    'env', '-i', 'HOME=/run/home', `PATH=${process.env['PATH'] ?? ''}`, `PURSER_CACERT=${CA}`, ...argv], { input });
  async function inside(argv: readonly string[], input = ''): Promise<string> {
    const { status, stdout, stderr } = await tryInside(argv, input);
    assert.equal(status, 0, `${argv.join(' ')}: ${stdout}${stderr}`);
    return stdout.replace(/\n$/, '');
  }
  const read = (container: string): Promise<string> => inside(['docker', 'exec', container, 'cat', '/run/secrets/pw']);
  const isActive = async (unit: string): Promise<boolean> => (await tryInside(['systemctl', 'is-active', '--quiet', unit])).status === 0;
  const journal = (unit: string): Promise<string> => inside(['journalctl', '--no-pager', '--output', 'cat', '--unit', unit]);

  before(async () => {
    namespaces = spawn('unshare', ['--pid', '--mount', '--net', '--fork', '--kill-child', '--mount-proc', BOOT], { stdio: 'ignore' });
    // The one child of unshare is process 1 inside.
    init = await eventually('process 1', () => readFileSync(`/proc/${String(namespaces.pid)}/task/${String(namespaces.pid)}/children`, 'utf8').trim() || undefined);
    await eventually('systemd to have booted', async () => (await tryInside(['systemctl', 'is-system-running'])).stdout === 'running\n', 60_000);
    await inside([join(ROOT, 'scripts/busybox-image.sh')]);
  });
  after(async () => {
    namespaces.kill('SIGKILL');
    await must('rm', ['-rf', '/usr/local/lib/purser', '/usr/local/bin/purser', '/usr/local/bin/purser-runtime', '/var/lib/purser', '/etc/docker/daemon.json']);
  });

  test('the core starts, is initialized and unsealed, and starts again', async () => {
    await inside([join(ROOT, 'scripts/install.sh')]);
    await inside(['systemctl', 'enable', '--now', 'purser-server']);
    await eventually('the core', async () => (await tryInside(['purser', 'status'])).stdout.includes('initialized  false'), 20_000);
    const { keys_base64: [share = ''], root_token: token } = JSON.parse(await inside(['purser', 'init', '--shares', '1', '--threshold', '1', '--format', 'json'])) as { keys_base64: string[]; root_token: string };
    await inside(['purser', 'unseal', '-'], share);
    await inside(['purser', 'login', '-'], token);
    await inside(['systemctl', 'reload', 'purser-server']);
    await inside(['systemctl', 'restart', 'purser-server']);
    await eventually('the core', async () => (await tryInside(['purser', 'status'])).stdout.includes('sealed       true'), 20_000);
    await inside(['purser', 'unseal', '-'], share);
    await inside(['purser', 'policy', 'write', 'db', '-'], 'path "secret/data/db/*" { capabilities = ["read"] }');
    await inside(['purser', 'workload', 'write', 'everything', '--policy', 'db', '--any']);
    await inside(['purser', 'kv', 'put', 'secret/db/prod', 'password=-'], 'first');
  });

  test('one line joins the node, starts the agent and installs the runtime', async () => {
    await inside(['sh', '-e'], await inside(['purser', 'node', 'token', '--swarm']));
    assert.ok(await isActive('purser-agent'));
    const id = await inside(['docker', 'run', '-d', '--name', 'app', '-l', `purser.file.pw=${REF}`, '-e', `PW=${REF}`, 'busybox', 'sh', '-c', 'echo "$PW"; exec sleep 600']);
    assert.equal(await read('app'), 'first');
    assert.equal(await inside(['docker', 'logs', 'app']), 'first');
    const cgroup = await inside(['cat', `/proc/${await inside(['docker', 'inspect', '--format', '{{.State.Pid}}', 'app'])}/cgroup`]);
    assert.match(cgroup, new RegExp(`^0::/system\\.slice/docker-${id}\\.scope$`, 'm'), 'systemd is the cgroup driver');
    assert.match((await tryInside(['cat', `/run/purser/fs/${id}/files/pw`])).stderr, /Permission denied/);
    const checks = JSON.parse(await inside(['purser', 'doctor', '--format', 'json'])) as { check: string; status: string; message: string }[];
    assert.deepEqual(checks.filter(({ status }) => status !== 'ok'), []);
  });

  test('restart of the agent: a read during it waits, none is lost, and rotations go on', async () => {
    const id = await inside(['docker', 'inspect', '--format', '{{.Id}}', 'app']);
    const counted = async (): Promise<number> => (JSON.parse(await inside(['purser', 'usage', '--container', id, '--format', 'json'])) as { opens: number }[]).reduce((sum, { opens }) => sum + opens, 0);
    await eventually('the first read in the ledger', async () => (await counted()) === 1);
    await inside(['systemctl', 'stop', 'purser-agent']);
    const waiting = read('app');
    await inside(['systemctl', 'start', 'purser-agent']);
    assert.equal(await waiting, 'first');
    await eventually('the read that waited in the ledger', async () => (await counted()) === 2);
    await inside(['purser', 'kv', 'put', 'secret/db/prod', 'password=-'], 'second');
    await eventually('the rotation', async () => (await read('app')) === 'second');
  });

  test('restart of Docker: containers start again with their secrets', async () => {
    await inside(['systemctl', 'restart', 'docker']);
    await inside(['docker', 'start', 'app']);
    assert.equal(await read('app'), 'second');
    await inside(['docker', 'rm', '--force', 'app']);
  });

  test('runtime, agent and installation are taken out again', async () => {
    await inside(['purser', 'runtime', 'uninstall']);
    await inside(['systemctl', 'disable', '--now', 'purser-agent']);
    await inside(['purser', 'agent', 'release']);
    assert.doesNotMatch(await inside(['cat', '/proc/mounts']), /purser/);
    await inside(['purser', 'node', 'revoke', await inside(['hostname'])]);
    await inside(['rm', '-r', '/var/lib/purser/agent']);
  });

  test('a Swarm manager: one line for agent and driver, and services get their secrets, with the driver restarted too', async () => {
    await inside(['docker', 'swarm', 'init', '--advertise-addr', '127.0.0.1']);
    await inside(['sh', '-e'], await inside(['purser', 'node', 'token', '--swarm', '--driver']));
    await eventually('the driver', async () => (await journal('purser-driver')).includes('driver ready'), 20_000);
    await inside(['docker', 'secret', 'create', '--driver', 'purser', '--label', `purser.ref=${REF}`, 'pw']);
    await inside(['docker', 'service', 'create', '--detach', '--endpoint-mode', 'dnsrr', '--name', 'web', '--secret', 'pw', 'busybox', 'sleep', '600']);
    const tasks = async (): Promise<string[]> => (await inside(['docker', 'ps', '--quiet', '--filter', 'name=web'])).split('\n').filter((id) => id !== '');
    const [first = ''] = await eventually('a task', async () => { const found = await tasks(); return found.length === 1 && found; }, 30_000);
    assert.equal(await read(first), 'second');
    await inside(['systemctl', 'restart', 'purser-driver']);
    await inside(['docker', 'service', 'scale', '--detach', 'web=2']);
    for (const id of await eventually('two tasks', async () => { const found = await tasks(); return found.length === 2 && found; }, 30_000)) assert.equal(await read(id), 'second');
    await inside(['docker', 'service', 'rm', 'web']);
    await eventually('the tasks to be gone', async () => (await inside(['docker', 'ps', '--all', '--quiet'])) === '', 60_000);
  });

  test('install.sh --uninstall says what has to go first, and leaves identities and data only', async () => {
    const uninstall = [join(ROOT, 'scripts/install.sh'), '--uninstall'];
    assert.match((await tryInside(uninstall)).stderr, /the agent still runs; first: purser runtime uninstall/);
    await inside(['systemctl', 'disable', '--now', 'purser-driver', 'purser-agent', 'purser-server']);
    assert.match((await tryInside(uninstall)).stderr, /the runtime is still in Docker; first: purser runtime uninstall/);
    await inside(['purser', 'runtime', 'uninstall']);
    await inside(['purser', 'agent', 'release']);
    await inside(uninstall);
    assert.equal((await tryInside(['systemctl', 'list-unit-files', '--no-legend', 'purser*'])).stdout, '');
    assert.deepEqual(readdirSync('/var/lib/purser').sort(), ['agent', 'server']);
    assert.equal(await inside(['systemctl', '--failed', '--no-legend']), '');
  });
});
