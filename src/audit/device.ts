// What the broker asks of an audit device. A device that resolved has handed the entry to its medium; one that rejected has not.

import type { AuditEntry, EntryType } from './entry.ts';

export interface AuditDevice {
  readonly type: string;
  /** @throws ERR_AUDIT_REFUSED; then no part of the entry counts as logged */
  log(type: EntryType, entry: AuditEntry): Promise<void>;
  /** The keyed hash this device writes for `value`, to find a known string in its file. */
  hmacString(value: string): string;
  /** Goes on in a new file after the old one was moved away (log rotation). */
  reopen(): Promise<void>;
  close(): Promise<void>;
}
