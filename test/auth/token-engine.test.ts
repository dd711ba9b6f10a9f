// TokenEngine: Vault's paths, shapes and refusals at auth/token/.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { TokenEngine } from '../../src/auth/token/token-engine.ts';
import { TokenRoles } from '../../src/auth/token/token-roles.ts';
import { TokenStore } from '../../src/auth/token/token-store.ts';
import type { TokenSpec } from '../../src/auth/token/token-store.ts';
import type { Caller, JsonObject, LogicalResponse, Operation } from '../../src/core/logical.ts';
import { MemoryView } from '../fakes/memory-view.ts';

const START = 1_700_000_000_000;

async function setUp() {
  const clock = { ms: START };
  const now = () => clock.ms;
  const view = new MemoryView();
  const store = await TokenStore.open(view, now);
  const roles = new TokenRoles(view.sub('role/'));
  const engine = new TokenEngine({ store, roles, now, policyExists: async (name) => name !== 'ghost' });
  const root = (await store.createRoot()).id;

  /** Calls as the owner of `id`, as the pipeline would. */
  const call = async (id: string, path: string, data: JsonObject = {}, more: { sudo?: boolean; operation?: Operation } = {}): Promise<LogicalResponse | undefined> => {
    const entry = await store.lookupCaller(id);
    assert.ok(entry, 'the pipeline lets only living tokens through');
    const caller: Caller = {
      tokenId: id, tokenKey: entry.key, accessor: entry.accessor, policies: entry.policies, displayName: entry.displayName, metadata: entry.metadata,
      isRoot: entry.policies.includes('root'), path: entry.path, hasSudo: more.sudo ?? false,
    };
    return engine.handle({ operation: more.operation ?? 'update', path, mountPoint: 'auth/token/', data, caller, remoteAddress: '127.0.0.1' });
  };
  const make = async (spec: Partial<TokenSpec> = {}) =>
    (await store.create({ policies: ['app', 'default'], path: 'auth/token/create', displayName: 'token', ttlSeconds: 3600, ...spec })).id;
  return { clock, store, engine, root, call, make };
}

const authOf = (response: LogicalResponse | undefined) => response?.auth as Record<string, unknown>;

test('create answers with the auth object of Vault', async () => {
  const { root, call } = await setUp();
  const response = await call(root, 'create', { policies: ['app'], ttl: '1h', meta: { team: 'db' }, display_name: 'ci job!', num_uses: 3 });
  const { client_token, accessor, ...rest } = authOf(response);
  assert.match(String(client_token), /^hvs\.[0-9A-Za-z]{24}$/);
  assert.match(String(accessor), /^[0-9A-Za-z]{24}$/);
  assert.deepEqual(rest, {
    policies: ['app', 'default'], token_policies: ['app', 'default'], metadata: { team: 'db' }, lease_duration: 3600, renewable: true,
    entity_id: '', token_type: 'service', orphan: false, mfa_requirement: null, num_uses: 3,
  });
});

for (const { title, parent, data, sudo, policies } of [
  { title: 'takes the parent’s policies when none are named', parent: ['app', 'default'], data: {}, sudo: false, policies: ['app', 'default'] },
  { title: 'drops default when asked', parent: ['app', 'default'], data: { no_default_policy: true }, sudo: false, policies: ['app'] },
  { title: 'adds default to a subset when the parent has it', parent: ['app', 'default', 'x'], data: { policies: ['app'] }, sudo: false, policies: ['app', 'default'] },
  { title: 'adds no default that the parent has not', parent: ['app'], data: { policies: ['app'] }, sudo: false, policies: ['app'] },
  { title: 'trims, lower-cases and sorts names, also from comma-separated text', parent: ['a', 'b'], data: { policies: ' B ,A,,b' }, sudo: false, policies: ['a', 'b'] },
  { title: 'lets sudo name any policy', parent: ['app'], data: { policies: ['other'] }, sudo: true, policies: ['default', 'other'] },
  { title: 'lets root make root, alone', parent: ['root'], data: { policies: ['x', 'ROOT'], ttl: 60 }, sudo: true, policies: ['root'] },
  { title: 'treats null as absent', parent: ['app'], data: { policies: null, ttl: null, num_uses: null, id: null, period: null }, sudo: false, policies: ['app'] },
] as const) {
  test(`create ${title}`, async () => {
    const { call, make } = await setUp();
    const id = await make({ policies: parent });
    assert.deepEqual(authOf(await call(id, 'create', data, { sudo }))['policies'], policies);
  });
}

