// `identity/` (Vault's API: developer.hashicorp.com/vault/api-docs/secret/identity): entities and aliases. Policies decided who may
// call. The paths below `oidc/` belong to another engine, the public keys of container identities.

import type { Engine, JsonObject, LogicalRequest, LogicalResponse } from '../../core/logical.ts';
import { PurserError } from '../../lib/errors.ts';
import { stringField, stringListField } from '../../lib/fields.ts';
import { entityWish, metadataField } from './entity-input.ts';
import type { AliasWish, EntitySelector, EntityStore } from './entity-store.ts';
import { groupRoutes, type Handlers } from './group-routes.ts';
import type { GroupStore } from './group-store.ts';
import { aliasData, aliasInfo, entityData, entityInfo, listed, MAX_LISTED_INFO, type MountOf } from './identity-json.ts';

export interface IdentityEngineOptions {
  readonly store: EntityStore;
  readonly groups: GroupStore;
  readonly mountOf: MountOf;
  /** Serves what is below `oidc/`. */
  readonly oidc: Engine;
}

const OIDC = 'oidc/';

export class IdentityEngine implements Engine {
  readonly unauthenticatedPaths: readonly string[];
  readonly #options: IdentityEngineOptions;
  /** A trailing '/' is a list; `/:` stands for one more segment. */
  readonly #routes: ReadonlyMap<string, Handlers>;

