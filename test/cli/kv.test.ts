// `purser kv` against a real server: exit code, stdout and stderr of command lines, with tokens that may do everything, only
// write, or nothing.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';

import { startUnsealed, type TestServer } from '../server/running.ts';
import { run, withEnvironment } from './run.ts';

let server: TestServer;
let restore: () => void;

before(async () => {
  server = await startUnsealed();
  restore = withEnvironment({ PURSER_ADDR: server.server.address });
  await server.call('POST', 'sys/mounts/old', { body: { type: 'kv', options: { version: '1' } } });
  await server.call('POST', 'sys/mounts/team/deep', { body: { type: 'kv-v2' } });
  await server.call('PUT', 'sys/policy/writer', { body: { policy: 'path "secret/data/in/*" { capabilities = ["create", "update"] }' } });
});
after(async () => { restore(); await server.stop(); });
beforeEach(() => { process.env['PURSER_TOKEN'] = server.root; });

async function runJson(...args: string[]): Promise<Record<string, unknown>> {
  return JSON.parse((await run(...args)).out) as Record<string, unknown>;
}

/** A file with a secret, so that no value stands on a command line. */
function file(name: string, content: string): string {
  const path = join(server.directory, name);
  writeFileSync(path, content, { mode: 0o600 });
  return `@${path}`;
}

describe('purser kv, version 2', () => {
  test('put says which version it wrote, get shows it, and the value stands nowhere else', async () => {
    assert.deepEqual(await run('kv', 'put', 'secret/db', `password=${file('p', 's3cr3t')}`), { status: 0, out: 'secret/db is at version 1\n', err: '' });
    assert.equal((await run('kv', 'get', '--field', 'password', 'secret/db')).out, 's3cr3t\n');
    const { data, metadata } = await runJson('kv', 'get', 'secret/db', '--format=json');
    assert.deepEqual([data, (metadata as { version: number }).version], [{ password: 's3cr3t' }, 1]);
    const warned = await run('kv', 'put', 'secret/db', 'password=typed');
    assert.match(warned.err, /purser: warning: the value of password stood on the command line/);
    assert.doesNotMatch(warned.err + warned.out, /typed/);
  });

  test('cas, versions, mount: in the project\'s spelling and in that of Vault', async () => {
    assert.equal((await run('kv', 'put', '-mount=secret', '-cas=0', 'cas/a', file('j', '{"a":{"b":1}}'))).out, 'secret/cas/a is at version 1\n');
    const refused = await run('kv', 'put', '--mount', 'secret', '--cas', '0', 'cas/a', file('j', '{"a":2}'));
    assert.equal(refused.status, 1);
    assert.match(refused.err, /check-and-set parameter did not match the current version/);
    assert.equal((await run('kv', 'patch', '--cas', '1', 'secret/cas/a', `c=${file('p', 'x')}`)).out, 'secret/cas/a is at version 2\n');
    assert.deepEqual((await runJson('kv', 'get', '-mount', 'secret', '-format', 'json', 'cas/a'))['data'], { a: { b: 1 }, c: 'x' });
    assert.deepEqual((await runJson('kv', 'get', '-version', '1', '-format', 'json', 'secret/cas/a'))['data'], { a: { b: 1 } });
    assert.equal((await run('kv', 'put', '--cas', 'one', 'secret/cas/a', file('j', '{}'))).status, 2);
  });

  test('delete, undelete, destroy and rollback, each with what to do next', async () => {
    for (const value of ['1', '2', '3']) await run('kv', 'put', 'secret/v', `n=${file('n', value)}`);
    await run('kv', 'delete', 'secret/v');
    const gone = await run('kv', 'get', 'secret/v');
    assert.deepEqual([gone.status, gone.out], [1, '']);
    assert.match(gone.err, /secret\/v does not exist, or was deleted\npurser: hint: purser kv metadata get secret\/v/);
    await run('kv', 'undelete', '--versions', '3', 'secret/v');
    assert.equal((await run('kv', 'get', '--field', 'n', 'secret/v')).out, '3\n');
    await run('kv', 'destroy', '--versions', '2', 'secret/v');
    assert.match((await run('kv', 'get', '--version', '2', 'secret/v')).err, /version 2 of secret\/v does not exist, or was deleted/);
    assert.equal((await run('kv', 'rollback', '--version', '1', 'secret/v')).out, 'secret/v is at version 4, the content of version 1\n');
    assert.equal((await run('kv', 'rollback', '--version', '2', 'secret/v')).status, 1);
    assert.equal((await run('kv', 'destroy', 'secret/v')).status, 2);
    assert.equal((await run('kv', 'delete', '--versions', '1,x', 'secret/v')).status, 2);
  });

  test('metadata put replaces, patch merges, get shows both tables, delete removes all', async () => {
    await run('kv', 'put', 'secret/m', `n=${file('n', '1')}`);
    await run('kv', 'metadata', 'put', 'secret/m', '--max-versions', '3', '--custom-metadata', 'owner=shop', '--custom-metadata', 'canary=true');
    await run('kv', 'metadata', 'patch', 'secret/m', '--custom-metadata', 'owner=web', '--remove-custom-metadata', 'canary', '--delete-version-after', '1h');
    const shown = await runJson('kv', 'metadata', 'get', 'secret/m', '--format', 'json');
    assert.deepEqual([shown['max_versions'], shown['custom_metadata'], shown['delete_version_after']], [3, { owner: 'web' }, '1h0m0s']);
    assert.match((await run('kv', 'metadata', 'get', 'secret/m')).out, /VERSION +CREATED TIME/);
    assert.equal((await run('kv', 'metadata', 'patch', 'secret/m')).status, 2);
    assert.equal((await run('kv', 'metadata', 'patch', 'secret/none', '--max-versions', '1')).status, 1);
    await run('kv', 'metadata', 'delete', 'secret/m');
    assert.deepEqual((await run('kv', 'list', 'secret')).out.split('\n').includes('m'), false);
  });

  test('a mount of several segments is found', async () => {
    assert.equal((await run('kv', 'put', 'team/deep/db/prod', `n=${file('n', '1')}`)).out, 'team/deep/db/prod is at version 1\n');
    assert.equal((await run('kv', 'list', 'team/deep/db')).out, 'prod\n');
    assert.equal((await run('kv', 'list', '--mount', 'team/deep')).out, 'db/\n');
    const nothing = await run('kv', 'list', 'team/deep/none');
    assert.deepEqual([nothing.status, nothing.out], [1, '']);
    assert.match(nothing.err, /^purser: error: no value found at team\/deep\/none\npurser: hint: /);
    const asJson = await run('kv', 'list', 'team/deep/db/prod', '--format', 'json');
    assert.deepEqual([asJson.status, asJson.out], [1, '[]\n']);
  });

  test('a token that may write and not read puts, with cas too, and learns the version', async () => {
    process.env['PURSER_TOKEN'] = ((await server.call('POST', 'auth/token/create', { body: { policies: ['writer'] } })).body as { auth: { client_token: string } }).auth.client_token;
    assert.equal((await run('kv', 'put', 'secret/in/box', `n=${file('n', '1')}`)).out, 'secret/in/box is at version 1\n');
    assert.equal((await run('kv', 'put', '--cas', '1', 'secret/in/box', `n=${file('n', '2')}`)).out, 'secret/in/box is at version 2\n');
    const wrong = await run('kv', 'put', '--cas', '1', 'secret/in/box', `n=${file('n', '3')}`);
    assert.deepEqual([wrong.status, /check-and-set/.test(wrong.err)], [1, true]);
    for (const denied of [['get', 'secret/in/box'], ['list', 'secret/in'], ['metadata', 'get', 'secret/in/box']]) {
      const { status, out, err } = await run('kv', ...denied);
      assert.deepEqual([status, out], [1, '']);
      assert.match(err, /permission denied/);
    }
  });
});

