// Entities in a View (FORMAT.md): found by id, name and alias, and changed together with their index records. What is cached never
// outlives a change. One process writes to the view at a time; whoever changes anything holds the store's lock.

import type { View, ViewOperation } from '../../core/view.ts';
import { MacKey } from '../../crypto/mac.ts';
import { randomBytes } from '../../crypto/random.ts';
import { PurserError } from '../../lib/errors.ts';
import { encodeRecord } from '../../lib/json-record.ts';
import { ReadThroughCache } from '../../lib/read-through-cache.ts';
import { parseEntity, parsePointer, type Alias, type Entity } from './entity-record.ts';

const NAME_LABEL = 'purser.identity.name.v1\0';
const ALIAS_LABEL = 'purser.identity.alias.v1\0';
const CACHED = 10_000;
const PAGE = 256;

/** An entity before and after a change; undefined is "not there". */
export type EntityChange = readonly [before: Entity | undefined, after: Entity | undefined];

export class EntityRecords {
  readonly #view: View;
  readonly #salt: MacKey;
  /** By id; the ids of merged entities lead to the one they were merged into. */
  readonly #cache = new ReadThroughCache<Entity>(CACHED);

  private constructor(view: View, salt: Uint8Array) {
    this.#view = view;
    this.#salt = new MacKey(salt);
  }

  /** Reads the salt, or makes it. @throws ERR_RECORD_INVALID when it is damaged */
  static async open(view: View): Promise<EntityRecords> {
    let salt = await view.get('salt');
    if (salt === undefined) await view.put('salt', (salt = randomBytes(32)));
    if (salt.length !== 32) throw new PurserError('ERR_RECORD_INVALID', 'the salt of the identity store is not 32 bytes long');
    return new EntityRecords(view, salt);
  }

  /** As byId, when that needs no storage. */
  cached(id: string): Entity | undefined {
    return this.#cache.get(id);
  }

  /** The entity, or the one it was merged into. */
  async byId(id: string): Promise<Entity | undefined> {
    return this.#cache.get(id) ?? this.#cache.load(id, async () => {
      if (!isKey(id)) return undefined;
      return await this.#read(id) ?? this.#readPointed(`merged/${id}`);
    });
  }

  byName(name: string): Promise<Entity | undefined> {
    return this.#byPointer(this.#nameKey(name));
  }

  byAlias(mountAccessor: string, name: string): Promise<Entity | undefined> {
    return this.#byPointer(this.#aliasKey({ mountAccessor, name }));
  }

  async byAliasId(id: string): Promise<Entity | undefined> {
    return isKey(id) ? this.#byPointer(`alias-id/${id}`) : undefined;
  }

  /** All entities, in the order of their ids. */
  async *all(): AsyncGenerator<Entity> {
    for (let after: string | undefined; ;) {
      const page = await this.#view.list('entity/', after === undefined ? { limit: PAGE } : { after, limit: PAGE });
      for (const id of page) {
        const entity = await this.#read(id); // not through the cache, which is for those who make requests
        if (entity !== undefined) yield entity;
      }
      after = page.at(-1);
      if (page.length < PAGE) return;
    }
  }

  /** Stores the changes with all index records, at once. */
  async change(changes: readonly EntityChange[]): Promise<void> {
    const before = changes.flatMap(([old]) => old ?? []);
    const after = changes.flatMap(([, now]) => now ?? []);
    const kept = new Map(after.flatMap((entity) => this.#pointers(entity).map((key) => [key, entity.id] as const)));
    const gone = before.flatMap((entity) => this.#pointers(entity)).filter((key) => !kept.has(key));
    const operations: ViewOperation[] = [
      ...gone.map((key) => ({ kind: 'delete', key } as const)),
      ...before.filter(({ id }) => !after.some((entity) => entity.id === id)).map(({ id }) => ({ kind: 'delete', key: `entity/${id}` } as const)),
      ...[...kept].map(([key, entity]) => ({ kind: 'put', key, value: encodeRecord({ v: 1, entity }) } as const)),
      ...after.map((entity) => ({ kind: 'put', key: `entity/${entity.id}`, value: encodeRecord(entity) } as const)),
    ];
    // Before and after: a read may have begun in between, and a failed write may still have happened.
    this.#forget([...before, ...after]);
    try {
      await this.#view.transaction(operations);
    } finally {
      this.#forget([...before, ...after]);
    }
  }

  #forget(entities: readonly Entity[]): void {
    for (const { id, mergedIds } of entities) for (const known of [id, ...mergedIds]) this.#cache.forget(known);
  }

  /** The keys of all records that lead to the entity. */
  #pointers(entity: Entity): string[] {
    return [
      this.#nameKey(entity.name), ...entity.mergedIds.map((id) => `merged/${id}`),
      ...entity.aliases.flatMap((alias) => [this.#aliasKey(alias), `alias-id/${alias.id}`]),
    ];
  }

  async #read(id: string): Promise<Entity | undefined> {
    const bytes = await this.#view.get(`entity/${id}`);
    return bytes && parseEntity(bytes);
  }

  async #readPointed(key: string): Promise<Entity | undefined> {
    const bytes = await this.#view.get(key);
    return bytes && this.#read(parsePointer(bytes));
  }

  async #byPointer(key: string): Promise<Entity | undefined> {
    const bytes = await this.#view.get(key);
    return bytes && this.byId(parsePointer(bytes));
  }

  #nameKey(name: string): string {
    return `name/${this.#salt.hex(NAME_LABEL + name.normalize('NFKC').toLowerCase())}`;
  }

  #aliasKey({ mountAccessor, name }: Pick<Alias, 'mountAccessor' | 'name'>): string {
    return `alias/${this.#salt.hex(`${ALIAS_LABEL}${mountAccessor}\0${name}`)}`;
  }
}

/** Ids come from clients too. */
function isKey(id: string): boolean {
  return /^[0-9a-f-]{36}$/.test(id);
}
