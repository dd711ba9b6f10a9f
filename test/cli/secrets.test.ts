// purser secrets | policy | capabilities against a running server.

import assert from 'node:assert/strict';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { startUnsealed, temporaryDirectory, type TestServer } from '../server/running.ts';
import { run, withEnvironment } from './run.ts';

let server: TestServer;
let restore: () => void;
const files = temporaryDirectory();
before(async () => {
  server = await startUnsealed({ audit: false });
  restore = withEnvironment({ PURSER_ADDR: server.server.address, PURSER_TOKEN: server.root });
});
after(async () => { restore(); await server.stop(); files.remove(); });

describe('purser secrets', () => {
  test('enable, tune, move, list and disable', async () => {
    assert.equal((await run('secrets', 'enable', 'kv', '--path', 'old/')).status, 0);
    assert.equal((await run('write', 'old/a', 'v=1')).status, 0);
    const tuned = await run('secrets', 'tune', 'old', '--description', 'of the team', '--version', '2', '--max-lease-ttl', '1h', '--format', 'json');
    assert.equal(tuned.status, 0, tuned.err);
    const { description, options, max_lease_ttl: ttl } = JSON.parse(tuned.out) as Record<string, unknown>;
    assert.deepEqual([description, options, ttl], ['of the team', { version: '2' }, 3600]);
    const moved = await run('secrets', 'move', '/old/', 'new');
    assert.match(moved.err, /what was below old\/ is below new\/\npurser: hint: references, policies and workload roles/);
    assert.match((await run('kv', 'get', 'new/a')).out, /v +1/);
    assert.match((await run('secrets', 'list')).out, /^new\/ +kv +2 +kv_\w+ +of the team$/m);
    assert.equal((await run('secrets', 'move', 'old', 'x')).status, 1);
    assert.equal((await run('secrets', 'disable', 'new')).status, 0);
    assert.doesNotMatch((await run('secrets', 'list')).out, /^new\//m);
    assert.equal((await run('secrets', 'tune', '/')).status, 2);
  });
});

describe('purser policy and capabilities', () => {
  test('write, list, read, delete; and what the policy allows', async () => {
    const path = join(files.path, 'p.hcl');
    writeFileSync(path, 'path "secret/*" { capabilities = ["read"] }\n');
    assert.equal((await run('policy', 'write', 'cli', path)).status, 0);
    assert.match((await run('policy', 'list')).out, /^cli$/m);
    assert.equal((await run('policy', 'read', 'cli')).out, readFileSync(path, 'utf8'));
    const created = await server.call('POST', 'auth/token/create', { body: { policies: ['cli'] } });
    const { accessor } = (created.body as { auth: { accessor: string } }).auth;
    const shown = await run('capabilities', '--accessor', accessor, 'secret/a', 'other');
    assert.equal(shown.out, 'PATH      CAPABILITIES\nsecret/a  read\nother     deny\n', shown.err);
    assert.deepEqual(JSON.parse((await run('capabilities', 'x', '--format', 'json')).out), { x: ['root'] });
    assert.equal((await run('capabilities', 'x', '--token', 'hvs.CANARY')).status, 2);
    assert.equal((await run('policy', 'delete', 'cli')).status, 0);
    assert.equal((await run('policy', 'read', 'cli')).status, 1);
  });

  test('fmt lays a file out in place, keeps its mode, and --check only tells', async () => {
    const path = join(files.path, 'ugly.hcl');
    writeFileSync(path, 'path "a" {\ncapabilities=["read"]\n}', { mode: 0o640 });
    const before = statSync(path).mode;
    assert.equal((await run('policy', 'fmt', path, '--check')).status, 1);
    assert.equal((await run('policy', 'fmt', path)).status, 0);
    assert.equal(readFileSync(path, 'utf8'), 'path "a" {\n  capabilities = ["read"]\n}\n');
    assert.equal(statSync(path).mode, before);
    assert.equal((await run('policy', 'fmt', path, '--check')).status, 0);
    writeFileSync(path, 'path "a" {');
    const broken = await run('policy', 'fmt', path);
    assert.deepEqual([broken.status, /purser: hint: a stanza looks like/.test(broken.err), readFileSync(path, 'utf8')], [1, true, 'path "a" {']);
  });
});
