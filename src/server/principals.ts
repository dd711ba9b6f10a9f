// Who is behind a token: its entry, its entity, and the ACL of both together. A token whose entity is disabled or gone is nobody's, from the
// next request on. Everything here comes from memory once it was read, because each request asks.

import type { Entity } from '../auth/identity/entity-record.ts';
import type { EntityStore } from '../auth/identity/entity-store.ts';
import { canonicalPolicies } from '../auth/token/policy-names.ts';
import type { TokenEntry, TokenStore } from '../auth/token/token-store.ts';
import type { Caller } from '../core/logical.ts';
import type { Acl } from '../policy/acl.ts';
import type { PolicyStore } from './policy-store.ts';

export interface Principal {
  readonly tokenId: string;
  readonly entry: TokenEntry;
  /** Absent for tokens that no login made. */
  readonly entity: Entity | undefined;
  /** Those of the token and of its entity. */
  readonly policies: readonly string[];
  readonly acl: Acl;
}

export interface PrincipalsOptions {
  readonly tokens: Pick<TokenStore, 'lookup' | 'lookupAccessor'>;
  readonly policies: Pick<PolicyStore, 'acl'>;
  readonly entities: Pick<EntityStore, 'ofToken'>;
}

export class Principals {
  readonly #options: PrincipalsOptions;
  /** The united list for an entity and the list of a token; both are the same objects as long as nothing changes. */
  readonly #united = new WeakMap<Entity, WeakMap<readonly string[], readonly string[]>>();

  constructor(options: PrincipalsOptions) {
    this.#options = options;
  }

  /** Undefined for a token that is not usable. */
  async find(tokenId: string): Promise<Principal | undefined> {
    const entry = await this.#options.tokens.lookup(tokenId);
    return entry && this.#of(tokenId, entry);
  }

  /** As find. */
  async findByAccessor(accessor: string): Promise<Principal | undefined> {
    const entry = await this.#options.tokens.lookupAccessor(accessor);
    return entry && this.#of('', entry);
  }

  /** The ACL of a caller that the pipeline has let in. */
  async aclOf({ policies, entityId = '' }: Caller): Promise<Acl> {
    return this.#options.policies.acl(policies, entityId === '' ? undefined : await this.#options.entities.ofToken(entityId));
  }

  async #of(tokenId: string, entry: TokenEntry): Promise<Principal | undefined> {
    const { policies, entities } = this.#options;
    if (entry.entityId === '') return { tokenId, entry, entity: undefined, policies: entry.policies, acl: policies.acl(entry.policies) };
    const entity = await entities.ofToken(entry.entityId);
    if (entity === undefined || entity.disabled) return undefined;
    const united = this.#unite(entity, entry.policies);
    return { tokenId, entry, entity, policies: united, acl: policies.acl(united, entity) };
  }

  #unite(entity: Entity, own: readonly string[]): readonly string[] {
    if (entity.policies.length === 0) return own;
    let byToken = this.#united.get(entity);
    if (byToken === undefined) this.#united.set(entity, byToken = new WeakMap());
    let united = byToken.get(own);
    if (united === undefined) byToken.set(own, united = canonicalPolicies([...own, ...entity.policies]));
    return united;
  }
}