describe('purser kv, version 1', () => {
  test('put, get, list and delete work; what needs versions says so', async () => {
    assert.deepEqual(await run('kv', 'put', 'old/db', `password=${file('p', 's3cr3t')}`), { status: 0, out: '', err: 'wrote old/db\n' });
    assert.deepEqual(JSON.parse((await run('kv', 'get', 'old/db', '--format', 'json')).out), { data: { password: 's3cr3t' } });
    assert.equal((await run('kv', 'get', '--field', 'password', 'old/db')).out, 's3cr3t\n');
    assert.equal((await run('kv', 'list', 'old')).out, 'db\n');
    for (const args of [['patch', 'old/db', `a=${file('p', 'x')}`], ['put', '--cas', '1', 'old/db', `a=${file('p', 'x')}`], ['get', '--version', '1', 'old/db'],
      ['undelete', '--versions', '1', 'old/db'], ['destroy', '--versions', '1', 'old/db'], ['rollback', '--version', '1', 'old/db'], ['metadata', 'get', 'old/db']]) {
      const { status, err } = await run('kv', ...args);
      assert.equal(status, 2, args.join(' '));
      assert.match(err, /needs kv version 2, and old\/ has version 1\npurser: hint: /);
    }
    await run('kv', 'delete', 'old/db');
    assert.equal((await run('kv', 'get', 'old/db')).status, 1);
  });
});
