// The systemd units: systemd understands every line, they start what scripts/install.sh installs, and the rights they leave are as few as they can be.

import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';

const DEPLOY = join(import.meta.dirname, '../../deploy');
const units = readdirSync(DEPLOY).filter((name) => name.endsWith('.service'));
const read = (name: string): string => readFileSync(join(DEPLOY, name), 'utf8');
const hasSystemd = spawnSync('systemd-analyze', ['--version']).status === 0;

/** Most exposure of 10 that `systemd-analyze security` may see, times ten. The agent mounts for Docker and looks into containers: most of what would lower it would break that. */
const MOST_EXPOSURE: Readonly<Record<string, number>> = { 'purser-server.service': 26, 'purser-driver.service': 22, 'purser-agent.service': 77 };

test('there are three units, and scripts/install.sh knows them', () => {
  assert.deepEqual(units.map((name) => name.replace(/^purser-|\.service$/g, '')).sort(), ['agent', 'driver', 'server']);
  assert.equal(readFileSync(join(DEPLOY, '../scripts/install.sh'), 'utf8').split('purser-{server,agent,driver}.service').length, 3);
});

describe('systemd-analyze', { skip: hasSystemd ? false : 'there is no systemd here to ask' }, () => {
  for (const name of units) {
    test(`understands every line of ${name}, and sees no more exposure than there has to be`, () => {
      const folder = mkdtempSync(join(tmpdir(), 'purser-units-'));
      // What is not installed here cannot be looked for.
      writeFileSync(join(folder, name), read(name).replace(/^ExecStart=.*$/m, 'ExecStart=/bin/true').replace(/^ExecReload=.*\n/m, ''));
      const verified = spawnSync('systemd-analyze', ['verify', '--man=no', join(folder, name)], { encoding: 'utf8' });
      assert.deepEqual([verified.status, verified.stderr], [0, '']);
      const secured = spawnSync('systemd-analyze', ['security', '--offline=true', '--no-pager', `--threshold=${String(MOST_EXPOSURE[name])}`, join(folder, name)], { encoding: 'utf8' });
      assert.equal(secured.status, 0, secured.stdout.split('\n').slice(-3).join('\n'));
      rmSync(folder, { recursive: true });
    });
  }
});

for (const name of units) {
  test(`${name} starts what is installed, leaves no core file and stays out of swap`, () => {
    const text = read(name);
    assert.match(text, /^ExecStart=(?:\/usr\/local\/bin\/purser |.*\/usr\/local\/lib\/purser\/purser )(?:server|agent|driver)/m);
    for (const line of ['UMask=0077', 'LimitCORE=0', 'MemorySwapMax=0', 'NoNewPrivileges=yes']) assert.ok(text.includes(`\n${line}\n`), line);
  });
}
