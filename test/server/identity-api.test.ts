// identity/ over a running server, in Vault's shapes: entities, aliases, lookups, merges, and what is refused.
/* eslint-disable @typescript-eslint/no-unsafe-member-access, @typescript-eslint/no-unsafe-assignment, @typescript-eslint/no-unsafe-argument -- bodies of any shape */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { startUnsealed, type TestServer } from './running.ts';

let server: TestServer;
before(async () => { server = await startUnsealed(); });
after(() => server.stop());

const UNKNOWN = '00000000-0000-4000-8000-000000000000';

describe('identity/entity', () => {
  test('is made, read by id and name, listed, changed and deleted', async () => {
    const made = await server.call('POST', 'identity/entity', { body: { name: 'ann', metadata: { team: 'red' }, policies: ['app', 'App'] } });
    const { id } = made.body.data as { id: string };
    assert.deepEqual([made.status, made.body.data], [200, { id, name: 'ann', aliases: null }]);
    for (const path of [`identity/entity/id/${id}`, 'identity/entity/name/ANN']) {
      const { creation_time, last_update_time, ...data } = (await server.call('GET', path)).body.data as Record<string, string>;
      assert.match(`${creation_time} ${last_update_time}`, /^\d{4}-\S+Z \d{4}-\S+Z$/);
      assert.deepEqual(data, {
        aliases: [], direct_group_ids: [], disabled: false, group_ids: [], id, inherited_group_ids: [], merged_entity_ids: null, metadata: { team: 'red' }, name: 'ann', namespace_id: 'root', policies: ['app'],
      });
    }
    assert.equal((await server.call('POST', `identity/entity/id/${id}`, { body: { metadata: ['a=b', 'c=d=e'], disabled: 'true' } })).status, 204);
    assert.deepEqual((await server.call('PUT', 'identity/entity/name/ann', { body: { policies: null } })).status, 204);
    const { metadata, disabled, policies } = (await server.call('GET', `identity/entity/id/${id}`)).body.data as Record<string, unknown>;
    assert.deepEqual([metadata, disabled, policies], [{ a: 'b', c: 'd=e' }, true, ['app']]);
    const list = await server.call('LIST', 'identity/entity/id');
    assert.deepEqual([list.body.data.keys, list.body.data.key_info], [[id], { [id]: { name: 'ann', aliases: [] } }]);
    assert.deepEqual((await server.call('LIST', 'identity/entity/name')).body.data, { keys: ['ann'] });
    assert.equal((await server.call('DELETE', 'identity/entity/name/ann')).status, 204);
    assert.equal((await server.call('GET', `identity/entity/id/${id}`)).status, 404);
    assert.equal((await server.call('LIST', 'identity/entity/id')).status, 404);
    assert.equal((await server.call('DELETE', `identity/entity/id/${id}`)).status, 204);
  });

  const INVALID: readonly (readonly [string, string, object, RegExp])[] = [
    ['root as a policy', 'identity/entity', { name: 'x', policies: ['ROOT'] }, /cannot contain root/],
    ['a policy of the core itself', 'identity/entity', { name: 'x', policies: 'purser-node' }, /cannot assign/],
    ['a name that no policy could use', 'identity/entity', { name: 'a/*' }, /name of an entity/],
    ['a name with dots in a path', 'identity/entity', { name: 'a..b' }, /name of an entity/],
    ['an id that is not there', 'identity/entity', { id: UNKNOWN }, /not found from id/],
    ['metadata that is no map', 'identity/entity', { metadata: { a: 1 } }, /metadata/],
    ['too much metadata', 'identity/entity', { metadata: Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`k${i}`, ''])) }, /more than 64 keys/],
    ['long metadata', 'identity/entity', { metadata: { a: 'x'.repeat(513) } }, /at most 512/],
    ['an alias at no mount', 'identity/entity-alias', { name: 'x', mount_accessor: 'auth_none_1' }, /invalid mount accessor/],
    ['an alias without a mount', 'identity/entity-alias', { name: 'x' }, /missing mount_accessor/],
    ['an alias without a name', 'identity/entity-alias', { mount_accessor: 'auth_token_builtin' }, /name of an alias/],
    ['root in a group', 'identity/group', { name: 'g', policies: 'root' }, /cannot contain root/],
    ['a member group that is not there', 'identity/group', { name: 'g', member_group_ids: [UNKNOWN] }, /member group does not exist/],
    ['a member who is not there', 'identity/group', { name: 'g', member_entity_ids: [UNKNOWN] }, /does not exist/],
    ['an unknown type of group', 'identity/group', { name: 'g', type: 'x' }, /internal or external/],
    ['an alias of no group', 'identity/group-alias', { name: 'g', mount_accessor: 'auth_token_builtin', canonical_id: UNKNOWN }, /canonical_id/],
    ['an alias of a group at no mount', 'identity/group-alias', { name: 'g', mount_accessor: 'none', canonical_id: UNKNOWN }, /mount accessor/],
    ['no group to look up', 'identity/lookup/group', {}, /exactly one/],
    ['no selector', 'identity/lookup/entity', {}, /not supplied/],
    ['two selectors', 'identity/lookup/entity', { id: UNKNOWN, name: 'x' }, /only one/],
    ['half a selector', 'identity/lookup/entity', { alias_name: 'x' }, /both/],
    ['a merge of nothing', 'identity/entity/merge', { to_entity_id: UNKNOWN }, /merge from/],
    ['a merge into nothing', 'identity/entity/merge', { to_entity_id: UNKNOWN, from_entity_ids: [UNKNOWN] }, /merge to is invalid/],
  ];
  for (const [title, path, body, message] of INVALID) {
    test(`refuses ${title}`, async () => {
      const { status, body: answer } = await server.call('POST', path, { body });
      assert.deepEqual([status, message.test(answer.errors[0])], [400, true], JSON.stringify(answer));
    });
  }

  test('answers unknown paths and operations as other engines do', async () => {
    assert.equal((await server.call('GET', 'identity/nothing')).status, 404);
    assert.equal((await server.call('GET', 'identity/entity')).status, 405);
    assert.equal((await server.call('GET', 'identity/entity/id/a/b')).status, 404);
    assert.equal((await server.call('GET', 'identity/entity/id/..%2Fsalt')).status, 400);
    assert.equal((await server.call('GET', 'identity/entity/id/salt')).status, 404);
    assert.equal((await server.call('GET', 'identity/oidc/.well-known/keys', { token: undefined })).status, 200);
    assert.equal((await server.call('LIST', 'identity/entity/id', { token: undefined })).status, 403);
  });
});

