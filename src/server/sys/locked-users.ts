// sys/locked-users: who is locked out by failed logins, and ending that, in Vault's shapes. There is one namespace, the root.

import type { JsonObject, LogicalResponse } from '../../core/logical.ts';
import { PurserError } from '../../lib/errors.ts';
import { stringField } from '../../lib/fields.ts';
import type { MountTable } from '../mount-table.ts';
import type { SysRoute } from './sys-engine.ts';

export function lockedUserRoutes(mounts: MountTable): SysRoute[] {
  return [
    { path: 'locked-users', operations: { read: ({ data }) => list(mounts, stringField(data, 'mount_accessor') ?? '') } },
    { path: 'locked-users/*', operations: { update: (_request, name) => unlock(mounts, name) } },
  ];
}

/** @param wanted the accessor of one mount; empty for all */
async function list(mounts: MountTable, wanted: string): Promise<LogicalResponse> {
  if (wanted !== '' && mounts.byAccessor(wanted) === undefined) throw new PurserError('ERR_REQUEST_INVALID', 'there is no mount with this accessor');
  const found: { mount_accessor: string; counts: number; alias_identifiers: readonly string[] }[] = [];
  for (const { accessor, lockouts } of mounts.all()) {
    if (lockouts === undefined || (wanted !== '' && accessor !== wanted)) continue;
    const names = await lockouts.locked();
    if (names.length > 0) found.push({ mount_accessor: accessor, counts: names.length, alias_identifiers: names });
  }
  const total = found.reduce((sum, { counts }) => sum + counts, 0);
  const root: JsonObject = { namespace_id: 'root', namespace_path: '', counts: total, mount_accessors: found.sort((a, b) => b.counts - a.counts) };
  return { data: { by_namespace: total === 0 ? [] : [root], total } };
}

/** @param name `<mount accessor>/unlock/<alias>`; an alias that is not locked is no error */
async function unlock(mounts: MountTable, name: string): Promise<undefined> {
  const [, accessor, alias] = /^([^/]+)\/unlock\/(.+)$/.exec(name) ?? [];
  if (accessor === undefined || alias === undefined) throw new PurserError('ERR_REQUEST_NOT_FOUND', 'unsupported path');
  const lockouts = mounts.byAccessor(accessor)?.lockouts;
  if (lockouts === undefined) throw new PurserError('ERR_REQUEST_INVALID', 'there is no mount with this accessor that locks users out');
  await lockouts.unlock(alias);
}
