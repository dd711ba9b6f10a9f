// Entities and aliases: who a login is, across auth methods. Guarantees: an alias belongs to one entity and an entity has one alias at
// a mount; a disabled or removed entity is refused from its next request on; what is answered from memory is never older than
// the last change.

import { randomBytes, randomUUID } from 'node:crypto';

import type { View } from '../../core/view.ts';
import { PurserError } from '../../lib/errors.ts';
import { KeyedLock } from '../../lib/keyed-lock.ts';
import { aliasName, boundedMetadata, type EntityWish } from './entity-input.ts';
import type { Alias, Entity } from './entity-record.ts';
import { EntityRecords } from './entity-records.ts';

/** Bounds the record of one entity. */
const MAX_ALIASES = 100;
const MAX_MERGED = 1_000;

/** Which entity a request is about; the first member that is there decides. */
export type EntitySelector =
  | { readonly id: string } | { readonly name: string } | { readonly aliasId: string }
  | { readonly mountAccessor: string; readonly aliasName: string };

/** The fields of an alias that a request sets; absent ones stay as they are. */
export interface AliasWish {
  readonly id?: string;
  readonly name?: string;
  readonly mountAccessor?: string;
  readonly entityId?: string;
  readonly customMetadata?: Readonly<Record<string, string>>;
}

export class EntityStore {
  readonly #records: EntityRecords;
  readonly #now: () => number;
  readonly #lock = new KeyedLock();

  private constructor(records: EntityRecords, now: () => number) {
    this.#records = records;
    this.#now = now;
  }

  /** @throws ERR_RECORD_INVALID when the store is damaged */
  static async open(view: View, now: () => number): Promise<EntityStore> {
    return new EntityStore(await EntityRecords.open(view), now);
  }

  /** The entity of a token, from memory if it is there: what each request asks. A merged entity is the one it became. */
  ofToken(entityId: string): Entity | undefined | Promise<Entity | undefined> {
    return this.#records.cached(entityId) ?? this.#records.byId(entityId);
  }

  async find(selector: EntitySelector): Promise<Entity | undefined> {
    if ('id' in selector) return this.#records.byId(selector.id);
    if ('name' in selector) return this.#records.byName(selector.name);
    if ('aliasId' in selector) return this.#records.byAliasId(selector.aliasId);
    return this.#records.byAlias(selector.mountAccessor, selector.aliasName);
  }

  all(): AsyncGenerator<Entity> {
    return this.#records.all();
  }

  /**
   * The entity of a login; a new one for an alias that is not known yet.
   * @param alias as the auth method gives it; its metadata replaces what the last login said
   * @throws ERR_REQUEST_DENIED for a disabled entity, ERR_REQUEST_INVALID for a name that is no alias
   */
  async logIn(mountAccessor: string, alias: { readonly name: string; readonly metadata?: Readonly<Record<string, string>> }): Promise<Entity> {
    const name = aliasName(alias.name);
    const metadata = boundedMetadata(alias.metadata ?? {}, 'alias metadata');
    const known = await this.#current(mountAccessor, name, metadata);
    if (known !== undefined) return enabled(known);
    return this.#locked(async () => {
      const found = await this.#records.byAlias(mountAccessor, name);
      if (found === undefined) {
        const entity = await this.#newEntity({}, [this.#newAlias({ mountAccessor, name, metadata })]);
        await this.#records.change([[undefined, entity]]);
        return entity;
      }
      enabled(found);
      const entity = { ...found, aliases: found.aliases.map((old) => (isAt(old, mountAccessor, name) ? { ...old, metadata, updatedAt: this.#now() } : old)) };
      await this.#records.change([[found, entity]]);
      return entity;
    });
  }

  /**
   * Makes an entity, or changes the one with the id or else the name of `wish`.
   * @throws ERR_REQUEST_INVALID for an id that is not there and a name that another entity has
   */
  write(wish: EntityWish): Promise<{ readonly entity: Entity; readonly isNew: boolean }> {
    return this.#locked(async () => {
      const byId = wish.id === undefined ? undefined : await this.#records.byId(wish.id);
      if (wish.id !== undefined && byId === undefined) throw invalid('entity not found from id');
      const byName = wish.name === undefined ? undefined : await this.#records.byName(wish.name);
      if (byId !== undefined && byName !== undefined && byId.id !== byName.id) throw invalid('entity name is already in use');
      const before = byId ?? byName;
      const entity = before === undefined ? await this.#newEntity(wish, []) : { ...before, ...wish, id: before.id, updatedAt: this.#now() };
      await this.#records.change([[before, entity]]);
      return { entity, isNew: before === undefined };
    });
  }

