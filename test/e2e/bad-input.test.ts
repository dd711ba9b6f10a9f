// What goes wrong in an operator's hands: each mistake gets one clear line with a hint, and nothing is lost by it.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { docker, eventually, must, run, type Result } from './command.ts';
import { ADDRESS, BASE, Installation, PURSER, RUNTIME } from './installation.ts';

function assertRefused(result: Result, expected: RegExp, exitCode = 1): void {
  assert.equal(result.status, exitCode, result.stderr);
  assert.match(result.stderr, expected);
  assert.match(result.stderr, /purser: error: [^\n]+\n(purser: [^\n]*\n)*purser: hint: /, 'an error and what to do next');
}

describe('command lines', () => {
  for (const [args, expected] of [
    [['kv', 'put', '--nope', 'secret/x', 'a=b'], /--nope/],
    [['frobnicate'], /frobnicate/],
    [['kv', 'get'], /path/],
    [['server', '--listne', '127.0.0.1:1'], /--listne/],
    [['usage', '--format', 'yaml'], /format/],
    [['usage', '--secret', 'a', '--node', 'b'], /one of/],
  ] as const) {
    test(`purser ${args.join(' ')} is a usage error`, async () => {
      assertRefused(await run(PURSER, args), expected, 2);
    });
  }
});

describe('the core', () => {
  const folder = join(BASE, 'bad');
  const server = (...args: string[]): Promise<Result> => run(PURSER, ['server', '--listen', '127.0.0.1:8299', ...args], { timeoutMs: 60_000 });
  before(() => { mkdirSync(folder, { recursive: true, mode: 0o700 }); });
  after(() => { rmSync(folder, { recursive: true, force: true }); });

  test('an unknown configuration key is named', async () => {
    writeFileSync(join(folder, 'config.json'), '{"listne": "127.0.0.1:8299"}');
    assertRefused(await server('--config', join(folder, 'config.json')), /listne/);
    writeFileSync(join(folder, 'config.json'), '{"listen": ');
    assertRefused(await server('--config', join(folder, 'config.json')), /config\.json/);
  });

  test('plain HTTP is for loopback only', async () => {
    assertRefused(await run(PURSER, ['server', '--data-dir', join(folder, 'http'), '--listen', '0.0.0.0:8299', '--http']), /loopback/);
    assertRefused(await run(PURSER, ['server', '--dev', '--listen', '0.0.0.0:8299']), /loopback/);
  });

  test('an unseal key file open to others is refused', async () => {
    const args = ['--data-dir', join(folder, 'keyfile'), '--auto-unseal-key-file', join(folder, 'open.key')];
    const first = spawn(PURSER, ['server', '--listen', '127.0.0.1:8299', ...args, '--init-if-needed'], { stdio: 'ignore' });
    await eventually('the core', () => existsSync(join(folder, 'open.key')) && existsSync(join(folder, 'keyfile', 'root-token')));
    first.kill('SIGTERM');
    await once(first, 'exit');
    chmodSync(join(folder, 'open.key'), 0o644);
    assertRefused(await server(...args), /open\.key/);
    chmodSync(join(folder, 'open.key'), 0o600);
    truncateSync(join(folder, 'open.key'), 20);
    assertRefused(await server(...args), /open\.key/);
  });
});

