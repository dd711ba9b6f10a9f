// TokenEngine: Vault's paths, shapes and refusals at auth/token/.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { TokenEngine } from '../../src/auth/token/token-engine.ts';
import { TokenStore } from '../../src/auth/token/token-store.ts';
import type { TokenSpec } from '../../src/auth/token/token-store.ts';
import type { Caller, JsonObject, LogicalResponse, Operation } from '../../src/core/logical.ts';
import { MemoryView } from '../fakes/memory-view.ts';

const START = 1_700_000_000_000;

async function setUp() {
  const clock = { ms: START };
  const now = () => clock.ms;
  const store = await TokenStore.open(new MemoryView(), now);
  const engine = new TokenEngine({ store, now, policyExists: async (name) => name !== 'ghost' });
  const root = (await store.createRoot()).id;

  /** Calls as the owner of `id`, as the pipeline would. */
  const call = async (id: string, path: string, data: JsonObject = {}, more: { sudo?: boolean; operation?: Operation } = {}): Promise<LogicalResponse | undefined> => {
    const entry = await store.lookupCaller(id);
    assert.ok(entry, 'the pipeline lets only living tokens through');
    const caller: Caller = {
      tokenId: id, accessor: entry.accessor, policies: entry.policies, displayName: entry.displayName, metadata: entry.metadata,
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
  { data: { type: 'batch' }, message: 'only tokens of type service can be created' },
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
  { path: 'roles/x', data: {}, code: 'ERR_REQUEST_NOT_FOUND', message: 'unsupported path' },
  { path: 'create/role', data: {}, code: 'ERR_REQUEST_NOT_FOUND', message: 'unsupported path' },
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
