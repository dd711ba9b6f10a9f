// Entries and devices for the audit tests. CANARIES are the strings that must never reach an audit file.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';

import type { AuditEntry } from '../../src/audit/entry.ts';
import { FileAuditDevice } from '../../src/audit/file-device.ts';
import type { FileAuditOptions } from '../../src/audit/file-device.ts';
import { MemoryView } from '../fakes/memory-view.ts';

export const CANARIES = ['canary-token', 'canary-accessor', 'canary-request', 'canary-nested', 'canary-response', 'canary-list', 'canary-auth', 'canary-wrap'];

export function sampleEntry(n = 1): AuditEntry {
  return {
    auth: { clientToken: 'canary-token', accessor: 'canary-accessor', displayName: 'token-ci', policies: ['app', 'default'], metadata: { node_id: 'n1' }, tokenType: 'service', remainingUses: n },
    request: {
      id: `0000-${n}`, operation: 'update', mountPoint: 'secret/', mountType: 'kv', path: 'secret/data/db/prod', remoteAddress: '10.0.0.1', remotePort: 4711,
      clientToken: 'canary-token', clientTokenAccessor: 'canary-accessor',
      data: { data: { password: 'canary-request', deep: { l: ['canary-nested', 7, true, null] } }, options: { cas: 3 } },
    },
    response: {
      data: { data: { password: 'canary-response' }, keys: ['canary-list'], version: 3 },
      auth: { client_token: 'canary-auth', accessor: 'canary-auth', policies: ['app'], lease_duration: 60 },
      wrapInfo: { token: 'canary-wrap', accessor: 'canary-wrap', wrapped_accessor: 'canary-wrap', ttl: 60 }, warnings: ['a warning'],
    },
  };
}

/** A folder of its own, and devices over one view, as one server and its successors would open them. */
export function auditFolder(t: TestContext) {
  const directory = mkdtempSync(join(tmpdir(), 'purser-audit-test-'));
  t.after(() => { rmSync(directory, { recursive: true, force: true }); });
  const view = new MemoryView();
  const path = join(directory, 'audit.log');
  const open = (more: Partial<FileAuditOptions> = {}) => FileAuditDevice.open({ path, directory, view, now: () => 1_700_000_000_000, ...more });
  return { directory, path, view, open };
}

/** Logs `count` requests with their responses. */
export async function logSome(device: FileAuditDevice, count: number, first = 1): Promise<void> {
  for (let n = first; n < first + count; n++) {
    const entry = sampleEntry(n);
    await device.log('request', entry);
    await device.log('response', entry);
  }
}
