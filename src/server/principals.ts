// Who is behind a token: its entry, its entity, and the ACL of both together. A token whose entity is disabled or gone is nobody's, from the
// next request on. Everything here comes from memory once it was read, because each request asks.

import type { Entity } from '../auth/identity/entity-record.ts';
import type { EntityStore } from '../auth/identity/entity-store.ts';
import type { GroupStore } from '../auth/identity/group-store.ts';
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
  /** Those of the token, of its entity and of its groups. */
  readonly policies: readonly string[];
  readonly acl: Acl;
}

export interface PrincipalsOptions {
  readonly tokens: Pick<TokenStore, 'lookup' | 'lookupAccessor'>;
  readonly policies: Pick<PolicyStore, 'acl' | 'compile' | 'isCompiled'>;
  readonly entities: Pick<EntityStore, 'ofToken'>;
  readonly groups: Pick<GroupStore, 'policiesOf'>;
}

export class Principals {
  readonly #options: PrincipalsOptions;
  /** What the entity and its groups give, by the list of the groups: both are the same objects as long as nothing changes. */
  readonly #identity = new WeakMap<Entity, { readonly groups: readonly string[]; readonly policies: readonly string[] }>();
  /** The united list for the one above and that of a token. */
  readonly #united = new WeakMap<readonly string[], WeakMap<readonly string[], readonly string[]>>();

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

  /** What an entity and its groups add to the policies of its tokens. */
  identityPolicies(entity: Entity): readonly string[] {
    const groups = this.#options.groups.policiesOf(entity);
    if (groups.length === 0) return entity.policies;
    let known = this.#identity.get(entity);
    if (known?.groups !== groups) this.#identity.set(entity, known = { groups, policies: canonicalPolicies([...entity.policies, ...groups]) });
    return known.policies;
  }

  async #of(tokenId: string, entry: TokenEntry): Promise<Principal | undefined> {
    const { policies, entities } = this.#options;
    if (entry.entityId === '') {
      if (!policies.isCompiled(entry.policies)) await policies.compile(entry.policies);
      return { tokenId, entry, entity: undefined, policies: entry.policies, acl: policies.acl(entry.policies) };
    }
    const entity = await entities.ofToken(entry.entityId);
    if (entity === undefined || entity.disabled) return undefined;
    const united = this.#unite(entity, entry.policies);
    if (!policies.isCompiled(united)) {
      await policies.compile(united);
      return this.#of(tokenId, entry); // the entity may be another one by now
    }
    return { tokenId, entry, entity, policies: united, acl: policies.acl(united, entity) };
  }

  #unite(entity: Entity, own: readonly string[]): readonly string[] {
    const added = this.identityPolicies(entity);
    if (added.length === 0) return own;
    let byToken = this.#united.get(added);
    if (byToken === undefined) this.#united.set(added, byToken = new WeakMap());
    let united = byToken.get(own);
    if (united === undefined) byToken.set(own, united = canonicalPolicies([...own, ...added]));
    return united;
  }
}
