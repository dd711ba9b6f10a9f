// Walks and wipes of a folder, page by page: a folder of any size costs bounded memory, and other work runs in between.

import { setImmediate as nextTurn } from 'node:timers/promises';
import type { View } from './view.ts';

const PAGE = 1_000;

/**
 * The keys of all records below `prefix` (empty, or ending in '/'), relative to the view, in byte order. In memory there is a page for each
 * level of the path.
 */
export async function* keysBelow(view: Pick<View, 'list'>, prefix: string, size = PAGE): AsyncGenerator<string> {
  for await (const name of namesIn(view, prefix, size)) {
    if (name.endsWith('/')) yield* keysBelow(view, prefix + name, size);
    else yield prefix + name;
  }
}

/** The immediate children of `prefix`, as View.list gives them. @param size of a page */
export async function* namesIn(view: Pick<View, 'list'>, prefix: string, size = PAGE): AsyncGenerator<string> {
  for (let after: string | undefined; ;) {
    const page = await view.list(prefix, after === undefined ? { limit: size } : { after, limit: size });
    yield* page;
    after = page.at(-1);
    if (page.length < size) return;
    await nextTurn();
  }
}

/** Removes every record below `prefix`. What a crash leaves, the next call removes. */
export async function wipeFolder(view: View, prefix: string): Promise<void> {
  for (;;) {
    const names = await view.list(prefix, { limit: PAGE });
    for (const name of names) if (name.endsWith('/')) await wipeFolder(view, prefix + name);
    const keys = names.filter((name) => !name.endsWith('/'));
    if (keys.length > 0) await view.transaction(keys.map((name) => ({ kind: 'delete', key: prefix + name })));
    if (names.length < PAGE) return;
  }
}
