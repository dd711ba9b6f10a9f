// What follows a rotation, with the real programs: nginx takes a new certificate and its key by a signal, redis reads its users again by a
// command, a container is restarted; bursts, failures and an agent that dies in between.

import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { request } from 'node:https';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from 'node:tls';

import { docker, eventually, must, run } from './command.ts';
import { ADDRESS, Installation } from './installation.ts';

const PORT = 18_443;
const PASSWORD = ['-l', 'purser.file.pw=purser://secret/db/action#pw'];
interface Row { readonly container: string; readonly on_rotate?: { readonly action: string; readonly outcome: string; readonly exit_code?: number; readonly attempt: number; readonly duration_ms: number } }

/** A certificate and its key, both PEM. */
async function certificate(name: string): Promise<{ certificate: string; key: string; fingerprint: string }> {
  const pem = await must('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', '-subj', `/CN=${name}`, '-keyout', '-', '-out', '-']);
  const key = /-----BEGIN PRIVATE KEY-----[^]+?-----END PRIVATE KEY-----\n/.exec(pem)?.[0] ?? '';
  const cert = /-----BEGIN CERTIFICATE-----[^]+?-----END CERTIFICATE-----\n?/.exec(pem)?.[0] ?? '';
  return { certificate: `${cert.trim()}\n`, key, fingerprint: new X509Certificate(cert).fingerprint256 };
}

/** A TLS handshake, in which the server proves that it has the key of the certificate it shows. */
function handshake(): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port: PORT, host: '127.0.0.1', rejectUnauthorized: false, timeout: 20_000 }, () => {
      const { fingerprint256 } = socket.getPeerCertificate();
      socket.destroy();
      resolve(fingerprint256);
    });
    socket.once('error', reject);
    socket.once('timeout', () => { socket.destroy(new Error('the handshake took too long')); });
  });
}

/** A new version by one request: the command takes too long for a burst. */
async function write(purser: Installation, path: string, data: object): Promise<void> {
  const status = await new Promise<number | undefined>((resolve, reject) => {
    const headers = { 'X-Vault-Token': readFileSync(join(purser.dataDirectory, 'root-token'), 'utf8').trim() };
    request(`${ADDRESS}/v1/secret/data/${path}`, { method: 'POST', headers, ca: readFileSync(purser.caCertificate) }, (response) => { response.resume().on('end', () => { resolve(response.statusCode); }); })
      .on('error', reject).end(JSON.stringify({ data }));
  });
  assert.equal(status, 200);
}

