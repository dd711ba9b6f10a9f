// Groups, all in memory, because each request of an entity asks for its policies. A change is durable before it counts. Entities that were
// merged keep what they were members of.

import { randomUUID } from 'node:crypto';

import type { View } from '../../core/view.ts';
import { PurserError } from '../../lib/errors.ts';
import { encodeRecord } from '../../lib/json-record.ts';
import { KeyedLock } from '../../lib/keyed-lock.ts';
import { aliasName, type EntityWish } from './entity-input.ts';
import type { Entity } from './entity-record.ts';
import { GroupGraph } from './group-graph.ts';
import { parseGroup, type Group } from './group-record.ts';

const MAX_GROUPS = 10_000;
const MAX_MEMBERS = 10_000;
const NO_POLICIES: readonly string[] = [];

/** As EntityWish; absent fields stay as they are. */
export interface GroupWish extends Omit<EntityWish, 'disabled'> {
  readonly type?: Group['type'];
  readonly members?: readonly string[];
  readonly memberGroups?: readonly string[];
}

export class GroupStore {
  readonly #view: View;
  readonly #now: () => number;
  readonly #groups: Map<string, Group>;
  readonly #lock = new KeyedLock();
  /** Entity → what its groups give; dropped with every change of a group. */
  #policies = new WeakMap<Entity, readonly string[]>();
  #graph: GroupGraph | undefined;

  private constructor(view: View, now: () => number, groups: Map<string, Group>) {
    this.#view = view;
    this.#now = now;
    this.#groups = groups;
  }

  /** @param view of the groups alone. @throws ERR_RECORD_INVALID */
  static async open(view: View, now: () => number): Promise<GroupStore> {
    const groups = new Map<string, Group>();
    for (const id of await view.list('')) {
      const bytes = await view.get(id);
      if (bytes !== undefined) groups.set(id, parseGroup(bytes));
    }
    return new GroupStore(view, now, groups);
  }

  /** Policies that the groups of an entity give; the same list as long as no group changes. */
  policiesOf(entity: Entity): readonly string[] {
    if (this.#groups.size === 0) return NO_POLICIES;
    let policies = this.#policies.get(entity);
    if (policies === undefined) this.#policies.set(entity, policies = [...new Set(this.allOf(entity).flatMap((group) => group.policies))].sort());
    return policies;
  }

  /** The groups an entity is a member of itself. */
  of(entity: Entity): Group[] {
    return [...this.#groups.values()].filter((group) => isMember(group, entity));
  }

  /** Those, and the groups that these are members of. */
  allOf(entity: Entity): Group[] {
    const direct = this.of(entity);
    return [...direct, ...this.graph.above(direct)];
  }

  get graph(): GroupGraph {
    return this.#graph ??= new GroupGraph(this.#groups.values());
  }

  all(): Group[] {
    return [...this.#groups.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  byId(id: string): Group | undefined {
    return this.#groups.get(id);
  }

  byName(name: string): Group | undefined {
    const wanted = folded(name);
    return this.all().find((group) => folded(group.name) === wanted);
  }

  byAliasId(id: string): Group | undefined {
    return this.all().find(({ alias }) => alias?.id === id);
  }

  byAlias(mountAccessor: string, name: string): Group | undefined {
    return this.all().find(({ alias }) => alias?.mountAccessor === mountAccessor && alias.name === name);
  }

  /** Makes a group, or changes the one with the id or else the name of `wish`. @throws ERR_REQUEST_INVALID */
  write(wish: GroupWish): Promise<{ readonly group: Group; readonly isNew: boolean }> {
    return this.#locked(async () => {
      const byId = wish.id === undefined ? undefined : this.byId(wish.id);
      if (wish.id !== undefined && byId === undefined) throw invalid('group not found from id');
      const byName = wish.name === undefined ? undefined : this.byName(wish.name);
      if (byId !== undefined && byName !== undefined && byId !== byName) throw invalid('group name is already in use');
      const before = byId ?? byName;
      if (before === undefined && this.#groups.size >= MAX_GROUPS) throw invalid(`there are ${MAX_GROUPS} groups already`);
      if (before !== undefined && wish.type !== undefined && wish.type !== before.type) throw invalid('group type cannot be changed');
      const type = before?.type ?? wish.type ?? 'internal';
      if (type === 'external' && (wish.members ?? []).length > 0) throw invalid("member entities can't be set manually for external groups");
      if (type === 'external' && (wish.memberGroups ?? []).length > 0) throw invalid("member groups can't be set for external groups");
      if ((wish.members ?? []).length > MAX_MEMBERS || (wish.memberGroups ?? []).length > MAX_MEMBERS) throw invalid(`a group has at most ${MAX_MEMBERS} members`);
      const memberGroups = this.#membersOf(before, wish.memberGroups);
      const now = this.#now();
      const id = before?.id ?? randomUUID();
      const empty = { v: 1, name: `group_${id.slice(0, 8)}`, policies: [], metadata: {}, members: [], memberGroups: [], alias: null, createdAt: now } as const;
      const group: Group = { ...before ?? empty, ...wish, id, type, updatedAt: now, memberGroups, members: type === 'external' ? before?.members ?? [] : [...new Set(wish.members ?? before?.members ?? [])] };
      await this.#store(group);
      return { group, isNew: before === undefined };
    });
  }

  delete(id: string): Promise<void> {
    return this.#locked(async () => {
      // Giving nothing any more comes first: a failed write leaves the group to the next start only.
      if (!this.#groups.delete(id)) return;
      this.#changed();
      await this.#view.delete(id);
    });
  }

  /** Names an external group at an auth mount. @throws ERR_REQUEST_INVALID */
  writeAlias(groupId: string, alias: { readonly mountAccessor: string; readonly name: string }): Promise<Group> {
    return this.#locked(async () => {
      const group = this.byId(groupId);
      if (group === undefined) throw invalid('invalid group ID given in canonical_id');
      if (group.type !== 'external') throw invalid('alias can only be set on external groups');
      const other = this.byAlias(alias.mountAccessor, aliasName(alias.name));
      if (other !== undefined && other.id !== group.id) throw invalid('an alias with this mount and name exists already');
      // Whoever was in by another name of the group is not by this one, until a login says so.
      const isSame = group.alias?.mountAccessor === alias.mountAccessor && group.alias.name === alias.name;
      const changed: Group = { ...group, alias: { id: group.alias?.id ?? randomUUID(), ...alias }, members: isSame ? group.members : [], updatedAt: this.#now() };
      await this.#store(changed);
      return changed;
    });
  }

