// userpass over a running server: Vault's paths, shapes and refusals, the life of its tokens, and lockout.
/* eslint-disable @typescript-eslint/no-unsafe-member-access, @typescript-eslint/no-unsafe-assignment, @typescript-eslint/no-unsafe-argument, @typescript-eslint/no-unsafe-call -- bodies of any shape */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startUnsealed, type Answer, type TestServer } from './running.ts';

let server: TestServer;
before(async () => {
  const now = Date.now();
  server = await startUnsealed({ now: () => now }); // a clock that stands still: times are compared to the second
  assert.equal((await server.call('POST', 'sys/auth/userpass', { body: { type: 'userpass', description: 'people' } })).status, 204);
});
after(() => server.stop());

const call = (...args: Parameters<TestServer['call']>): Promise<Answer> => server.call(...args);
const write = async (path: string, body: object): Promise<void> => { const { status, text } = await call('POST', path, { body }); assert.equal(status, 204, `${path}: ${text}`); };
const logIn = (name: string, password: unknown, mount = 'userpass'): Promise<Answer> => call('POST', `auth/${mount}/login/${name}`, { token: undefined, body: { password } });

describe('sys/auth', () => {
  test('lists what is mounted in Vault’s shape', async () => {
    const { body } = await call('GET', 'sys/auth');
    const { accessor, uuid, ...rest } = body.data['userpass/'];
    assert.match(accessor, /^auth_userpass_[0-9a-f]{8}$/);
    assert.match(uuid, /^[0-9a-f-]{36}$/);
    assert.deepEqual(rest, {
      config: { default_lease_ttl: 0, max_lease_ttl: 0, force_no_cache: false, token_type: 'default-service' }, deprecation_status: 'supported', description: 'people',
      external_entropy_access: false, local: false, options: null, plugin_version: '', running_plugin_version: '', running_sha256: '', seal_wrap: false, type: 'userpass',
    });
    assert.deepEqual(Object.keys(body.data), ['node/', 'token/', 'userpass/']);
    assert.deepEqual((await call('GET', 'sys/auth/userpass')).body.data, body.data['userpass/']);
  });

  test('tunes, and shows what is in force', async () => {
    await write('sys/auth/tuned', { type: 'userpass', config: { default_lease_ttl: '1h', listing_visibility: 'unauth' } });
    assert.deepEqual((await call('GET', 'sys/auth/tuned/tune')).body.data, {
      default_lease_ttl: 3600, max_lease_ttl: 2_764_800, force_no_cache: false, token_type: 'default-service', listing_visibility: 'unauth', description: '', options: null,
    });
    await write('sys/auth/tuned/tune', { max_lease_ttl: 7200, description: 'new', user_lockout_config: { lockout_threshold: '3', lockout_duration: '10m' }, listing_visibility: 'hidden' });
    assert.deepEqual((await call('GET', 'sys/auth/tuned/tune')).body.data, {
      default_lease_ttl: 3600, max_lease_ttl: 7200, force_no_cache: false, token_type: 'default-service', listing_visibility: 'hidden', description: 'new', options: null,
      user_lockout_threshold: 3, user_lockout_duration: 600, user_lockout_counter_reset_duration: 900, user_lockout_disable: false,
    });
    await write('sys/auth/tuned/tune', { default_lease_ttl: '-1' });
    assert.equal((await call('GET', 'sys/auth/tuned/tune')).body.data.default_lease_ttl, 7200);
    for (const body of [{ default_lease_ttl: '3h' }, { max_lease_ttl: '-2h' }, { token_type: 'odd' }, { passthrough_request_headers: ['X'] }, { user_lockout_config: { lockout_threshold: 0 } }, { user_lockout_config: { other: 1 } }, { options: { version: '2' } }]) {
      assert.equal((await call('POST', 'sys/auth/tuned/tune', { body })).status, 400, JSON.stringify(body));
    }
    assert.equal((await call('DELETE', 'sys/auth/tuned')).status, 204);
    assert.equal((await call('DELETE', 'sys/auth/tuned')).status, 204);
    assert.equal((await call('GET', 'sys/auth/tuned')).status, 400);
  });

  test('refuses what cannot be mounted, and built-in methods', async () => {
    for (const [path, body] of [
      ['x', {}], ['x', { type: 'nothing' }], ['x', { type: 'kv' }], ['userpass', { type: 'userpass' }], ['userpass/more', { type: 'userpass' }], ['token', { type: 'userpass' }],
      ['node/x', { type: 'userpass' }], ['x', { type: 'userpass', local: true }], ['x', { type: 'userpass', options: { a: 'b' } }], ['x', { type: 'userpass', config: { max_lease_ttl: '1h', default_lease_ttl: '2h' } }],
      ['token/tune', { description: 'x' }], ['none/tune', { description: 'x' }],
    ] as const) assert.equal((await call('POST', `sys/auth/${path}`, { body })).status, 400, `${path} ${JSON.stringify(body)}`);
    for (const builtIn of ['token', 'node']) assert.equal((await call('DELETE', `sys/auth/${builtIn}`)).status, 400);
  });

  test('needs sudo, and sys/mounts is no way around it', async () => {
    await write('sys/policies/acl/mounts', { policy: 'path "sys/mounts/*" { capabilities = ["create", "read", "update", "delete", "sudo"] } path "sys/auth/*" { capabilities = ["create", "read", "update", "delete"] }' });
    const token = (await call('POST', 'auth/token/create', { body: { policies: ['mounts'] } })).body.auth.client_token as string;
    assert.equal((await call('POST', 'sys/auth/x', { token, body: { type: 'userpass' } })).status, 403);
    assert.equal((await call('POST', 'sys/mounts/auth/x', { token, body: { type: 'userpass' } })).status, 400);
    assert.equal((await call('DELETE', 'sys/mounts/auth/userpass', { token })).status, 400);
    assert.equal((await call('GET', 'sys/auth/userpass')).status, 200);
  });
});

