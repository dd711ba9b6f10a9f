// Class 5, alias collisions (CVE-2021-41802, CVE-2022-40186, CVE-2025-6013): two users never become one entity, whatever their names
// look like, and a disabled entity is nobody's at any mount.
/* eslint-disable @typescript-eslint/no-unsafe-member-access, @typescript-eslint/no-unsafe-assignment, @typescript-eslint/no-unsafe-argument -- bodies of any shape */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startIdentityProvider, type IdentityProvider } from '../fakes/identity-provider.ts';
import { startUnsealed, type TestServer } from '../server/running.ts';

let server: TestServer;
let provider: IdentityProvider;
const post = (path: string, body: object, token: string | undefined = server.root) => server.call('POST', path, { body, token });

before(async () => {
  [server, provider] = await Promise.all([startUnsealed(), startIdentityProvider()]);
  for (const mount of ['one', 'two']) {
    await post(`sys/auth/${mount}`, { type: 'jwt' });
    await post(`auth/${mount}/config`, { jwks_url: `${provider.url}/keys` });
    await post(`auth/${mount}/role/r`, { role_type: 'jwt', user_claim: 'sub', bound_audiences: 'purser', token_policies: 'default' });
  }
  await post('sys/auth/people', { type: 'userpass' });
});
after(async () => { await server.stop(); await provider.close(); });

const logIn = async (mount: string, sub: string) => post(`auth/${mount}/login`, { role: 'r', jwt: await provider.sign({ sub }) }, undefined);
const entityOf = async (mount: string, sub: string): Promise<string> => (await logIn(mount, sub)).body.auth.entity_id as string;

test('the same name at two mounts is two entities, and what one is given the other does not have', async () => {
  const [first, second] = [await entityOf('one', 'ann'), await entityOf('two', 'ann')];
  assert.notEqual(first, second);
  await post('sys/policies/acl/trap', { policy: 'path "secret/data/trap" { capabilities = ["create", "update"] }' });
  await post(`identity/entity/id/${first}`, { policies: 'trap' });
  const write = async (mount: string) => (await post('secret/data/trap', { data: { a: 1 } }, (await logIn(mount, 'ann')).body.auth.client_token)).status;
  assert.deepEqual([await write('one'), await write('two')], [200, 403]);
});

test('names that differ by case, blanks or look alike are different users', async () => {
  const ids = new Map<string, string>();
  for (const name of ['bob', 'Bob', 'BOB', ' bob', 'bob ', 'b ob', 'bоb', 'bob.', 'ｂｏｂ', 'straße', 'strasse', 'STRASSE', 'i', 'İ', 'ı']) {
    const { status, body } = await logIn('one', name);
    if (status !== 200) continue; // a name that is refused collides with nobody
    const id = body.auth.entity_id as string;
    assert.equal([...ids.values()].includes(id), false, `${JSON.stringify(name)} is taken for ${JSON.stringify([...ids].find(([, other]) => other === id)?.[0])}`);
    ids.set(name, id);
  }
  assert.ok(ids.size >= 8, [...ids.keys()].join());
});

test('names of userpass, which knows no case, are one user in every spelling', async () => {
  await post('auth/people/users/carl', { password: 'right' });
  const ids = new Set<string>();
  for (const name of ['carl', 'CARL', 'Carl']) ids.add((await post(`auth/people/login/${name}`, { password: 'right' }, undefined)).body.auth.entity_id);
  assert.equal(ids.size, 1);
});

test('an alias is one entity’s at a time, also when an operator moves it, and no entity has two at one mount', async () => {
  const mine = (await post('identity/entity', { name: 'mallory' })).body.data.id as string;
  const theirs = await entityOf('one', 'dora');
  const { accessor } = (await server.call('GET', 'sys/auth')).body.data['one/'] as { accessor: string };
  assert.equal((await post('identity/entity-alias', { name: 'eve', mount_accessor: accessor, canonical_id: theirs })).status, 400);
  await post('identity/entity-alias', { name: 'dora', mount_accessor: accessor, canonical_id: mine });
  const aliases = async (id: string) => ((await server.call('GET', `identity/entity/id/${id}`)).body.data.aliases as { name: string }[]).map(({ name }) => name);
  assert.deepEqual([await entityOf('one', 'dora'), await aliases(mine), await aliases(theirs)], [mine, ['dora'], []]);
  assert.equal((await post('identity/entity/merge', { to_entity_id: await entityOf('one', 'frank'), from_entity_ids: [mine] })).status, 400, 'both have an alias at this mount');
});

test('a disabled entity is refused at every mount it has an alias at, with the tokens it has', async () => {
  const { body: { auth } } = await logIn('one', 'gus');
  const { accessor } = (await server.call('GET', 'sys/auth')).body.data['two/'] as { accessor: string };
  assert.ok([200, 204].includes((await post('identity/entity-alias', { name: 'gus', mount_accessor: accessor, canonical_id: auth.entity_id })).status));
  const other = (await logIn('two', 'gus')).body.auth;
  assert.equal(other.entity_id, auth.entity_id);
  await post(`identity/entity/id/${String(auth.entity_id)}`, { disabled: true });
  for (const token of [auth.client_token, other.client_token]) assert.equal((await server.call('GET', 'auth/token/lookup-self', { token })).status, 403);
  for (const mount of ['one', 'two']) assert.equal((await logIn(mount, 'gus')).status, 403);
  assert.equal((await logIn('one', 'Gus')).status, 200, 'another user is not meant');
});
