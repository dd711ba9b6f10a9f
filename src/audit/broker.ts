// Fails closed: with at least one device, a request goes on only when at least one of them took the entry. All devices are tried;
// a device that throws in any way counts as having refused. Without devices nothing is enforced; after close() all is refused.

import { PurserError } from '../lib/errors.ts';
import type { AuditDevice } from './device.ts';
import type { AuditEntry, EntryType } from './entry.ts';

/** Told about each device that refused an entry, so that a device among several does not die silently. */
export type DeviceFailureListener = (device: string, error: unknown) => void;

/** Entries that a device took and refused since it was enabled; for metrics. */
export interface DeviceCounts { readonly taken: number; readonly refused: number }

export class AuditBroker {
  readonly #devices = new Map<string, AuditDevice>();
  readonly #counts = new Map<string, { taken: number; refused: number }>();
  readonly #onFailure: DeviceFailureListener;
  #isClosed = false;

  constructor(onFailure: DeviceFailureListener = () => undefined) {
    this.#onFailure = onFailure;
  }

  /** @throws ERR_REQUEST_INVALID when the name is taken */
  enable(name: string, device: AuditDevice): void {
    if (this.#devices.has(name)) throw new PurserError('ERR_REQUEST_INVALID', 'the name of the audit device is in use');
    this.#devices.set(name, device);
    this.#counts.set(name, { taken: 0, refused: 0 });
  }

  /** Stops and closes a device. @returns false when there is none of that name */
  async disable(name: string): Promise<boolean> {
    const device = this.#devices.get(name);
    this.#devices.delete(name);
    this.#counts.delete(name);
    await device?.close();
    return device !== undefined;
  }

  list(): ReadonlyMap<string, AuditDevice> {
    return this.#devices;
  }

  /** By device. */
  counts(): ReadonlyMap<string, DeviceCounts> {
    return this.#counts;
  }

  /** Before the request runs. @throws ERR_AUDIT_REFUSED: do not run it */
  request(entry: AuditEntry): Promise<void> {
    return this.#log('request', entry);
  }

  /** Before the reply is sent. @throws ERR_AUDIT_REFUSED: send nothing of it */
  response(entry: AuditEntry): Promise<void> {
    return this.#log('response', entry);
  }

  /** Reopens every device; one that fails does not keep the others from it. @throws the first failure */
  async reopen(): Promise<void> {
    await this.#all((device) => device.reopen());
  }

  /** Closes and forgets every device; a request that is still under way gets no answer any more. @throws the first failure */
  async close(): Promise<void> {
    this.#isClosed = true;
    try {
      await this.#all((device) => device.close());
    } finally {
      this.#devices.clear();
    }
  }

  async #log(type: EntryType, entry: AuditEntry): Promise<void> {
    if (this.#isClosed) throw new PurserError('ERR_AUDIT_REFUSED', 'the audit devices are closed, so the request was refused');
    if (this.#devices.size === 0) return;
    try {
      if (this.#devices.size > 1) await Promise.any([...this.#devices].map(([name, device]) => this.#attempt(name, device, type, entry)));
      else for (const [name, device] of this.#devices) await this.#attempt(name, device, type, entry);
    } catch (cause) {
      throw new PurserError('ERR_AUDIT_REFUSED', 'no audit device took the entry, so the request was refused',
        { hint: 'check the space and the permissions of the audit files', cause });
    }
  }

  async #attempt(name: string, device: AuditDevice, type: EntryType, entry: AuditEntry): Promise<void> {
    const counts = this.#counts.get(name) ?? { taken: 0, refused: 0 };
    try {
      await device.log(type, entry);
      counts.taken++;
    } catch (error) {
      counts.refused++;
      this.#onFailure(name, error);
      throw error;
    }
  }

  async #all(action: (device: AuditDevice) => Promise<void>): Promise<void> {
    const results = await Promise.allSettled([...this.#devices.values()].map(action));
    for (const result of results) if (result.status === 'rejected') throw result.reason;
  }
}