  /** Removes an entity and its aliases; its tokens are refused from now on. What is not there is no error. */
  delete(selector: EntitySelector): Promise<void> {
    return this.#locked(async () => {
      const entity = await this.find(selector);
      if (entity !== undefined) await this.#records.change([[entity, undefined]]);
    });
  }

  /**
   * Makes an alias, or changes the one with the id, or else the mount and name, of `wish`; another `entityId` moves it.
   * @throws ERR_REQUEST_INVALID
   */
  writeAlias(wish: AliasWish): Promise<{ readonly entity: Entity; readonly alias: Alias }> {
    return this.#locked(async () => {
      const { owner, alias: old } = await this.#aliasOf(wish);
      const name = aliasName(wish.name ?? old?.name ?? '');
      const mountAccessor = wish.mountAccessor ?? old?.mountAccessor ?? '';
      if (mountAccessor === '') throw invalid('missing mount_accessor');
      const taken = await this.#records.byAlias(mountAccessor, name);
      if (taken !== undefined && taken.aliases.some((other) => isAt(other, mountAccessor, name) && other.id !== old?.id)) throw invalid('an alias with this mount and name exists already');
      const target = wish.entityId === undefined ? owner ?? await this.#newEntity({}, []) : await this.#records.byId(wish.entityId);
      if (target === undefined) throw invalid('invalid canonical ID');
      const alias: Alias = {
        ...old ?? this.#newAlias({ mountAccessor, name, metadata: {} }), mountAccessor, name,
        customMetadata: wish.customMetadata ?? old?.customMetadata ?? {}, updatedAt: this.#now(),
      };
      const rest = target.aliases.filter(({ id }) => id !== alias.id);
      const entity = { ...target, aliases: checkedAliases([...rest, alias]), updatedAt: this.#now() };
      const isMoved = owner !== undefined && owner.id !== target.id;
      await this.#records.change([
        [wish.entityId === undefined && owner === undefined ? undefined : target, entity],
        ...(isMoved ? [[owner, { ...owner, aliases: owner.aliases.filter(({ id }) => id !== alias.id), updatedAt: this.#now() }] as const] : []),
      ]);
      return { entity, alias };
    });
  }

  deleteAlias(id: string): Promise<void> {
    return this.#locked(async () => {
      const owner = await this.#records.byAliasId(id);
      if (owner !== undefined) await this.#records.change([[owner, { ...owner, aliases: owner.aliases.filter((alias) => alias.id !== id), updatedAt: this.#now() }]]);
    });
  }

  /**
   * Puts the aliases, policies and metadata of entities into another one; their tokens become tokens of it. What the
   * target says wins over what the others say of the same metadata key.
   * @throws ERR_REQUEST_INVALID when one is not there, or two have an alias at the same mount
   */
  merge(toId: string, fromIds: readonly string[]): Promise<void> {
    return this.#locked(async () => {
      const target = await this.#records.byId(toId);
      if (target === undefined) throw invalid('entity id to merge to is invalid');
      const sources: Entity[] = [];
      for (const id of new Set(fromIds)) {
        const source = await this.#records.byId(id);
        if (source === undefined) throw invalid('entity id to merge from is invalid');
        if (source.id === target.id) throw invalid('to_entity_id should not be present in from_entity_ids');
        if (!sources.includes(source)) sources.push(source);
      }
      const mergedIds = [...new Set([target, ...sources].flatMap((entity) => entity.mergedIds)), ...sources.map(({ id }) => id)];
      if (mergedIds.length > MAX_MERGED) throw invalid(`an entity takes over at most ${MAX_MERGED} others`);
      const merged: Entity = {
        ...target, mergedIds, updatedAt: this.#now(),
        aliases: checkedAliases([target, ...sources].flatMap((entity) => entity.aliases)),
        policies: [...new Set([target, ...sources].flatMap((entity) => entity.policies))].sort(),
        metadata: boundedMetadata(Object.fromEntries([...sources, target].flatMap(({ metadata }) => Object.entries(metadata))), 'metadata'),
        // A merge must not let somebody in again who was shut out.
        disabled: [target, ...sources].some(({ disabled }) => disabled),
      };
      await this.#records.change([[target, merged], ...sources.map((source) => [source, undefined] as const)]);
    });
  }

  /** The entity of an alias when the login changes nothing of it. */
  async #current(mountAccessor: string, name: string, metadata: Readonly<Record<string, string>>): Promise<Entity | undefined> {
    const entity = await this.#records.byAlias(mountAccessor, name);
    const alias = entity?.aliases.find((known) => isAt(known, mountAccessor, name));
    return alias !== undefined && isSameMap(alias.metadata, metadata) ? entity : undefined;
  }

  async #aliasOf({ id, mountAccessor, name }: AliasWish): Promise<{ readonly owner: Entity | undefined; readonly alias: Alias | undefined }> {
    const owner = id !== undefined ? await this.#records.byAliasId(id)
      : mountAccessor !== undefined && name !== undefined ? await this.#records.byAlias(mountAccessor, name) : undefined;
    const alias = owner?.aliases.find((known) => (id === undefined ? isAt(known, mountAccessor ?? '', name ?? '') : known.id === id));
    if (id !== undefined && alias === undefined) throw invalid('invalid alias id');
    return { owner, alias };
  }

  async #newEntity(wish: EntityWish, aliases: readonly Alias[]): Promise<Entity> {
    const now = this.#now();
    return { v: 1, name: wish.name ?? await this.#freeName(), metadata: {}, policies: [], disabled: false, createdAt: now, updatedAt: now, mergedIds: [], ...wish, id: randomUUID(), aliases };
  }

  #newAlias(given: Pick<Alias, 'mountAccessor' | 'name' | 'metadata'>): Alias {
    const now = this.#now();
    return { id: randomUUID(), customMetadata: {}, createdAt: now, updatedAt: now, ...given };
  }

  /** Vault's form. */
  async #freeName(): Promise<string> {
    for (;;) {
      const name = `entity_${randomBytes(4).toString('hex')}`;
      if (await this.#records.byName(name) === undefined) return name;
    }
  }

  #locked<T>(action: () => Promise<T>): Promise<T> {
    return this.#lock.run('entities', action);
  }
}

/** @throws ERR_REQUEST_DENIED; no more is said to who shows a good credential of a disabled entity than to anybody else */
function enabled(entity: Entity): Entity {
  if (entity.disabled) throw new PurserError('ERR_REQUEST_DENIED', 'permission denied');
  return entity;
}

function checkedAliases(aliases: readonly Alias[]): readonly Alias[] {
  if (new Set(aliases.map(({ mountAccessor }) => mountAccessor)).size < aliases.length) throw invalid('an entity has one alias at a mount, and this one has another there');
  if (aliases.length > MAX_ALIASES) throw invalid(`an entity has at most ${MAX_ALIASES} aliases`);
  return aliases;
}

function isAt(alias: Alias, mountAccessor: string, name: string): boolean {
  return alias.mountAccessor === mountAccessor && alias.name === name;
}

function isSameMap(a: Readonly<Record<string, string>>, b: Readonly<Record<string, string>>): boolean {
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => Object.hasOwn(b, key) && a[key] === b[key]);
}

function invalid(message: string): PurserError {
  return new PurserError('ERR_REQUEST_INVALID', message);
}