describe('users', () => {
  test('are written, read, listed and removed as in Vault, without their password', async () => {
    await write('auth/userpass/users/Mary', { password: 'one two three', token_policies: 'app,DEV', token_ttl: '1h', token_bound_cidrs: null });
    assert.deepEqual((await call('GET', 'auth/userpass/users/mary')).body.data, {
      token_bound_cidrs: [], token_explicit_max_ttl: 0, token_max_ttl: 0, token_no_default_policy: false, token_num_uses: 0, token_period: 0,
      token_policies: ['app', 'dev'], token_ttl: 3600, token_type: 'default',
    });
    await write('auth/userpass/users/mary', { max_ttl: '2h' });
    await write('auth/userpass/users/mary/policies', { policies: ['app'] });
    const { data } = (await call('GET', 'auth/userpass/users/MARY')).body;
    assert.deepEqual([data.token_policies, data.token_ttl, data.token_max_ttl], [['app'], 3600, 7200]);
    assert.deepEqual((await call('LIST', 'auth/userpass/users')).body.data, { keys: ['mary'] });
    assert.equal((await call('DELETE', 'auth/userpass/users/mary')).status, 204);
    assert.equal((await call('DELETE', 'auth/userpass/users/mary')).status, 204);
    assert.equal((await call('GET', 'auth/userpass/users/mary')).status, 404);
    assert.equal((await call('LIST', 'auth/userpass/users')).status, 404);
  });

  test('refuses what makes no user', async () => {
    for (const [path, body, status, message] of [
      ['users/x', {}, 400, 'missing password'], ['users/x', { password: '' }, 400, 'missing password'], ['users/x', { password: 'x'.repeat(1025) }, 400, 'a password has at most 1024 characters'],
      ['users/x', { password: 'p', token_policies: ['Root'] }, 400, 'auth methods cannot create root tokens'],
      ['users/x', { password_hash: '$2a$10$canary' }, 400, 'password_hash is not supported'],
      ['users/x', { password: 'p', token_ttl: '2h', token_max_ttl: '1h' }, 400, "'token_ttl' cannot be greater than 'token_max_ttl'"],
      ['users/x', { password: 'p', token_bound_cidrs: ['canary'] }, 400, "'token_bound_cidrs' must be a list of ranges such as 192.0.2.0/24 or 2001:db8::/32"],
      ['users/x/password', { password: 'p' }, 400, 'username does not exist'], ['users/x/policies', { token_policies: 'a' }, 400, 'username does not exist'],
      ['users/a%20b', { password: 'p' }, 404, 'unsupported path'], ['users/-x', { password: 'p' }, 404, 'unsupported path'], ['users/%C3%A4', { password: 'p' }, 404, 'unsupported path'],
      [`users/${'x'.repeat(129)}`, { password: 'p' }, 404, 'unsupported path'],
    ] as const) {
      const answer = await call('POST', `auth/userpass/${path}`, { body });
      assert.deepEqual([answer.status, answer.body.errors], [status, [message]], path);
      assert.doesNotMatch(answer.text, /canary/);
    }
    assert.equal((await call('LIST', 'auth/userpass/users')).status, 404);
  });

  test('a policy with create alone may add users, and change none', async () => {
    await write('sys/policies/acl/adder', { policy: 'path "auth/userpass/users/*" { capabilities = ["create"] }' });
    const token = (await call('POST', 'auth/token/create', { body: { policies: ['adder'] } })).body.auth.client_token as string;
    assert.equal((await call('POST', 'auth/userpass/users/added', { token, body: { password: 'p' } })).status, 204);
    assert.equal((await call('POST', 'auth/userpass/users/added', { token, body: { password: 'q' } })).status, 403);
    assert.equal((await call('POST', 'auth/userpass/users/added/password', { token, body: { password: 'q' } })).status, 403);
  });
});

