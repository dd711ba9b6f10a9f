// Which audit devices there are: those of the configuration, enabled at every start, and those that operators enabled through
// the API, kept in the barrier. A file that cannot be opened keeps the core sealed; a socket or syslog that is away does not,
// but takes no entry. Files live in one configured directory and nowhere else: an audit file at a path of the caller's choice
// would be a way to write executable files (CVE-2025-54997).

import { basename, dirname, join, resolve } from 'node:path';
import type { Logger } from 'pino';
import { z } from 'zod';
import { makeDirectory } from '../lib/make-directory.ts';
import type { AuditBroker } from '../audit/broker.ts';
import type { AuditDevice } from '../audit/device.ts';
import { FileAuditDevice } from '../audit/file-device.ts';
import { StreamAuditDevice } from '../audit/stream-device.ts';
import { MAX_SYSLOG_BYTES, openSocket, openSyslog } from '../audit/stream-targets.ts';
import type { View } from '../core/view.ts';
import { messageOf, PurserError } from '../lib/errors.ts';
import { decodeRecord, encodeRecord } from '../lib/json-record.ts';
import { KeyedLock } from '../lib/keyed-lock.ts';
import type { JsonObject } from '../lib/json.ts';
import { deviceOptionsSchema, FILE_NAME, parseDeviceOptions, refused, shownOptions } from './audit-options.ts';
import type { ServerConfig } from './config.ts';

const TABLE_KEY = 'devices';
const NAME = /^[A-Za-z0-9_-]{1,64}$/;
/** Paths of sys/audit/ that are no devices. */
const RESERVED = ['log', 'tail', 'verify', 'key'];
const MAX_DEVICES = 16;
/** As a socket's, where nothing else is said. */
const SYSLOG_TIMEOUT_MS = 2_000;

const deviceSchema = z.strictObject({ name: z.string().regex(NAME), description: z.string(), options: deviceOptionsSchema });
const tableSchema = z.strictObject({ v: z.literal(1), devices: z.array(deviceSchema) });

type DeviceRecord = Readonly<z.infer<typeof deviceSchema>>;

export interface AuditDeviceInfo extends DeviceRecord {
  readonly isConfigured: boolean;
}

/** What a client asks for. */
export interface DeviceWish {
  readonly name: string;
  readonly type: string;
  readonly description: string;
  /** Vault's. */
  readonly options: Readonly<Record<string, string>>;
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
    for (const { name, file } of options.config?.devices ?? []) {
      await table.#start({ name, description: 'from the configuration', options: { type: 'file', file, hashAccessors: true, elideLists: false } }, true);
    }
    for (const device of stored) await table.#start(device, false);
    return table;
  }

  list(): AuditDeviceInfo[] {
    return [...this.#devices.values()];
  }

  /** The device's options as Vault shows them. */
  shown({ options }: AuditDeviceInfo): JsonObject {
    return shownOptions(options, `${this.#options.config?.directory ?? ''}/`);
  }

  /** The file device of that name, or without a name the first of all. */
  file(name?: string): { readonly name: string; readonly device: FileAuditDevice } | undefined {
    for (const [known, device] of this.#options.broker.list()) {
      if (device instanceof FileAuditDevice && (name === undefined || known === name)) return { name: known, device };
    }
    return undefined;
  }

  /** Enables a device through the API; durable when it resolves. @throws ERR_REQUEST_INVALID, ERR_AUDIT_FILE, ERR_AUDIT_REFUSED */
  enable({ name, type, description, options }: DeviceWish): Promise<void> {
    return this.#lock.run(TABLE_KEY, async () => {
      if (!NAME.test(name)) throw refused('the name of an audit device is 1 to 64 letters, digits, - or _');
      if (RESERVED.includes(name)) throw refused(`an audit device cannot be called ${name}`);
      if (this.#devices.has(name)) throw refused('path already in use', `another device is called ${name}; give this one a name of its own, such as purser audit enable file --path ${name}-2`);
      if (this.#devices.size >= MAX_DEVICES) throw refused(`there are ${MAX_DEVICES} audit devices already`);
      await this.#start({ name, description, options: parseDeviceOptions(type, options, (path) => this.#fileIn(path)) }, false);
      try {
        const device = this.#options.broker.list().get(name);
        if (device instanceof StreamAuditDevice) await reachable(device);
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
    if (this.list().some(({ options }) => options.type === 'file' && options.file === file)) throw refused('another audit device writes this file');
    return file;
  }

  async #start(device: DeviceRecord, isConfigured: boolean): Promise<void> {
    this.#options.broker.enable(device.name, await this.#open(device));
    this.#devices.set(device.name, { ...device, isConfigured });
  }

  async #open({ name, options }: DeviceRecord): Promise<AuditDevice> {
    const { config, now, log } = this.#options;
    const view = this.#options.view.sub(`device/${name}/`);
    const { hashAccessors, elideLists } = options;
    const common = { view, now, render: { hashAccessors, elideLists } };
    switch (options.type) {
      case 'file': {
        if (config === undefined) throw new PurserError('ERR_CONFIG_INVALID', 'the store names audit files, but there is no audit directory', { hint: 'set audit_directory' });
        makeDirectory(config.directory, 0o700);
        const onFailure = (error: unknown): void => { log.error({ device: name, reason: messageOf(error) }, 'an audit file cannot be trusted or anchored'); };
        return FileAuditDevice.open({ ...common, path: join(config.directory, options.file), directory: config.directory, onFailure, replaceDamaged: config.replaceDamaged });
      }
      case 'socket': return StreamAuditDevice.open({
        ...common, type: 'socket', timeoutMs: options.timeoutMs, prefix: options.prefix, connect: (signal) => openSocket(options.target, signal),
      });
      case 'syslog': return StreamAuditDevice.open({
        ...common, type: 'syslog', timeoutMs: SYSLOG_TIMEOUT_MS, prefix: options.prefix, maxEntryBytes: MAX_SYSLOG_BYTES, connect: () => openSyslog(options),
      });
    }
  }

  async #stop(name: string): Promise<void> {
    this.#devices.delete(name);
    await this.#options.broker.disable(name);
  }

  #store(): Promise<void> {
    const devices = this.list().filter(({ isConfigured }) => !isConfigured).map(({ name, description, options }) => ({ name, description, options }));
    return this.#options.view.put(TABLE_KEY, encodeRecord({ v: 1, devices }));
  }
}

/** A typing error in an address must show when the device is enabled, not at the next request. */
async function reachable(device: StreamAuditDevice): Promise<void> {
  await device.probe().catch((error: unknown) => { throw refused(`the device takes nothing: ${messageOf(error)}`, 'check that something listens there'); });
}
