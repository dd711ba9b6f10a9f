// purser auth and purser login --method against a running server: output, exit codes, what is kept and with which mode.

import assert from 'node:assert/strict';
import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';

import { startUnsealed, type TestServer } from '../server/running.ts';
import { run, withEnvironment } from './run.ts';

let server: TestServer;
let home: string;
let restore: () => void;
const keptToken = (): string => join(home, '.purser', 'token');

before(async () => {
  server = await startUnsealed({ audit: false });
  restore = withEnvironment({ PURSER_ADDR: server.server.address });
  home = process.env['HOME']!;
});
beforeEach(() => { process.env['PURSER_TOKEN'] = server.root; rmSync(join(home, '.purser'), { recursive: true, force: true }); });
after(async () => {
  restore();
  await server.stop();
});

function file(content: string): string {
  const path = join(home, 'secret');
  writeFileSync(path, content, { mode: 0o600 });
  return `@${path}`;
}

describe('purser auth', () => {
  test('enables, lists, tunes and disables a method', async () => {
    assert.deepEqual(await run('auth', 'enable', 'userpass', '--path', 'auth/people/', '--description', 'of the office', '--max-lease-ttl', '2h'),
      { status: 0, out: '', err: 'userpass logs in at auth/people/\n' });
    const { out } = await run('auth', 'list');
    assert.match(out, /^PATH +TYPE +ACCESSOR +DEFAULT TTL +MAX TTL +DESCRIPTION\n/);
    assert.match(out, /^people\/ +userpass +auth_userpass_[0-9a-f]{8} +system +7200s +of the office$/m);
    assert.match(out, /^token\/ +token +auth_token_builtin +system +system/m);
    assert.deepEqual(await run('auth', 'tune', 'people', '-default-lease-ttl=1h', '-user-lockout-threshold=3', '--user-lockout-disable'), { status: 0, out: '', err: 'tuned auth/people/\n' });
    const listed = JSON.parse((await run('auth', 'list', '--format', 'json')).out) as Record<string, { config: object }>;
    assert.deepEqual(listed['people/']!.config, {
      default_lease_ttl: 3600, max_lease_ttl: 7200, force_no_cache: false, token_type: 'default-service', user_lockout_threshold: 3, user_lockout_duration: 900,
      user_lockout_counter_reset_duration: 900, user_lockout_disable: true,
    });
    assert.deepEqual(await run('auth', 'disable', 'people/'), { status: 0, out: '', err: 'removed auth/people/ and ended its tokens\n' });
    assert.equal((await run('auth', 'list')).out.includes('people'), false);
  });

  test('refuses with a hint', async () => {
    assert.match((await run('auth', 'enable', 'nothing')).err, /^purser: error: .*unknown auth method type\npurser: hint: known are: .*approle.*userpass/);
    assert.deepEqual(await run('auth', 'tune', 'token'), { status: 2, out: '', err: 'purser: error: there is nothing to change\npurser: hint: see purser auth tune --help\n' });
    assert.equal((await run('auth', 'tune', 'token', '--description', 'x')).status, 1);
    assert.equal((await run('auth', 'unlock', 'nowhere', 'bob')).status, 2);
  });

  test('locked shows who is locked out, and unlock ends it', async () => {
    await run('auth', 'enable', 'approle', '--path', 'locking', '--user-lockout-threshold', '1');
    assert.equal((await run('auth', 'locked')).status, 0);
    assert.equal((await run('login', '--method', 'approle', '--path', 'locking', 'role_id=guess', `secret_id=${file('x')}`)).status, 1);
    assert.match((await run('auth', 'locked')).out, /^PATH +NAME\nlocking\/ +guess\n$/);
    assert.deepEqual(JSON.parse((await run('auth', 'locked', '--format', 'json')).out), [{ path: 'locking/', name: 'guess' }]);
    assert.deepEqual(await run('auth', 'unlock', 'locking', 'guess'), { status: 0, out: '', err: 'unlocked guess\n' });
    assert.equal((await run('auth', 'locked')).out.includes('guess'), false);
  });
});

