// Entities and aliases as Vault's API shows them.

import type { JsonObject, LogicalResponse } from '../../core/logical.ts';
import type { Alias, Entity } from './entity-record.ts';

/** Where an accessor is mounted; undefined when nowhere (any more). */
export type MountOf = (accessor: string) => { readonly path: string; readonly type: string } | undefined;

/** Longer lists come without `key_info`. */
export const MAX_LISTED_INFO = 1_000;

/** With `key_info` when there is one for each key. */
export function listed(keys: readonly string[], info: readonly (readonly [string, JsonObject])[] = []): LogicalResponse {
  const isWhole = keys.length > 0 && info.length === keys.length;
  return { data: { keys: [...keys].sort(), ...(isWhole ? { key_info: Object.fromEntries(info) } : {}) } };
}

export function entityData(entity: Entity, mountOf: MountOf): JsonObject {
  return {
    aliases: entity.aliases.map((alias) => aliasData(alias, entity, mountOf)),
    creation_time: timeText(entity.createdAt), disabled: entity.disabled, id: entity.id,
    last_update_time: timeText(entity.updatedAt), merged_entity_ids: listOrNull(entity.mergedIds), metadata: mapOrNull(entity.metadata), name: entity.name,
    namespace_id: 'root', policies: entity.policies,
  };
}

export function aliasData(alias: Alias, entity: Entity, mountOf: MountOf): JsonObject {
  const mount = mountOf(alias.mountAccessor);
  return {
    canonical_id: entity.id, creation_time: timeText(alias.createdAt), custom_metadata: alias.customMetadata, id: alias.id, last_update_time: timeText(alias.updatedAt),
    local: false, merged_from_canonical_ids: null, metadata: mapOrNull(alias.metadata), mount_accessor: alias.mountAccessor,
    mount_path: mount?.path ?? '', mount_type: mount?.type ?? '', name: alias.name,
  };
}

/** What lists show of an entity beside its id. */
export function entityInfo(entity: Entity, mountOf: MountOf): JsonObject {
  return { name: entity.name, aliases: entity.aliases.map((alias) => ({ id: alias.id, ...aliasInfo(alias, entity, mountOf) })) };
}

export function aliasInfo(alias: Alias, entity: Entity, mountOf: MountOf): JsonObject {
  const mount = mountOf(alias.mountAccessor);
  return {
    canonical_id: entity.id, name: alias.name, metadata: mapOrNull(alias.metadata), mount_accessor: alias.mountAccessor,
    ...(mount === undefined ? {} : { mount_path: mount.path, mount_type: mount.type }), local: false,
  };
}

function timeText(milliseconds: number): string {
  return new Date(milliseconds).toISOString();
}

function mapOrNull(map: Readonly<Record<string, string>>): JsonObject | null {
  return Object.keys(map).length === 0 ? null : map;
}

export function listOrNull(list: readonly string[]): readonly string[] | null {
  return list.length === 0 ? null : list;
}
