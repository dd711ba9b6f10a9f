// Response wrapping over the real API: what is wrapped, who opens it, how often, and what the audit file says.
/* eslint-disable @typescript-eslint/no-unsafe-member-access, @typescript-eslint/no-unsafe-assignment, @typescript-eslint/no-unsafe-argument, @typescript-eslint/no-unsafe-return -- bodies of any shape */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { call as rawCall, startUnsealed, type Answer, type CallOptions, type TestServer } from './running.ts';

const NOT_VALID = 'wrapping token is not valid or does not exist';
let server: TestServer;
/** Goes on only when a test says so. */
const clock = { ms: Date.now() };

before(async () => {
  server = await startUnsealed({ now: () => clock.ms });
  await server.call('POST', 'secret/data/app', { body: { data: { password: 'canary-wrapped' } } });
  await server.call('POST', 'sys/policies/acl/app', { body: { policy: 'path "secret/data/*" { capabilities = ["read"] }' } });
});
after(() => server.stop());

const wrap = (path = 'secret/data/app', options: CallOptions = {}, ttl = '60') => server.call('GET', path, { ...options, headers: { 'X-Vault-Wrap-TTL': ttl } });
const wrapped = async (...args: Parameters<typeof wrap>): Promise<string> => String((await wrap(...args)).body.wrap_info.token);
/** As a client that has nothing but `token`. */
const as = (token: string | undefined, method: string, path: string, options: CallOptions = {}): Promise<Answer> => rawCall(server.server.address, method, path, { ...options, token });
const newToken = async (body: object): Promise<{ client_token: string; accessor: string }> => (await server.call('POST', 'auth/token/create', { body })).body.auth;
const errors = (answer: Answer): unknown => [answer.status, answer.body.errors];

describe('a wrapped response', () => {
  test('is replaced by Vault’s wrap_info, and holds nothing of the answer', async () => {
    const { status, body, text } = await wrap();
    const { token, accessor, creation_time, ...info } = body.wrap_info;
    assert.match(token, /^hvs\./);
    assert.match(accessor, /^[0-9A-Za-z]{24}$/);
    assert.equal(Date.parse(creation_time), clock.ms);
    assert.deepEqual([status, info, { ...body, wrap_info: 0 }], [200, { ttl: 60, creation_path: 'secret/data/app' },
      { request_id: '', lease_id: '', renewable: false, lease_duration: 0, data: null, wrap_info: 0, warnings: null, auth: null }]);
    assert.ok(!text.includes('canary'));
  });

  test('opens once with the wrapping token as the token of the request', async () => {
    const token = await wrapped();
    const { status, body } = await as(token, 'POST', 'sys/wrapping/unwrap');
    assert.deepEqual([status, body.data.data, body.wrap_info], [200, { password: 'canary-wrapped' }, null]);
    assert.deepEqual(errors(await as(token, 'POST', 'sys/wrapping/unwrap')), [400, [NOT_VALID]]);
  });

  test('opens once for another token that names it', async () => {
    const token = await wrapped();
    const { client_token } = await newToken({ policies: ['app'] });
    assert.deepEqual((await as(client_token, 'POST', 'sys/wrapping/unwrap', { body: { token } })).body.data.data, { password: 'canary-wrapped' });
    assert.deepEqual(errors(await as(client_token, 'POST', 'sys/wrapping/unwrap', { body: { token } })), [400, [NOT_VALID]]);
    assert.equal((await as(client_token, 'GET', 'auth/token/lookup-self')).status, 200, 'which lives on');
  });

  test('of a login or a new token comes back as auth, and its accessor is known before', async () => {
    const { body } = await server.call('POST', 'auth/token/create', { body: { policies: ['app'] }, headers: { 'X-Vault-Wrap-TTL': '5m' } });
    const { auth, data } = (await as(body.wrap_info.token, 'POST', 'sys/wrapping/unwrap')).body;
    assert.deepEqual([body.wrap_info.ttl, body.wrap_info.wrapped_accessor, data, auth.policies], [300, auth.accessor, null, ['app', 'default']]);
    assert.equal((await as(auth.client_token, 'GET', 'secret/data/app')).status, 200);
  });

  test('keeps its status and warnings: a deleted secret is 404 with its metadata', async () => {
    await server.call('POST', 'secret/data/gone', { body: { data: { a: '1' } } });
    await server.call('DELETE', 'secret/data/gone');
    const { status, body } = await as(await wrapped('secret/data/gone'), 'POST', 'sys/wrapping/unwrap');
    assert.deepEqual([status, body.data.data, body.data.metadata.version], [404, null, 1]);
  });

  test('is not made of nothing, of an error, or where the caller may not read', async () => {
    const { client_token } = await newToken({ policies: ['app'] });
    assert.equal((await server.call('DELETE', 'secret/data/none', { headers: { 'X-Vault-Wrap-TTL': '60' } })).status, 204);
    assert.deepEqual(errors(await wrap('secret/data/none')), [404, []]);
    assert.deepEqual(errors(await wrap('sys/mounts', { token: client_token })), [403, ['permission denied']]);
  });

  test('of a list is wrapped, too', async () => {
    const { body } = await server.call('LIST', 'secret/metadata', { headers: { 'X-Vault-Wrap-TTL': '60' } });
    assert.equal(body.wrap_info.creation_path, 'secret/metadata/');
    assert.deepEqual((await as(body.wrap_info.token, 'POST', 'sys/wrapping/unwrap')).body.data.keys, ['app', 'gone']);
  });

  test('that has no envelope is refused', async () => {
    assert.equal((await rawCall(server.server.address, 'GET', 'identity/oidc/.well-known/keys', { headers: { 'X-Vault-Wrap-TTL': '60' } })).status, 400);
  });

  test('lives no longer than its time', async () => {
    const token = await wrapped(undefined, {}, '30s');
    clock.ms += 30_000;
    assert.deepEqual(errors(await as(token, 'POST', 'sys/wrapping/unwrap')), [400, [NOT_VALID]]);
    assert.deepEqual(errors(await as(undefined, 'POST', 'sys/wrapping/lookup', { body: { token } })), [400, [NOT_VALID]]);
  });
});

