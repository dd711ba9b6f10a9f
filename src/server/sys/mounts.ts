// sys/mounts and sys/internal/ui/mounts: which engine is mounted where, in Vault's shapes; and what sys/auth shares with them.

import type { JsonObject, LogicalRequest, LogicalResponse } from '../../core/logical.ts';
import { isWithin } from '../../lib/cidr.ts';
import { PurserError } from '../../lib/errors.ts';
import { objectField, stringField, stringMapField } from '../../lib/fields.ts';
import { readMountConfig, showMountConfig } from '../mount-config.ts';
import { AUTH_PREFIX, isAuthPath, type Mount, type MountTable } from '../mount-table.ts';
import type { Principals } from '../principals.ts';
import { callerOf, type SysRoute } from './sys-engine.ts';

const TUNE = '/tune';
/** Body fields of Vault that change nothing here may come with their neutral value only. */
const IGNORED_WHEN_FALSE = ['local', 'seal_wrap', 'external_entropy_access'];

export function mountRoutes(mounts: MountTable, principals: Principals): SysRoute[] {
  const secretMounts = (): Mount[] => mounts.all().filter((mount) => !isAuthPath(mount.path));
  return [
    { path: 'mounts', operations: { read: async () => mountList(secretMounts()) } },
    {
      path: 'mounts/*',
      operations: {
        read: async (_request, name) => readMount(mounts, secretPath(name)),
        update: (request, name) => enableOrTune(mounts, secretPath(name), request.data, secretsEngineOf),
        delete: async (_request, name) => mounts.disable(`${secretPath(name)}/`).then(() => undefined),
      },
    },
    { path: 'internal/ui/mounts', isOpen: true, operations: { read: async (request) => visibleMounts(request, secretMounts(), mounts.all().filter((mount) => isAuthPath(mount.path)), principals) } },
    { path: 'internal/ui/mounts/*', isTokenOnly: true, operations: { read: async (request, name) => preflight(request, name, mounts, principals) } },
  ];
}

/** Whoever may change engines may not thereby change who gets in. */
function secretPath(name: string): string {
  if (name === 'auth' || isAuthPath(name)) throw new PurserError('ERR_REQUEST_INVALID', 'auth methods are not below sys/mounts', { hint: 'use sys/auth' });
  return name;
}

/** A list of mounts in Vault's shape. @param prefixLength what to cut off from their paths */
export function mountList(mounts: readonly Mount[], prefixLength = 0): LogicalResponse {
  return { data: Object.fromEntries(mounts.map((mount) => [mount.path.slice(prefixLength), describe(mount)])), copyDataToTop: true };
}

function describe(mount: Mount): JsonObject {
  return {
    accessor: mount.accessor, config: showMountConfig(mount.config, isAuthPath(mount.path)), deprecation_status: 'supported',
    description: mount.description, external_entropy_access: false, local: false, options: mount.options, plugin_version: '', running_plugin_version: '',
    running_sha256: '', seal_wrap: false, type: mount.type, uuid: mount.uuid,
  };
}

/**
 * One mount, or how it is tuned.
 * @param name the full path without its last slash, or that and `/tune`
 */
export function readMount(mounts: MountTable, name: string): LogicalResponse {
  const isTune = name.endsWith(TUNE);
  const path = `${isTune ? name.slice(0, -TUNE.length) : name}/`;
  const isAuth = isAuthPath(path);
  const mount = mounts.all().find((known) => known.path === path);
  if (mount === undefined) throw new PurserError('ERR_REQUEST_INVALID', isAuth ? `no auth engine at ${path.slice(AUTH_PREFIX.length)}` : 'no secret engine is mounted at this path');
  if (!isTune) return { data: describe(mount), copyDataToTop: true };
  return { data: { ...showMountConfig(mount.config, isAuth, mounts.ttlsOf(mount)), description: mount.description, options: mount.options }, copyDataToTop: true };
}

/** What a request for a new mount names: Vault's types have several names for one. */
type EngineOf = (type: string, options: Readonly<Record<string, string>>) => Pick<Mount, 'type' | 'options'>;