for (const { data, sudo, message } of [
  { data: { policies: ['other'] }, message: 'child policies must be subset of parent' },
  { data: { policies: ['app', 'default', 'x'] }, message: 'child policies must be subset of parent' },
  { data: { policies: ['root'] }, sudo: true, message: 'root tokens may not be created without parent token being root' },
  { data: { policies: ['app', 'Root'] }, sudo: true, message: 'root tokens may not be created without parent token being root' },
  { data: { policies: [' rOOt\t'] }, sudo: true, message: 'root tokens may not be created without parent token being root' },
  { data: { policies: ['ｒｏｏｔ'] }, sudo: true, message: 'root tokens may not be created without parent token being root' },
  { data: { policies: ['\u{feff}root'] }, sudo: true, message: 'root tokens may not be created without parent token being root' },
  { data: { policies: ['ro\u{200b}ot'] }, sudo: true, message: 'a policy name holds a blank, control or format character' },
  { data: { policies: ['root\0'] }, sudo: true, message: 'a policy name holds a blank, control or format character' },
  { data: { policies: ['root\u{85}'] }, sudo: true, message: 'a policy name holds a blank, control or format character' },
  { data: { policies: [5] }, message: 'the field policies must be a list of strings' },
  { data: { id: 'chosen' }, message: 'root or sudo privileges required to specify token id' },
  { data: { id: 'hvs.x' }, sudo: true, message: 'a chosen token id cannot begin like a generated one' },
  { data: { no_parent: true }, message: 'root or sudo privileges required to create orphan token' },
  { data: { period: '1h' }, message: 'root or sudo privileges required to create periodic token' },
  { data: { num_uses: -1 }, message: 'number of uses cannot be negative' },
  { data: { num_uses: 1.5 }, message: 'the field num_uses must be a whole number' },
  { data: { ttl: '-1h' }, message: 'the field ttl must be a duration such as 3600, 90s or 1h30m' },
  { data: { type: 'big' }, message: "invalid 'type' value" },
  { data: { entity_alias: 'x' }, message: "'entity_alias' is only allowed in combination with token role" },
  { data: { meta: { a: 1 } }, message: 'the field meta must be an object of strings' },
] as { data: JsonObject; sudo?: boolean; message: string }[]) {
  test(`create refuses ${JSON.stringify(data)}${sudo ? ' with sudo' : ''}`, async () => {
    const { call, make } = await setUp();
    await assert.rejects(call(await make(), 'create', data, { sudo: sudo ?? false }), { code: 'ERR_REQUEST_INVALID', message });
  });
}

test('create refuses a parent with counted uses, also in its last use', async () => {
  const { store, call, make } = await setUp();
  const id = await make({ numUses: 1 });
  await assert.rejects(call(id, 'create'), { message: 'restricted use token cannot generate child tokens' });
  await store.use(id);
  await assert.rejects(call(id, 'create'), { message: 'restricted use token cannot generate child tokens' });
});

test('create refuses a root token without end from a root token with one', async () => {
  const { root, call } = await setUp();
  const ending = String(authOf(await call(root, 'create', { ttl: 60 }))['client_token']);
  await assert.rejects(call(ending, 'create'), { message: 'expiring root tokens cannot create non-expiring root tokens' });
  assert.equal(authOf(await call(ending, 'create', { ttl: 30 }))['lease_duration'], 30);
});

test('create gives a tiny TTL a second, never "without end"', async () => {
  const { root, call } = await setUp();
  const auth = authOf(await call(root, 'create', { policies: ['app'], ttl: '1ms' }));
  assert.equal(auth['lease_duration'], 1);
});

test('create warns about a policy that does not exist', async () => {
  const { root, call } = await setUp();
  const response = await call(root, 'create', { policies: ['ghost'] });
  assert.deepEqual(response?.warnings, ['Policy "ghost" does not exist']);
});