  deleteAlias(id: string): Promise<void> {
    return this.#locked(async () => {
      const group = this.byAliasId(id);
      if (group !== undefined) await this.#store({ ...group, alias: null, members: [], updatedAt: this.#now() });
    });
  }

  /**
   * Makes an entity a member of exactly those external groups of a mount that its login names.
   * @param names the groups as the provider calls them; empty for a login that says nothing of groups
   */
  async refresh(entity: Entity, mountAccessor: string, names: readonly string[]): Promise<void> {
    if (this.#stale(entity, mountAccessor, names).length === 0) return;
    await this.#locked(async () => {
      for (const group of this.#stale(entity, mountAccessor, names)) {
        const others = group.members.filter((id) => id !== entity.id && !entity.mergedIds.includes(id));
        const members = isMember(group, entity) ? others : [...others, entity.id];
        if (members.length > MAX_MEMBERS) throw invalid(`a group has at most ${MAX_MEMBERS} members`);
        await this.#store({ ...group, members, updatedAt: this.#now() });
      }
    });
  }

  /** The external groups whose membership is not what the login says. */
  #stale(entity: Entity, mountAccessor: string, names: readonly string[]): Group[] {
    return [...this.#groups.values()].filter((group) => group.alias?.mountAccessor === mountAccessor && isMember(group, entity) !== names.includes(group.alias.name));
  }

  async #store(group: Group): Promise<void> {
    await this.#view.put(group.id, encodeRecord(group));
    this.#groups.set(group.id, group);
    this.#changed();
  }

  #changed(): void {
    this.#policies = new WeakMap();
    this.#graph = undefined;
  }

  /** The wished member groups, else those there were; groups that are gone count no more. */
  #membersOf(before: Group | undefined, wished: readonly string[] | undefined): readonly string[] {
    if (wished === undefined) return before?.memberGroups.filter((id) => this.#groups.has(id)) ?? [];
    const members = [...new Set(wished)];
    if (!members.every((id) => this.#groups.has(id))) throw invalid('a member group does not exist');
    if (before !== undefined && [before, ...this.graph.above([before])].some(({ id }) => members.includes(id))) throw invalid('a group cannot be a member of itself, not even through others');
    return members;
  }

  #locked<T>(action: () => Promise<T>): Promise<T> {
    return this.#lock.run('groups', action);
  }
}

/** Members by group, for groups of thousands. */
const memberSets = new WeakMap<Group, ReadonlySet<string>>();

function isMember(group: Group, { id, mergedIds }: Entity): boolean {
  let members = memberSets.get(group);
  if (members === undefined) memberSets.set(group, members = new Set(group.members));
  const set = members;
  return set.has(id) || mergedIds.some((merged) => set.has(merged));
}

function folded(name: string): string {
  return name.normalize('NFKC').toLowerCase();
}

function invalid(message: string): PurserError {
  return new PurserError('ERR_REQUEST_INVALID', message);
}
