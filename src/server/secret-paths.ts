// Every secret path that a reference can name, for the question which secrets nobody uses. Walks the engines' own listing.

import type { LogicalRequest, SecretSource } from '../core/logical.ts';
import type { Mount, MountTable } from './mount-table.ts';

/** Full logical paths, mount first, such as `secret/db/prod`; mount by mount, folder by folder. */
export async function* secretPaths(mounts: MountTable): AsyncGenerator<string> {
  for (const mount of mounts.all()) if (mount.source !== undefined) yield* below(mount, mount.source, '');
}

async function* below(mount: Mount, source: SecretSource, folder: string): AsyncGenerator<string> {
  const request: LogicalRequest = { operation: 'list', path: source.listPath(folder), mountPoint: mount.path, data: {}, remoteAddress: '' };
  const keys = (await mount.engine.handle(request))?.data?.['keys'];
  if (!Array.isArray(keys)) return;
  for (const key of keys as readonly string[]) {
    if (key.endsWith('/')) yield* below(mount, source, folder + key);
    else yield `${mount.path}${folder}${key}`;
  }
}

/** The parts of kv version 2 that are about one secret. */
const SECTIONS = ['data', 'metadata', 'subkeys', 'delete', 'undelete', 'destroy'];

/** The API paths that are about the secret at a logical path: `secret/db/prod` → `secret/data/db/prod`, `secret/metadata/db/prod`, … */
export function apiPathsOf(mounts: MountTable, secret: string): readonly string[] {
  const route = mounts.find(secret);
  if (route?.mount.type !== 'kv' || route.mount.options?.['version'] !== '2') return [secret];
  return SECTIONS.map((section) => `${route.mount.path}${section}/${route.path}`);
}
