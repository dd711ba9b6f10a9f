// Command lines that are wrong: what the error says, the hint with what to type next, and the exit code (1 refused or failed, 2 the line is wrong).

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import { startUnsealed, type TestServer } from '../server/running.ts';
import { run, withEnvironment } from './run.ts';

let server: TestServer;
let restore: () => void;

before(async () => {
  server = await startUnsealed();
  restore = withEnvironment({ PURSER_ADDR: server.server.address, PURSER_TOKEN: server.root });
  await server.call('POST', 'secret/data/db', { body: { data: { password: 'x' } } });
});
after(async () => { restore(); await server.stop(); });

const LINES: readonly (readonly [line: string, status: number, error: RegExp, hint: RegExp])[] = [
  ['kv get ', 2, /the path is empty/, /such as secret\/db\/prod/],
  ['kv get nowhere/x', 1, /no handler for route/, /purser secrets list/],
  ['kv get secret/none', 1, /secret\/none does not exist/, /kv metadata get/],
  ['kv put secret/db password', 2, /no terminal to ask for the value of password/, /password=- and the value on standard input/],
  ['kv put secret/db password=@/nowhere', 2, /\/nowhere cannot be read: ENOENT/, /check the path/],
  ['kv put secret/db --cas 7 password=@/dev/null', 1, /did not match the current version/, /kv metadata get/],
  ['unwrap x', 1, /is not valid or does not exist/, /used already/],
  ['policy read none', 1, /nothing at this path/, /check the path/],
  ['policy write p /nowhere', 2, /\/nowhere cannot be read: ENOENT/, /check the path/],
  ['workload write w --policy p', 2, /needs selectors or --any/, /--image/],
  ['workload write w --policy p --any --name x', 2, /not both/, /--image/],
  ['node revoke none', 1, /no live node none/, /node list/],
  ['usage --hcl', 2, /--hcl belongs to another question/, /goes with --roles/],
  ['list sys/mounts', 1, /unsupported operation/, /another of read, write, list and delete/],
  ['login --token-file /nowhere', 2, /\/nowhere cannot be read: ENOENT/, /check the path/],
  ['login --method userpass username=mary', 2, /no terminal to ask for the password/, /password=-/],
  ['write auth/x', 2, /nothing to write/, /--force/],
];

for (const [line, status, error, hint] of LINES) {
  test(`purser ${line.trim()}: says what is wrong and what to do`, async () => {
    const result = await run(...line.split(' '));
    assert.equal(result.status, status, result.err);
    assert.equal(result.out, '');
    const [first = '', ...rest] = result.err.trimEnd().split('\n');
    assert.match(first, /^purser: error: /);
    assert.match(first, error);
    assert.match(rest.join('\n'), /^purser: hint: [^\n]+$/);
    assert.match(rest.join('\n'), hint);
  });
}

test('an option that may be repeated takes one value, so that what follows is an argument', async () => {
  for (const line of ['kv metadata put -custom-metadata canary=true secret/trap', 'workload write --any --policy default web', 'token role write --allow default ci']) {
    assert.equal((await run(...line.split(' '))).status, 0, line);
  }
  const { out } = await run('kv', 'metadata', 'get', '--format', 'json', 'secret/trap');
  assert.deepEqual((JSON.parse(out) as { custom_metadata: unknown }).custom_metadata, { canary: 'true' });
  await run('write', '-f', 'auth/token/create');
});

test('agent release takes nothing away under a running agent', async () => {
  const agent = createServer().listen(join(server.directory, 'agent.sock'));
  await once(agent, 'listening');
  const { status, err } = await run('agent', 'release', '--run-dir', server.directory);
  assert.deepEqual([status, err], [1, 'purser: error: the agent of this host runs\npurser: hint: stop it first (systemctl stop purser-agent); running containers then lose their files\n']);
  agent.close();
});