/** Mounts an engine or auth method, or tunes it. @param name as for readMount */
export async function enableOrTune(mounts: MountTable, name: string, data: JsonObject, engineOf: EngineOf): Promise<undefined> {
  if (name.endsWith(TUNE)) { await tune(mounts, name.slice(0, -TUNE.length), data); return; }
  for (const field of IGNORED_WHEN_FALSE) {
    if (data[field] === true) throw new PurserError('ERR_REQUEST_INVALID', `the field ${field} is not supported`);
  }
  const type = stringField(data, 'type') ?? '';
  if (type === '') throw new PurserError('ERR_REQUEST_INVALID', 'backend type must be specified as a string');
  await mounts.enable({
    path: `${name}/`, ...engineOf(type, stringMapField(data, 'options') ?? {}), description: stringField(data, 'description') ?? '',
    config: readMountConfig(objectField(data, 'config') ?? {}, mounts.systemTtls),
  });
}

async function tune(mounts: MountTable, name: string, data: JsonObject): Promise<void> {
  const wanted = stringMapField(data, 'options') ?? {};
  await mounts.tune(`${name}/`, (before) => ({
    description: stringField(data, 'description') ?? before.description,
    config: readMountConfig(data, mounts.systemTtls, before.config),
    ...(Object.keys(wanted).length === 0 ? {} : { options: upgradedOptions(before.type, before.options ?? {}, wanted) }),
  }));
}

/** The one option that can be tuned is the version of a kv engine, upwards: its secrets then have versions. */
function upgradedOptions(type: string, before: Readonly<Record<string, string>>, wanted: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const [unknown] = Object.keys(wanted).filter((option) => type !== 'kv' || option !== 'version');
  if (unknown !== undefined) throw new PurserError('ERR_REQUEST_INVALID', `a ${type} engine has no option ${unknown}`);
  if (before['version'] === '2' && wanted['version'] === '1') {
    throw new PurserError('ERR_REQUEST_INVALID', 'cannot downgrade mount from version 2', { hint: 'enable a new kv mount of version 1 and copy the secrets' });
  }
  return { ...before, ...wanted };
}

/** `kv-v2` is `kv` with version 2, `generic` and plain `kv` are version 1, as in Vault. */
function secretsEngineOf(type: string, options: Readonly<Record<string, string>>): Pick<Mount, 'type' | 'options'> {
  if (type === 'kv-v2') return { type: 'kv', options: { ...options, version: '2' } };
  if (type === 'generic' || type === 'kv-v1') return { type: 'kv', options: { ...options, version: '1' } };
  return { type, options: type === 'kv' ? { version: '1', ...options } : options };
}

/** The client's question which engine serves a path; answered to tokens with any access there, so that paths stay private. */
async function preflight(request: LogicalRequest, name: string, mounts: MountTable, principals: Principals): Promise<LogicalResponse> {
  const mount = mounts.find(name)?.mount;
  if (mount === undefined || !(await principals.aclOf(callerOf(request))).hasAccessBelow(mount.path)) {
    throw new PurserError('ERR_REQUEST_DENIED', 'preflight capability check returned 403, please ensure the policies of this token grant access to the path');
  }
  return { data: { ...describe(mount), path: mount.path } };
}

/** What the login form of a client asks: strangers see the mounts that are tuned to be seen, others also those they have any access to. */
async function visibleMounts({ shownToken, remoteAddress }: LogicalRequest, secret: readonly Mount[], auth: readonly Mount[], principals: Principals): Promise<LogicalResponse> {
  const principal = shownToken === undefined ? undefined : await principals.find(shownToken);
  const acl = principal !== undefined && isWithin(remoteAddress, principal.entry.boundCidrs) ? principal.acl : undefined;
  const shown = (mounts: readonly Mount[], prefixLength: number): JsonObject => Object.fromEntries(
    mounts.filter((mount) => mount.config.listingVisibility === 'unauth' || acl?.hasAccessBelow(mount.path) === true).map(({ path, type, description, options }) => [path.slice(prefixLength), { type, description, options }]));
  return { data: { secret: shown(secret, 0), auth: shown(auth, AUTH_PREFIX.length) } };
}
