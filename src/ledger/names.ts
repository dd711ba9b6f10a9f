// Walking a folder of a view without holding all of it.

import type { View } from '../core/view.ts';

const PAGE = 1_024;

/** Names below `prefix` in byte order, page by page. @param after begin behind this name */
export async function* namesBelow(view: View, prefix: string, after?: string): AsyncGenerator<string> {
  for (let last = after; ;) {
    const page = await view.list(prefix, last === undefined ? { limit: PAGE } : { after: last, limit: PAGE });
    yield* page;
    if (page.length < PAGE) return;
    last = page.at(-1);
  }
}
