// Class 17, wrapping misuse: what one person may open once is opened once, whoever asks, how often and how many at a time.
/* eslint-disable @typescript-eslint/no-unsafe-member-access, @typescript-eslint/no-unsafe-assignment, @typescript-eslint/no-unsafe-argument -- bodies of any shape */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startUnsealed, type TestServer } from '../server/running.ts';
import { tokenWith } from './tokens.ts';

const clock = { ms: 1_800_000_000_000 };
let server: TestServer;
before(async () => {
  server = await startUnsealed({ now: () => clock.ms });
  await server.call('POST', 'secret/data/wrapped', { body: { data: { password: 'canary-wrapped' } } });
});
after(() => server.stop());

const call = (method: string, path: string, token: string | undefined, body?: object) => server.call(method, path, { token, ...(body === undefined ? {} : { body }) });
const wrapped = async (): Promise<string> => (await server.call('GET', 'secret/data/wrapped', { headers: { 'X-Vault-Wrap-TTL': '60s' } })).body.wrap_info.token as string;

test('of twenty who unwrap one token at once, in either form, exactly one gets the secret', async () => {
  const token = await wrapped();
  const { token: third } = await tokenWith(server, 'third', 'path "sys/wrapping/unwrap" { capabilities = ["update"] }');
  const answers = await Promise.all(Array.from({ length: 20 }, (_, n) => n % 2 === 0 ? call('POST', 'sys/wrapping/unwrap', token) : call('POST', 'sys/wrapping/unwrap', third, { token })));
  assert.equal(answers.filter(({ text }) => text.includes('canary-wrapped')).length, 1);
  assert.ok(answers.every(({ status }) => status === 200 || (status >= 400 && status < 500)));
  assert.ok((await call('POST', 'sys/wrapping/unwrap', token)).status >= 400);
});

test('unwrapping and rewrapping at once gives the secret to one of them only', async () => {
  for (let round = 0; round < 5; round++) {
    const token = await wrapped();
    const answers = await Promise.all(Array.from({ length: 10 }, (_, n) => call('POST', n % 2 === 0 ? 'sys/wrapping/unwrap' : 'sys/wrapping/rewrap', token)));
    const opened = answers.filter(({ text }) => text.includes('canary-wrapped')).length;
    const moved = answers.flatMap(({ body }) => (body.wrap_info === null || body.wrap_info === undefined ? [] : [body.wrap_info.token as string]));
    assert.equal(opened + moved.length, 1);
    for (const next of moved) assert.match((await call('POST', 'sys/wrapping/unwrap', next)).text, /canary-wrapped/);
  }
});

test('a look-up says where it comes from, needs no token, and uses nothing up', async () => {
  const token = await wrapped();
  for (let n = 0; n < 3; n++) {
    const { status, body } = await call('POST', 'sys/wrapping/lookup', undefined, { token });
    assert.deepEqual([status, body.data.creation_path, body.data.creation_ttl], [200, 'secret/data/wrapped', 60]);
  }
  assert.match((await call('POST', 'sys/wrapping/unwrap', token)).text, /canary-wrapped/);
});

test('an ordinary token, root’s included, cannot be unwrapped, rewrapped or looked up as one, and lives on', async () => {
  const { token } = await tokenWith(server, 'plain', 'path "secret/data/x" { capabilities = ["read"] }');
  for (const shown of [token, server.root]) {
    for (const what of ['unwrap', 'rewrap', 'lookup']) assert.equal((await call('POST', `sys/wrapping/${what}`, server.root, { token: shown })).status, 400, what);
    assert.equal((await call('GET', 'auth/token/lookup-self', shown)).status, 200);
  }
});

test('nobody can make a token that passes for a wrapping one', async () => {
  for (const policies of [['response-wrapping'], ['Response-Wrapping'], ['default', 'response-wrapping']]) assert.ok((await call('POST', 'auth/token/create', server.root, { policies })).status >= 400);
  assert.ok((await call('PUT', 'sys/policies/acl/response-wrapping', server.root, { policy: 'path "*" { capabilities = ["read"] }' })).status >= 400);
});

test('a wrapping token does nothing else; in Vault’s older form, by cubbyhole/response, it opens once too', async () => {
  const token = await wrapped();
  const older = await wrapped();
  assert.match((await call('GET', 'cubbyhole/response', older)).text, /canary-wrapped/);
  for (const path of ['cubbyhole/response', 'sys/wrapping/unwrap']) assert.ok((await call(path.startsWith('sys/') ? 'POST' : 'GET', path, older)).status >= 400, path);
  for (const [method, path] of [['GET', 'cubbyhole/wrapinfo'], ['GET', 'cubbyhole/other'], ['GET', 'secret/data/wrapped'], ['POST', 'auth/token/create'], ['POST', 'auth/token/renew-self'], ['GET', 'auth/token/lookup-self']] as const) {
    const fresh = await wrapped();
    const { status, text } = await call(method, path, fresh, method === 'POST' ? {} : undefined);
    assert.ok(status >= 400, path);
    assert.ok(!text.includes('canary-wrapped'), path);
  }
  assert.match((await call('POST', 'sys/wrapping/unwrap', token)).text, /canary-wrapped/);
});

test('one that ended opens nothing, to the millisecond, and neither does one that was revoked', async () => {
  const [late, revoked] = [await wrapped(), await server.call('GET', 'secret/data/wrapped', { headers: { 'X-Vault-Wrap-TTL': '60s' } })];
  await call('POST', 'auth/token/revoke-accessor', server.root, { accessor: revoked.body.wrap_info.accessor });
  assert.equal((await call('POST', 'sys/wrapping/unwrap', revoked.body.wrap_info.token)).status, 400);
  clock.ms += 60_000;
  assert.equal((await call('POST', 'sys/wrapping/unwrap', late)).status, 400);
});