describe('identity/entity-alias', () => {
  test('is made, looked up, moved, merged and deleted', async () => {
    const [ann, bob] = await Promise.all(['ann', 'bob'].map(async (name) => (await server.call('POST', 'identity/entity', { body: { name } })).body.data.id as string));
    const made = await server.call('POST', 'identity/entity-alias', { body: { name: 'a@x', canonical_id: ann, mount_accessor: 'auth_token_builtin', custom_metadata: { desk: '9' } } });
    const { id } = made.body.data as { id: string };
    assert.deepEqual(made.body.data, { id, canonical_id: ann });
    const { canonical_id, custom_metadata, mount_path, mount_type, name } = (await server.call('GET', `identity/entity-alias/id/${id}`)).body.data as Record<string, unknown>;
    assert.deepEqual([canonical_id, custom_metadata, mount_path, mount_type, name], [ann, { desk: '9' }, 'auth/token/', 'token', 'a@x']);
    for (const body of [{ alias_id: id }, { alias_name: 'a@x', alias_mount_accessor: 'auth_token_builtin' }, { name: 'ANN' }, { id: ann }]) {
      assert.equal((await server.call('POST', 'identity/lookup/entity', { body })).body.data.id, ann);
    }
    assert.equal((await server.call('POST', 'identity/lookup/entity', { body: { alias_name: 'A@X', alias_mount_accessor: 'auth_token_builtin' } })).status, 204);
    assert.deepEqual((await server.call('POST', `identity/entity-alias/id/${id}`, { body: { canonical_id: bob } })).body.data, { id, canonical_id: bob });
    assert.deepEqual(Object.keys((await server.call('LIST', 'identity/entity-alias/id')).body.data.key_info), [id]);
    assert.equal((await server.call('POST', 'identity/entity/merge', { body: { to_entity_id: ann, from_entity_ids: [bob] } })).status, 204);
    const merged = (await server.call('GET', `identity/entity/id/${bob}`)).body.data;
    assert.deepEqual([merged.id, merged.aliases[0].id, merged.merged_entity_ids], [ann, id, [bob]]);
    assert.equal((await server.call('DELETE', `identity/entity-alias/id/${id}`)).status, 204);
    assert.equal((await server.call('GET', `identity/entity-alias/id/${id}`)).status, 404);
    assert.equal((await server.call('POST', 'identity/entity/batch-delete', { body: { entity_ids: [ann, UNKNOWN] } })).status, 204);
    assert.equal((await server.call('GET', `identity/entity/id/${ann}`)).status, 404);
  });
});

