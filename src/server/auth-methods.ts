// The auth methods that can be mounted: type → how it is made. What every method gets is a view of its own and the clock; those
// whose credentials can be guessed count their failures in another view of the same mount.

import { ApproleMethod } from '../auth/approle/approle-method.ts';
import { JwtMethod } from '../auth/jwt/jwt-method.ts';
import { KubernetesMethod } from '../auth/kubernetes/kubernetes-method.ts';
import { GuardedMethod } from '../auth/method/guarded-method.ts';
import { Lockouts, type LockoutRule } from '../auth/method/lockouts.ts';
import { PasswordHasher } from '../auth/userpass/password-hash.ts';
import { UserpassMethod } from '../auth/userpass/userpass-method.ts';
import type { AuthMethod, EngineContext } from '../core/logical.ts';
import { PurserError } from '../lib/errors.ts';
import type { Mount, MountRecord } from './mount-table.ts';

/** @param mount the record as it was enabled; the path is the full one, such as `auth/userpass/` */
type CreateMethod = (context: EngineContext, mount: MountRecord) => AuthMethod;

export interface MethodContext extends EngineContext {
  /** As the mount is tuned now. */
  readonly lockoutRule: () => LockoutRule;
}

/** One for the process: the thread pool is. */
const hasher = new PasswordHasher();

const METHODS: Readonly<Record<string, CreateMethod>> = {
  approle: (context) => new ApproleMethod(context),
  jwt: (context) => new JwtMethod(context),
  kubernetes: (context) => new KubernetesMethod(context),
  userpass: (context) => new UserpassMethod(context, hasher),
};

/** Makes the method of a mount record. @throws ERR_REQUEST_INVALID for an unknown type */
export function createAuthMethod(mount: MountRecord, { view, now, lockoutRule }: MethodContext): Pick<Mount, 'engine' | 'method' | 'lockouts'> {
  const create = Object.hasOwn(METHODS, mount.type) ? METHODS[mount.type] : undefined;
  if (create === undefined) throw new PurserError('ERR_REQUEST_INVALID', 'unknown auth method type', { hint: `known are: ${Object.keys(METHODS).join(', ')}` });
  const method = create({ view: view.sub('method/'), now }, mount);
  if (method.loginName === undefined) return { engine: method, method };
  const lockouts = new Lockouts({ view: view.sub('lockout/'), now, rule: lockoutRule });
  const guarded = new GuardedMethod(method, lockouts);
  return { engine: guarded, method: guarded, lockouts };
}
