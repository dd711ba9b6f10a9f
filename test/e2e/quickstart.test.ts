// The first command of the README, run as a new user would: once, again, and taken down without a trace.

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { after, describe, test } from 'node:test';

import { docker, must, run } from './command.ts';
import './installation.ts';

const QUICKSTART = resolve(import.meta.dirname, '../../scripts/quickstart.sh');

describe('scripts/quickstart.sh', () => {
  after(() => run(QUICKSTART, ['--down'], { timeoutMs: 120_000 }));

  test('shows a reference, a rotation in place and the usage report; again it reuses what is there; --down removes all of it', async () => {
    const before = await docker('info', '--format', '{{.DefaultRuntime}}');
    for (const round of [1, 2]) {
      const output = await must(QUICKSTART, [], { timeoutMs: 300_000 });
      assert.match(output, /\{"purser\.file\.db_password":"purser:\/\/secret\/db\/prod#password"\}/);
      assert.match(output, /first-[0-9a-f]{12}[^]*second-[0-9a-f]{12}/);
      assert.match(output, /secret\/db\/prod#password .*purser-quickstart/);
      if (round === 2) assert.match(output, /server is running already[^]*agent is running already/);
    }
    await must(QUICKSTART, ['--down'], { timeoutMs: 120_000 });
    assert.equal(await docker('info', '--format', '{{.DefaultRuntime}}'), before);
    assert.equal(await docker('ps', '--all', '--quiet', '--filter', 'name=purser-quickstart'), '');
    for (const path of ['/var/lib/purser', '/run/purser', '/etc/docker/daemon.json', '/usr/local/bin/purser-runtime']) assert.equal(existsSync(path), false, path);
    assert.equal((await run('pgrep', ['-f', 'purser-holder|dist/purser'])).status, 1, 'no process is left');
    assert.match(await must(QUICKSTART, ['--down']), /nothing to remove/);
  });

  test('an unknown flag is an error', async () => {
    const { status, stderr } = await run(QUICKSTART, ['--dwon']);
    assert.equal(status, 2);
    assert.match(stderr, /usage/);
  });
});
