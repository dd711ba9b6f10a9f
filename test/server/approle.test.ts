// approle over a running server: Vault's paths, shapes and refusals; roles do not reach each other's secret ids.
/* eslint-disable @typescript-eslint/no-unsafe-member-access, @typescript-eslint/no-unsafe-assignment, @typescript-eslint/no-unsafe-argument -- bodies of any shape */

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { startUnsealed, type Answer, type TestServer } from './running.ts';

let server: TestServer;
before(async () => {
  const now = Date.now();
  server = await startUnsealed({ now: () => now }); // a clock that stands still: times are compared to the second
  await write('sys/auth/approle', { type: 'approle' });
});
after(() => server.stop());

const call = (...args: Parameters<TestServer['call']>): Promise<Answer> => server.call(...args);
const at = (method: string, path: string, body?: object): Promise<Answer> => call(method, `auth/approle/${path}`, body === undefined ? {} : { body });
const logIn = (body: object): Promise<Answer> => call('POST', 'auth/approle/login', { token: undefined, body });
async function write(path: string, body: object): Promise<void> {
  const { status, text } = await call('POST', path, { body });
  assert.equal(status, 204, `${path}: ${text}`);
}
const roleWrite = (name: string, body: object): Promise<void> => write(`auth/approle/role/${name}`, body);
const roleIdOf = async (name: string): Promise<string> => (await at('GET', `role/${name}/role-id`)).body.data.role_id as string;
const secretIdOf = async (name: string, body: object = {}): Promise<{ secret_id: string; secret_id_accessor: string }> => {
  const answer = await at('POST', `role/${name}/secret-id`, body);
  assert.equal(answer.status, 200, answer.text);
  return answer.body.data as { secret_id: string; secret_id_accessor: string };
};
/** Every accessor of every role: what an attack must leave as it was. */
const accessors = async (name: string): Promise<string[]> => ((await at('LIST', `role/${name}/secret-id`)).body.data?.keys ?? []) as string[];

