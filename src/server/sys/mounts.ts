// sys/mounts, sys/auth and sys/internal/ui/mounts: what is mounted where, in Vault's shapes.

import type { JsonObject, LogicalRequest, LogicalResponse } from '../../core/logical.ts';
import { MAX_TTL_SECONDS } from '../../auth/token/lifetime.ts';
import { PurserError } from '../../lib/errors.ts';
import { objectField, stringField, stringMapField } from '../../lib/fields.ts';
import type { Mount, MountTable } from '../mount-table.ts';
import type { PolicyStore } from '../policy-store.ts';
import { callerOf, type SysRoute } from './sys-engine.ts';

const TUNE = '/tune';
const AUTH = 'auth/';
const CONFIG: JsonObject = { default_lease_ttl: 0, max_lease_ttl: 0, force_no_cache: false };
/** Body fields of Vault that change nothing here may come with their neutral value only. */
const IGNORED_WHEN_FALSE = ['local', 'seal_wrap', 'external_entropy_access'];

export function mountRoutes(mounts: MountTable, policies: PolicyStore): SysRoute[] {
  const secretMounts = (): Mount[] => mounts.all().filter((mount) => !mount.path.startsWith(AUTH));
  const authMounts = (): Mount[] => mounts.all().filter((mount) => mount.path.startsWith(AUTH));
  return [
    { path: 'mounts', operations: { read: async () => table(secretMounts()) } },
    {
      path: 'mounts/*',
      operations: {
        read: async (_request, name) => readMount(mounts, name),
        update: (request, name) => enable(mounts, name, request.data),
        delete: async (_request, name) => mounts.disable(`${name}/`).then(() => undefined),
      },
    },
    { path: 'auth', operations: { read: async () => table(authMounts(), AUTH.length) }, needsSudo: false },
    { path: 'internal/ui/mounts', isTokenOnly: true, operations: { read: async (request) => visibleMounts(request, secretMounts(), authMounts(), policies) } },
    { path: 'internal/ui/mounts/*', isTokenOnly: true, operations: { read: async (request, name) => preflight(request, name, mounts, policies) } },
  ];
}

function table(mounts: readonly Mount[], prefixLength = 0): LogicalResponse {
  return { data: Object.fromEntries(mounts.map((mount) => [mount.path.slice(prefixLength), describe(mount)])), copyDataToTop: true };
}

function describe(mount: Mount): JsonObject {
  return {
    accessor: mount.accessor, config: CONFIG, deprecation_status: 'supported', description: mount.description, external_entropy_access: false,
    local: false, options: mount.options, plugin_version: '', running_plugin_version: '', running_sha256: '', seal_wrap: false, type: mount.type, uuid: mount.uuid,
  };
}

function readMount(mounts: MountTable, name: string): LogicalResponse {
  const isTune = name.endsWith(TUNE);
  const path = `${isTune ? name.slice(0, -TUNE.length) : name}/`;
  const mount = mounts.all().find((known) => known.path === path);
  if (mount === undefined) throw new PurserError('ERR_REQUEST_INVALID', 'no secret engine is mounted at this path');
  if (!isTune) return { data: describe(mount) };
  const data = { ...CONFIG, default_lease_ttl: MAX_TTL_SECONDS, max_lease_ttl: MAX_TTL_SECONDS, description: mount.description, options: mount.options };
  return { data, copyDataToTop: true };
}

async function enable(mounts: MountTable, name: string, data: JsonObject): Promise<undefined> {
  if (name.endsWith(TUNE)) return tune(mounts, `${name.slice(0, -TUNE.length)}/`, data);
  for (const field of IGNORED_WHEN_FALSE) {
    if (data[field] === true) throw new PurserError('ERR_REQUEST_INVALID', `the field ${field} is not supported`);
  }
  const config = objectField(data, 'config') ?? {};
  if (Object.values(config).some((value) => value !== null && value !== '' && value !== 0 && value !== false)) {
    throw new PurserError('ERR_REQUEST_INVALID', 'mount config is not supported', { hint: 'leave config out' });
  }
  const { type, options } = engineOf(stringField(data, 'type') ?? '', stringMapField(data, 'options') ?? {});
  await mounts.enable({ path: `${name}/`, type, options, description: stringField(data, 'description') ?? '' });
}

/** What can be tuned is the version of a kv engine, upwards: its secrets then have versions. */
async function tune(mounts: MountTable, path: string, data: JsonObject): Promise<undefined> {
  const [unknown] = Object.keys(data).filter((field) => field !== 'options' && data[field] !== null);
  if (unknown !== undefined) throw new PurserError('ERR_REQUEST_INVALID', `${unknown} cannot be tuned`);
  const wanted = stringMapField(data, 'options') ?? {};
  await mounts.changeOptions(path, ({ type, options }) => upgradedOptions(type, options ?? {}, wanted));
}

function upgradedOptions(type: string, before: Readonly<Record<string, string>>, wanted: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const [unknown] = Object.keys(wanted).filter((option) => type !== 'kv' || option !== 'version');
  if (unknown !== undefined) throw new PurserError('ERR_REQUEST_INVALID', `a ${type} engine has no option ${unknown}`);
  if (before['version'] === '2' && wanted['version'] === '1') {
    throw new PurserError('ERR_REQUEST_INVALID', 'cannot downgrade mount from version 2', { hint: 'enable a new kv mount of version 1 and copy the secrets' });
  }
  return { ...before, ...wanted };
}

/** `kv-v2` is `kv` with version 2, `generic` and plain `kv` are version 1, as in Vault. */
function engineOf(type: string, options: Readonly<Record<string, string>>): { type: string; options: Readonly<Record<string, string>> } {
  if (type === '') throw new PurserError('ERR_REQUEST_INVALID', 'backend type must be specified as a string');
  if (type === 'kv-v2') return { type: 'kv', options: { ...options, version: '2' } };
  if (type === 'generic' || type === 'kv-v1') return { type: 'kv', options: { ...options, version: '1' } };
  return { type, options: type === 'kv' ? { version: '1', ...options } : options };
}

/** The client's question which engine serves a path; answered to tokens with any access there, so that paths stay private. */
function preflight(request: LogicalRequest, name: string, mounts: MountTable, policies: PolicyStore): LogicalResponse {
  const mount = mounts.find(name)?.mount;
  if (mount === undefined || !policies.acl(callerOf(request).policies).hasAccessBelow(mount.path)) {
    throw new PurserError('ERR_REQUEST_DENIED', 'preflight capability check returned 403, please ensure the policies of this token grant access to the path');
  }
  return { data: { ...describe(mount), path: mount.path } };
}

function visibleMounts(request: LogicalRequest, secret: readonly Mount[], auth: readonly Mount[], policies: PolicyStore): LogicalResponse {
  const acl = policies.acl(callerOf(request).policies);
  const shown = (mounts: readonly Mount[], prefixLength: number): JsonObject => Object.fromEntries(
    mounts.filter((mount) => acl.hasAccessBelow(mount.path)).map(({ path, type, description, options }) => [path.slice(prefixLength), { type, description, options }]));
  return { data: { secret: shown(secret, 0), auth: shown(auth, AUTH.length) } };
}
