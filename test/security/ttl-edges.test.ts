// Class 15, TTL edges (CVE-2021-32923, CVE-2020-25816): in its last second a token is renewed to an end, never to none; no wish, parent
// or batch token reaches beyond its maximum. Over HTTP, on a clock that the test sets.
/* eslint-disable @typescript-eslint/no-unsafe-member-access, @typescript-eslint/no-unsafe-assignment, @typescript-eslint/no-unsafe-argument -- bodies of any shape */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startUnsealed, type TestServer } from '../server/running.ts';

const clock = { ms: 1_800_000_000_000 };
let server: TestServer;
before(async () => { server = await startUnsealed({ now: () => clock.ms }); });
after(() => server.stop());

const post = (path: string, body: object, token = server.root) => server.call('POST', path, { body, token });
const make = async (body: object, token?: string): Promise<string> => (await post('auth/token/create', body, token)).body.auth.client_token as string;
const self = (token: string) => server.call('GET', 'auth/token/lookup-self', { token });
const ends = async (token: string): Promise<number> => (Date.parse((await self(token)).body.data.expire_time) - clock.ms) / 1000;

test('a token renewed one millisecond before its end gets an end, and without a renewal ends on the millisecond', async () => {
  const [renewed, left] = [await make({ ttl: '10s', policies: 'default' }), await make({ ttl: '10s', policies: 'default' })];
  clock.ms += 9_999;
  const { body } = await post('auth/token/renew-self', {}, renewed);
  assert.deepEqual([body.auth.lease_duration, await ends(renewed)], [10, 10]);
  assert.deepEqual([(await self(left)).status, (await self(left)).body.data.ttl], [200, 1], 'never 0, which clients read as "without end"');
  clock.ms += 1;
  assert.deepEqual([(await self(left)).status, (await self(renewed)).status], [403, 200]);
  assert.equal((await post('auth/token/renew-self', {}, left)).status, 403);
  assert.ok((await post('auth/token/renew', { token: left })).status >= 400);
  assert.equal((await self(left)).status, 403);
});

for (const increment of ['0', '-1', 0, -1, '1h', '87600h', 9_007_199_254_740_991, '2562047h47m16.854775807s', 1e308, '1e9', 'NaN', 'Infinity']) {
  test(`the increment ${String(increment)} reaches no end beyond the explicit maximum, and never none`, async () => {
    const token = await make({ ttl: '1m', explicit_max_ttl: '2m', policies: 'default' });
    clock.ms += 59_500;
    const { status, body } = await post('auth/token/renew-self', { increment }, token);
    const left = await ends(token);
    assert.ok(status === 200 ? left > 0 && left <= 60.5 : status === 400 && left === 0.5, `${String(status)} ${String(left)}`);
    if (status === 200) assert.ok(body.auth.lease_duration > 0 && body.auth.lease_duration <= 61);
  });
}

test('a periodic token lives by its period for ever, but not past an explicit maximum, and not once a period was missed', async () => {
  const [endless, limited] = [await make({ period: '1m', policies: 'default' }), await make({ period: '1m', explicit_max_ttl: '200s', policies: 'default' })];
  for (const left of [60, 60, 23]) {
    clock.ms += 59_000;
    for (const token of [endless, limited]) await post('auth/token/renew-self', { increment: '1h' }, token);
    assert.equal(await ends(endless), 60);
    assert.ok(await ends(limited) <= left);
  }
  clock.ms += 32_000;
  assert.deepEqual([(await self(endless)).status, (await self(limited)).status], [200, 403]);
  clock.ms += 60_000;
  assert.equal((await post('auth/token/renew-self', {}, endless)).status, 403);
});

test('a child cannot be used after its parent ended, however long its own life', async () => {
  await post('sys/policies/acl/parent', { policy: 'path "auth/token/create" { capabilities = ["update"] }' });
  const parent = await make({ ttl: '1m', policies: ['default', 'parent'] });
  const [child, batch] = [await make({ ttl: '10h', policies: 'default' }, parent), await make({ ttl: '10h', type: 'batch', policies: 'default' }, parent)];
  assert.deepEqual([(await self(child)).status, (await self(batch)).status], [200, 200]);
  clock.ms += 60_000;
  assert.deepEqual([(await self(parent)).status, (await self(child)).status, (await self(batch)).status], [403, 403, 403]);
});

test('a batch token is not renewed, and ends on time', async () => {
  const batch = await make({ ttl: '10s', type: 'batch', policies: 'default' });
  assert.equal((await post('auth/token/renew-self', {}, batch)).status, 400);
  clock.ms += 10_000;
  assert.equal((await self(batch)).status, 403);
});

test('no wish for a new token is without end, except root’s own', async () => {
  for (const ttl of ['0', 0, '87600h', '']) {
    const { status, body } = await post('auth/token/create', { ttl, policies: 'default' });
    assert.equal(status, 200);
    assert.ok(body.auth.lease_duration > 0 && body.auth.lease_duration <= 2_764_800, String(ttl));
  }
  for (const ttl of ['-1s', -1, 'never', '1e400', '9999999999999999999s']) assert.ok([400].includes((await post('auth/token/create', { ttl, policies: 'default' })).status), String(ttl));
});
