// Leases, tokens as leases, cubbyholes and bound addresses over the real API. The engine with leases is the tests' own, because
// no product engine has leases yet; everything else is real.
/* eslint-disable @typescript-eslint/no-unsafe-member-access, @typescript-eslint/no-unsafe-assignment, @typescript-eslint/no-unsafe-argument, @typescript-eslint/no-unsafe-call, @typescript-eslint/no-unsafe-return -- bodies of any shape */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { CredentialsEngine } from '../fakes/credentials-engine.ts';
import { eventually } from '../eventually.ts';
import { call as rawCall, startUnsealed, type Answer, type CallOptions, type TestServer } from './running.ts';

const engine = new CredentialsEngine();
let server: TestServer;
/** Goes on only when a test says so. */
const clock = { ms: Date.now() };

before(async () => {
  server = await startUnsealed({ now: () => clock.ms, engines: { credentials: () => engine } });
  await server.call('POST', 'sys/mounts/db', { body: { type: 'credentials' } });
  await server.call('POST', 'sys/policies/acl/app', { body: { policy: 'path "db/creds/*" { capabilities = ["read"] }' } });
});
after(() => server.stop());

const as = (token: string | undefined, method: string, path: string, options: CallOptions = {}): Promise<Answer> => rawCall(server.server.address, method, path, { ...options, token });
const newToken = async (body: object): Promise<{ client_token: string; accessor: string }> => {
  const { auth, errors } = (await server.call('POST', 'auth/token/create', { body })).body;
  assert.equal(errors, undefined);
  return auth;
};
const creds = async (token = server.root): Promise<string> => String((await as(token, 'GET', 'db/creds/app')).body.lease_id);
const lookup = (id: string) => server.call('POST', 'sys/leases/lookup', { body: { lease_id: id } });
const errors = (answer: Answer): unknown => [answer.status, answer.body.errors];
/** The server looks for what ended once a second. */
const ended = (id: string): Promise<true> => eventually(`the end of ${id}`, async () => (await lookup(id)).status === 400);

describe('a secret with a lease', () => {
  test('comes with its id, time and renewability, and no word of the engine’s state', async () => {
    const { status, body } = await server.call('GET', 'db/creds/app');
    assert.match(body.lease_id, /^db\/creds\/app\/[0-9A-Za-z]{24}$/);
    assert.deepEqual([status, body.lease_duration, body.renewable, Object.keys(body.data)], [200, 60, true, ['username', 'password']]);
  });

  test('is looked up, renewed and listed in Vault’s shapes', async () => {
    const id = await creds();
    const { issue_time, expire_time, ...data } = (await lookup(id)).body.data;
    assert.deepEqual(data, { id, last_renewal: null, renewable: true, ttl: 60 });
    assert.equal(Date.parse(expire_time) - Date.parse(issue_time), 60_000);
    for (const [path, body] of [['sys/leases/renew', { lease_id: id, increment: 120 }], ['sys/renew', { lease_id: id, increment: '2m' }], [`sys/leases/renew/${id}`, { increment: 120 }]] as const) {
      const renewed = (await server.call('PUT', path, { body })).body;
      assert.deepEqual([renewed.lease_id, renewed.lease_duration, renewed.renewable, renewed.data], [id, 120, true, null]);
    }
    assert.notEqual((await lookup(id)).body.data.last_renewal, null);
    assert.deepEqual((await server.call('LIST', 'sys/leases/lookup')).body.data.keys.includes('db/'), true);
    assert.deepEqual((await server.call('LIST', 'sys/leases/lookup/db/creds')).body.data, { keys: ['app/'] });
    assert.ok((await server.call('LIST', 'sys/leases/lookup/db/creds/app')).body.data.keys.includes(id.slice('db/creds/app/'.length)));
    assert.deepEqual(errors(await server.call('LIST', 'sys/leases/lookup/none')), [404, []]);
  });

  test('ends at its time', async () => {
    const id = await creds();
    clock.ms += 61_000;
    await ended(id);
    assert.deepEqual(errors(await server.call('POST', 'sys/leases/renew', { body: { lease_id: id } })), [400, ['lease not found']]);
  });

  test('ends when its token is revoked, ends by itself, or uses itself up', async () => {
    const make = [{ policies: ['app'] }, { policies: ['app'], ttl: '10s' }, { policies: ['app'], num_uses: 2 }];
    for (const [i, body] of make.entries()) {
      const { client_token } = await newToken(body);
      const id = await creds(client_token);
      assert.equal((await lookup(id)).status, 200);
      if (i === 0) await server.call('POST', 'auth/token/revoke', { body: { token: client_token } });
      else if (i === 1) clock.ms += 10_000;
      else assert.equal((await as(client_token, 'GET', 'auth/token/lookup-self')).status, 200);
      await ended(id);
    }
  });

  test('is refused to the last use of a token, and leaves no account behind', async () => {
    const { client_token } = await newToken({ policies: ['app'], num_uses: 1 });
    const before = engine.accounts.size;
    const answer = await as(client_token, 'GET', 'db/creds/app');
    assert.deepEqual(errors(answer), [400, ['Secret cannot be returned; token had one use left, so leased credentials were immediately revoked.']]);
    assert.equal(engine.accounts.size, before);
  });

  test('of a batch token ends with the token, or with its parent', async () => {
    const parent = await newToken({ policies: ['app', 'maker'] });
    await server.call('POST', 'sys/policies/acl/maker', { body: { policy: 'path "auth/token/create" { capabilities = ["update"] }' } });
    const { auth } = (await as(parent.client_token, 'POST', 'auth/token/create', { body: { type: 'batch', ttl: '20s' } })).body;
    const { body } = await as(auth.client_token, 'GET', 'db/creds/app');
    assert.ok(body.lease_duration > 0 && body.lease_duration <= 20, 'clipped to the end of the token');
    await server.call('POST', 'auth/token/revoke', { body: { token: parent.client_token } });
    await ended(body.lease_id);
    assert.deepEqual(errors(await as(auth.client_token, 'GET', 'db/creds/app')), [403, ['permission denied']]);
  });

  test('is wrapped with its lease', async () => {
    const { body } = await server.call('GET', 'db/creds/app', { headers: { 'X-Vault-Wrap-TTL': '60' } });
    const opened = (await as(body.wrap_info.token, 'POST', 'sys/wrapping/unwrap')).body;
    assert.deepEqual([opened.lease_duration, (await lookup(opened.lease_id)).status, Object.keys(opened.data)], [60, 200, ['username', 'password']]);
  });
});

