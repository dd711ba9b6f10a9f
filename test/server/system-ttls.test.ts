// `default_lease_ttl` and `max_lease_ttl` of the server's configuration: what lives how long where nobody says so, and at most.
/* eslint-disable @typescript-eslint/no-unsafe-member-access, @typescript-eslint/no-unsafe-assignment, @typescript-eslint/no-unsafe-argument -- bodies of any shape */

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { loadConfig } from '../../src/server/config.ts';
import { startServer, type RunningServer } from '../../src/server/server.ts';
import { call, silent, temporaryDirectory } from './running.ts';

const { path: directory, remove } = temporaryDirectory();
let server: RunningServer;
const post = (path: string, body: object, token: string | undefined = 'root-token') => call(server.address, 'POST', path, { body, token });

before(async () => {
  const now = Date.now(); // stands still: times are compared to the second
  const config = join(directory, 'purser.json');
  writeFileSync(config, JSON.stringify({ default_lease_ttl: '30m', max_lease_ttl: 7200 }));
  server = await startServer(loadConfig({ config, dev: true, devRootToken: 'root-token', listen: '127.0.0.1:0' }), silent, () => now);
});
after(async () => { await server.close(); remove(); });

const lifeOf = async (body: object): Promise<number> => (await post('auth/token/create', { policies: 'default', ...body })).body.auth.lease_duration as number;

test('tokens live by them', async () => {
  assert.deepEqual([await lifeOf({}), await lifeOf({ ttl: '1h' }), await lifeOf({ ttl: '10h' }), await lifeOf({ period: '10h' })], [1800, 3600, 7200, 7200]);
  const { client_token: token } = (await post('auth/token/create', { policies: 'default' })).body.auth;
  assert.equal((await post('auth/token/renew-self', { increment: '10h' }, token)).body.auth.lease_duration, 7200);
});

test('mounts show them as what is in force, and may set other ones', async () => {
  await post('sys/auth/people', { type: 'userpass' });
  const tuned = async () => (await call(server.address, 'GET', 'sys/auth/people/tune', { token: 'root-token' })).body.data as Record<string, unknown>;
  const { default_lease_ttl, max_lease_ttl } = await tuned();
  assert.deepEqual([default_lease_ttl, max_lease_ttl], [1800, 7200]);
  await post('auth/people/users/ann', { password: 'right' });
  const logIn = async (): Promise<number> => (await post('auth/people/login/ann', { password: 'right' }, undefined)).body.auth.lease_duration as number;
  assert.equal(await logIn(), 1800);
  assert.equal((await post('sys/auth/people/tune', { default_lease_ttl: '3h' })).status, 400);
  assert.equal((await post('sys/auth/people/tune', { default_lease_ttl: '3h', max_lease_ttl: '4h' })).status, 204);
  assert.equal(await logIn(), 10_800);
});

test('what kv version 1 reads says them: the secret\'s own, then the mount\'s, then the system\'s, at once after a tune and a move', async () => {
  await post('sys/mounts/old', { type: 'kv', options: { version: '1' } });
  await post('old/plain', { a: '1' });
  await post('old/own', { a: '1', ttl: '90s' });
  const leases = async (mount = 'old'): Promise<number[]> => Promise.all(['plain', 'own'].map(async (name) => (await call(server.address, 'GET', `${mount}/${name}`, { token: 'root-token' })).body.lease_duration as number));
  assert.deepEqual(await leases(), [1800, 90]);
  assert.equal((await post('sys/mounts/old/tune', { default_lease_ttl: '10m' })).status, 204);
  assert.deepEqual(await leases(), [600, 90]);
  assert.equal((await post('sys/remount', { from: 'old', to: 'moved/here' })).status, 200);
  assert.deepEqual(await leases('moved/here'), [600, 90]);
});
