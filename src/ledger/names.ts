// Walking a folder of a view without holding all of it.

import type { View } from '../core/view.ts';

const PAGE = 1_024;

/**
 * Names below `prefix` in byte order, page by page.
 * @param after begin behind this name
 * @param size of a page: small where few names are wanted, because each folder among them costs a seek
 */
export async function* namesBelow(view: View, prefix: string, after?: string, size = PAGE): AsyncGenerator<string> {
  for (let last = after; ;) {
    const page = await view.list(prefix, last === undefined ? { limit: size } : { after: last, limit: size });
    yield* page;
    if (page.length < size) return;
    last = page.at(-1);
  }
}
