// scripts/install.sh: the command works from where it is installed, without the clone, and goes without a trace.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, test } from 'node:test';

import { eventually, must, run } from './command.ts';
import './installation.ts';

const INSTALL = resolve(import.meta.dirname, '../../scripts/install.sh');

describe('scripts/install.sh', () => {
  test('installs command, shim and store; the server runs from there; --uninstall removes them', async () => {
    await must(INSTALL, []);
    await must(INSTALL, []);
    const data = '/run/tmp/installed';
    await must('mkdir', ['-m', '0700', data]);
    const server = spawn('/usr/local/bin/purser', ['server', '--data-dir', `${data}/server`, '--listen', '127.0.0.1:8297', '--http', '--auto-unseal-key-file', `${data}/key`, '--init-if-needed'], { stdio: 'ignore', cwd: '/' });
    await eventually('the core', async () => (await run('/usr/local/bin/purser', ['status', '--address', 'http://127.0.0.1:8297'])).status === 0);
    const gone = new Promise((done) => server.once('exit', done));
    server.kill('SIGTERM');
    await gone;
    await must(INSTALL, ['--uninstall']);
    for (const path of ['/usr/local/lib/purser', '/usr/local/bin/purser']) assert.equal(existsSync(path), false, path);
  });

  test('an unknown flag is an error', async () => {
    assert.equal((await run(INSTALL, ['--prefix'])).status, 2);
  });
});