describe('login', () => {
  before(() => write('auth/userpass/users/bob', { password: 'correct horse', token_policies: ['app'], token_ttl: '1h', token_max_ttl: '3h' }));

  test('gives a token in Vault’s shape, in any letter case of the name, that works', async () => {
    const answer = await logIn('BOB', 'correct horse');
    assert.equal(answer.status, 200, answer.text);
    const { client_token: token, accessor, ...auth } = answer.body.auth;
    assert.deepEqual(auth, {
      policies: ['app', 'default'], token_policies: ['app', 'default'], metadata: { username: 'bob' }, lease_duration: 3600, renewable: true, entity_id: auth.entity_id,
      token_type: 'service', orphan: true, mfa_requirement: null, num_uses: 0,
    });
    assert.equal(typeof auth.entity_id, 'string');
    assert.equal(answer.body.data, null);
    const self = (await call('GET', 'auth/token/lookup-self', { token })).body.data;
    assert.deepEqual([self.display_name, self.path.toLowerCase(), self.meta, self.accessor], ['userpass-bob', 'auth/userpass/login/bob', { username: 'bob' }, accessor]);
  });

  test('refuses what is wrong with one answer, and says nothing about who there is', async () => {
    for (const [name, password] of [['bob', 'wrong'], ['nobody', 'correct horse'], ['bob', 'Correct horse'], ['bob', 'correct horse'.padEnd(2000)]] as const) {
      const answer = await logIn(name, password);
      assert.deepEqual([answer.status, answer.body.errors, answer.body.code], [400, ['invalid username or password'], 'ERR_LOGIN_INVALID'], name);
    }
    assert.deepEqual((await logIn('bob', '')).body.errors, (await logIn('nobody', '')).body.errors);
    assert.equal((await call('GET', 'auth/userpass/login/bob', { token: undefined })).status, 405);
  });

  test('a renewal asks again: other policies or a deleted user end it, a new TTL counts', async () => {
    const { client_token: token } = (await logIn('bob', 'correct horse')).body.auth;
    const renew = (increment: string): Promise<Answer> => call('POST', 'auth/token/renew-self', { token, body: { increment } });
    assert.equal((await renew('2h')).body.auth.lease_duration, 7200);
    assert.equal((await renew('9h')).body.auth.lease_duration, 10_800);
    await write('auth/userpass/users/bob/policies', { token_policies: 'app,more' });
    assert.deepEqual((await renew('1h')).body.errors, ['policies have changed, not renewing']);
    await write('auth/userpass/users/bob/policies', { token_policies: 'default,APP' });
    assert.equal((await renew('1h')).status, 200);
    await call('DELETE', 'auth/userpass/users/bob');
    assert.deepEqual((await renew('1h')).body.errors, ['the user of this token is not there any more']);
    assert.equal((await call('GET', 'auth/token/lookup-self', { token })).status, 200);
    await write('auth/userpass/users/bob', { password: 'correct horse', token_policies: ['app'] });
  });

  test('from outside of token_bound_cidrs is refused', async () => {
    await write('auth/userpass/users/far', { password: 'p', token_bound_cidrs: '203.0.113.0/24' });
    assert.equal((await logIn('far', 'p')).status, 403);
    await write('auth/userpass/users/far', { token_bound_cidrs: '203.0.113.0/24,127.0.0.0/8' });
    assert.equal((await logIn('far', 'p')).status, 200);
  });

  test('a changed password counts at once', async () => {
    await write('auth/userpass/users/bob/password', { password: 'battery staple' });
    assert.equal((await logIn('bob', 'correct horse')).status, 400);
    assert.equal((await logIn('bob', 'battery staple')).status, 200);
  });
});

