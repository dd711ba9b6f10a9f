// From a login to a token: the one place where what an auth method found good becomes one, whatever the method. Guarantees: no login gives
// root or a policy that is not assignable; a token lives no longer than its mount allows; a token whose mount or whose reply is
// gone does not live on; a renewal asks the method again.

import { authObject } from '../auth/token/token-json.ts';
import type { RenewalTerms } from '../auth/token/lifetime.ts';
import { canonicalPolicies, DEFAULT_POLICY_NAME, isRoot, requireAssignable } from '../auth/token/policy-names.ts';
import type { TokenEntry, TokenStore } from '../auth/token/token-store.ts';
import type { Login, LogicalResponse, TokenParameters } from '../core/logical.ts';
import { isWithin } from '../lib/cidr.ts';
import { PurserError } from '../lib/errors.ts';
import type { Ttls } from './mount-config.ts';
import { AUTH_PREFIX, type Mount, type MountTable, type Route } from './mount-table.ts';
import type { PolicyStore } from './policy-store.ts';

export interface LoginsOptions {
  readonly tokens: TokenStore;
  readonly policies: Pick<PolicyStore, 'has'>;
  readonly mounts: Pick<MountTable, 'byAccessor' | 'ttlsOf'>;
  readonly now: () => number;
  /** The identity behind a login; absent: none. @throws ERR_REQUEST_DENIED for one that may not log in */
  readonly identify?: (mount: Mount, login: Pick<Login, 'alias' | 'groups'>) => Promise<{ readonly id: string; readonly policies: readonly string[] }>;
}

export class Logins {
  readonly #options: LoginsOptions;

  constructor(options: LoginsOptions) {
    this.#options = options;
  }

  /**
   * Makes the token of a login: the response with `auth` in place of `login`.
   * @param route the mount whose method gave the login, and the path of the login in it
   * @param remoteAddress from where it came
   * @throws ERR_REQUEST_INVALID when the login would give more than logins may, ERR_REQUEST_DENIED from outside of its ranges
   */
  async issue({ mount, path }: Route, { login, ...response }: LogicalResponse, remoteAddress: string): Promise<LogicalResponse> {
    if (login === undefined) return response;
    const { tokens, policies, mounts, now, identify } = this.#options;
    const { token } = login;
    if (mount.method === undefined) throw new PurserError('ERR_REQUEST_INVALID', 'only auth methods log in');
    if (!isWithin(remoteAddress, token.boundCidrs)) throw new PurserError('ERR_REQUEST_DENIED', 'permission denied');
    const type = tokenType(token, mount);
    const names = loginPolicies(token);
    const entity = await identify?.(mount, login) ?? { id: '', policies: [] };
    const { id, entry, warnings } = await tokens.create({
      policies: names, type, path: mount.path + path, displayName: displayName(mount.path, login.displayName), metadata: login.metadata, entityId: entity.id,
      ...lifeOf(token, mounts.ttlsOf(mount)), explicitMaxTtlSeconds: token.explicitMaxTtlSeconds, numUses: token.numUses, boundCidrs: token.boundCidrs, renewable: true,
      login: { mount: mount.accessor, state: login.state },
    });
    if (mounts.byAccessor(mount.accessor) === undefined) {
      // Disabled while the token was made, which may have escaped the sweep of its tokens.
      if (type === 'service') await tokens.revoke(id);
      throw new PurserError('ERR_REQUEST_DENIED', 'permission denied');
    }
    const missing = names.filter((name) => !policies.has(name)).map((name) => `Policy "${name}" does not exist`);
    return { ...response, isNewToken: true, auth: authObject(id, entry, now(), entity.policies), warnings: [...response.warnings ?? [], ...warnings, ...missing] };
  }

  /** Ends the token in a response that the client will not get. (A batch token cannot be ended, and nobody has it.) */
  async withdraw({ auth }: LogicalResponse): Promise<void> {
    const id = auth?.['client_token'];
    if (typeof id === 'string' && id !== '' && auth?.['token_type'] !== 'batch') await this.#options.tokens.revoke(id);
  }

  /**
   * The terms on which a token may be renewed now; undefined for one that no login made.
   * @throws ERR_REQUEST_INVALID when the method would not renew it, or is gone
   */
  async renewalTerms({ login, policies }: TokenEntry): Promise<RenewalTerms | undefined> {
    if (login === null) return undefined;
    const { mounts } = this.#options;
    const mount = mounts.byAccessor(login.mount);
    if (mount?.method === undefined) throw new PurserError('ERR_REQUEST_INVALID', 'the auth method that made this token is not there any more', { hint: 'log in again' });
    return lifeOf(await mount.method.renewLogin({ state: login.state, policies }), mounts.ttlsOf(mount));
  }
}

function lifeOf(token: TokenParameters, { defaultTtlSeconds, maxTtlSeconds }: Ttls): Required<RenewalTerms> {
  const max = Math.min(token.maxTtlSeconds || Infinity, maxTtlSeconds);
  return { ttlSeconds: token.ttlSeconds || Math.min(defaultTtlSeconds, max), periodSeconds: token.periodSeconds, maxTtlSeconds: max };
}

function loginPolicies({ policies, noDefaultPolicy }: TokenParameters): readonly string[] {
  const names = canonicalPolicies(noDefaultPolicy ? policies : [...policies, DEFAULT_POLICY_NAME]);
  if (isRoot(names)) throw new PurserError('ERR_REQUEST_INVALID', 'auth methods cannot create root tokens');
  requireAssignable(names);
  return names;
}

/** Vault's form: the mount's path with dashes, and the name that the method gave. */
function displayName(mountPath: string, name: string): string {
  const mount = mountPath.slice(AUTH_PREFIX.length).replaceAll('/', '-');
  return `${mount}${name}`.replace(/-$/, '');
}

/** As the user or role says, else as the mount is tuned; a mount may also insist. */
function tokenType({ type, periodSeconds, numUses, explicitMaxTtlSeconds }: TokenParameters, { config }: Mount): 'service' | 'batch' {
  const insisted = config.tokenType === 'service' || config.tokenType === 'batch' ? config.tokenType : undefined;
  const chosen = insisted ?? (type === '' ? config.tokenType === 'default-batch' ? 'batch' : 'service' : type);
  if (chosen === 'batch' && periodSeconds + numUses + explicitMaxTtlSeconds > 0) {
    throw new PurserError('ERR_REQUEST_INVALID', 'batch tokens have no period, uses or explicit max TTL', { hint: 'set token_type to service' });
  }
  return chosen;
}
