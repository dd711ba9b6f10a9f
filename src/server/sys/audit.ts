// sys/audit and sys/audit-hash: the audit devices, the hash under which a known string appears in a device's file, and reading
// what the files hold.

import type { JsonObject, LogicalResponse } from '../../core/logical.ts';
import { PurserError } from '../../lib/errors.ts';
import { booleanField, stringField, stringMapField } from '../../lib/fields.ts';
import type { AuditDevices } from '../audit-devices.ts';
import type { AuditLog } from '../audit-log.ts';
import type { SysRoute } from './sys-engine.ts';

export function auditRoutes(devices: AuditDevices, auditLog: AuditLog): SysRoute[] {
  return [
    { path: 'audit/log', needsSudo: true, operations: { read: ({ data }) => auditLog.search(data) } },
    // Answered here, authorised and audited; the stream itself begins when the pipeline hands the response over.
    { path: 'audit/tail', needsSudo: true, operations: { read: async ({ data }) => auditLog.checkTail(data) } },
    { path: 'audit/verify/*', needsSudo: true, operations: { read: ({ data }, name) => auditLog.verify(name, data) } },
    { path: 'audit/key/*', needsSudo: true, operations: { read: async (_request, name) => auditLog.key(name) } },
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
  const data = Object.fromEntries(devices.list().map((device) => [
    `${device.name}/`, { path: `${device.name}/`, type: device.options.type, description: device.description, local: false, options: devices.shown(device) }]));
  return { data, copyDataToTop: true };
}

async function enable(devices: AuditDevices, name: string, data: JsonObject): Promise<undefined> {
  if (booleanField(data, 'local') === true) throw new PurserError('ERR_REQUEST_INVALID', 'the field local is not supported');
  await devices.enable({ name, type: stringField(data, 'type') ?? '', description: stringField(data, 'description') ?? '', options: stringMapField(data, 'options') ?? {} });
}

function hash(devices: AuditDevices, name: string, data: JsonObject): LogicalResponse {
  const input = stringField(data, 'input');
  if (input === undefined) throw new PurserError('ERR_REQUEST_INVALID', 'missing "input"');
  const found = devices.hash(name, input);
  if (found === undefined) throw new PurserError('ERR_REQUEST_INVALID', 'unknown audit backend');
  return { data: { hash: found }, copyDataToTop: true };
}
