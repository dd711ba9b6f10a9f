// sys/audit and sys/audit-hash: the audit devices, and the hash under which a known string appears in a device's file.

import type { JsonObject, LogicalResponse } from '../../core/logical.ts';
import { PurserError } from '../../lib/errors.ts';
import { booleanField, stringField, stringMapField } from '../../lib/fields.ts';
import type { AuditDevices } from '../audit-devices.ts';
import type { SysRoute } from './sys-engine.ts';

export function auditRoutes(devices: AuditDevices): SysRoute[] {
  return [
    { path: 'audit', needsSudo: true, operations: { read: async () => list(devices) } },
    {
      path: 'audit/*', needsSudo: true,
      operations: {
        update: async ({ data }, name) => enable(devices, name, data),
        delete: async (_request, name) => devices.disable(name).then(() => undefined),
      },
    },
    { path: 'audit-hash/*', operations: { update: async ({ data }, name) => hash(devices, name, data) } },
  ];
}

function list(devices: AuditDevices): LogicalResponse {
  const data = Object.fromEntries(devices.list().map(({ name, path, description }) => [
    `${name}/`, { path: `${name}/`, type: 'file', description, local: false, options: { file_path: path } }]));
  return { data, copyDataToTop: true };
}

/** Options of Vault that would weaken the file (log_raw, prefix, mode) are refused, not ignored. */
async function enable(devices: AuditDevices, name: string, data: JsonObject): Promise<undefined> {
  if (stringField(data, 'type') !== 'file') throw new PurserError('ERR_REQUEST_INVALID', 'only audit devices of the type file are offered');
  if (booleanField(data, 'local') === true) throw new PurserError('ERR_REQUEST_INVALID', 'the field local is not supported');
  const { file_path: path, ...others } = stringMapField(data, 'options') ?? {};
  if (path === undefined || path === '') throw new PurserError('ERR_REQUEST_INVALID', 'file_path is required');
  const [unknown] = Object.keys(others);
  if (unknown !== undefined) throw new PurserError('ERR_REQUEST_INVALID', 'of the options only file_path is supported');
  await devices.enable(name, path, stringField(data, 'description') ?? '');
}

function hash(devices: AuditDevices, name: string, data: JsonObject): LogicalResponse {
  const input = stringField(data, 'input');
  if (input === undefined) throw new PurserError('ERR_REQUEST_INVALID', 'missing "input"');
  const found = devices.hash(name, input);
  if (found === undefined) throw new PurserError('ERR_REQUEST_INVALID', 'unknown audit backend');
  return { data: { hash: found }, copyDataToTop: true };
}