  constructor(options: IdentityEngineOptions) {
    this.#options = options;
    this.unauthenticatedPaths = options.oidc.unauthenticatedPaths ?? [];
    const { store } = options;
    this.#routes = new Map<string, Handlers>([
      ['entity', { update: ({ data }) => this.#writeEntity(data) }],
      ['entity/id/', { list: () => this.#listEntities('id') }],
      ['entity/name/', { list: () => this.#listEntities('name') }],
      ['entity/id/:', {
        read: (_request, id) => this.#readEntity({ id }), update: ({ data }, id) => this.#writeEntity({ ...data, id }), delete: async (_request, id) => nothing(store.delete({ id })),
      }],
      ['entity/name/:', {
        read: (_request, name) => this.#readEntity({ name }), update: ({ data }, name) => this.#writeEntity({ ...data, name, id: null }), delete: async (_request, name) => nothing(store.delete({ name })),
      }],
      ['entity/batch-delete', { update: ({ data }) => this.#batchDelete(data) }],
      ['entity/merge', { update: ({ data }) => this.#merge(data) }],
      ['entity-alias', { update: ({ data }) => this.#writeAlias(data) }],
      ['entity-alias/id/', { list: () => this.#listAliases() }],
      ['entity-alias/id/:', {
        read: (_request, id) => this.#readAlias(id), update: ({ data }, id) => this.#writeAlias({ ...data, id }), delete: async (_request, id) => nothing(store.deleteAlias(id)),
      }],
      ['lookup/entity', { update: ({ data }) => this.#readEntity(selectorOf(data)) }],
      ...groupRoutes(options),
    ]);
  }

  async handle(request: LogicalRequest): Promise<LogicalResponse | undefined> {
    if (request.path.startsWith(OIDC)) return this.#options.oidc.handle(request);
    const [, parent = '', name = ''] = /^([^/]+\/[^/]+\/)([^/]+)$/.exec(request.path) ?? [];
    const handlers = this.#routes.get(name === '' ? request.path : `${parent}:`);
    if (handlers === undefined) throw new PurserError('ERR_REQUEST_NOT_FOUND', 'unsupported path');
    const handler = handlers[request.operation];
    if (handler === undefined) throw new PurserError('ERR_REQUEST_UNSUPPORTED', 'unsupported operation');
    return handler(request, name);
  }

  async #writeEntity(data: JsonObject): Promise<LogicalResponse | undefined> {
    const { entity, isNew } = await this.#options.store.write(entityWish(data));
    return isNew ? { data: { id: entity.id, name: entity.name, aliases: null } } : undefined;
  }

  async #readEntity(selector: EntitySelector): Promise<LogicalResponse | undefined> {
    const entity = await this.#options.store.find(selector);
    if (entity === undefined) return undefined;
    const { groups } = this.#options;
    const direct = groups.of(entity);
    const [directIds, inheritedIds] = [direct, groups.graph.above(direct)].map((list) => list.map(({ id }) => id)) as [string[], string[]];
    return { data: { ...entityData(entity, this.#options.mountOf), direct_group_ids: directIds, inherited_group_ids: inheritedIds, group_ids: [...directIds, ...inheritedIds] } };
  }

  async #listEntities(by: 'id' | 'name'): Promise<LogicalResponse> {
    const keys: string[] = [];
    const info: (readonly [string, JsonObject])[] = [];
    for await (const entity of this.#options.store.all()) {
      keys.push(entity[by]);
      if (by === 'id' && keys.length <= MAX_LISTED_INFO) info.push([entity.id, entityInfo(entity, this.#options.mountOf)]);
    }
    return listed(keys, info);
  }

  async #batchDelete(data: JsonObject): Promise<undefined> {
    const ids = stringListField(data, 'entity_ids') ?? [];
    if (ids.length === 0) throw invalid('missing entity ids to delete');
    for (const id of ids) await this.#options.store.delete({ id });
  }

  async #merge(data: JsonObject): Promise<undefined> {
    const to = stringField(data, 'to_entity_id') ?? '';
    const from = stringListField(data, 'from_entity_ids') ?? [];
    if (to === '') throw invalid('missing entity id to merge to');
    if (from.length === 0) throw invalid('missing entity ids to merge from');
    if ((stringListField(data, 'conflicting_alias_ids_to_keep') ?? []).length > 0) {
      throw new PurserError('ERR_REQUEST_INVALID', 'conflicting_alias_ids_to_keep is not supported', { hint: 'delete the alias that is to go, then merge' });
    }
    await this.#options.store.merge(to, from);
  }

  async #writeAlias(data: JsonObject): Promise<LogicalResponse> {
    const wish = aliasWish(data);
    if (wish.mountAccessor !== undefined && this.#options.mountOf(wish.mountAccessor) === undefined) throw invalid('invalid mount accessor');
    const { entity, alias } = await this.#options.store.writeAlias(wish);
    return { data: { id: alias.id, canonical_id: entity.id } };
  }

  async #readAlias(id: string): Promise<LogicalResponse | undefined> {
    const entity = await this.#options.store.find({ aliasId: id });
    const alias = entity?.aliases.find((known) => known.id === id);
    return entity && alias && { data: aliasData(alias, entity, this.#options.mountOf) };
  }

  async #listAliases(): Promise<LogicalResponse> {
    const keys: string[] = [];
    const info: (readonly [string, JsonObject])[] = [];
    for await (const entity of this.#options.store.all()) {
      for (const alias of entity.aliases) {
        keys.push(alias.id);
        if (keys.length <= MAX_LISTED_INFO) info.push([alias.id, aliasInfo(alias, entity, this.#options.mountOf)]);
      }
    }
    return listed(keys, info);
  }
}

/** @throws ERR_REQUEST_INVALID unless exactly one way to name the entity is given */
function selectorOf(data: JsonObject): EntitySelector {
  const text = (name: string): string => stringField(data, name) ?? '';
  const [id, name, aliasId, aliasName, mountAccessor] = [text('id'), text('name'), text('alias_id'), text('alias_name'), text('alias_mount_accessor')];
  const selectors: EntitySelector[] = [
    ...(id === '' ? [] : [{ id }]), ...(name === '' ? [] : [{ name }]), ...(aliasId === '' ? [] : [{ aliasId }]),
    ...(aliasName === '' && mountAccessor === '' ? [] : [{ aliasName, mountAccessor }]),
  ];
  const [selector, another] = selectors;
  if (selector === undefined) throw invalid('query parameters not supplied');
  if (another !== undefined) throw invalid('only one of id, name, alias_id, or alias_name with alias_mount_accessor may be given');
  if ('aliasName' in selector && (aliasName === '' || mountAccessor === '')) throw invalid("both 'alias_name' and 'alias_mount_accessor' need to be set");
  return selector;
}

function aliasWish(data: JsonObject): AliasWish {
  const text = (field: string): string | undefined => stringField(data, field) || undefined;
  const id = text('id');
  const name = text('name');
  const mountAccessor = text('mount_accessor');
  const entityId = text('canonical_id') ?? text('entity_id');
  const customMetadata = metadataField(data, 'custom_metadata');
  return {
    ...(id === undefined ? {} : { id }), ...(name === undefined ? {} : { name }), ...(mountAccessor === undefined ? {} : { mountAccessor }),
    ...(entityId === undefined ? {} : { entityId }), ...(customMetadata === undefined ? {} : { customMetadata }),
  };
}

async function nothing(work: Promise<void>): Promise<undefined> {
  await work;
}

function invalid(message: string): PurserError {
  return new PurserError('ERR_REQUEST_INVALID', message);
}
