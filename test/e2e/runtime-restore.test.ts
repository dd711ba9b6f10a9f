// installRuntime() and uninstallRuntime() where things do not go smoothly: containers that still need the runtime, an operator who edits
// meanwhile, a dockerd that does not take the configuration, no dockerd at all. In the sandbox, against its engine.

import assert from 'node:assert/strict';
import { existsSync, lstatSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { installRuntime, runtimeStatus, uninstallRuntime } from '../../src/agent/runtime-config.ts';
import { isPurserError } from '../../src/lib/errors.ts';
import { buildShim } from '../shim/shim.ts';
import { docker, eventually, must } from './command.ts';

assert.equal(process.env['SANDBOX'], '1', 'end-to-end tests run inside scripts/sandbox.sh only');

const DAEMON_JSON = '/etc/docker/daemon.json';
const BINARY = '/usr/local/bin/purser-runtime';
const STATE = '/var/lib/purser/runtime-install.json';
const defaultRuntime = (): Promise<string> => docker('info', '--format', '{{.DefaultRuntime}}');
const runtimes = async (): Promise<string[]> => Object.keys(JSON.parse(await docker('info', '--format', '{{json .Runtimes}}')) as object);

let dir: string;
let source: string;
before(() => {
  dir = mkdtempSync(join(tmpdir(), 'purser-runtime-'));
  source = join(dir, 'purser-runtime');
  buildShim(source, 'release');
});
after(() => rmSync(dir, { recursive: true, force: true }));
afterEach(async () => {
  await uninstallRuntime({ force: true });
  rmSync(DAEMON_JSON, { force: true });
});

describe('uninstallRuntime()', () => {
  test('keeps the entry while a container needs it, then finishes', async () => {
    await installRuntime({ source });
    await docker('run', '-d', '--name', 'dependent', 'busybox', 'sleep', '600');
    const first = await uninstallRuntime({ force: false });
    assert.deepEqual([first.changed, first.complete], [true, false]);
    assert.match(first.warnings[0] ?? '', /: dependent \(/);
    assert.equal(await defaultRuntime(), 'runc');
    assert.ok((await runtimes()).includes('purser') && existsSync(BINARY) && existsSync(STATE));
    await docker('restart', '-t', '0', 'dependent');
    assert.equal(await docker('inspect', 'dependent', '--format', '{{.State.Running}}'), 'true', 'it still starts');
    assert.deepEqual((await uninstallRuntime({ force: false })).changed, false);
    await docker('rm', '-f', 'dependent');
    const last = await uninstallRuntime({ force: false });
    assert.deepEqual([last.changed, last.complete, last.warnings], [true, true, []]);
    assert.ok(!(await runtimes()).includes('purser'), 'dockerd forgot it');
    assert.deepEqual([DAEMON_JSON, BINARY, STATE].map(existsSync), [false, false, false]);
  });

  test('leaves the default that an operator chose meanwhile', async () => {
    await installRuntime({ source });
    const config = JSON.parse(readFileSync(DAEMON_JSON, 'utf8')) as { runtimes: object };
    writeFileSync(DAEMON_JSON, JSON.stringify({ ...config, 'runtimes': { ...config.runtimes, mine: { path: '/usr/sbin/runc' } }, 'default-runtime': 'mine' }));
    await uninstallRuntime({ force: false });
    assert.equal(await defaultRuntime(), 'mine');
    assert.deepEqual(JSON.parse(readFileSync(DAEMON_JSON, 'utf8')), { 'runtimes': { mine: { path: '/usr/sbin/runc' } }, 'default-runtime': 'mine' });
    // For the tests that follow.
    writeFileSync(DAEMON_JSON, '{"default-runtime":"runc","runtimes":{}}');
    await must('sh', ['-c', 'kill -HUP $(cat /run/docker.pid)']);
    await eventually('the reload', async () => (await defaultRuntime()) === 'runc');
  });

  test('gives the former file back byte for byte, through a symbolic link', async () => {
    const real = join(dir, 'daemon.json');
    const text = '{ "log-level":\t"info" ,\n      "max-concurrent-downloads": 3}';
    writeFileSync(real, text, { mode: 0o640 });
    symlinkSync(real, DAEMON_JSON);
    await installRuntime({ source });
    assert.ok(lstatSync(DAEMON_JSON).isSymbolicLink());
    assert.equal(await defaultRuntime(), 'purser');
    await uninstallRuntime({ force: false });
    assert.equal(readFileSync(real, 'utf8'), text);
    assert.equal(lstatSync(real).mode & 0o777, 0o640);
    assert.equal(await defaultRuntime(), 'runc');
  });

  test('asks for --force where no dockerd runs, and then only edits files', async () => {
    await installRuntime({ source });
    await assert.rejects(uninstallRuntime({ force: false, pidFiles: ['/absent'] }), (error) => isPurserError(error, 'ERR_DOCKER_UNAVAILABLE') && error.hint?.includes('--force') === true);
    assert.ok(existsSync(DAEMON_JSON));
    assert.equal((await uninstallRuntime({ force: true, pidFiles: ['/absent'] })).complete, true);
    assert.equal(existsSync(DAEMON_JSON), false);
    // dockerd was not told; it is now, so that the next test starts clean.
    writeFileSync(DAEMON_JSON, '{"default-runtime":"runc","runtimes":{}}');
    await must('sh', ['-c', 'kill -HUP $(cat /run/docker.pid)']);
    await eventually('the reload', async () => (await defaultRuntime()) === 'runc');
  });
});

describe('installRuntime()', () => {
  test('puts everything back when dockerd does not take the configuration', async () => {
    // Valid JSON, but a key that dockerd does not know makes it refuse the reload.
    const text = '{"no-such-setting": true}\n';
    writeFileSync(DAEMON_JSON, text);
    await assert.rejects(installRuntime({ source, reloadTimeoutMs: 1500 }), (error) => isPurserError(error, 'ERR_RUNTIME_CONFIG') && /did not apply/.test(error.message));
    assert.equal(readFileSync(DAEMON_JSON, 'utf8'), text);
    assert.deepEqual([BINARY, STATE].map(existsSync), [false, false]);
    assert.equal(await defaultRuntime(), 'runc');
  });

  test('refuses a source that is not the shim, before anything is written', async () => {
    await assert.rejects(installRuntime({ source: '/bin/true' }), (error) => isPurserError(error, 'ERR_RUNTIME_CONFIG'));
    assert.deepEqual([DAEMON_JSON, BINARY, STATE].map(existsSync), [false, false, false]);
  });

  test('brings an older binary up to date, and tells dockerd again when it missed a reload', async () => {
    await installRuntime({ source });
    assert.equal((await installRuntime({ source })).changed, false);
    writeFileSync(BINARY, '#!/bin/sh\n[ "$1" = purser-version ] && echo purser-runtime 0.0.1\n');
    assert.equal((await runtimeStatus({ source })).binaryVersion, '0.0.1');
    assert.equal((await installRuntime({ source })).changed, true);
    const status = await runtimeStatus({ source });
    assert.deepEqual([status.installed, status.default, status.dockerLive, status.binaryVersion], [true, true, true, '1.2.3']);
    assert.equal(lstatSync(BINARY).mode & 0o777, 0o755);
  });
});

describe('runtimeStatus()', () => {
  test('tells what is there without changing it', async () => {
    assert.deepEqual(await runtimeStatus({ dockerSocket: '/absent.sock', source }),
      { installed: false, configuredPath: undefined, default: false, dockerLive: undefined, binaryPath: BINARY, binary: 'missing', binaryVersion: undefined, versionMatches: false, sameBuild: undefined });
  });
});