test('create-orphan and no_parent make orphans that outlive their maker', async () => {
  const { store, root, call, make } = await setUp();
  const maker = await make();
  for (const [path, data] of [['create-orphan', {}], ['create', { no_parent: true }]] as const) {
    const auth = authOf(await call(maker, path, data, { sudo: true }));
    assert.equal(auth['orphan'], true);
    await assert.rejects(call(maker, path, data), { message: 'root or sudo privileges required to create orphan token' });
    assert.equal(authOf(await call(root, path, data))['orphan'], true);
  }
  const survivor = String(authOf(await call(maker, 'create-orphan', {}, { sudo: true }))['client_token']);
  await call(maker, 'revoke-self');
  assert.ok(await store.lookup(survivor));
});

test('lookup-self shows every field of Vault', async () => {
  const { clock, call, make } = await setUp();
  const id = await make({ metadata: { node_id: 'n1' } });
  clock.ms += 500;
  const { accessor, ...data } = (await call(id, 'lookup-self', {}, { operation: 'read' }))?.data as Record<string, unknown>;
  assert.match(String(accessor), /^[0-9A-Za-z]{24}$/);
  assert.deepEqual(data, {
    id, policies: ['app', 'default'], path: 'auth/token/create', meta: { node_id: 'n1' }, display_name: 'token', num_uses: 0, orphan: true,
    creation_time: 1_700_000_000, creation_ttl: 3600, issue_time: '2023-11-14T22:13:20.000Z', expire_time: '2023-11-14T23:13:20.000Z',
    ttl: 3600, explicit_max_ttl: 0, entity_id: '', type: 'service', renewable: true,
  });
});

test('lookup of a token by another, by accessor, and of a root token', async () => {
  const { root, call, make, store } = await setUp();
  const id = await make();
  assert.equal((await call(root, 'lookup', { token: id }))?.data?.['id'], id);
  const accessor = (await store.lookup(id))?.accessor ?? '';
  const byAccessor = (await call(root, 'lookup-accessor', { accessor }))?.data;
  assert.deepEqual([byAccessor?.['id'], byAccessor?.['accessor']], ['', accessor]);
  const own = (await call(root, 'lookup'))?.data;
  assert.deepEqual([own?.['expire_time'], own?.['ttl'], own?.['meta']], [null, 0, null]);
});

test('renew-self, renew and renew-accessor answer with the auth object', async () => {
  const { clock, store, root, call, make } = await setUp();
  const id = await make();
  const accessor = (await store.lookup(id))?.accessor ?? '';
  clock.ms += 1_000_000;
  for (const [caller, path, data, shown] of [
    [id, 'renew-self', { increment: '2h' }, id], [root, 'renew', { token: id, increment: 7200 }, id], [root, 'renew-accessor', { accessor, increment: '7200' }, ''],
  ] as const) {
    const auth = authOf(await call(caller, path, data));
    assert.deepEqual([auth['client_token'], auth['lease_duration']], [shown, 7200]);
  }
  const unrenewable = await call(root, 'renew-self');
  assert.deepEqual([authOf(unrenewable)['lease_duration'], unrenewable?.warnings], [0, ['the token is not renewable']]);
});

test('revoke, revoke-self, revoke-accessor and revoke-orphan answer nothing and revoke', async () => {
  const { store, root, call, make } = await setUp();
  for (const path of ['revoke', 'revoke-self', 'revoke-accessor', 'revoke-orphan']) {
    const id = await make();
    const accessor = (await store.lookup(id))?.accessor ?? '';
    assert.equal(await call(path === 'revoke-self' ? id : root, path, { token: id, accessor }), undefined);
    assert.equal(await store.lookup(id), undefined);
  }
  assert.equal(await call(root, 'revoke', { token: 'unknown' }), undefined);
});

test('accessors lists every token', async () => {
  const { root, call, make } = await setUp();
  await make();
  const keys = (await call(root, 'accessors/', {}, { operation: 'list' }))?.data?.['keys'] as string[];
  assert.equal(keys.length, 2);
});