describe('wrap', () => {
  test('gives its body back, to whoever unwraps', async () => {
    const { body } = await server.call('POST', 'sys/wrapping/wrap', { body: { a: 'canary-posted', n: 3 }, headers: { 'X-Vault-Wrap-TTL': '60' } });
    assert.equal(body.wrap_info.creation_path, 'sys/wrapping/wrap');
    assert.deepEqual((await as(body.wrap_info.token, 'POST', 'sys/wrapping/unwrap')).body.data, { a: 'canary-posted', n: 3 });
  });

  test('without a time is refused', async () => {
    for (const headers of [{}, { 'X-Vault-Wrap-TTL': '0' }]) {
      assert.deepEqual(errors(await server.call('POST', 'sys/wrapping/wrap', { body: { a: 'b' }, headers })), [400, ['endpoint requires response wrapping to be used']]);
    }
  });
});

describe('lookup', () => {
  test('shows where a token comes from, to anybody who has it, and leaves it closed', async () => {
    const token = await wrapped();
    for (const answer of [
      await as(undefined, 'POST', 'sys/wrapping/lookup', { body: { token } }), await as(token, 'POST', 'sys/wrapping/lookup'), await as(token, 'GET', 'sys/wrapping/lookup'),
    ]) {
      const { creation_time, ...data } = answer.body.data;
      assert.deepEqual([answer.status, data, Number.isNaN(Date.parse(creation_time))], [200, { creation_path: 'secret/data/app', creation_ttl: 60 }, false]);
    }
    assert.equal((await as(token, 'POST', 'sys/wrapping/unwrap')).status, 200);
  });

  test('tells nothing about tokens that wrap nothing', async () => {
    const { client_token } = await newToken({ policies: ['app'] });
    for (const token of [client_token, server.root, 'unknown', 'hvb.x', '']) assert.deepEqual(errors(await as(undefined, 'POST', 'sys/wrapping/lookup', { body: { token } })), [400, [NOT_VALID]]);
  });
});

describe('rewrap', () => {
  test('moves the answer to a new token with the same time and path', async () => {
    const token = await wrapped(undefined, {}, '120');
    const { wrap_info } = (await server.call('POST', 'sys/wrapping/rewrap', { body: { token } })).body;
    assert.deepEqual([wrap_info.creation_path, wrap_info.ttl, wrap_info.token === token], ['secret/data/app', 120, false]);
    assert.deepEqual(errors(await as(token, 'POST', 'sys/wrapping/unwrap')), [400, [NOT_VALID]]);
    assert.deepEqual((await as(wrap_info.token, 'POST', 'sys/wrapping/unwrap')).body.data.data, { password: 'canary-wrapped' });
  });

  test('is for tokens whose policies allow it: not for the wrapping token itself, nor for any token', async () => {
    const token = await wrapped();
    const { client_token } = await newToken({ policies: ['app'] });
    assert.deepEqual(errors(await as(client_token, 'POST', 'sys/wrapping/rewrap', { body: { token } })), [403, ['permission denied']]);
    assert.deepEqual(errors(await as(undefined, 'POST', 'sys/wrapping/rewrap', { body: { token } })), [403, ['permission denied']]);
    assert.equal((await as(token, 'POST', 'sys/wrapping/unwrap')).status, 200, 'still closed');
  });
});

