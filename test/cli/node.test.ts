// purser node token and list against a running server, and the line for a cluster as a shell runs it.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { startUnsealed, type TestServer } from '../server/running.ts';
import { run, withEnvironment } from './run.ts';

let server: TestServer;
let restore: () => void;

before(async () => {
  server = await startUnsealed({ audit: false });
  restore = withEnvironment({ PURSER_ADDR: server.server.address, PURSER_TOKEN: server.root });
});
after(async () => {
  restore();
  await server.stop();
});

for (const [options, units] of [[['--uses', '3'], 'purser-agent'], [['--uses', '3', '--driver'], 'purser-agent purser-driver']] as const) {
  test(`node token --swarm ${options.join(' ')} prints a line that joins by standard input, then starts ${units}, then installs the runtime`, async () => {
    const { status, out, err } = await run('node', 'token', '--swarm', ...options);
    assert.equal(status, 0, err);
    assert.match(err, /good for 3 hosts/);
    const folder = mkdtempSync(join(tmpdir(), 'purser-line-'));
    for (const program of ['purser', 'systemctl']) writeFileSync(join(folder, program), `#!/bin/sh\necho "${program} $*" >> ${folder}/calls\n[ "$*" = "agent join --token -" ] && cat > ${folder}/token\ntrue\n`, { mode: 0o755 });
    execFileSync('sh', ['-c', out], { env: { PATH: `${folder}:/usr/bin:/bin` } });
    assert.deepEqual(readFileSync(join(folder, 'calls'), 'utf8').trim().split('\n'), ['purser agent join --token -', `systemctl enable --now ${units}`, 'purser runtime install']);
    assert.match(readFileSync(join(folder, 'token'), 'utf8'), /^purser-join-1\.[A-Za-z0-9_-]+$/);
    rmSync(folder, { recursive: true });
  });
}

test('node token refuses a number of hosts that is none', async () => {
  for (const uses of ['0', '-1', '1.5', 'many', '10000']) assert.equal((await run('node', 'token', `--uses=${uses}`)).status, 2, uses);
});

test('node list has a column for what each node holds', async () => {
  assert.match((await run('node', 'list')).out, /^NAME +ID +DRIVER +VERSION +LAST SEEN +CONTAINERS +SECRETS +REVOKED/);
});