for (const { path, data, operation, code, message } of [
  { path: 'lookup', data: { token: 'unknown' }, code: 'ERR_REQUEST_DENIED', message: 'bad token' },
  { path: 'lookup-accessor', data: { accessor: 'unknown' }, code: 'ERR_REQUEST_INVALID', message: 'invalid accessor' },
  { path: 'lookup-accessor', data: {}, code: 'ERR_REQUEST_INVALID', message: 'missing accessor' },
  { path: 'renew', data: { token: 'unknown' }, code: 'ERR_REQUEST_INVALID', message: 'token not found' },
  { path: 'renew-accessor', data: { accessor: 'x' }, code: 'ERR_REQUEST_INVALID', message: 'invalid accessor' },
  { path: 'revoke', data: {}, code: 'ERR_REQUEST_INVALID', message: 'missing token' },
  { path: 'revoke-accessor', data: { accessor: 'x' }, code: 'ERR_REQUEST_INVALID', message: 'invalid accessor' },
  { path: 'revoke-orphan', data: { token: 'unknown' }, code: 'ERR_REQUEST_INVALID', message: 'token to revoke not found' },
  { path: 'roles/x/y', data: {}, code: 'ERR_REQUEST_NOT_FOUND', message: 'unsupported path' },
  { path: 'create/role', data: {}, code: 'ERR_REQUEST_INVALID', message: 'unknown role role' },
  { path: 'constructor', data: {}, code: 'ERR_REQUEST_NOT_FOUND', message: 'unsupported path' },
  { path: 'create', operation: 'delete', data: {}, code: 'ERR_REQUEST_UNSUPPORTED', message: 'unsupported operation' },
  { path: 'accessors/', operation: 'read', data: {}, code: 'ERR_REQUEST_UNSUPPORTED', message: 'unsupported operation' },
] as { path: string; data: JsonObject; operation?: Operation; code: string; message: string }[]) {
  test(`${operation ?? 'update'} ${path} with ${JSON.stringify(data)} is refused: ${message}`, async () => {
    const { root, call } = await setUp();
    await assert.rejects(call(root, path, data, operation ? { operation } : {}), { code, message });
  });
}

test('revoke-orphan needs sudo, and no path works without a caller', async () => {
  const { engine, call, make } = await setUp();
  await assert.rejects(call(await make(), 'revoke-orphan', { token: 'x' }), { message: 'root or sudo privileges required to revoke and orphan' });
  await assert.rejects(engine.handle({ operation: 'update', path: 'create', mountPoint: 'auth/token/', data: {}, remoteAddress: '' }), { code: 'ERR_REQUEST_DENIED' });
  assert.deepEqual(engine.sudoPaths, ['accessors*', 'revoke-orphan/*']);
});

const ROLE = 'roles/ci';

for (const { title, role, data, parent, sudo, expected } of [
  { title: 'gives what it allows when nothing is wished', role: { allowed_policies: ['x', 'y'] }, expected: ['default', 'x', 'y'] },
  { title: 'gives a wish within what it allows', role: { allowed_policies: 'x,y' }, data: { policies: ['Y'] }, expected: ['default', 'y'] },
  { title: 'gives a wish that fits a glob', role: { allowed_policies_glob: ['team-*'] }, data: { policies: ['team-db'] }, expected: ['default', 'team-db'] },
  { title: 'leaves default out when it says so', role: { allowed_policies: ['x'], token_no_default_policy: true }, expected: ['x'] },
  { title: 'leaves default out when it is disallowed', role: { disallowed_policies: ['default'] }, parent: ['app'], expected: ['app'] },
  { title: 'without lists gives a subset of the parent’s', role: { orphan: true }, data: { policies: ['app'] }, expected: ['app', 'default'] },
] as { title: string; role: JsonObject; data?: JsonObject; parent?: string[]; sudo?: boolean; expected: string[] }[]) {
  test(`a role ${title}`, async () => {
    const { root, call, make } = await setUp();
    await call(root, ROLE, role);
    const id = await make(parent === undefined ? {} : { policies: parent });
    assert.deepEqual(authOf(await call(id, 'create/ci', data ?? {}, { sudo: sudo ?? false }))['policies'], expected);
  });
}

