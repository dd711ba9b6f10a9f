// How the agent finds its descriptors, and how it waits for itself where Node cannot exec.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { inheritedDescriptors } from '../../src/agent/launcher.ts';
import { isListening } from '../../src/lib/unix-socket.ts';
import { parseMountinfo } from '../../src/agent/host-mounts.ts';
import { isPurserError } from '../../src/lib/errors.ts';

test('inheritedDescriptors() reads what the launcher writes and takes it out of the environment', () => {
  const environment: NodeJS.ProcessEnv = { PURSER_AGENT_FDS: '3,4,5', OTHER: 'x' };
  assert.deepEqual(inheritedDescriptors(environment), { fuseFd: 3, stateFds: [4, 5] });
  assert.deepEqual(environment, { OTHER: 'x' });
  assert.equal(inheritedDescriptors(environment), undefined);
});

for (const value of ['', '3', '3,4', '3,4,5,6', 'a,b,c', '3,4,-5', '3, 4, 5', '99999,4,5']) {
  test(`inheritedDescriptors() refuses ${JSON.stringify(value)}`, () => {
    assert.throws(() => inheritedDescriptors({ PURSER_AGENT_FDS: value }), (error) => isPurserError(error, 'ERR_CONFIG_INVALID'));
  });
}

test('launch() starts the same command line below purser-runtime, passes SIGTERM on and gives its exit code back', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'purser-launch-'));
  try {
    // The launcher's part: everything after "--" with the descriptors' variable set.
    writeFileSync(join(directory, 'purser-runtime'), '#!/bin/sh\nwhile [ "$1" != -- ]; do echo "$1"; shift; done; shift\nexec env PURSER_AGENT_FDS=3,4,5 "$@"\n');
    chmodSync(join(directory, 'purser-runtime'), 0o755);
    const script = join(directory, 'agent.mts');
    writeFileSync(script, `
      import { inheritedDescriptors, launch } from ${JSON.stringify(resolve('src/agent/launcher.ts'))};
      if (inheritedDescriptors() === undefined) { const code = await launch('/run/x'); console.log('code', code); }
      else { process.on('SIGTERM', () => process.exit(7)); setInterval(() => {}, 1000); console.log('agent', process.argv.slice(2).join(' ')); }`);
    const child = spawn(process.execPath, ['--import', 'tsx', script, 'agent', '--flag'], { stdio: ['ignore', 'pipe', 'inherit'] });
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
      if (text.includes('agent agent --flag')) child.kill('SIGTERM');
    });
    const [code] = await once(child, 'close') as [number];
    // With process.execve the process itself ends with 7; without, the one that waits reports it.
    assert.match(output, /purser-agent\n--run-dir\n\/run\/x\n(--parent-death\nTERM\n)?agent agent --flag\n(code 7\n)?$/);
    assert.equal(code, output.endsWith('code 7\n') ? 0 : 7);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});

test('isListening() is false for a path that nobody has', async () => {
  assert.equal(await isListening('/nonexistent/purser.sock'), false);
});

test('parseMountinfo() reads mount points with spaces, optional fields and types', () => {
  assert.deepEqual(parseMountinfo([
    '36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue',
    '80 36 0:79 /x/bound/@a /var/lib/my\\040docker/s ro,nosuid,nodev shared:7 - fuse.purser purser rw',
    '', 'garbage',
  ].join('\n')), [
    { mountPoint: '/mnt2', options: ['rw', 'noatime'], type: 'ext3' },
    { mountPoint: '/var/lib/my docker/s', options: ['ro', 'nosuid', 'nodev'], type: 'fuse.purser' },
  ]);
});
