// Every key of a store, folder by folder, in memory that does not depend on how many there are. Keys that exist all the while are
// seen exactly once; those that come or go meanwhile may be seen or not.

import type { Storage } from '../storage/storage.ts';
import { keysBelow, namesIn } from './folders.ts';

/** Small, because paths that users choose may have hundreds of levels, and each holds a page. */
const PAGE = 64;

/** @param without names at the top that are left out, with their slash when they are folders */
export async function* storedKeys(list: Storage['list'], without: readonly string[]): AsyncGenerator<string> {
  for await (const name of namesIn({ list }, '', PAGE)) {
    if (without.includes(name)) continue;
    if (name.endsWith('/')) yield* keysBelow({ list }, name, PAGE);
    else yield name;
  }
}