describe('an installation', () => {
  let purser: Installation;
  before(async () => {
    purser = await Installation.start();
    await purser.put('secret/db/prod', { password: 'value' });
  });
  after(() => purser.stop());

  test('a second server on the same data directory is refused', async () => {
    assertRefused(await run(PURSER, ['server', '--data-dir', purser.dataDirectory, '--listen', '127.0.0.1:8299'], { timeoutMs: 60_000 }), /another process|in use/);
    assert.equal(await purser.purser('kv', 'get', 'secret/db/prod', '--field', 'password'), 'value');
  });

  test('a second agent on the same state is refused, and the first goes on', async () => {
    assertRefused(await run(PURSER, ['agent', '--state-dir', purser.stateDirectory], { timeoutMs: 60_000 }), /another|already/);
    assert.equal(await docker('run', '--rm', '-l', 'purser.file.x=purser://secret/db/prod', 'busybox', 'cat', '/run/secrets/x'), 'value');
  });

  test('a second agent with an identity of its own is refused, and the first goes on serving and rotating', async () => {
    await purser.purserWithInput(await purser.purser('node', 'token'), 'agent', 'join', '--token', '-', '--name', 'second', '--state-dir', join(BASE, 'second'));
    const id = await docker('run', '--detach', '-l', 'purser.file.x=purser://secret/db/prod', 'busybox', 'sleep', '600');
    const result = await run(PURSER, ['agent', '--state-dir', join(BASE, 'second')], { timeoutMs: 60_000 });
    assertRefused(result, /another agent serves \/run\/purser on this host\n.*systemctl stop purser-agent/);
    await purser.put('secret/db/prod', { password: 'rotated' });
    await eventually('the new value', async () => await docker('exec', id, 'cat', '/run/secrets/x') === 'rotated');
    await purser.put('secret/db/prod', { password: 'value' });
    await docker('rm', '--force', id);
    await purser.purser('node', 'revoke', 'second');
  });

  test('a join token is good once; a wrong one never', async () => {
    const token = await purser.purser('node', 'token');
    const join_ = (text: string, state: string): Promise<Result> => run(PURSER, ['agent', 'join', '--token', '-', '--name', state, '--state-dir', join(BASE, state)], { input: text });
    assert.equal((await join_(token, 'node-2')).status, 0);
    assertRefused(await join_(token, 'node-3'), /join token/);
    assertRefused(await join_(`${token.slice(0, -8)}AAAAAAAA`, 'node-4'), /join token/);
    assertRefused(await join_('not a token', 'node-5'), /join token/);
    for (const state of ['node-3', 'node-4', 'node-5']) assert.equal(existsSync(join(BASE, state, 'node.json')), false, 'a refused join leaves no identity');
    const { stdout } = await run(PURSER, ['node', 'list', '--format', 'json']);
    assert.deepEqual((JSON.parse(stdout) as { name: string; revoked: boolean }[]).filter(({ revoked }) => !revoked).map(({ name }) => name).sort(), ['node-1', 'node-2']);
  });

  test('a half-written or open identity is refused, and never made anew', async () => {
    await purser.end('agent', 'SIGTERM');
    const file = join(purser.stateDirectory, 'node.json');
    const content = readFileSync(file);
    const agent = (): Promise<Result> => run(PURSER, ['agent', '--state-dir', purser.stateDirectory], { timeoutMs: 60_000 });
    truncateSync(file, content.length >> 1);
    assertRefused(await agent(), /node\.json/);
    assert.equal(readFileSync(file).length, content.length >> 1, 'the file was left as it was');
    writeFileSync(file, content);
    const key = join(purser.stateDirectory, 'node.key');
    chmodSync(key, 0o644);
    assertRefused(await agent(), /node\.key/);
    chmodSync(key, 0o600);
    await purser.startAgent();
  });

  test('an agent that never joined says how to', async () => {
    assertRefused(await run(PURSER, ['agent', '--state-dir', join(BASE, 'nowhere'), '--run-dir', '/run/purser-nowhere'], { timeoutMs: 60_000 }), /join/);
    await run(RUNTIME, ['purser-holder-release', '--run-dir', '/run/purser-nowhere']);
  });

  test('a host without FUSE is told so', async () => {
    const result = await run('unshare', ['-m', 'sh', '-c', `mount -t tmpfs tmpfs /dev && mknod -m 666 /dev/null c 1 3 && mknod -m 666 /dev/urandom c 1 9 && exec ${RUNTIME} purser-agent --run-dir /run/purser-no-fuse -- ${process.execPath} ${PURSER} agent`], { timeoutMs: 60_000 });
    assertRefused(result, /fuse/i);
  });

  test('an agent without Docker starts, serves, and says what is missing', async () => {
    await purser.end('agent', 'SIGTERM');
    const child = spawn(RUNTIME, ['purser-agent', '--', process.execPath, PURSER, 'agent', '--state-dir', purser.stateDirectory, '--docker-socket', '/run/no-docker.sock'], { stdio: ['ignore', 'pipe', 'pipe'] });
    let log = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => { log += chunk.toString(); });
    await eventually('the agent', () => purser.answers('/run/purser/agent.sock'));
    await eventually('the remark', () => /docker/i.test(log));
    const gone = new Promise((done) => child.once('exit', done));
    child.kill('SIGTERM');
    await gone;
    await purser.startAgent();
  });

  test('clocks that differ are named in seconds', async () => {
    await purser.end('agent', 'SIGTERM');
    const child = spawn('faketime', ['-f', '+1h', RUNTIME, 'purser-agent', '--', process.execPath, PURSER, 'agent', '--state-dir', purser.stateDirectory], { stdio: 'ignore', detached: true });
    await eventually('the agent', () => purser.answers('/run/purser/agent.sock'));
    const { status, stderr } = await run('docker', ['run', '--rm', '-l', 'purser.file.x=purser://secret/db/prod', 'busybox', 'true']);
    assert.notEqual(status, 0);
    assert.match(stderr, /clock[^\n]*3[56]\d\d/);
    const gone = new Promise((done) => child.once('exit', done));
    await run('pkill', ['-TERM', '-g', String(child.pid)]);
    await gone;
    await purser.startAgent();
  });

  test('a revoked node is cut off at once', async () => {
    const id = await docker('run', '-d', '-l', 'purser.file.x=purser://secret/db/prod', 'busybox', 'sleep', '600');
    await purser.purser('node', 'revoke', 'node-1');
    const { status, stderr } = await run('docker', ['run', '--rm', '-l', 'purser.file.x=purser://secret/db/prod', 'busybox', 'true']);
    assert.notEqual(status, 0);
    assert.match(stderr, /revoked/);
    await purser.put('secret/db/prod', { password: 'after the revocation' });
    assert.equal(await docker('exec', id, 'cat', '/run/secrets/x'), 'value', 'a running container keeps what it had');
    await docker('rm', '-f', id);
  });
});

