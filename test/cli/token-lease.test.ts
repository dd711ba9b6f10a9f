// `purser token`, `purser lease`, `purser unwrap` and --wrap-ttl against a running server.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { CredentialsEngine } from '../fakes/credentials-engine.ts';
import { startUnsealed, type TestServer } from '../server/running.ts';
import { run, withEnvironment, type Ran } from './run.ts';

const engine = new CredentialsEngine();
let server: TestServer;
let restore: () => void;

before(async () => {
  const now = Date.now(); // stands still: times are compared to the second
  server = await startUnsealed({ audit: false, now: () => now, engines: { credentials: () => engine } });
  restore = withEnvironment({ PURSER_ADDR: server.server.address, PURSER_TOKEN: server.root });
  await server.call('POST', 'secret/data/db/prod', { body: { data: { user: 'app', password: 'canary' } } });
  await server.call('POST', 'sys/mounts/db', { body: { type: 'credentials' } });
  await server.call('POST', 'sys/policies/acl/app', { body: { policy: 'path "secret/data/*" { capabilities = ["read"] }' } });
});
after(async () => {
  restore();
  await server.stop();
});

async function done(...args: string[]): Promise<Ran> {
  const ran = await run(...args);
  assert.equal(ran.status, 0, ran.err);
  return ran;
}
const json = async (...args: string[]): Promise<Record<string, unknown>> => JSON.parse((await done(...args, '--format', 'json')).out) as Record<string, unknown>;

describe('purser token', () => {
  test('create gives every wish to the core, and prints the token alone', async () => {
    const { out, err } = await done('token', 'create', '--policy', 'app', '--no-default-policy', '--ttl', '1h', '--explicit-max-ttl', '2h', '--num-uses', '9', '--no-renewable',
      '--display-name', 'ci', '--metadata', 'team=db', '--metadata', 'for=tests', '--orphan');
    assert.match(out, /^hvs\.\w+\n$/);
    assert.match(err, /^accessor \w{24}, policies \["app"\], for 3600 s\n$/);
    const data = (await server.call('POST', 'auth/token/lookup', { body: { token: out.trim() } })).body as { data: Record<string, unknown> };
    const { policies, explicit_max_ttl, num_uses, renewable, display_name, meta, orphan } = data.data;
    assert.deepEqual([policies, explicit_max_ttl, num_uses, renewable, display_name, meta, orphan], [['app'], 7200, 9, false, 'token-ci', { team: 'db', for: 'tests' }, true]);
  });

  test('create makes periodic and batch tokens, and refuses what is no number or pair', async () => {
    assert.match((await done('token', 'create', '--policy', 'app', '--type', 'batch', '--ttl', '5m')).err, /^batch token, policies/);
    assert.equal((await json('token', 'create', '--policy', 'app', '--period', '10m'))['lease_duration'], 600);
    assert.equal((await run('token', 'create', '--num-uses', 'many')).status, 2);
    assert.equal((await run('token', 'create', '--metadata', 'team')).status, 2);
  });

  test('capabilities of one’s own, of another token and of an accessor', async () => {
    const { client_token, accessor } = await json('token', 'create', '--policy', 'app') as { client_token: string; accessor: string };
    assert.equal((await done('token', 'capabilities', 'secret/data/db/prod')).out, 'root\n');
    assert.equal((await done('token', 'capabilities', 'secret/data/db/prod', '--token', client_token)).out, 'read\n');
    assert.deepEqual(await json('token', 'capabilities', 'sys/mounts', '--accessor', accessor), ['deny']);
    assert.ok((await done('token', 'list')).out.includes(accessor));
  });

  test('revoke --orphan lets the children live', async () => {
    const parent = (await json('token', 'create'))['client_token'] as string;
    const child = ((await server.call('POST', 'auth/token/create', { token: parent, body: { policies: ['root'] } })).body as { auth: { client_token: string } }).auth.client_token;
    await done('token', 'revoke', '--orphan', parent);
    assert.deepEqual(await Promise.all([parent, child].map(async (token) => (await server.call('GET', 'auth/token/lookup-self', { token })).status)), [403, 200]);
    assert.equal((await run('token', 'revoke', '--orphan', '--self')).status, 2);
  });

  test('role write, read, list and delete, and a token made by it', async () => {
    await done('token', 'role', 'write', 'ci', '--allow', 'app', '--allow', 'other', '--orphan', '--period', '1h', '--bound-cidr', '127.0.0.0/8', '--no-default-policy');
    await done('token', 'role', 'write', 'ci', '--num-uses', '4');
    const role = await json('token', 'role', 'read', 'ci');
    assert.deepEqual([role['allowed_policies'], role['orphan'], role['token_period'], role['token_num_uses'], role['token_bound_cidrs'], role['token_no_default_policy'], role['renewable']],
      [['app', 'other'], true, 3600, 4, ['127.0.0.0/8'], true, true]);
    assert.equal((await done('token', 'role', 'list')).out, 'ci\n');
    const auth = await json('token', 'create', '--role', 'ci', '--policy', 'app');
    assert.deepEqual([auth['policies'], auth['orphan'], auth['num_uses']], [['app'], true, 4]);
    await done('token', 'role', 'delete', 'ci');
    assert.match((await run('token', 'create', '--role', 'ci')).err, /unknown role ci/);
  });
});

