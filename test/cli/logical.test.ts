// purser read | write | list | delete against a running server: output, exit codes, warnings, and what never shows.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import type { Programs } from '../../src/cli/context.ts';
import { createOutput } from '../../src/cli/output.ts';
import { runCli } from '../../src/cli/program.ts';
import { startUnsealed, type TestServer } from '../server/running.ts';

let server: TestServer;
let home: string;
const saved = { ...process.env };

before(async () => {
  server = await startUnsealed({ audit: false });
  home = mkdtempSync(join(tmpdir(), 'purser-cli-'));
  Object.assign(process.env, { HOME: home, PURSER_ADDR: server.server.address, PURSER_TOKEN: server.root });
});
after(async () => {
  process.env = saved;
  rmSync(home, { recursive: true, force: true });
  await server.stop();
});

async function run(...args: readonly string[]): Promise<{ status: number; out: string; err: string }> {
  const texts = { out: '', err: '' };
  const sink = (name: 'out' | 'err') => ({ write: (chunk: string) => { texts[name] += chunk; return true; } }) as unknown as NodeJS.WritableStream;
  const status = await runCli(args, {} as Programs, createOutput(sink('out'), sink('err')));
  return { status, ...texts };
}

describe('purser read, write, list, delete', () => {
  test('write sends fields, and a name given twice as a list', async () => {
    const path = join(home, 'body.json');
    writeFileSync(path, JSON.stringify({ data: { user: 'app', password: 'CANARY' } }));
    const written = await run('write', 'secret/data/db', `@${path}`);
    assert.equal(written.status, 0, written.err);
    assert.match(written.out, /^KEY +VALUE\ncreated_time .*\n(?:.*\n)*version +1\n$/);
    const asked = await run('write', 'sys/capabilities-self', 'paths=secret/x', 'paths=secret/y', '--format', 'json');
    assert.deepEqual((JSON.parse(asked.out) as { data: unknown }).data, { 'secret/x': ['root'], 'secret/y': ['root'] });
  });

  test('read shows the data as a table, the whole answer as json, one field alone', async () => {
    assert.match((await run('read', 'secret/data/db')).out, /^data +\{"password":"CANARY","user":"app"\}|^data +\{"user":"app","password":"CANARY"\}/m);
    assert.equal((JSON.parse((await run('read', '/v1/secret/data/db', 'version=1', '--format', 'json')).out) as { data: { data: { user: string } } }).data.data.user, 'app');
    assert.equal((await run('read', 'sys/policies/acl/default', '--field', 'name')).out, 'default\n');
    assert.match((await run('read', 'identity/oidc/.well-known/openid-configuration', '--field', 'issuer')).out, /\/v1\/identity\/oidc\n$/);
  });

  test('list prints names, delete removes, a path that is not there fails with a hint', async () => {
    assert.equal((await run('list', 'secret/metadata')).out, 'db\n');
    assert.equal((await run('list', 'secret/metadata/', '--format', 'json')).out, '[\n  "db"\n]\n');
    const nothing = await run('list', 'auth/token/roles');
    assert.deepEqual([nothing.status, nothing.out, nothing.err.split('\n')[0]], [1, '', 'purser: error: no value found at auth/token/roles']);
    assert.deepEqual(await run('list', 'auth/token/roles', '--format', 'json').then(({ status, out }) => [status, out]), [1, '[]\n']);
    assert.deepEqual(await run('delete', 'secret/metadata/db'), { status: 0, out: '', err: 'deleted secret/metadata/db\n' });
    const gone = await run('read', 'secret/data/db');
    assert.equal(gone.status, 1);
    assert.match(gone.err, /^purser: error: the core refused the request: there is nothing at this path\n/);
  });

  test('a secret on the command line works with a warning that does not repeat it, other fields without one', async () => {
    const warned = await run('write', 'auth/token/lookup', `token=${server.root}`, '--field', 'display_name');
    assert.deepEqual([warned.status, warned.out], [0, 'root\n']);
    assert.match(warned.err, /^purser: warning: the value of token stood on the command line/);
    assert.equal(warned.err.includes(server.root), false);
    assert.equal((await run('write', 'sys/policies/acl/p', 'policy=path "a" { capabilities = ["read"] }')).err, 'wrote sys/policies/acl/p\n');
  });

  const WRONG: readonly (readonly [readonly string[], RegExp])[] = [
    [['write', 'sys/policies/acl/p'], /nothing to write\npurser: hint: .*--force/],
    [['read', '/v1/'], /the path is empty/],
    [['read', 'sys/mounts', 'list'], /name=value/],
    [['read', 'sys/policies/acl/default', '--field', 'none'], /no field none\npurser: hint: it has: name, policy/],
    [['list', 'sys/policies/acl', '--format', 'csv'], /no such format/],
  ];
  for (const [args, message] of WRONG) {
    test(`purser ${args.join(' ')} is a command line that is wrong`, async () => {
      const { status, out, err } = await run(...args);
      assert.deepEqual([status, out], [2, '']);
      assert.match(err, message);
    });
  }
});