describe('revoking', () => {
  test('by id waits for the engine when told to; an unknown lease is no error', async () => {
    const id = await creds();
    assert.equal((await server.call('PUT', 'sys/leases/revoke', { body: { lease_id: id, sync: true } })).status, 204);
    assert.deepEqual(errors(await lookup(id)), [400, ['invalid lease']]);
    const later = await creds();
    assert.equal((await server.call('PUT', `sys/revoke/${later}`)).status, 204);
    await ended(later);
    assert.equal((await server.call('PUT', 'sys/leases/revoke', { body: { lease_id: 'no/such/lease' } })).status, 204);
    assert.deepEqual(errors(await server.call('PUT', 'sys/leases/revoke', { body: {} })), [400, ['lease_id must be specified']]);
  });

  test('by path, with the engine refusing: an error, an irrevocable lease that is shown, and force', async () => {
    const id = await creds();
    engine.behaviour = 'refuses';
    assert.deepEqual(errors(await server.call('PUT', 'sys/leases/revoke-prefix/db', { body: { sync: true } })), [400, ['the database is down']]);
    assert.deepEqual(errors(await server.call('DELETE', 'sys/mounts/db')), [400, ['the database is down']], 'an engine does not go while it has leases that it cannot revoke');
    for (let i = 0; i < 8; i++) {
      const before = (await server.call('GET', 'sys/leases?type=irrevocable')).body.data;
      if (before.lease_count > 0) break;
      clock.ms += 3_600_000;
      await server.call('PUT', 'sys/leases/revoke', { body: { lease_id: id, sync: true } });
    }
    const { data } = (await server.call('GET', 'sys/leases?type=irrevocable')).body;
    assert.ok(data.leases.some((lease: { lease_id: string; error: string }) => lease.lease_id === id && lease.error === 'the database is down'));
    assert.deepEqual((await lookup(id)).body.data.irrevocable, true);
    assert.ok((await server.call('GET', 'sys/leases/count?type=irrevocable')).body.data.counts['db/'] >= 1);
    assert.equal((await server.call('PUT', 'sys/leases/revoke-force/db')).status, 204);
    assert.equal((await server.call('GET', 'sys/leases/count')).body.data.lease_count, 0);
    engine.behaviour = 'works';
  });

  test('by path and listing need sudo, renewing and looking up need the id only', async () => {
    const { client_token } = await newToken({ policies: ['app', 'leases'] });
    await server.call('POST', 'sys/policies/acl/leases', { body: { policy: 'path "sys/leases/*" { capabilities = ["update", "list", "read"] }' } });
    const id = await creds();
    for (const [method, path] of [['PUT', 'sys/leases/revoke-prefix/db'], ['PUT', 'sys/leases/revoke-force/db'], ['LIST', 'sys/leases/lookup/db'], ['LIST', 'sys/leases/lookup'], ['GET', 'sys/leases']] as const) {
      assert.deepEqual(errors(await as(client_token, method, path)), [403, ['permission denied']], path);
    }
    const plain = await newToken({ policies: ['app'] });
    assert.equal((await as(plain.client_token, 'PUT', 'sys/leases/renew', { body: { lease_id: id } })).status, 200);
    assert.equal((await as(plain.client_token, 'PUT', 'sys/leases/revoke', { body: { lease_id: id } })).status, 403);
  });

  test('a mount takes its leases with it', async () => {
    await server.call('POST', 'sys/mounts/other', { body: { type: 'credentials' } });
    const { lease_id } = (await server.call('GET', 'other/creds/app')).body;
    assert.equal((await server.call('DELETE', 'sys/mounts/other')).status, 204);
    assert.equal((await lookup(lease_id)).status, 400);
    assert.equal((await server.call('PUT', 'sys/leases/tidy')).status, 202);
  });

  test('a mount that moves ends its leases, or stays where it cannot', async () => {
    await server.call('POST', 'sys/mounts/here', { body: { type: 'credentials' } });
    const { lease_id } = (await server.call('GET', 'here/creds/app')).body;
    engine.behaviour = 'refuses';
    await server.call('POST', 'sys/remount', { body: { from: 'here', to: 'there' } });
    assert.equal((await lookup(lease_id)).status, 200);
    assert.equal((await server.call('GET', 'here/creds/app')).status, 200);
    engine.behaviour = 'works';
    await server.call('POST', 'sys/remount', { body: { from: 'here', to: 'there' } });
    assert.equal((await lookup(lease_id)).status, 400);
    assert.equal((await server.call('GET', 'there/creds/app')).status, 200);
  });
});