describe('a wrapping token', () => {
  test('does nothing but open its answer', async () => {
    for (const [method, path] of [['GET', 'secret/data/app'], ['GET', 'auth/token/lookup-self'], ['POST', 'auth/token/create'], ['POST', 'sys/wrapping/rewrap']] as const) {
      const token = await wrapped();
      assert.equal((await as(token, method, path)).status, 403);
      assert.equal((await as(token, 'POST', 'sys/wrapping/unwrap')).status, 400, 'the try was its only use');
    }
  });

  test('cannot be made or imitated by an operator', async () => {
    assert.deepEqual(errors(await server.call('POST', 'auth/token/create', { body: { policies: ['response-wrapping'] } })), [400, ['cannot assign policy "response-wrapping"']]);
    const { client_token } = await newToken({ policies: ['app'], num_uses: 9 });
    await as(client_token, 'POST', 'cubbyhole/response', { body: { data: { password: 'forged' } } });
    assert.deepEqual(errors(await as(client_token, 'POST', 'sys/wrapping/unwrap')), [400, [NOT_VALID]]);
    const { num_uses } = (await server.call('POST', 'auth/token/lookup', { body: { token: client_token } })).body.data;
    assert.deepEqual(errors(await server.call('POST', 'sys/wrapping/unwrap', { body: { token: client_token } })), [400, [NOT_VALID]]);
    assert.equal((await server.call('POST', 'auth/token/lookup', { body: { token: client_token } })).body.data.num_uses, num_uses, 'and loses no use by the mistake');
  });

  test('of many that open it at the same time, one gets the answer', async () => {
    for (let round = 0; round < 5; round++) {
      const token = await wrapped();
      const answers = await Promise.all(Array.from({ length: 12 }, (_, i) => (i % 3 === 0 ? as(token, 'POST', 'sys/wrapping/unwrap')
        : server.call('POST', `sys/wrapping/${i % 3 === 1 ? 'unwrap' : 'rewrap'}`, { body: { token } }))));
      assert.deepEqual(answers.map(({ status }) => status).sort(), [200, ...Array.from({ length: 11 }, () => 400)]);
    }
  });

  test('revoked by its accessor takes the answer with it', async () => {
    const { wrap_info } = (await wrap()).body;
    assert.equal((await server.call('POST', 'auth/token/revoke-accessor', { body: { accessor: wrap_info.accessor } })).status, 204);
    assert.deepEqual(errors(await as(wrap_info.token, 'POST', 'sys/wrapping/unwrap')), [400, [NOT_VALID]]);
  });
});

test('min_wrapping_ttl and max_wrapping_ttl of a policy are enforced', async () => {
  await server.call('POST', 'sys/policies/acl/wrapped', { body: { policy: 'path "secret/data/*" { capabilities = ["read"]\n min_wrapping_ttl = "10s"\n max_wrapping_ttl = "1m" }' } });
  const { client_token: token } = await newToken({ policies: ['wrapped'] });
  for (const [ttl, status] of [[undefined, 403], ['0', 403], ['9', 403], ['10', 200], ['60s', 200], ['61', 403], ['1h', 403]] as const) {
    const headers = ttl === undefined ? {} : { 'X-Vault-Wrap-TTL': ttl };
    assert.equal((await as(token, 'GET', 'secret/data/app', { headers })).status, status, ttl);
  }
});

test('the audit file names wrapping and unwrapping, and neither token nor answer in clear', async () => {
  const token = await wrapped();
  await as(token, 'POST', 'sys/wrapping/unwrap');
  await as(token, 'POST', 'sys/wrapping/unwrap');
  const lines = readFileSync(join(server.directory, 'audit', 'audit.log'), 'utf8').trim().split('\n');
  for (const secret of [token, token.slice(4), 'canary-wrapped', 'canary-posted']) assert.ok(!lines.some((line) => line.includes(secret)));
  const entries = lines.slice(-5).map((line) => JSON.parse(line) as { type: string; error?: string; request: { path: string; wrap_ttl?: number }; response?: { data?: unknown; wrap_info?: Record<string, string> } });
  const [asked, given, , opened, again] = entries;
  assert.equal(asked?.request.wrap_ttl, 60);
  assert.deepEqual([given?.response?.data, given?.response?.wrap_info?.['creation_path']], [undefined, 'secret/data/app']);
  assert.match(String(given?.response?.wrap_info?.['token']), /^hmac-sha256:/);
  assert.match(JSON.stringify(opened?.response?.data), /hmac-sha256:/);
  assert.equal(again?.error, NOT_VALID);
});
