// sys/auth: which auth method is mounted where, in Vault's shapes; the same mount table as sys/mounts, below `auth/`.

import { PurserError } from '../../lib/errors.ts';
import { AUTH_PREFIX, isAuthPath, type MountTable } from '../mount-table.ts';
import { enableOrTune, mountList, readMount } from './mounts.ts';
import type { SysRoute } from './sys-engine.ts';

export function authRoutes(mounts: MountTable): SysRoute[] {
  return [
    { path: 'auth', operations: { read: async () => mountList(mounts.all().filter((mount) => isAuthPath(mount.path)), AUTH_PREFIX.length) } },
    {
      path: 'auth/*',
      needsSudo: true,
      operations: {
        read: async (_request, name) => readMount(mounts, AUTH_PREFIX + name),
        update: (request, name) => enableOrTune(mounts, AUTH_PREFIX + name, request.data, (type, options) => {
          if (Object.keys(options).length > 0) throw new PurserError('ERR_REQUEST_INVALID', 'auth methods take no options');
          return { type, options: null };
        }),
        delete: async (_request, name) => mounts.disable(`${AUTH_PREFIX}${name}/`).then(() => undefined),
      },
    },
  ];
}