describe('tokens as leases', () => {
  test('are listed, looked up and revoked as leases, and not renewed', async () => {
    const { client_token } = await newToken({ policies: ['app'], ttl: '1h' });
    const keys = (await server.call('LIST', 'sys/leases/lookup/auth/token/create')).body.data.keys as string[];
    let id = '';
    for (const key of keys) {
      const { ttl } = (await lookup(`auth/token/create/${key}`)).body.data;
      if (ttl === 3_600) id = `auth/token/create/${key}`;
    }
    assert.match(id, /\/h[0-9a-f]{64}$/);
    assert.deepEqual(errors(await server.call('PUT', 'sys/leases/renew', { body: { lease_id: id } })), [400, ['tokens cannot be renewed through this endpoint']]);
    assert.equal((await server.call('PUT', 'sys/leases/revoke', { body: { lease_id: id } })).status, 204);
    assert.equal((await as(client_token, 'GET', 'auth/token/lookup-self')).status, 403);
    const another = await newToken({ policies: ['app'] });
    assert.equal((await server.call('PUT', 'sys/leases/revoke-prefix/auth/token/create')).status, 204);
    assert.equal((await as(another.client_token, 'GET', 'auth/token/lookup-self')).status, 403);
    assert.equal((await server.call('GET', 'auth/token/lookup-self')).status, 200, 'a root token without end is no lease');
  });
});

describe('a cubbyhole', () => {
  test('belongs to one token, root sees another, and it ends with its token', async () => {
    const [a, b] = [await newToken({ id: 'chosen-by-the-test', policies: ['app'] }), await newToken({ policies: ['app'] })];
    assert.equal((await as(a.client_token, 'POST', 'cubbyhole/dir/mine', { body: { secret: 'canary', n: 1 } })).status, 204);
    assert.deepEqual((await as(a.client_token, 'GET', 'cubbyhole/dir/mine')).body.data, { secret: 'canary', n: 1 });
    assert.deepEqual((await as(a.client_token, 'LIST', 'cubbyhole')).body.data, { keys: ['dir/'] });
    assert.deepEqual((await as(a.client_token, 'LIST', 'cubbyhole/dir')).body.data, { keys: ['mine'] });
    for (const token of [b.client_token, server.root]) {
      assert.deepEqual(errors(await as(token, 'GET', 'cubbyhole/dir/mine')), [404, []]);
      assert.deepEqual(errors(await as(token, 'LIST', 'cubbyhole')), [404, []]);
    }
    await server.call('POST', 'auth/token/revoke', { body: { token: a.client_token } });
    await newToken({ id: 'chosen-by-the-test', policies: ['app'] });
    assert.deepEqual(errors(await as('chosen-by-the-test', 'GET', 'cubbyhole/dir/mine')), [404, []], 'not inherited with the id');
  });

  test('refuses batch tokens, empty writes and patches, and deletes', async () => {
    const { client_token } = await newToken({ policies: ['app'] });
    const { client_token: batch } = await newToken({ policies: ['app'], type: 'batch' });
    for (const [method, path] of [['POST', 'cubbyhole/a'], ['GET', 'cubbyhole/a'], ['LIST', 'cubbyhole'], ['DELETE', 'cubbyhole/a']] as const) {
      const answer = await as(batch, method, path, method === 'POST' ? { body: { a: 1 } } : {});
      assert.deepEqual(errors(answer), [400, ['cubbyhole operations are only supported by "service" type tokens']], `${method} ${path}`);
    }
    assert.deepEqual(errors(await as(client_token, 'POST', 'cubbyhole/a', { body: {} })), [400, ['missing data fields']]);
    await as(client_token, 'POST', 'cubbyhole/a', { body: { a: 1 } });
    assert.equal((await as(client_token, 'DELETE', 'cubbyhole/a')).status, 204);
    assert.equal((await as(client_token, 'GET', 'cubbyhole/a')).status, 404);
  });

  test('tells create from update, so a policy can make it write-once', async () => {
    await server.call('POST', 'sys/policies/acl/once', { body: { policy: 'path "cubbyhole/*" { capabilities = ["create", "read"] }' } });
    const { client_token } = await newToken({ policies: ['once'], no_default_policy: true });
    assert.equal((await as(client_token, 'POST', 'cubbyhole/a', { body: { n: 1 } })).status, 204);
    assert.equal((await as(client_token, 'POST', 'cubbyhole/a', { body: { n: 2 } })).status, 403);
    assert.deepEqual((await as(client_token, 'GET', 'cubbyhole/a')).body.data, { n: 1 });
  });
});