describe('purser login --method', () => {
  before(async () => {
    process.env['PURSER_TOKEN'] = server.root;
    await run('auth', 'enable', 'userpass');
    await run('auth', 'enable', 'approle');
    assert.equal((await run('write', 'auth/userpass/users/bob', `password=${file('correct horse')}`, 'token_ttl=1h')).status, 0);
    assert.equal((await run('write', 'auth/approle/role/web', 'role_id=web', 'token_policies=default')).status, 0);
  });

  test('userpass keeps the token of the login, 0600, and later commands use it', async () => {
    const result = await run('login', '-method=userpass', 'username=bob', `password=${file('correct horse')}`);
    assert.deepEqual(result, { status: 0, out: '', err: `logged in to ${server.server.address} as userpass, policies default, for 3600 s\n` });
    assert.equal(statSync(keptToken()).mode & 0o777, 0o600);
    delete process.env['PURSER_TOKEN'];
    assert.match((await run('token', 'lookup')).out, /^display_name +userpass-bob$/m);
  });

  test('approle logs in, prints the token alone or the auth object', async () => {
    const secret = (await run('write', '--force', 'auth/approle/role/web/secret-id', '--field', 'secret_id')).out.trim();
    const alone = await run('login', '--method', 'approle', '--token-only', 'role_id=web', `secret_id=${file(secret)}`);
    assert.match(alone.out, /^hvs\.[0-9A-Za-z]{24}\n$/);
    assert.deepEqual([alone.err, existsSync(keptToken())], ['', false]);
    const shown = await run('login', '--method', 'approle', '--format', 'json', 'role_id=web', `secret_id=${file(secret)}`);
    const auth = JSON.parse(shown.out) as { client_token: string; metadata: object };
    assert.deepEqual(auth.metadata, { role_name: 'web' });
    assert.equal(readFileSync(keptToken(), 'utf8').trim(), auth.client_token);
  });

  test('a wrong password keeps nothing, and nothing of it shows', async () => {
    const result = await run('login', '--method', 'userpass', 'username=bob', `password=${file('CANARY')}`);
    assert.equal(result.status, 1);
    assert.match(result.err, /invalid username or password/);
    assert.doesNotMatch(result.err + result.out, /CANARY/);
    assert.equal(existsSync(keptToken()), false);
  });

  test('a password in the arguments works, with a warning', async () => {
    const result = await run('login', '--method', 'userpass', 'username=bob', 'password=correct horse');
    assert.equal(result.status, 0);
    assert.match(result.err, /^purser: warning: the password stood on the command line/);
    assert.doesNotMatch(result.err, /username stood|correct horse/);
  });

  test('write warns of secrets in the arguments, not of how long tokens and secret ids live', async () => {
    const settings = ['token_ttl=1h', 'token_policies=app', 'token_num_uses=3', 'token_no_default_policy=true', 'secret_id_ttl=1h', 'secret_id_num_uses=9', 'bind_secret_id=true'];
    assert.deepEqual(await run('write', 'auth/approle/role/quiet', ...settings), { status: 0, out: '', err: 'wrote auth/approle/role/quiet\n' });
    for (const field of ['secret_id=guess', 'token=guess', 'token_reviewer_jwt=guess']) assert.match((await run('write', 'auth/approle/login', field)).err, /stood on the command line/, field);
  });

  test('says what is missing', async () => {
    assert.deepEqual(await run('login', '--method', 'userpass', `password=${file('x')}`), { status: 2, out: '', err: 'purser: error: the method needs username\npurser: hint: purser login --method userpass username=…\n' });
    assert.match((await run('login', 'one', 'two')).err, /one token is enough/);
    assert.equal((await run('login', '--method', 'approle', 'role_id=web')).status, 2);
  });
});
