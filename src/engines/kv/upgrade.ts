// From version 1 to version 2, in place. Each secret moves by one transaction, so whatever a crash leaves is either still a
// secret of version 1 or already one of version 2, and the next start goes on. Its revision becomes its version number: a
// container that holds revision 7 must not hear of a version 2 next.

import type { View } from '../../core/view.ts';
import { encodeRecord } from '../../lib/json-record.ts';
import { emptyMetadata } from './metadata.ts';
import { GONE, parsePlain, PLAIN } from './plain-store.ts';
import { dataKey, metadataKey } from './secret-store.ts';

const PAGE = 64;

/** Moves every secret that version 1 left; returns at once where there is none. @throws what the view throws */
export async function upgradeSecrets(view: View, now: () => number): Promise<void> {
  await eachKey(view, PLAIN, (key) => upgradeSecret(view, key.slice(PLAIN.length), now()));
  await eachKey(view, GONE, (key) => view.delete(key));
}

async function upgradeSecret(view: View, path: string, now: number): Promise<void> {
  const bytes = await view.get(PLAIN + path);
  if (bytes === undefined) return;
  const { revision, data } = parsePlain(bytes);
  const metadata = {
    ...emptyMetadata(now), current: revision, oldest: revision === 1 ? 0 : revision, versions: { [revision]: { created: now, deleted: null, destroyed: false } },
  };
  await view.transaction([
    { kind: 'put', key: dataKey(path, revision), value: encodeRecord(data) },
    { kind: 'put', key: metadataKey(path), value: encodeRecord(metadata) },
    { kind: 'delete', key: PLAIN + path },
  ]);
}

/** Calls `action` for every key below `folder`, a page at a time at once; it may remove the key. */
async function eachKey(view: View, folder: string, action: (key: string) => Promise<void>): Promise<void> {
  for (let after: string | undefined, isMore = true; isMore;) {
    const names = await view.list(folder, { limit: PAGE, ...(after === undefined ? {} : { after }) });
    for (const name of names) if (name.endsWith('/')) await eachKey(view, folder + name, action);
    await Promise.all(names.filter((name) => !name.endsWith('/')).map((name) => action(folder + name)));
    after = names.at(-1);
    isMore = names.length === PAGE;
  }
}
