// What auth methods keep over a restart: mounts, users, roles, counted uses, locks, and the logins behind tokens.
/* eslint-disable @typescript-eslint/no-unsafe-member-access -- bodies of any shape */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadConfig } from '../../src/server/config.ts';
import { startServer, type RunningServer } from '../../src/server/server.ts';
import { call as send, silent, temporaryDirectory, type Answer } from './running.ts';

test('a restart loses no method, user, role, counted use, lock or login', async () => {
  const { path: directory, remove } = temporaryDirectory();
  const start = (): Promise<RunningServer> =>
    startServer(loadConfig({ dataDir: directory, listen: '127.0.0.1:0', http: true, autoUnsealKeyFile: join(directory, 'unseal-key'), initIfNeeded: true }), silent);
  let server = await start();
  const root = readFileSync(join(directory, 'root-token'), 'utf8').trim();
  const call = (method: string, path: string, body?: object, token: string | undefined = root): Promise<Answer> => send(server.address, method, path, { token, ...(body === undefined ? {} : { body }) });
  const logIn = (path: string, body: object): Promise<Answer> => send(server.address, 'POST', `auth/${path}`, { body });
  try {
    await call('POST', 'sys/auth/people', { type: 'userpass', description: 'kept', config: { max_lease_ttl: '2h' } });
    await call('POST', 'sys/auth/people/tune', { user_lockout_config: { lockout_threshold: 1 } });
    await call('POST', 'sys/auth/approle', { type: 'approle' });
    await call('POST', 'auth/people/users/bob', { password: 'right', token_policies: 'app' });
    await call('POST', 'auth/approle/role/web', { role_id: 'web', token_policies: 'app', secret_id_num_uses: 2 });
    const secretId = (await call('POST', 'auth/approle/role/web/secret-id', {})).body.data.secret_id as string;
    const login = { role_id: 'web', secret_id: secretId };
    assert.equal((await logIn('approle/login', login)).status, 200);
    const token = (await logIn('people/login/bob', { password: 'right' })).body.auth.client_token as string;
    assert.equal((await logIn('people/login/eve', { password: 'x' })).status, 400);
    const before = (await call('GET', 'sys/auth')).body.data as unknown;

    await server.close();
    server = await start();

    assert.deepEqual((await call('GET', 'sys/auth')).body.data, before);
    assert.equal((await logIn('people/login/eve', { password: 'x' })).status, 403);
    assert.equal((await logIn('people/login/bob', { password: 'right' })).body.auth.lease_duration, 7200);
    assert.equal((await logIn('approle/login', login)).status, 200);
    assert.equal((await logIn('approle/login', login)).status, 400);
    assert.equal((await call('POST', 'auth/token/renew-self', {}, token)).status, 200);
    await call('DELETE', 'auth/people/users/bob');
    assert.equal((await call('POST', 'auth/token/renew-self', {}, token)).status, 400);
  } finally {
    await server.close();
    remove();
  }
});