describe('lockout', () => {
  test('locks a name in any letter case, known or not; operators see it and end it', async () => {
    await write('sys/auth/locking', { type: 'userpass', config: {} });
    await write('sys/auth/locking/tune', { user_lockout_config: { lockout_threshold: 2 } });
    await write('auth/locking/users/eve', { password: 'p' });
    for (const name of ['eve', 'ghost']) {
      const answers = [await logIn(name, 'x', 'locking'), await logIn(name.toUpperCase(), 'x', 'locking'), await logIn(name, 'p', 'locking')];
      assert.deepEqual(answers.map(({ status }) => status), [400, 400, 403], name);
      assert.deepEqual(answers[2]!.body.errors, ['permission denied']);
    }
    const { accessor } = (await call('GET', 'sys/auth/locking')).body.data;
    const expected = { namespace_id: 'root', namespace_path: '', counts: 2, mount_accessors: [{ mount_accessor: accessor, counts: 2, alias_identifiers: ['eve', 'ghost'] }] };
    assert.deepEqual((await call('GET', 'sys/locked-users')).body.data, { by_namespace: [expected], total: 2 });
    assert.deepEqual((await call('GET', `sys/locked-users?mount_accessor=${accessor}`)).body.data, { by_namespace: [expected], total: 2 });
    assert.equal((await call('GET', 'sys/locked-users?mount_accessor=none')).status, 400);
    for (const path of [`${accessor}/unlock/eve`, `${accessor}/unlock/never`]) await write(`sys/locked-users/${path}`, {});
    assert.equal((await call('POST', 'sys/locked-users/none/unlock/eve')).status, 400);
    assert.equal((await logIn('eve', 'p', 'locking')).status, 200);
    assert.equal((await logIn('ghost', 'p', 'locking')).status, 403);
    await write('sys/auth/locking/tune', { user_lockout_config: { lockout_disable: true } });
    assert.equal((await logIn('ghost', 'p', 'locking')).status, 400);
    assert.deepEqual((await call('GET', 'sys/locked-users')).body.data, { by_namespace: [], total: 0 });
  });

  test('guesses in parallel do not get past the threshold', async () => {
    await write('sys/auth/parallel', { type: 'userpass' });
    await write('sys/auth/parallel/tune', { user_lockout_config: { lockout_threshold: 2 } });
    await write('auth/parallel/users/eve', { password: 'p' });
    const answers = await Promise.all(['a', 'b', 'c', 'd', 'e', 'f', 'p'].map((guess) => logIn('eve', guess, 'parallel')));
    assert.equal(answers.filter(({ status }) => status === 400).length, 2);
    assert.ok(answers.every(({ status }) => status === 400 || status === 403));
  });
});

test('disabling a method ends its tokens, and the same path starts empty', async () => {
  await write('sys/auth/gone', { type: 'userpass' });
  await write('auth/gone/users/bob', { password: 'p' });
  const { client_token: token } = (await logIn('bob', 'p', 'gone')).body.auth;
  const child = (await call('POST', 'auth/token/create', { token: server.root, body: { policies: ['default'] } })).body.auth.client_token as string;
  assert.equal((await call('DELETE', 'sys/auth/gone')).status, 204);
  assert.equal((await call('GET', 'auth/token/lookup-self', { token })).status, 403);
  assert.equal((await call('GET', 'auth/token/lookup-self', { token: child })).status, 200);
  await write('sys/auth/gone', { type: 'userpass' });
  assert.equal((await logIn('bob', 'p', 'gone')).status, 400);
});

test('no password and no hash is in the audit file', async () => {
  const { readFileSync, readdirSync } = await import('node:fs');
  const text = readdirSync(`${server.directory}/audit`).map((file) => readFileSync(`${server.directory}/audit/${file}`, 'utf8')).join('');
  assert.match(text, /auth\/userpass\/login\/BOB/i);
  assert.doesNotMatch(text, /correct horse|battery staple|one two three|scrypt|\$2a\$/);
});