describe('identity/group', () => {
  test('is made, read, listed, changed, looked up and deleted, with its alias', async () => {
    const entity = (await server.call('POST', 'identity/entity', { body: { name: 'member' } })).body.data.id as string;
    const made = (await server.call('POST', 'identity/group', { body: { name: 'Devs', policies: ['dev'], member_entity_ids: [entity], metadata: { a: 'b' } } })).body.data;
    const id = made.id as string;
    assert.equal(made.name, 'Devs');
    const { creation_time, last_update_time, ...data } = (await server.call('GET', 'identity/group/name/devs')).body.data as Record<string, string>;
    assert.match(`${creation_time} ${last_update_time}`, /^\d{4}-\S+Z \d{4}-\S+Z$/);
    assert.deepEqual(data, { alias: {}, id, member_entity_ids: [entity], member_group_ids: null, metadata: { a: 'b' }, name: 'Devs', namespace_id: 'root', parent_group_ids: null, policies: ['dev'], type: 'internal' });
    assert.equal((await server.call('POST', `identity/group/id/${id}`, { body: { policies: 'dev,ops' } })).status, 204);
    assert.deepEqual((await server.call('POST', 'identity/lookup/group', { body: { name: 'DEVS' } })).body.data.policies, ['dev', 'ops']);
    assert.equal((await server.call('POST', 'identity/lookup/group', { body: { id: UNKNOWN } })).status, 204);
    const external = (await server.call('POST', 'identity/group', { body: { name: 'ext', type: 'external' } })).body.data.id as string;
    const alias = (await server.call('POST', 'identity/group-alias', { body: { name: 'x', mount_accessor: 'auth_token_builtin', canonical_id: external } })).body.data;
    assert.equal(alias.canonical_id, external);
    assert.equal((await server.call('GET', `identity/group-alias/id/${alias.id}`)).body.data.mount_path, 'auth/token/');
    assert.deepEqual((await server.call('POST', 'identity/lookup/group', { body: { alias_name: 'x', alias_mount_accessor: 'auth_token_builtin' } })).body.data.id, external);
    assert.deepEqual((await server.call('LIST', 'identity/group-alias/id')).body.data.keys, [alias.id]);
    assert.deepEqual((await server.call('LIST', 'identity/group/name')).body.data.keys, ['Devs', 'ext']);
    assert.equal((await server.call('DELETE', `identity/group-alias/id/${alias.id}`)).status, 204);
    for (const group of [id, external]) assert.equal((await server.call('DELETE', `identity/group/id/${group}`)).status, 204);
    assert.equal((await server.call('LIST', 'identity/group/id')).status, 404);
    await server.call('DELETE', `identity/entity/id/${entity}`);
  });

  test('groups of groups: the policies of all above count, at once, and leave when a link does', async () => {
    const group = async (body: object) => (await server.call('POST', 'identity/group', { body })).body.data.id as string;
    await server.call('POST', 'sys/auth/staff', { body: { type: 'userpass' } });
    await server.call('POST', 'auth/staff/users/eve', { body: { password: 'right' } });
    const { client_token: token, entity_id: entity } = (await server.call('POST', 'auth/staff/login/eve', { token: undefined, body: { password: 'right' } })).body.auth as { client_token: string; entity_id: string };
    await server.call('PUT', 'sys/policies/acl/top', { body: { policy: 'path "secret/data/top" { capabilities = ["create", "update"] }' } });
    const team = await group({ name: 'team', member_entity_ids: [entity] });
    const department = await group({ name: 'department', member_group_ids: [team] });
    const company = await group({ name: 'company', policies: 'top', member_group_ids: [department] });
    const write = async () => (await server.call('POST', 'secret/data/top', { token, body: { data: { a: 1 } } })).status;
    assert.equal(await write(), 200);
    const shown = (await server.call('GET', `identity/entity/id/${entity}`)).body.data;
    assert.deepEqual([shown.direct_group_ids, shown.inherited_group_ids, shown.group_ids], [[team], [department, company], [team, department, company]]);
    const middle = (await server.call('GET', `identity/group/id/${department}`)).body.data;
    assert.deepEqual([middle.member_group_ids, middle.parent_group_ids, middle.member_entity_ids], [[team], [company], []]);
    for (const members of [[company], [team], [department, team]]) {
      assert.equal((await server.call('POST', `identity/group/id/${team}`, { body: { member_group_ids: members } })).status, 400, 'a circle');
    }
    assert.equal((await server.call('POST', 'identity/group', { body: { name: 'ext2', type: 'external', member_group_ids: [team] } })).status, 400);
    assert.equal((await server.call('DELETE', `identity/group/id/${department}`)).status, 204);
    assert.equal(await write(), 403);
    assert.equal((await server.call('GET', `identity/group/id/${company}`)).body.data.member_group_ids, null);
    assert.equal((await server.call('POST', `identity/group/id/${company}`, { body: { member_group_ids: team } })).status, 204);
    assert.equal(await write(), 200);
    assert.equal((await server.call('POST', `identity/group/id/${company}`, { body: { member_group_ids: [] } })).status, 204);
    assert.equal(await write(), 403);
  });
});