describe('a full disk', () => {
  const mount = '/run/tmp/small';
  const address = 'http://127.0.0.1:8298';
  after(() => run('umount', ['-l', mount]));

  test('writes are refused, acknowledged ones stay, and space makes it work again', async () => {
    mkdirSync(mount, { recursive: true });
    await must('mount', ['-t', 'tmpfs', '-o', 'size=6m,mode=700', 'tmpfs', mount]);
    const start = (): ReturnType<typeof spawn> => spawn(PURSER, ['server', '--data-dir', join(mount, 'data'), '--listen', '127.0.0.1:8298', '--http', '--auto-unseal-key-file', join(mount, 'key'), '--init-if-needed'], { stdio: 'ignore' });
    const stop = async (child: ReturnType<typeof spawn>): Promise<void> => { const gone = new Promise((done) => child.once('exit', done)); child.kill('SIGTERM'); await gone; };
    let child = start();
    await eventually('the core', async () => (await run(PURSER, ['status', '--address', address])).status === 0);
    const env = { ...process.env, PURSER_ADDR: address, PURSER_TOKEN: readFileSync(join(mount, 'data', 'root-token'), 'utf8').trim() };
    const put = (name: string): Promise<Result> => run(PURSER, ['kv', 'put', `secret/fill/${name}`, '-'], { env, input: JSON.stringify({ v: name.repeat(30_000) }) });
    const acknowledged: string[] = [];
    let refusal: Result | undefined;
    for (let count = 0; count < 200 && refusal === undefined; count++) {
      const result = await put(`${String(count).padStart(3, '0')}`);
      if (result.status === 0) acknowledged.push(String(count).padStart(3, '0'));
      else refusal = result;
    }
    assert.ok(refusal !== undefined && acknowledged.length > 0, 'the disk filled up');
    assert.match(refusal.stderr, /purser: error: /);
    await must('mount', ['-o', 'remount,size=64m', mount]);
    await eventually('a write to work again', async () => (await put('after')).status === 0);
    await stop(child);
    child = start();
    await eventually('the core again', async () => (await run(PURSER, ['status', '--address', address])).status === 0);
    for (const name of acknowledged) assert.equal((await must(PURSER, ['kv', 'get', `secret/fill/${name}`, '--field', 'v'], { env })).length, 90_000, name);
    await stop(child);
  });
});

test('the core\'s address and hints never point a token at plain HTTP', async () => {
  assertRefused(await run(PURSER, ['status', '--address', ADDRESS.replace('https://127.0.0.1', 'http://core.example')]), /https/);
});
