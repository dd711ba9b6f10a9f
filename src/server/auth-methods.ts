// The auth methods that can be mounted: type → how it is made. What every method gets is a view of its own and the clock.

import type { AuthMethod, EngineContext } from '../core/logical.ts';
import { PurserError } from '../lib/errors.ts';
import type { Mount, MountRecord } from './mount-table.ts';

/** @param mount the record as it was enabled; the path is the full one, such as `auth/userpass/` */
type CreateMethod = (context: EngineContext, mount: MountRecord) => AuthMethod;

const METHODS: Readonly<Record<string, CreateMethod>> = {};

/** Makes the method of a mount record. @throws ERR_REQUEST_INVALID for an unknown type */
export function createAuthMethod(mount: MountRecord, context: EngineContext): Pick<Mount, 'engine' | 'method'> {
  const create = Object.hasOwn(METHODS, mount.type) ? METHODS[mount.type] : undefined;
  if (create === undefined) throw new PurserError('ERR_REQUEST_INVALID', 'unknown auth method type', { hint: `known are: ${Object.keys(METHODS).join(', ')}` });
  const method = create(context, mount);
  return { engine: method, method };
}