describe('bound addresses', () => {
  test('a token of a role works from there and nowhere else, and a try from elsewhere costs it no use', async () => {
    const make = async (cidrs: string[]): Promise<string> => {
      await server.call('POST', 'auth/token/roles/net', { body: { token_bound_cidrs: cidrs, token_num_uses: 5, allowed_policies: ['app'] } });
      return String((await server.call('POST', 'auth/token/create/net')).body.auth.client_token);
    };
    const near = await make(['10.0.0.0/8', '127.0.0.1']);
    const far = await make(['192.0.2.0/24']);
    assert.equal((await as(near, 'GET', 'auth/token/lookup-self')).status, 200);
    assert.deepEqual(errors(await as(far, 'GET', 'auth/token/lookup-self')), [403, ['permission denied']]);
    assert.equal((await server.call('POST', 'auth/token/lookup', { body: { token: far } })).body.data.num_uses, 5);
    assert.equal((await as(far, 'GET', 'sys/internal/ui/mounts/secret')).status, 403, 'also where a token is all it takes');
    assert.deepEqual((await as(far, 'GET', 'sys/internal/ui/mounts')).body.data, { secret: {}, auth: {} }, 'and no more than a stranger where none is needed');
    assert.ok('secret/' in (await server.call('GET', 'sys/internal/ui/mounts')).body.data.secret);
  });
});

describe('the tuned token mount', () => {
  test('gives its default and its maximum to new tokens and to renewals, and takes nothing else', async () => {
    const long = await newToken({ policies: ['app'], ttl: '3h' });
    assert.equal((await server.call('POST', 'sys/auth/token/tune', { body: { default_lease_ttl: '30m', max_lease_ttl: '1h' } })).status, 204);
    assert.deepEqual((await server.call('GET', 'sys/auth/token/tune')).body.data.max_lease_ttl, 3_600);
    const create = async (body: object): Promise<{ auth: { lease_duration: number; client_token: string }; warnings: string[] | null }> => (await server.call('POST', 'auth/token/create', { body: { policies: ['app'], ...body } })).body;
    assert.equal((await create({})).auth.lease_duration, 1_800);
    assert.equal((await create({ explicit_max_ttl: '10m' })).auth.lease_duration, 600);
    const { auth, warnings } = await create({ ttl: '2h' });
    assert.deepEqual([auth.lease_duration, warnings?.length], [3_600, 1]);
    assert.equal((await create({ ttl: '5m' })).auth.lease_duration, 300);
    assert.ok((await server.call('POST', 'auth/token/renew', { body: { token: long.client_token, increment: '2h' } })).body.auth.lease_duration <= 3_600);
    assert.equal((await server.call('POST', 'auth/token/create', { body: {} })).body.auth.lease_duration, 0, 'a root token has no end unless it asks for one');
    assert.equal((await server.call('POST', 'sys/auth/token/tune', { body: { description: 'mine' } })).status, 400);
    assert.equal((await server.call('POST', 'sys/mounts/sys/tune', { body: { max_lease_ttl: '1h' } })).status, 400);
    await server.call('POST', 'sys/auth/token/tune', { body: { default_lease_ttl: -1, max_lease_ttl: -1 } });
    assert.equal((await create({})).auth.lease_duration, 2_764_800);
  });
});