for (const { role, data, message, asRoot } of [
  { role: { allowed_policies: ['x'] }, data: { policies: ['app'] }, message: 'token policies must be subset of the role\'s allowed policies: "app" is not' },
  { role: { allowed_policies: ['x'] }, data: { policies: ['root'] }, asRoot: true, message: 'token policies must be subset of the role\'s allowed policies: "root" is not' },
  { role: { allowed_policies: ['root'] }, data: {}, message: 'root tokens may not be created without parent token being root' },
  { role: { allowed_policies_glob: ['*'] }, data: { policies: ['ROOT'] }, message: 'root tokens may not be created without parent token being root' },
  { role: { allowed_policies_glob: ['*'] }, data: { policies: ['response-wrapping'] }, asRoot: true, message: 'cannot assign policy "response-wrapping"' },
  { role: { disallowed_policies: ['app'] }, data: {}, message: 'token policy "app" is disallowed by this role' },
  { role: { disallowed_policies_glob: ['a*p'] }, data: {}, message: 'token policy "app" is disallowed by this role' },
  { role: { allowed_policies_glob: ['team-*'] }, data: { policies: ['xteam-db'] }, message: 'token policies must be subset of the role\'s allowed policies: "xteam-db" is not' },
  { role: {}, data: { policies: ['other'] }, message: 'child policies must be subset of parent' },
  { role: {}, data: { period: '1h' }, message: 'root or sudo privileges required to create periodic token' },
  { role: {}, data: { entity_alias: 'ann' }, message: "invalid 'entity_alias' value" },
  { role: { allowed_entity_aliases: ['a*'] }, data: { entity_alias: 'ann' }, message: 'entity aliases are not offered' },
  { role: { token_period: 60 }, data: { type: 'batch' }, message: 'batch tokens cannot be periodic' },
  { role: { token_num_uses: 3 }, data: { type: 'batch' }, message: 'batch tokens cannot have a limited use count' },
] as { role: JsonObject; data: JsonObject; message: string; asRoot?: boolean }[]) {
  test(`a role ${JSON.stringify(role)} refuses ${JSON.stringify(data)}`, async () => {
    const { root, call, make } = await setUp();
    await call(root, ROLE, role);
    await assert.rejects(call(asRoot === true ? root : await make(), 'create/ci', data), { code: 'ERR_REQUEST_INVALID', message });
  });
}

test('a role decides about parent, path, type, uses, end and addresses of its tokens', async () => {
  const { store, root, call, make } = await setUp();
  await call(root, ROLE, {
    orphan: true, path_suffix: 'ci/deploy', token_period: '1h', token_num_uses: 5, token_explicit_max_ttl: '2h', token_bound_cidrs: ['10.0.0.0/8'], renewable: false,
  });
  const auth = authOf(await call(await make(), 'create/ci', { num_uses: 9 }));
  assert.deepEqual([auth['orphan'], auth['num_uses'], auth['lease_duration'], auth['renewable']], [true, 5, 3600, false]);
  const data = (await call(root, 'lookup', { token: auth['client_token'] as string }))?.data as Record<string, unknown>;
  assert.deepEqual([data['path'], data['role'], data['bound_cidrs'], data['period'], data['explicit_max_ttl']], ['auth/token/create/ci/ci/deploy', 'ci', ['10.0.0.0/8'], 3600, 7200]);
  await store.revokeLeasesBelow('auth/token/create/ci/ci/');
  assert.equal(await store.lookup(auth['client_token'] as string), undefined);
});

test('a periodic token of a role is renewed by the role as it is now, and not at all once the role is gone', async () => {
  const { root, call, make } = await setUp();
  await call(root, ROLE, { token_period: '1h' });
  const id = String(authOf(await call(await make(), 'create/ci'))['client_token']);
  await call(root, ROLE, { token_period: '10m' });
  assert.equal(authOf(await call(id, 'renew-self', { increment: '5h' }))['lease_duration'], 600);
  await call(root, ROLE, {}, { operation: 'delete' });
  await assert.rejects(call(id, 'renew-self'), { message: 'original token role "ci" could not be found, not renewing' });
});

