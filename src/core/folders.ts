// Walks and wipes of a folder of a View, page by page: a folder of any size costs bounded memory, and other work runs in between.

import { setImmediate as nextTurn } from 'node:timers/promises';
import type { View } from './view.ts';

const PAGE = 1_000;

/** The keys of all records below `prefix` (empty, or ending in '/'), relative to the view, in byte order. */
export async function* keysBelow(view: View, prefix: string): AsyncGenerator<string> {
  for await (const name of namesIn(view, prefix)) {
    if (name.endsWith('/')) yield* keysBelow(view, prefix + name);
    else yield prefix + name;
  }
}

/** The immediate children of `prefix`, as View.list gives them. */
export async function* namesIn(view: View, prefix: string): AsyncGenerator<string> {
  for (let after: string | undefined; ;) {
    const page = await view.list(prefix, after === undefined ? { limit: PAGE } : { after, limit: PAGE });
    yield* page;
    after = page.at(-1);
    if (page.length < PAGE) return;
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