describe('on-rotate', () => {
  let purser: Installation;
  before(async () => {
    await Promise.all([must('scripts/program-image.sh', ['nginx-e2e', 'nginx']), must('scripts/program-image.sh', ['redis-e2e', 'redis-server', 'redis-cli'])]);
    purser = await Installation.start();
    await purser.put('secret/db/action', { pw: 'v1' });
  });
  after(() => purser.stop());

  const lastAction = async (id: string) => (JSON.parse(await purser.purser('usage', '--container', id, '--format', 'json')) as Row[])[0]?.on_rotate;
  const shown = async (id: string) => purser.purser('usage', '--container', id);

  test('nginx serves a new certificate with its key after each rotation, and no handshake ever fails', async () => {
    const pairs: Awaited<ReturnType<typeof certificate>>[] = [];
    for (let version = 1; version <= 6; version++) pairs.push(await certificate(`version-${String(version)}`));
    const [first] = pairs;
    await purser.put('secret/db/tls', { certificate: first?.certificate, key: first?.key });
    const config = `user root;\ndaemon off;\npid /run/nginx.pid;\nerror_log stderr;\nevents {}\nhttp {\n  access_log off;\n${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `  ${name}_temp_path /tmp/${name};\n`).join('')}`
      + `  server {\n    listen 127.0.0.1:${String(PORT)} ssl;\n    ssl_certificate /run/secrets/tls.crt;\n    ssl_certificate_key /run/secrets/tls.key;\n    return 200 "{{secret "secret/db/tls" "greeting"}}";\n  }\n}\n`;
    await purser.put('secret/db/tls', { certificate: first?.certificate, key: first?.key, greeting: 'hello' });
    const id = await docker('run', '-d', '--network', 'host', '--userns', 'host', '-l', 'purser.file.tls.crt=purser://secret/db/tls#certificate', '-l', 'purser.file.tls.key=purser://secret/db/tls#key',
      '-l', `purser.template.nginx.conf=${config}`, '-l', 'purser.template.nginx.conf.path=/etc/nginx/nginx.conf', '-l', 'purser.on-rotate=signal:HUP', 'nginx-e2e', 'nginx', '-c', '/etc/nginx/nginx.conf');
    const started = await docker('inspect', id, '--format', '{{.State.StartedAt}}');
    await eventually('nginx', async () => (await handshake().catch(() => '')) === first?.fingerprint);

    const seen: string[] = [];
    const failures: unknown[] = [];
    let isRunning = true;
    const client = (async () => {
      while (isRunning) await handshake().then((fingerprint) => { if (seen.at(-1) !== fingerprint) seen.push(fingerprint); }, (error: unknown) => { failures.push(error); });
    })();
    for (const pair of pairs.slice(1)) {
      await purser.put('secret/db/tls', { certificate: pair.certificate, key: pair.key, greeting: 'hello' });
      await eventually('the new certificate', async () => (await handshake()) === pair.fingerprint && seen.includes(pair.fingerprint));
    }
    isRunning = false;
    await client;
    assert.deepEqual(failures, []);
    const order = seen.map((fingerprint) => pairs.findIndex((pair) => pair.fingerprint === fingerprint));
    assert.ok(!order.includes(-1) && new Set(order).size === pairs.length, `every certificate was served: ${order.join()}`);
    const logs = await run('docker', ['logs', id]);
    assert.doesNotMatch(logs.stderr, /key values mismatch|\[emerg\]/, 'nginx never read a certificate with another key');
    assert.equal(await docker('inspect', id, '--format', '{{.State.StartedAt}}'), started, 'the container was not restarted');
    assert.equal((await eventually('the ledger', () => lastAction(id))).action, 'signal:HUP');
    await docker('rm', '-f', id);
  });

  test('redis knows the new password and not the old one after its users were loaded again by a command', async () => {
    await purser.put('secret/db/redis', { password: 'old-password' });
    const acl = 'user default on nopass resetchannels -@all +acl|load +ping\nuser app on >{{secret "secret/db/redis" "password"}} ~* +@all\n';
    const id = await docker('run', '-d', '-l', `purser.template.users.acl=${acl}`, '-l', 'purser.on-rotate=exec:redis-cli -e ACL LOAD', 'redis-e2e', 'redis-server', '--aclfile', '/run/secrets/users.acl', '--save', '');
    const ping = async (password: string) => (await run('docker', ['exec', id, 'redis-cli', '--no-auth-warning', '--user', 'app', '--pass', password, 'SET', 'a', 'b'])).stdout.trim();
    await eventually('redis', async () => (await ping('old-password')) === 'OK');
    await purser.put('secret/db/redis', { password: 'new-password' });
    await eventually('the new password', async () => (await ping('new-password')) === 'OK');
    assert.notEqual(await ping('old-password'), 'OK');
    const action = await eventually('the ledger', () => lastAction(id));
    assert.deepEqual([action.action, action.outcome, action.exit_code, action.attempt], ['exec:redis-cli', 'done', 0, 1]);
    assert.ok(action.duration_ms > 0);
    assert.match(await shown(id), /exec:redis-cli: done/);
    await docker('rm', '-f', id);
  });

  test('a failing command is tried again, shown by purser usage, and done in the end; it runs as the container\'s user', async () => {
    const id = await docker('run', '-d', '--user', '1000:1000', ...PASSWORD, '-l', 'purser.on-rotate=exec:sh -c \'id -u >> /tmp/runs; test -e /tmp/ok\' unseen-argument', 'busybox', 'sleep', '600');
    await purser.put('secret/db/action', { pw: 'failing' });
    await eventually('the second try', async () => /exec:sh: exit 1 \(attempt 2\)/.test(await shown(id)));
    await docker('exec', id, 'touch', '/tmp/ok');
    const action = await eventually('success', async () => { const last = await lastAction(id); return last?.outcome === 'done' && last; });
    assert.ok(action.attempt >= 3 && action.exit_code === 0);
    assert.deepEqual([...new Set((await docker('exec', id, 'cat', '/tmp/runs')).split('\n'))], ['1000']);
    assert.doesNotMatch(purser.log('agent'), /unseen-argument/);
    await docker('rm', '-f', id);
  });

  test('a command that does not exist fails with the reason', async () => {
    const id = await docker('run', '-d', ...PASSWORD, '-l', 'purser.on-rotate=exec:no-such-program', 'busybox', 'sleep', '600');
    await purser.put('secret/db/action', { pw: 'absent' });
    await eventually('the reason', async () => (await lastAction(id))?.outcome === 'failed');
    assert.match(await shown(id), /exec:no-such-program: .*executable file not found/);
    await docker('rm', '-f', id);
  });

  test('a burst of rotations is followed by one action or two', async () => {
    const id = await docker('run', '-d', ...PASSWORD, '-l', 'purser.on-rotate=exec:sh -c "echo run >> /tmp/runs"', 'busybox', 'sleep', '600');
    const began = performance.now();
    for (let version = 0; version < 10; version++) await write(purser, 'db/action', { pw: `burst-${String(version)}` });
    const took = performance.now() - began;
    await eventually('the action', async () => (await run('docker', ['exec', id, 'cat', '/tmp/runs'])).status === 0);
    await sleep(3_000);
    const runs = (await docker('exec', id, 'cat', '/tmp/runs')).split('\n').length;
    // A burst ends when nothing comes for 200 ms, as on a machine that stands still.
    assert.ok(runs <= 2 + took / 200, `${String(runs)} runs after ${took.toFixed(0)} ms`);
    await docker('rm', '-f', id);
  });

  test('restart starts the container with the current value, after its jitter', async () => {
    await purser.put('secret/db/action', { pw: 'at-start' });
    const id = await docker('run', '-d', '--stop-timeout', '1', ...PASSWORD, '-e', 'VALUE=purser://secret/db/action#pw', '-l', 'purser.on-rotate=restart', '-l', 'purser.on-rotate.jitter=500ms', 'busybox', 'sh', '-c', 'cat /run/secrets/pw; echo " $VALUE"; sleep 600');
    await eventually('the first start', async () => (await docker('logs', id)) === 'at-start at-start');
    await purser.put('secret/db/action', { pw: 'current' });
    await eventually('the second start', async () => (await docker('logs', id)) === 'at-start at-start\ncurrent current');
    await eventually('the ledger', async () => (await lastAction(id))?.action === 'restart');
    await docker('rm', '-f', id);
  });

  test('a signal leaves the restart policy as it is', async () => {
    const id = await docker('run', '-d', '--restart', 'always', ...PASSWORD, '-l', 'purser.on-rotate=signal:HUP', 'busybox', 'sh', '-c', 'trap "touch /tmp/hup" HUP; while [ ! -e /tmp/fail ]; do sleep 0.1; done; rm /tmp/fail; exit 3');
    await purser.put('secret/db/action', { pw: 'signal' });
    await eventually('the signal', async () => (await run('docker', ['exec', id, 'test', '-e', '/tmp/hup'])).status === 0);
    await docker('exec', id, 'touch', '/tmp/fail');
    await eventually('a new start', async () => (await docker('inspect', id, '--format', '{{.State.Running}} {{.RestartCount}}')) === 'true 1');
    await docker('rm', '-f', id);
  });

  test('an action that an agent did not get to is done by the next one', async () => {
    const id = await docker('run', '-d', ...PASSWORD, '-l', 'purser.on-rotate=exec:touch /tmp/done', 'busybox', 'sleep', '600');
    const isDue = (): boolean => readFileSync(join(purser.stateDirectory, 'containers', `${id}.json`), 'utf8').includes('"isActionDue":true');
    // The agent acts when nothing changed for 200 ms, so on a slow machine it may get to it.
    for (let wasDone = true, tries = 1; wasDone; tries++) {
      assert.ok(tries <= 10, 'the agent was killed before the action');
      await eventually('the end of the last action', () => !isDue());
      await docker('exec', id, 'rm', '-f', '/tmp/done');
      await write(purser, 'db/action', { pw: `killed-${String(tries)}` });
      await eventually('an action that is due', isDue);
      await purser.end('agent', 'SIGKILL');
      wasDone = (await run('docker', ['exec', id, 'test', '-e', '/tmp/done'])).status === 0;
      await purser.startAgent();
    }
    await eventually('the action', async () => (await run('docker', ['exec', id, 'test', '-e', '/tmp/done'])).status === 0);
    await docker('rm', '-f', id);
  });

  for (const [value, says] of [['signal:NOPE', /label purser\.on-rotate: there is no signal of this name/], ['signal:KILL', /label purser\.on-rotate: the signal KILL/], ['update', /label purser\.on-rotate: update is for Swarm services, not for containers/], ['whatever', /label purser\.on-rotate: the value is no action/]] as const) {
    test(`a container with on-rotate=${value} does not start`, async () => {
      const result = await run('docker', ['run', '--rm', ...PASSWORD, '-l', `purser.on-rotate=${value}`, 'busybox', 'true']);
      assert.notEqual(result.status, 0);
      assert.match(result.stderr, says);
    });
  }
});