describe('roles', () => {
  test('are written, read, listed and removed as in Vault', async () => {
    await roleWrite('Web', { token_policies: 'app,DEV', token_ttl: '20m', token_max_ttl: '1h', secret_id_num_uses: 40, secret_id_ttl: '10m', token_num_uses: null });
    assert.deepEqual((await at('GET', 'role/web')).body.data, {
      bind_secret_id: true, local_secret_ids: false, secret_id_bound_cidrs: null, secret_id_num_uses: 40, secret_id_ttl: 600,
      token_bound_cidrs: [], token_explicit_max_ttl: 0, token_max_ttl: 3600, token_no_default_policy: false, token_num_uses: 0, token_period: 0,
      token_policies: ['app', 'dev'], token_ttl: 1200, token_type: 'default',
    });
    const id = await roleIdOf('web');
    assert.match(id, /^[0-9a-f-]{36}$/);
    await roleWrite('web', { secret_id_num_uses: 1 });
    assert.equal(await roleIdOf('web'), id);
    assert.equal((await at('GET', 'role/web')).body.data.secret_id_ttl, 600);
    assert.deepEqual((await at('LIST', 'role')).body.data, { keys: ['web'] });
    assert.equal((await at('DELETE', 'role/WEB')).status, 204);
    assert.equal((await at('DELETE', 'role/web')).status, 204);
    for (const path of ['role/web', 'role/web/role-id', 'role/web/token-ttl']) assert.equal((await at('GET', path)).status, 404, path);
    for (const path of ['role', 'role/web/secret-id']) assert.equal((await at('LIST', path)).status, 404, path);
    assert.equal((await at('POST', 'role/web/secret-id')).status, 404);
  });

  const fields: readonly (readonly [path: string, field: string, value: unknown, shown: unknown, initial: unknown, old?: string])[] = [
    ['policies', 'token_policies', 'b,A', ['a', 'b'], [], 'policies'], ['bind-secret-id', 'bind_secret_id', false, false, true],
    ['bound-cidr-list', 'secret_id_bound_cidrs', ['192.0.2.0/24'], ['192.0.2.0/24'], [], 'bound_cidr_list'], ['secret-id-bound-cidrs', 'secret_id_bound_cidrs', '192.0.2.0/24', ['192.0.2.0/24'], []],
    ['secret-id-num-uses', 'secret_id_num_uses', 5, 5, 0], ['secret-id-ttl', 'secret_id_ttl', '1h', 3600, 0], ['token-bound-cidrs', 'token_bound_cidrs', '127.0.0.0/8', ['127.0.0.0/8'], []],
    ['token-num-uses', 'token_num_uses', 3, 3, 0], ['token-ttl', 'token_ttl', 60, 60, 0], ['token-max-ttl', 'token_max_ttl', '2m', 120, 0], ['period', 'token_period', '24h', 86_400, 0, 'period'],
  ];
  for (const [path, field, value, shown, initial, old] of fields) {
    test(`role/…/${path} is read, written and reset`, async () => {
      await roleWrite('fields', { token_bound_cidrs: path === 'bind-secret-id' ? '127.0.0.0/8' : '' });
      const both = (both: unknown): object => ({ [field]: both, ...(old === undefined ? {} : { [old]: both }) });
      assert.deepEqual((await at('GET', `role/fields/${path}`)).body.data, both(initial));
      assert.equal((await at('POST', `role/fields/${path}`, { [old ?? field]: value })).status, 204);
      assert.deepEqual((await at('GET', `role/fields/${path}`)).body.data, both(shown));
      assert.deepEqual((await at('POST', `role/fields/${path}`, {})).body.errors, [`missing ${field}`]);
      assert.equal((await at('DELETE', `role/fields/${path}`)).status, 204);
      assert.deepEqual((await at('GET', `role/fields/${path}`)).body.data, both(initial));
      assert.equal((await at('DELETE', 'role/fields')).status, 204);
    });
  }

  test('a role id can be chosen, and belongs to one role', async () => {
    await roleWrite('first', { role_id: 'my-role' });
    await roleWrite('second', {});
    assert.deepEqual((await at('POST', 'role/second/role-id', { role_id: 'my-role' })).body.errors, ['role_id already in use']);
    assert.deepEqual((await at('POST', 'role/third', { role_id: 'my-role' })).body.errors, ['role_id already in use']);
    assert.equal((await at('POST', 'role/first/role-id', { role_id: 'other' })).status, 204);
    assert.equal((await at('POST', 'role/second/role-id', { role_id: 'my-role' })).status, 204);
    assert.deepEqual([await roleIdOf('first'), await roleIdOf('second')], ['other', 'my-role']);
    const { secret_id } = await secretIdOf('first');
    assert.equal((await logIn({ role_id: 'my-role', secret_id })).status, 400);
    assert.equal((await logIn({ role_id: 'other', secret_id })).status, 200);
    assert.deepEqual((await at('POST', 'role/first/role-id', {})).body.errors, ['missing role_id']);
    for (const name of ['first', 'second']) await at('DELETE', `role/${name}`);
  });

  test('refuses what makes no role', async () => {
    for (const [body, message] of [
      [{ bind_secret_id: false }, 'at least one constraint should be enabled on the role'], [{ token_policies: ' ROOT' }, 'auth methods cannot create root tokens'],
      [{ secret_id_bound_cidrs: 'canary' }, 'secret_id_bound_cidrs must be a list of ranges such as 192.0.2.0/24 or 2001:db8::/32'], [{ secret_id_num_uses: -1 }, 'secret_id_num_uses cannot be negative'],
      [{ token_type: 'odd' }, "invalid 'token_type' value"], [{ role_id: 'a b' }, 'a role_id is 1 to 256 printable characters without blanks'],
      [{ token_ttl: '2h', token_max_ttl: '1h' }, "'token_ttl' cannot be greater than 'token_max_ttl'"],
    ] as const) {
      const answer = await at('POST', 'role/odd', body);
      assert.deepEqual([answer.status, answer.body.errors], [400, [message]]);
    }
    await roleWrite('local', { local_secret_ids: true });
    assert.deepEqual((await at('GET', 'role/local/local-secret-ids')).body.data, { local_secret_ids: true });
    assert.deepEqual((await at('POST', 'role/local', { local_secret_ids: false })).body.errors, ['local_secret_ids can only be modified during role creation']);
    await at('DELETE', 'role/local');
  });
});