describe('purser lease', () => {
  const lease = async (): Promise<string> => ((await server.call('GET', 'db/creds/app')).body as { lease_id: string }).lease_id;

  test('lookup, list and renew', async () => {
    const id = await lease();
    assert.deepEqual((await json('lease', 'lookup', id))['ttl'], 60);
    assert.ok((await done('lease', 'list', 'db/creds/app/')).out.includes(id.split('/').at(-1)!));
    assert.ok((await done('lease', 'list')).out.split('\n').includes('db/'));
    assert.equal((await done('lease', 'renew', id, '--increment', '5m')).err, 'renewed for 300 s\n');
    assert.deepEqual(await json('lease', 'renew', id, '--increment', '90'), { lease_id: id, lease_duration: 90, renewable: true });
  });

  test('revoke by id, by prefix, and by force when the engine refuses', async () => {
    await done('lease', 'revoke', '--sync', await lease());
    await lease();
    await done('lease', 'revoke', '--prefix', '--sync', 'db/');
    assert.equal(engine.accounts.size, 0);
    const id = await lease();
    engine.behaviour = 'refuses';
    const refused = await run('lease', 'revoke', '--sync', id);
    assert.deepEqual([refused.status, refused.err.includes('the database is down')], [1, true]);
    for (let i = 0; i < 5; i++) await run('lease', 'revoke', '--sync', id);
    assert.match((await done('lease', 'list', '--irrevocable')).out, new RegExp(`${id} +the database is down`));
    await done('lease', 'revoke', '--prefix', '--force', 'db');
    assert.equal((await run('lease', 'lookup', id)).status, 1);
    assert.equal((await run('lease', 'revoke', '--force', id)).status, 2);
    engine.behaviour = 'works';
    await done('lease', 'tidy');
  });
});

describe('purser unwrap', () => {
  test('opens what kv get --wrap-ttl put away, once, with no token but that', async () => {
    const wrapped = await done('kv', 'get', '--wrap-ttl', '5m', 'secret/db/prod');
    assert.match(wrapped.err, /^holds the answer of secret\/data\/db\/prod for 300 s; it opens once: purser unwrap\n$/);
    assert.ok(!wrapped.out.includes('canary'));
    const token = wrapped.out.trim();
    const shown = process.env['PURSER_TOKEN'];
    delete process.env['PURSER_TOKEN'];
    try {
      assert.equal((await json('unwrap', '--lookup', token))['creation_path'], 'secret/data/db/prod');
      assert.equal((await done('unwrap', '--field', 'password', token)).out, 'canary\n');
      const again = await run('unwrap', token);
      assert.deepEqual([again.status, again.err.includes('wrapping token is not valid'), again.err.includes('somebody else may have')], [1, true, true]);
    } finally {
      process.env['PURSER_TOKEN'] = shown;
    }
  });

  test('does not lose the answer for a field that is not there', async () => {
    const token = (await done('read', '--wrap-ttl', '60', 'secret/data/db/prod')).out.trim();
    const ran = await run('unwrap', '--field', 'passwort', token);
    assert.deepEqual([ran.status, ran.out.includes('canary'), ran.err.includes('no field passwort')], [1, true, true]);
  });

  test('opens tokens and posted data', async () => {
    const info = JSON.parse((await done('token', 'create', '--policy', 'app', '--wrap-ttl', '60', '--format', 'json')).out) as { token: string; wrapped_accessor: string };
    const auth = await json('unwrap', info.token);
    assert.deepEqual([auth['accessor'], auth['policies']], [info.wrapped_accessor, ['app', 'default']]);
    const posted = (await done('write', '--wrap-ttl', '60', 'sys/wrapping/wrap', 'a=b')).out.trim();
    assert.match((await done('unwrap', posted)).out, /^KEY +VALUE\na +b\n$/);
  });

  test('--wrap-ttl refuses what is no duration', async () => {
    assert.equal((await run('read', '--wrap-ttl', 'x y', 'secret/data/db/prod')).status, 1);
  });
});
