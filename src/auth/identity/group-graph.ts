// Groups in groups: whoever is in a group is in every group that has it as a member, through any number of them. The store keeps the
// graph free of cycles; the walks end all the same.

import type { Group } from './group-record.ts';

/** Who is a member of whom, made once for a state of all groups. */
export class GroupGraph {
  readonly #parents = new Map<string, Group[]>();

  constructor(groups: Iterable<Group>) {
    for (const group of groups) {
      for (const member of group.memberGroups) {
        const parents = this.#parents.get(member);
        if (parents === undefined) this.#parents.set(member, [group]);
        else parents.push(group);
      }
    }
  }

  parentsOf(id: string): readonly Group[] {
    return this.#parents.get(id) ?? [];
  }

  /** The groups above `direct`, each once, without those themselves. */
  above(direct: readonly Group[]): Group[] {
    const seen = new Set(direct.map(({ id }) => id));
    const found: Group[] = [];
    for (let level = direct; level.length > 0;) {
      const next = level.flatMap(({ id }) => this.parentsOf(id)).filter(({ id }) => !seen.has(id) && seen.add(id));
      found.push(...next);
      level = next;
    }
    return found;
  }
}