describe('secret ids', () => {
  before(() => roleWrite('web', { token_policies: 'app', secret_id_num_uses: 10, secret_id_ttl: '1h', secret_id_bound_cidrs: '127.0.0.0/8,::1', token_bound_cidrs: '127.0.0.0/8,::1' }));

  test('are generated, looked up, listed and destroyed by id and by accessor as in Vault', async () => {
    const answer = await at('POST', 'role/web/secret-id', { metadata: '{"team":"db"}', cidr_list: '127.0.0.1', token_bound_cidrs: ['127.0.0.0/16'], num_uses: 2, ttl: 60 });
    const { secret_id: id, secret_id_accessor: accessor, ...rest } = answer.body.data;
    assert.deepEqual(rest, { secret_id_ttl: 60, secret_id_num_uses: 2 });
    const byId = await at('POST', 'role/web/secret-id/lookup', { secret_id: id });
    const { creation_time, last_updated_time, expiration_time, ...shown } = byId.body.data;
    assert.deepEqual(shown, {
      secret_id_accessor: accessor, secret_id_ttl: 60, secret_id_num_uses: 2, cidr_list: ['127.0.0.1'], token_bound_cidrs: ['127.0.0.0/16'], metadata: { team: 'db' },
    });
    assert.equal(creation_time, last_updated_time);
    assert.equal(Date.parse(expiration_time) - Date.parse(creation_time), 60_000);
    assert.deepEqual((await at('POST', 'role/web/secret-id-accessor/lookup', { secret_id_accessor: accessor })).body.data, byId.body.data);
    assert.deepEqual((await at('LIST', 'role/web/secret-id')).body.data, { keys: [accessor] });
    for (const method of ['POST', 'DELETE'] as const) {
      const other = await secretIdOf('web');
      const [path, query] = method === 'POST' ? ['role/web/secret-id/destroy', ''] : ['role/web/secret-id-accessor/destroy', `?secret_id_accessor=${other.secret_id_accessor}`];
      assert.equal((await at(method, path + query, method === 'POST' ? { secret_id: other.secret_id } : undefined)).status, 204);
      assert.equal((await at('POST', 'role/web/secret-id/lookup', { secret_id: other.secret_id })).status, 204);
    }
    assert.equal((await at('POST', 'role/web/secret-id/destroy', { secret_id: 'never' })).status, 204);
    for (const verb of ['lookup', 'destroy']) assert.equal((await at('POST', `role/web/secret-id-accessor/${verb}`, { secret_id_accessor: 'never' })).status, 404);
    assert.deepEqual(await accessors('web'), [accessor]);
  });

  test('stay within what the role allows', async () => {
    for (const [body, message] of [
      [{ num_uses: 11 }, "num_uses cannot be higher than the role's secret_id_num_uses"], [{ num_uses: 0 }, "num_uses cannot be higher than the role's secret_id_num_uses"], [{ num_uses: -1 }, 'num_uses cannot be negative'],
      [{ ttl: '2h' }, "ttl cannot be longer than the role's secret_id_ttl"], [{ ttl: 0 }, "ttl cannot be longer than the role's secret_id_ttl"],
      [{ cidr_list: '0.0.0.0/0' }, "cidr_list goes beyond the role's secret_id_bound_cidrs"], [{ cidr_list: '126.0.0.0/7' }, "cidr_list goes beyond the role's secret_id_bound_cidrs"],
      [{ token_bound_cidrs: '192.0.2.1' }, "token_bound_cidrs goes beyond the role's"], [{ metadata: 'canary' }, 'the field metadata must be a JSON object of strings'], [{ metadata: '{"a":1}' }, 'the field metadata must be an object of strings'],
    ] as const) assert.deepEqual((await at('POST', 'role/web/secret-id', body)).body.errors, [message], JSON.stringify(body));
    await roleWrite('open', { bind_secret_id: false, token_bound_cidrs: '127.0.0.0/8,::1' });
    assert.deepEqual((await at('POST', 'role/open/secret-id')).body.errors, ['bind_secret_id is not set on the role']);
    assert.equal((await logIn({ role_id: await roleIdOf('open') })).status, 200);
  });

  test('can be chosen, once; short ones with a warning', async () => {
    const answer = await at('POST', 'role/web/custom-secret-id', { secret_id: 'abcd123' });
    assert.deepEqual([answer.body.data.secret_id, answer.body.warnings], ['abcd123', ['a secret_id of less than 20 characters can be guessed']]);
    assert.deepEqual((await at('POST', 'role/web/custom-secret-id', { secret_id: 'abcd123' })).body.errors, ['SecretID is already registered']);
    assert.deepEqual((await at('POST', 'role/web/custom-secret-id', {})).body.errors, ['missing secret_id']);
    assert.equal((await logIn({ role_id: await roleIdOf('web'), secret_id: 'abcd123' })).status, 200);
  });

  test('nothing of one role is reached through another: by accessor, by id, by login', async () => {
    await roleWrite('other', {});
    const { secret_id, secret_id_accessor } = await secretIdOf('web');
    const before = await accessors('web');
    for (const verb of ['lookup', 'destroy']) {
      assert.equal((await at('POST', `role/other/secret-id-accessor/${verb}`, { secret_id_accessor })).status, 404);
      assert.equal((await at('POST', `role/other/secret-id/${verb}`, { secret_id })).status, 204);
    }
    assert.equal((await logIn({ role_id: await roleIdOf('other'), secret_id })).status, 400);
    assert.deepEqual(await accessors('web'), before);
    assert.equal((await logIn({ role_id: await roleIdOf('web'), secret_id })).status, 200);
  });

  test('do not come back with a role of the same name and role id', async () => {
    await roleWrite('again', { role_id: 'again', token_policies: 'app' });
    const { secret_id, secret_id_accessor } = await secretIdOf('again');
    const { client_token: token } = (await logIn({ role_id: 'again', secret_id })).body.auth;
    await at('DELETE', 'role/again');
    await roleWrite('again', { role_id: 'again', token_policies: 'app' });
    assert.equal((await logIn({ role_id: 'again', secret_id })).status, 400);
    assert.equal((await at('POST', 'role/again/secret-id-accessor/lookup', { secret_id_accessor })).status, 404);
    assert.deepEqual((await call('POST', 'auth/token/renew-self', { token, body: {} })).body.errors, ['the role of this token does not exist any more']);
  });

  test('tidy answers 202, and knows no other path', async () => {
    assert.equal((await at('POST', 'tidy/secret-id')).status, 202);
    assert.equal((await at('POST', 'tidy/other')).status, 404);
  });
});

