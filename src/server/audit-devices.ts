// Which audit devices there are: those of the configuration, enabled at every start, and those that operators enabled through
// the API, kept in the barrier. A device that cannot be opened keeps the core sealed. Files live in one configured directory
// and nowhere else: an audit file at a path of the caller's choice would be a way to write executable files (CVE-2025-54997).

import { mkdir } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import type { Logger } from 'pino';
import { z } from 'zod';
import type { AuditBroker } from '../audit/broker.ts';
import { FileAuditDevice } from '../audit/file-device.ts';
import type { View } from '../core/view.ts';
import { messageOf, PurserError } from '../lib/errors.ts';
import { decodeRecord, encodeRecord } from '../lib/json-record.ts';
import { KeyedLock } from '../lib/keyed-lock.ts';
import type { ServerConfig } from './config.ts';

const TABLE_KEY = 'devices';
const NAME = /^[A-Za-z0-9_-]{1,64}$/;
const FILE_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;
const MAX_DEVICES = 16;

const deviceSchema = z.strictObject({ name: z.string().regex(NAME), file: z.string().regex(FILE_NAME), description: z.string() });
const tableSchema = z.strictObject({ v: z.literal(1), devices: z.array(deviceSchema) });

export interface AuditDeviceInfo extends Readonly<z.infer<typeof deviceSchema>> {
  readonly path: string;
  readonly isConfigured: boolean;
}

export interface AuditDevicesOptions {
  readonly broker: AuditBroker;
  /** Of this table; each device gets a view of its own below it. */
  readonly view: View;
  readonly config: ServerConfig['audit'];
  readonly now: () => number;
  readonly log: Logger;
}

export class AuditDevices {
  readonly #options: AuditDevicesOptions;
  readonly #devices = new Map<string, AuditDeviceInfo>();
  readonly #lock = new KeyedLock();

  private constructor(options: AuditDevicesOptions) {
    this.#options = options;
  }

  /** Opens all devices and enables them in the broker. @throws what a device throws; the broker then has some of them */
  static async open(options: AuditDevicesOptions): Promise<AuditDevices> {
    const table = new AuditDevices(options);
    const bytes = await options.view.get(TABLE_KEY);
    const stored = bytes === undefined ? [] : decodeRecord(bytes, tableSchema, 'table of audit devices').devices;
    for (const device of options.config?.devices ?? []) await table.#start({ ...device, description: 'from the configuration' }, true);
    for (const device of stored) await table.#start(device, false);
    return table;
  }

  list(): AuditDeviceInfo[] {
    return [...this.#devices.values()];
  }

  /** Enables a file device through the API; durable when it resolves. @throws ERR_REQUEST_INVALID, ERR_AUDIT_FILE */
  enable(name: string, filePath: string, description: string): Promise<void> {
    return this.#lock.run(TABLE_KEY, async () => {
      if (!NAME.test(name)) throw refused('the name of an audit device is 1 to 64 letters, digits, - or _');
      if (this.#devices.has(name)) throw refused('path already in use');
      if (this.#devices.size >= MAX_DEVICES) throw refused(`there are ${MAX_DEVICES} audit devices already`);
      const device = { name, file: this.#fileIn(filePath), description };
      await this.#start(device, false);
      try {
        await this.#store();
      } catch (error) {
        await this.#stop(name);
        throw error;
      }
    });
  }

  /** Disables a device that was enabled through the API; an unknown one is no error. @throws ERR_REQUEST_INVALID for a configured one */
  disable(name: string): Promise<void> {
    return this.#lock.run(TABLE_KEY, async () => {
      const device = this.#devices.get(name);
      if (device === undefined) return;
      if (device.isConfigured) throw refused('this audit device comes from the configuration of the server', 'remove it there and restart');
      this.#devices.delete(name);
      try {
        await this.#store();
      } catch (error) {
        this.#devices.set(name, device);
        throw error;
      }
      await this.#options.broker.disable(name);
    });
  }

  /** The keyed hash that a device writes for `input`; undefined when there is no such device. */
  hash(name: string, input: string): string | undefined {
    return this.#options.broker.list().get(name)?.hmacString(input);
  }

  /** The file's name, when `filePath` is a plain name or lies directly in the audit directory. */
  #fileIn(filePath: string): string {
    const { config } = this.#options;
    if (config === undefined) throw refused('this server has no audit directory', 'set audit_directory in its configuration');
    const path = resolve(config.directory, filePath);
    const file = basename(path);
    if (dirname(path) !== config.directory || !FILE_NAME.test(file)) throw refused('an audit file must lie in the audit directory of the server', 'give a plain file name as file_path');
    if (this.list().some((device) => device.file === file)) throw refused('another audit device writes this file');
    return file;
  }

  async #start(device: z.infer<typeof deviceSchema>, isConfigured: boolean): Promise<void> {
    const { broker, view, config, now, log } = this.#options;
    if (config === undefined) throw new PurserError('ERR_CONFIG_INVALID', 'the store names audit devices, but there is no audit directory', { hint: 'set audit_directory' });
    await mkdir(config.directory, { recursive: true, mode: 0o700 });
    const path = join(config.directory, device.file);
    const onFailure = (error: unknown): void => { log.error({ device: device.name, reason: messageOf(error) }, 'an audit file cannot be trusted or anchored'); };
    broker.enable(device.name, await FileAuditDevice.open({
      path, directory: config.directory, view: view.sub(`device/${device.name}/`), now, onFailure, replaceDamaged: config.replaceDamaged,
    }));
    this.#devices.set(device.name, { ...device, path, isConfigured });
  }

  async #stop(name: string): Promise<void> {
    this.#devices.delete(name);
    await this.#options.broker.disable(name);
  }

  #store(): Promise<void> {
    const devices = this.list().filter(({ isConfigured }) => !isConfigured).map(({ name, file, description }) => ({ name, file, description }));
    return this.#options.view.put(TABLE_KEY, encodeRecord({ v: 1, devices }));
  }
}

function refused(message: string, hint?: string): PurserError {
  return new PurserError('ERR_REQUEST_INVALID', message, hint === undefined ? {} : { hint });
}
