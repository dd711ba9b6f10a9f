// `purser runtime install | status | uninstall` against a live engine: merged, not overwritten; reloaded, not restarted; put back.

import assert from 'node:assert/strict';
import { chmodSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterEach, describe, test } from 'node:test';

import { docker, eventually, must, run } from './command.ts';
import { PURSER } from './installation.ts';

const DAEMON_JSON = '/etc/docker/daemon.json';
const dockerPid = (): Promise<string> => must('cat', ['/run/docker.pid']);
const defaultRuntime = (): Promise<string> => docker('info', '--format', '{{.DefaultRuntime}}');

describe('purser runtime', () => {
  afterEach(async () => {
    await run(PURSER, ['runtime', 'uninstall', '--force']);
    // dockerd keeps a setting whose key is gone, so the engine is told the default in words first.
    writeFileSync(DAEMON_JSON, '{"default-runtime":"runc"}');
    await must('sh', ['-c', 'kill -HUP $(cat /run/docker.pid)']);
    await eventually('the default runtime', async () => (await defaultRuntime()) === 'runc');
    rmSync(DAEMON_JSON, { force: true });
  });

  test('install makes it the default by live reload, twice is once, and uninstall removes every trace', async () => {
    const pid = await dockerPid();
    const running = await docker('run', '-d', '--rm', 'busybox', 'sleep', '600');
    await must(PURSER, ['runtime', 'install']);
    assert.equal(await defaultRuntime(), 'purser');
    const first = readFileSync(DAEMON_JSON, 'utf8');
    await must(PURSER, ['runtime', 'install']);
    assert.equal(readFileSync(DAEMON_JSON, 'utf8'), first);
    assert.equal(await docker('run', '--rm', 'busybox', 'echo', 'through the shim'), 'through the shim');
    const status = JSON.parse(await must(PURSER, ['runtime', 'status', '--format', 'json'])) as { installed: boolean };
    assert.equal(status.installed, true);
    await must(PURSER, ['runtime', 'uninstall']);
    assert.equal(await defaultRuntime(), 'runc');
    assert.equal(existsSync(DAEMON_JSON), false, 'the file was ours alone');
    assert.equal(existsSync('/usr/local/bin/purser-runtime'), false);
    assert.equal(await dockerPid(), pid, 'the engine was not restarted');
    assert.equal(await docker('inspect', running, '--format', '{{.State.Running}}'), 'true', 'a container was not touched');
    await docker('rm', '-f', running);
  });

  test('other settings stay as they are', async () => {
    writeFileSync(DAEMON_JSON, '{"log-level":"warn","runtimes":{"other":{"path":"/usr/sbin/runc"}},"default-runtime":"other"}');
    await must('sh', ['-c', 'kill -HUP $(cat /run/docker.pid)']);
    await eventually('the reload', async () => (await defaultRuntime()) === 'other');
    await must(PURSER, ['runtime', 'install']);
    const merged = JSON.parse(readFileSync(DAEMON_JSON, 'utf8')) as Record<string, unknown>;
    assert.equal(merged['log-level'], 'warn');
    assert.deepEqual(Object.keys(merged['runtimes'] as object).sort(), ['other', 'purser']);
    await must(PURSER, ['runtime', 'uninstall']);
    assert.deepEqual(JSON.parse(readFileSync(DAEMON_JSON, 'utf8')), { 'log-level': 'warn', 'runtimes': { other: { path: '/usr/sbin/runc' } }, 'default-runtime': 'other' });
    assert.equal(await defaultRuntime(), 'other');
  });

  test('a broken daemon.json is refused and left alone', async () => {
    for (const text of ['{"log-level": "warn",}', '[]', '{"runtimes": 5}', '']) {
      writeFileSync(DAEMON_JSON, text);
      const { status, stderr } = await run(PURSER, ['runtime', 'install']);
      assert.equal(status, 1, text);
      assert.match(stderr, /purser: error: .*daemon\.json[^]*purser: hint: /);
      assert.equal(readFileSync(DAEMON_JSON, 'utf8'), text);
      assert.equal(await defaultRuntime(), 'runc');
    }
  });

  test('purser doctor tells what is wrong with it, and what it advises mends it', async () => {
    const BINARY = '/usr/local/bin/purser-runtime';
    const finding = async (): Promise<{ status: string; message: string; hint?: string }> => {
      const { stdout } = await run(PURSER, ['doctor', '--address', 'http://127.0.0.1:1', '--format', 'json']);
      return (JSON.parse(stdout) as { check: string; status: string; message: string; hint?: string }[]).find(({ check }) => check === 'runtime')!;
    };
    const breaks = async (status: string, says: RegExp): Promise<void> => {
      const found = await finding();
      assert.equal(found.status, status, found.message);
      assert.match(found.message, says);
      assert.match(found.hint ?? '', /^purser runtime install/);
      await must(PURSER, ['runtime', 'install']);
      assert.deepEqual((await finding()).status, 'ok');
    };
    await breaks('warn', /is not installed/);
    const built = readFileSync(BINARY);
    writeFileSync(BINARY, Buffer.concat([built, Buffer.from('another build')])); // an ELF program may end in anything
    await breaks('warn', /is another build of version/);
    rmSync(BINARY);
    writeFileSync(BINARY, '#!/bin/sh\necho "purser-runtime 0.0.1"\n', { mode: 0o755 });
    await breaks('warn', /is of version 0\.0\.1, this program of version \d/);
    chmodSync(BINARY, 0o644);
    await breaks('fail', /cannot be executed.*none can start/);
    rmSync(BINARY);
    assert.match((await run('docker', ['run', '--rm', 'busybox', 'true'])).stderr, /purser-runtime/, 'so it is');
    await breaks('fail', /is missing.*none can start/);
    // Configured by hand, or put back from a backup, and dockerd was not told.
    const installed = readFileSync(DAEMON_JSON, 'utf8');
    await must(PURSER, ['runtime', 'uninstall']);
    await must('cp', [join(dirname(PURSER), 'purser-runtime'), BINARY]);
    writeFileSync(DAEMON_JSON, installed);
    await breaks('fail', /the running Docker Engine does not use it/);
    assert.equal(await defaultRuntime(), 'purser');
  });

  test('no engine: a clear error and no file', async () => {
    const { status, stderr } = await run(PURSER, ['runtime', 'install', '--docker-socket', '/run/no-docker.sock']);
    assert.equal(status, 1);
    assert.match(stderr, /purser: error: [^]*purser: hint: /);
    assert.equal(existsSync(DAEMON_JSON), false);
  });
});