test('a role makes batch tokens, which make no tokens and are refused what only stored tokens have', async () => {
  const { root, call, make } = await setUp();
  await call(root, ROLE, { token_type: 'batch', renewable: false });
  const auth = authOf(await call(await make(), 'create/ci', { ttl: '5m' }));
  assert.deepEqual([auth['token_type'], auth['accessor'], auth['renewable'], auth['lease_duration'], auth['orphan']], ['batch', '', false, 300, false]);
  const id = String(auth['client_token']);
  await assert.rejects(call(id, 'create'), { message: 'batch tokens cannot create more tokens' });
  await assert.rejects(call(id, 'renew-self'), { message: 'batch tokens cannot be renewed' });
  await assert.rejects(call(id, 'revoke-self'), { message: 'batch tokens cannot be revoked' });
  const data = (await call(id, 'lookup-self', {}, { operation: 'read' }))?.data as Record<string, unknown>;
  assert.deepEqual([data['type'], data['accessor'], data['renewable'], data['id']], ['batch', '', false, id]);
  for (const more of [{ explicit_max_ttl: '1h' }, { num_uses: 2 }, { period: '1h' }, { policies: ['root'] }]) {
    await assert.rejects(call(root, 'create', { type: 'batch', ...more }), { code: 'ERR_REQUEST_INVALID', message: /^batch tokens cannot/ });
  }
});

for (const [data, message] of [
  [{ token_type: 'batch' }, "'token_type' cannot be 'batch' when role is set to generate renewable tokens"],
  [{ token_type: 'default-batch', token_num_uses: 1 }, "'token_type' cannot be 'batch' or 'default_batch' when set to generate tokens with limited use count"],
  [{ token_type: 'x' }, "invalid 'token_type' value"],
  [{ token_num_uses: -1 }, "'token_num_uses' cannot be negative"],
  [{ path_suffix: '../x' }, 'the given role path suffix contains invalid characters: letters, digits, dashes and underscores, divided by slashes, are allowed'],
  [{ token_bound_cidrs: ['10.0.0.0/33'] }, "'token_bound_cidrs' must be a list of ranges such as 192.0.2.0/24 or 2001:db8::/32"],
] as const) {
  test(`roles refuses ${JSON.stringify(data)}`, async () => {
    const { root, call } = await setUp();
    await assert.rejects(call(root, ROLE, data), { code: 'ERR_REQUEST_INVALID', message });
  });
}

test('roles: written, read with every field of Vault, changed in part, listed, deleted; a name has one spelling', async () => {
  const { engine, root, call } = await setUp();
  assert.equal(await call(root, ROLE, {}, { operation: 'read' }), undefined);
  await call(root, ROLE, { allowed_policies: ['X'], period: 60, bound_cidrs: '10.0.0.1' });
  await call(root, ROLE, { orphan: true });
  assert.deepEqual((await call(root, ROLE, {}, { operation: 'read' }))?.data, {
    name: 'ci', allowed_policies: ['x'], allowed_policies_glob: [], disallowed_policies: [], disallowed_policies_glob: [], allowed_entity_aliases: [], orphan: true,
    renewable: true, path_suffix: '', token_bound_cidrs: ['10.0.0.1'], token_explicit_max_ttl: 0, explicit_max_ttl: 0, token_no_default_policy: false,
    token_num_uses: 0, token_period: 60, period: 60, token_type: 'default-service',
  });
  assert.deepEqual((await call(root, 'roles/', {}, { operation: 'list' }))?.data, { keys: ['ci'] });
  assert.equal(await call(root, 'roles/CI', {}, { operation: 'read' }), undefined);
  const exists = (path: string) => engine.exists({ operation: 'update', path, mountPoint: 'auth/token/', data: {}, remoteAddress: '' });
  assert.deepEqual([await exists(ROLE), await exists('roles/new'), await exists('create')], [true, false, true]);
  await call(root, ROLE, {}, { operation: 'delete' });
  assert.equal(await call(root, 'roles/', {}, { operation: 'list' }), undefined);
});

test('tidy answers at once and runs in the background', async () => {
  const { clock, store, root, call, make } = await setUp();
  await make({ ttlSeconds: 1 });
  clock.ms += 2_000;
  assert.equal((await call(root, 'tidy'))?.status, 202);
  for (let i = 0; i < 50; i++) await new Promise((resolve) => { setImmediate(resolve); });
  const left: string[] = [];
  for await (const accessor of store.accessors()) left.push(accessor);
  assert.equal(left.length, 1);
});
