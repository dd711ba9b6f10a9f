// Every key of a store, folder by folder, in memory that does not depend on how many there are: a page of names for each level of
// the path. Keys that exist all the while are seen exactly once; those that come or go meanwhile may be seen or not.

import type { Storage } from '../storage/storage.ts';

const PAGE = 64;

interface Level {
  readonly prefix: string;
  names: readonly string[];
  next: number;
}

/** @param without names at the top that are left out, with their slash when they are folders */
export async function* storedKeys(list: Storage['list'], without: readonly string[]): AsyncGenerator<string> {
  const levels: Level[] = [{ prefix: '', names: await list('', { limit: PAGE }), next: 0 }];
  for (let level = levels.at(-1); level !== undefined; level = levels.at(-1)) {
    const name = level.names[level.next++];
    if (name === undefined) {
      const last = level.names.at(-1);
      level.names = last === undefined || level.names.length < PAGE ? [] : await list(level.prefix, { limit: PAGE, after: last });
      level.next = 0;
      if (level.names.length === 0) levels.pop();
    } else if (level.prefix === '' && without.includes(name)) {
      continue;
    } else if (name.endsWith('/')) {
      const prefix = level.prefix + name;
      levels.push({ prefix, names: await list(prefix, { limit: PAGE }), next: 0 });
    } else {
      yield level.prefix + name;
    }
  }
}
