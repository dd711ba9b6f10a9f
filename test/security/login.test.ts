// What a stranger learns from logins, and what one role may do to another: past defect classes 4, 6 and 12 of Vault (root by letter
// case; user enumeration, lockout bypass by case; accessor of another role).
/* eslint-disable @typescript-eslint/no-unsafe-member-access -- bodies of any shape */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { PasswordHasher } from '../../src/auth/userpass/password-hash.ts';
import { UserpassMethod } from '../../src/auth/userpass/userpass-method.ts';
import type { LogicalRequest } from '../../src/core/logical.ts';
import { isPurserError } from '../../src/lib/errors.ts';
import { MemoryView } from '../fakes/memory-view.ts';
import { startUnsealed, type Answer, type TestServer } from '../server/running.ts';

let server: TestServer;
const call = (...args: Parameters<TestServer['call']>): Promise<Answer> => server.call(...args);
const logIn = (path: string, body: object): Promise<Answer> => call('POST', `auth/${path}`, { token: undefined, body });

before(async () => {
  server = await startUnsealed();
  for (const type of ['userpass', 'approle']) await call('POST', `sys/auth/${type}`, { body: { type } });
  await call('POST', 'auth/userpass/users/alice', { body: { password: 'right' } });
});
after(() => server.stop());

/** Headers and body of an answer without what differs from one request to the next. */
const comparable = ({ status, headers, text }: Answer): unknown => ({ status, text, headers: { ...headers, date: undefined } });

describe('who exists is not told', () => {
  test('by the answer: unknown user and wrong password are equal to the byte', async () => {
    assert.deepEqual(comparable(await logIn('userpass/login/nobody', { password: 'x' })), comparable(await logIn('userpass/login/alice', { password: 'x' })));
    assert.deepEqual(comparable(await logIn('userpass/login/nobody', {})), comparable(await logIn('userpass/login/alice', {})));
  });

  test('by the answer: unknown role id and unknown secret id are equal to the byte', async () => {
    await call('POST', 'auth/approle/role/app', { body: { role_id: 'app' } });
    assert.deepEqual(comparable(await logIn('approle/login', { role_id: 'none', secret_id: 'x' })), comparable(await logIn('approle/login', { role_id: 'app', secret_id: 'x' })));
  });

  test('by the work: an unknown user costs what a wrong password costs', async () => {
    const method = new UserpassMethod({ view: new MemoryView(), now: Date.now }, new PasswordHasher());
    const request = (path: string, data: LogicalRequest['data']): LogicalRequest => ({ operation: 'update', path, mountPoint: 'auth/userpass/', data, remoteAddress: '' });
    await method.handle(request('users/alice', { password: 'right' }));
    /** Processor time, which does not depend on what else the machine does. */
    const work = async (name: string): Promise<number> => {
      const start = process.cpuUsage();
      for (let i = 0; i < 3; i++) await assert.rejects(method.handle(request(`login/${name}`, { password: 'x' })), (error) => isPurserError(error, 'ERR_LOGIN_INVALID'));
      const { user, system } = process.cpuUsage(start);
      return user + system;
    };
    await work('warm-up');
    const ratio = await work('nobody') / await work('alice');
    assert.ok(ratio > 0.6 && ratio < 1.6, `ratio ${ratio.toFixed(2)}`);
  });

  test('by the lock: unknown names lock as known ones do', async () => {
    for (const name of ['alice', 'nobody2']) {
      const statuses: number[] = [];
      for (const spelling of [name, name.toUpperCase(), name, name.toUpperCase(), name]) statuses.push((await logIn(`userpass/login/${spelling}`, { password: 'x' })).status);
      statuses.push((await logIn(`userpass/login/${name}`, { password: 'right' })).status);
      // alice has one failure or two from the tests above.
      assert.equal(statuses.at(-1), 403, name);
      assert.equal(statuses[0], 400, name);
    }
    const [known, unknown] = [await logIn('userpass/login/ALICE', { password: 'right' }), await logIn('userpass/login/Nobody2', { password: 'right' })];
    assert.deepEqual(comparable(known), comparable(unknown));
  });
});

describe('root is not reached by a login', () => {
  for (const policy of ['root', 'Root', ' root', 'ROOT ', 'ｒｏｏｔ']) {
    test(`the policy ${JSON.stringify(policy)} makes no user and no role`, async () => {
      for (const [path, body] of [['userpass/users/x', { password: 'x' }], ['approle/role/x', {}]] as const) {
        assert.equal((await call('POST', `auth/${path}`, { body: { ...body, token_policies: ['app', policy] } })).status, 400);
        assert.equal((await call('GET', `auth/${path}`)).status, 404);
      }
    });
  }

  test('policies of the core itself are not assignable either', async () => {
    for (const policy of ['purser-node', 'response-wrapping', 'Purser-Node']) {
      assert.equal((await call('POST', 'auth/approle/role/core', { body: { token_policies: [policy] } })).status, 400, policy);
      assert.equal((await call('GET', 'auth/approle/role/core')).status, 404);
    }
  });
});

test('metadata that names a node makes no node of a login', async () => {
  await call('POST', 'sys/policies/acl/nodes', { body: { policy: 'path "node/*" { capabilities = ["create", "read", "update"] }' } });
  await call('POST', 'auth/approle/role/liar', { body: { role_id: 'liar', token_policies: 'nodes' } });
  const { secret_id } = (await call('POST', 'auth/approle/role/liar/secret-id', { body: { metadata: '{"node_id":"n","node_name":"n"}' } })).body.data as { secret_id: string };
  const { client_token: token } = (await logIn('approle/login', { role_id: 'liar', secret_id })).body.auth as { client_token: string };
  assert.equal((await call('POST', 'node/resolve', { token, body: { workload: {}, references: [] } })).status, 403);
});
