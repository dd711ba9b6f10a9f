// `identity/group`, `identity/group-alias` and `identity/lookup/group`, in Vault's shapes.

import type { JsonObject, LogicalRequest, LogicalResponse, Operation } from '../../core/logical.ts';
import { PurserError } from '../../lib/errors.ts';
import { stringField, stringListField } from '../../lib/fields.ts';
import { entityWish } from './entity-input.ts';
import type { EntityStore } from './entity-store.ts';
import type { Group } from './group-record.ts';
import type { GroupStore, GroupWish } from './group-store.ts';
import { listed, listOrNull, MAX_LISTED_INFO, type MountOf } from './identity-json.ts';

/** @param name the last segment of a path that ends in `/:`; else empty */
export type Handler = (request: LogicalRequest, name: string) => Promise<LogicalResponse | undefined>;
export type Handlers = Readonly<Partial<Record<Operation, Handler>>>;

export interface GroupRoutesOptions {
  readonly groups: GroupStore;
  readonly store: Pick<EntityStore, 'find'>;
  readonly mountOf: MountOf;
}

/** A trailing '/' is a list; `/:` stands for one more segment. */
export function groupRoutes(options: GroupRoutesOptions): (readonly [string, Handlers])[] {
  const { groups, mountOf } = options;
  const show = (group: Group | undefined): LogicalResponse | undefined => group && { data: groupData(group, groups, mountOf) };
  const remove = async (group: Group | undefined): Promise<undefined> => {
    if (group !== undefined) await groups.delete(group.id);
  };
  return [
    ['group', { update: ({ data }) => writeGroup(options, data) }],
    ['group/id/', { list: async () => listed(groups.all().map(({ id }) => id), groups.all().slice(0, MAX_LISTED_INFO).map((group) => [group.id, { name: group.name, num_member_entities: group.members.length }])) }],
    ['group/name/', { list: async () => listed(groups.all().map(({ name }) => name)) }],
    ['group/id/:', { read: async (_request, id) => show(groups.byId(id)), update: ({ data }, id) => writeGroup(options, { ...data, id }), delete: (_request, id) => remove(groups.byId(id)) }],
    ['group/name/:', {
      read: async (_request, name) => show(groups.byName(name)), update: ({ data }, name) => writeGroup(options, { ...data, name, id: null }), delete: (_request, name) => remove(groups.byName(name)),
    }],
    ['group-alias', { update: ({ data }) => writeAlias(options, data) }],
    ['group-alias/id/', { list: async () => listed(groups.all().flatMap(({ alias }) => alias?.id ?? [])) }],
    ['group-alias/id/:', {
      read: async (_request, id) => showAlias(groups.byAliasId(id), mountOf), update: ({ data }, id) => writeAlias(options, { ...data, id }),
      delete: async (_request, id) => groups.deleteAlias(id).then(() => undefined),
    }],
    ['lookup/group', { update: async ({ data }) => show(lookUp(groups, data)) }],
  ];
}

async function writeGroup({ groups, store }: GroupRoutesOptions, data: JsonObject): Promise<LogicalResponse | undefined> {
  const type = stringField(data, 'type') || undefined;
  if (type !== undefined && type !== 'internal' && type !== 'external') throw invalid('group type must be internal or external');
  const fields = entityWish({ ...data, disabled: null });
  const members = stringListField(data, 'member_entity_ids');
  for (const id of members ?? []) if (await store.find({ id }) === undefined) throw invalid('a member entity does not exist');
  const memberGroups = stringListField(data, 'member_group_ids');
  const wish: GroupWish = {
    ...fields, ...(type === undefined ? {} : { type }), ...(members === undefined ? {} : { members }), ...(memberGroups === undefined ? {} : { memberGroups }),
  };
  const { group, isNew } = await groups.write(wish);
  return isNew ? { data: { id: group.id, name: group.name } } : undefined;
}

async function writeAlias({ groups, mountOf }: GroupRoutesOptions, data: JsonObject): Promise<LogicalResponse> {
  const id = stringField(data, 'id') ?? '';
  const known = id === '' ? undefined : groups.byAliasId(id);
  if (id !== '' && known === undefined) throw invalid('invalid group alias ID');
  const mountAccessor = stringField(data, 'mount_accessor') || known?.alias?.mountAccessor || '';
  const name = stringField(data, 'name') || known?.alias?.name || '';
  const groupId = stringField(data, 'canonical_id') || known?.id || '';
  if (mountOf(mountAccessor) === undefined) throw invalid('invalid mount accessor');
  if (known !== undefined && groupId !== known.id) throw new PurserError('ERR_REQUEST_INVALID', 'the alias of a group cannot be moved', { hint: 'delete it and make another one' });
  const { alias, id: canonicalId } = await groups.writeAlias(groupId, { mountAccessor, name });
  return { data: { id: alias?.id ?? '', canonical_id: canonicalId } };
}

/** @throws ERR_REQUEST_INVALID unless exactly one way to name the group is given */
function lookUp(groups: GroupStore, data: JsonObject): Group | undefined {
  const text = (name: string): string => stringField(data, name) ?? '';
  const [id, name, aliasId, aliasName, mountAccessor] = [text('id'), text('name'), text('alias_id'), text('alias_name'), text('alias_mount_accessor')];
  const given = [id, name, aliasId, aliasName + mountAccessor].filter((value) => value !== '');
  if (given.length !== 1) throw invalid('exactly one of id, name, alias_id, or alias_name with alias_mount_accessor must be given');
  if (id !== '') return groups.byId(id);
  if (name !== '') return groups.byName(name);
  return aliasId === '' ? groups.byAlias(mountAccessor, aliasName) : groups.byAliasId(aliasId);
}

function groupData(group: Group, groups: GroupStore, mountOf: MountOf): JsonObject {
  const { id, name, type, policies, metadata, members, createdAt, updatedAt } = group;
  const memberGroups = group.memberGroups.filter((member) => groups.byId(member) !== undefined);
  return {
    alias: showAlias(group, mountOf)?.data ?? {}, creation_time: new Date(createdAt).toISOString(), id, last_update_time: new Date(updatedAt).toISOString(), member_entity_ids: members, member_group_ids: listOrNull(memberGroups),
    metadata: Object.keys(metadata).length === 0 ? null : metadata, name, namespace_id: 'root', parent_group_ids: listOrNull(groups.graph.parentsOf(id).map((parent) => parent.id)), policies, type,
  };
}

function showAlias(group: Group | undefined, mountOf: MountOf): LogicalResponse | undefined {
  if (group === undefined || group.alias === null) return undefined;
  const { id, mountAccessor, name } = group.alias;
  const mount = mountOf(mountAccessor);
  return { data: { canonical_id: group.id, id, mount_accessor: mountAccessor, mount_path: mount?.path ?? '', mount_type: mount?.type ?? '', name } };
}

function invalid(message: string): PurserError {
  return new PurserError('ERR_REQUEST_INVALID', message);
}