describe('login', () => {
  before(() => roleWrite('app', { token_policies: 'app', token_ttl: '1h', token_max_ttl: '2h', token_num_uses: 5 }));

  test('gives a token in Vault’s shape, with the metadata of the secret id', async () => {
    const { secret_id } = await secretIdOf('app', { metadata: '{"team":"db","role_name":"forged"}' });
    const answer = await logIn({ role_id: await roleIdOf('app'), secret_id });
    const { client_token: token, accessor, entity_id, ...auth } = answer.body.auth;
    assert.deepEqual(auth, {
      policies: ['app', 'default'], token_policies: ['app', 'default'], metadata: { team: 'db', role_name: 'app' }, lease_duration: 3600, renewable: true,
      token_type: 'service', orphan: true, mfa_requirement: null, num_uses: 5,
    });
    assert.deepEqual([typeof accessor, typeof entity_id], ['string', 'string']);
    const self = (await call('GET', 'auth/token/lookup-self', { token })).body.data;
    assert.deepEqual([self.display_name, self.path], ['approle', 'auth/approle/login']);
    assert.equal((await call('POST', 'auth/token/renew-self', { token, body: { increment: '9h' } })).body.auth.lease_duration, 7200);
  });

  test('gives a batch token where the role or the mount says so, and a bound token works from its ranges alone', async () => {
    await roleWrite('batch', { token_type: 'batch', token_policies: 'default' });
    const batch = (await logIn({ role_id: await roleIdOf('batch'), ...await secretIdOf('batch') })).body.auth;
    assert.deepEqual([batch.token_type, batch.renewable, String(batch.client_token).slice(0, 4)], ['batch', false, 'hvb.']);
    assert.equal((await call('GET', 'auth/token/lookup-self', { token: batch.client_token })).status, 200);
    for (const body of [{ token_type: 'default-batch' }, { token_num_uses: 3 }, { token_period: 60 }]) assert.equal((await at('POST', 'role/batch', body)).status, 400, JSON.stringify(body));
    const bound = (await logIn({ role_id: await roleIdOf('batch'), ...await secretIdOf('batch', { token_bound_cidrs: ['127.0.0.0/8'] }) })).body.auth;
    assert.deepEqual((await call('GET', 'auth/token/lookup-self', { token: bound.client_token })).body.data.bound_cidrs, ['127.0.0.0/8']);
  });

  test('refuses with one answer whatever part is wrong', async () => {
    const role_id = await roleIdOf('app');
    const { secret_id } = await secretIdOf('app');
    for (const body of [{ role_id: 'never', secret_id }, { role_id, secret_id: 'never' }, { role_id, secret_id: secret_id.toUpperCase() }, { role_id, secret_id: 'x'.repeat(5000) }, { role_id: 'x'.repeat(300), secret_id }]) {
      const answer = await logIn(body);
      assert.deepEqual([answer.status, answer.body.errors], [400, ['invalid role or secret ID']]);
    }
    assert.deepEqual((await logIn({ secret_id })).body.errors, ['missing role_id']);
    assert.deepEqual((await logIn({ role_id })).body.errors, ['missing secret_id']);
    assert.equal((await logIn({ role_id, secret_id })).status, 200);
  });

  test('counts uses exactly, also when all come at once', async () => {
    const role_id = await roleIdOf('app');
    const { secret_id } = await secretIdOf('app', { num_uses: 3 });
    await write('sys/auth/approle/tune', { user_lockout_config: { lockout_disable: true } });
    const answers = await Promise.all(Array.from({ length: 12 }, () => logIn({ role_id, secret_id })));
    await write('sys/auth/approle/tune', { user_lockout_config: { lockout_disable: false } });
    assert.equal(answers.filter(({ status }) => status === 200).length, 3);
    assert.equal((await at('POST', 'role/app/secret-id/lookup', { secret_id })).status, 204);
  });

  test('from outside of the ranges is refused, and costs no use', async () => {
    const role_id = await roleIdOf('app');
    const { secret_id } = await secretIdOf('app', { num_uses: 1, cidr_list: '192.0.2.0/24' });
    assert.deepEqual((await logIn({ role_id, secret_id })).body.errors, ['source address unauthorized through CIDR restrictions on the secret ID']);
    await roleWrite('app', { secret_id_bound_cidrs: '192.0.2.0/24' });
    const other = await secretIdOf('app');
    assert.deepEqual((await logIn({ role_id, secret_id: other.secret_id })).body.errors, ['source address unauthorized by CIDR restrictions on the role']);
    await roleWrite('app', { secret_id_bound_cidrs: '' });
    assert.equal((await at('POST', 'role/app/secret-id/lookup', { secret_id })).body.data.secret_id_num_uses, 1);
    const bound = await secretIdOf('app', { token_bound_cidrs: '192.0.2.0/24' });
    assert.equal((await logIn({ role_id, secret_id: bound.secret_id })).status, 403);
  });

  test('is locked out by guesses for one role id, and for no other', async () => {
    await roleWrite('guessed', {});
    const role_id = await roleIdOf('guessed');
    const { secret_id } = await secretIdOf('guessed');
    for (let i = 0; i < 5; i++) assert.equal((await logIn({ role_id, secret_id: `guess-${i}` })).status, 400);
    assert.equal((await logIn({ role_id, secret_id })).status, 403);
    const app = await secretIdOf('app');
    assert.equal((await logIn({ role_id: await roleIdOf('app'), secret_id: app.secret_id })).status, 200);
    const { accessor } = (await call('GET', 'sys/auth/approle')).body.data;
    await write(`sys/locked-users/${accessor}/unlock/${role_id}`, {});
    assert.equal((await logIn({ role_id, secret_id })).status, 200);
  });

  test('no secret id is in the audit file', async () => {
    const { secret_id } = await secretIdOf('app');
    await logIn({ role_id: await roleIdOf('app'), secret_id });
    const text = readdirSync(`${server.directory}/audit`).map((file) => readFileSync(`${server.directory}/audit/${file}`, 'utf8')).join('');
    assert.match(text, /auth\/approle\/login/);
    assert.equal(text.includes(secret_id), false);
    assert.doesNotMatch(text, /abcd123|guess-1/);
  });
});
