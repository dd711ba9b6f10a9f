// The mount table: which engine serves which path prefix. Stored as one record, changed by one write, so a crash leaves the old
// table or the new one. A mount that is being removed stays in the table, marked, until its storage is wiped: no engine ever
// starts on another one's remains. No mount lies inside another, so at most one matches a path.

import { randomBytes, randomUUID } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import { z } from 'zod';
import type { Lockouts } from '../auth/method/lockouts.ts';
import type { AuthMethod, Caller, Engine, JsonObject, SecretSource } from '../core/logical.ts';
import { wipeFolder } from '../core/folders.ts';
import type { View } from '../core/view.ts';
import { PurserError } from '../lib/errors.ts';
import { decodeRecord, encodeRecord } from '../lib/json-record.ts';
import { KeyedLock } from '../lib/keyed-lock.ts';
import { DEFAULT_MOUNT_CONFIG, effectiveTtls, mountConfigSchema, SYSTEM_TTLS, type MountConfig, type Ttls } from './mount-config.ts';

/** Auth methods are mounted below it, in the same table. */
export const AUTH_PREFIX = 'auth/';
const TABLE_KEY = 'table';
const BUILT_IN_KEY = 'built-in';
/** Built-in mounts whose config means something. */
const TUNABLE = ['auth/token/'];
const MAX_MOUNTS = 1_000;
const MAX_PATH_LENGTH = 256;

const recordSchema = z.strictObject({
  path: z.string().regex(/^(?:[^/]+\/)+$/),
  type: z.string(),
  uuid: z.uuid(),
  accessor: z.string(),
  description: z.string(),
  options: z.record(z.string(), z.string()).nullable(),
  config: mountConfigSchema,
  isRemoved: z.boolean(),
});
/** How built-in mounts are tuned that can be. */
const builtInSchema = z.strictObject({ v: z.literal(1), configs: z.record(z.string(), mountConfigSchema) });
const tableSchema = z.strictObject({ v: z.literal(1), mounts: z.array(recordSchema) });

/** A mount as it is stored. */
export type MountRecord = Readonly<z.infer<typeof recordSchema>>;

/** What serves a mount; built-in ones have no record. */
export interface Mount {
  /** With trailing '/'. */
  readonly path: string;
  readonly type: string;
  readonly accessor: string;
  readonly description: string;
  readonly options: Readonly<Record<string, string>> | null;
  readonly config: MountConfig;
  readonly uuid: string;
  readonly engine: Engine;
  /** The engine of an auth method, whose logins become tokens. */
  readonly method?: AuthMethod | undefined;
  /** Of a method that locks users out. */
  readonly lockouts?: Lockouts | undefined;
  /** For engines whose secrets a reference can name. */
  readonly source?: SecretSource | undefined;
  /** Paths (relative, exact or trailing '*') that need a valid token and no policy; the engine decides by the caller. */
  readonly tokenOnlyPaths?: readonly string[];
  /** Reads whose responses have no end: after one was authorised, handled and audited, `start` takes the response over. */
  readonly streams?: readonly {
    readonly path: string;
    /** @param tokenExpires milliseconds since the epoch. @throws before it wrote anything */
    start(caller: Caller | undefined, tokenExpires: number, query: JsonObject, response: ServerResponse): void;
  }[];
}

export interface Route {
  readonly mount: Mount;
  /** Relative to the mount. */
  readonly path: string;
}

export interface MountTableOptions {
  readonly view: View;
  /** How long what mounts hand out lives, where they say nothing. */
  readonly systemTtls?: Ttls;
  /** The views that hold the records of all engines and of all auth methods, `logical/` and `auth/`. */
  readonly logical: View;
  readonly auth: View;
  /** Makes the engine of a record. @throws ERR_REQUEST_INVALID for an unknown type */
  readonly createEngine: (record: MountRecord, view: View) => Pick<Mount, 'engine' | 'source' | 'method' | 'lockouts'>;
  /** Told at once that a mount answers no more. */
  readonly onDisabled?: () => void;
  /** Ends what a mount handed out, while it still answers. @throws to have it stay */
  readonly beforeRemoval?: (mount: Mount) => Promise<void>;
  /** Ends what a removed mount handed out since, before its engine is closed and its storage goes; after a crash it is called again. */
  readonly onRemoved?: (record: MountRecord) => Promise<void>;
}

/** What an operator wishes for a new mount. */
export type MountWish = Pick<MountRecord, 'path' | 'type' | 'description' | 'options'> & Partial<Pick<MountRecord, 'config'>>;

export class MountTable {
  readonly #options: MountTableOptions;
  readonly #mounts = new Map<string, Mount>();
  readonly #lock = new KeyedLock();
  #records: readonly MountRecord[];
  #builtInConfigs: ReadonlyMap<string, MountConfig> = new Map();

  private constructor(options: MountTableOptions, records: readonly MountRecord[]) {
    this.#options = options;
    this.#records = records;
    for (const record of records) if (!record.isRemoved) this.#mounts.set(record.path, this.#open(record));
  }

  /** True when a table was ever written: the last step of setting up a new core. */
  static async exists(view: View): Promise<boolean> {
    return (await view.get(TABLE_KEY)) !== undefined;
  }

  /** Loads the table and finishes removals that a crash interrupted. @throws what decodeRecord throws */
  static async open(options: MountTableOptions): Promise<MountTable> {
    const bytes = await options.view.get(TABLE_KEY);
    const table = new MountTable(options, bytes === undefined ? [] : decodeRecord(bytes, tableSchema, 'mount table').mounts);
    const builtIn = await options.view.get(BUILT_IN_KEY);
    if (builtIn !== undefined) table.#builtInConfigs = new Map(Object.entries(decodeRecord(builtIn, builtInSchema, 'config of built-in mounts').configs));
    for (const record of table.#records) if (record.isRemoved) await table.#wipe(record, table.#open(record));
    return table;
  }

  /** Adds an engine of the core itself: not stored, not removable. Its path is one of the reserved prefixes, or below one. */
  addBuiltIn(mount: Mount): void {
    this.#mounts.set(mount.path, { ...mount, config: this.#builtInConfigs.get(mount.path) ?? mount.config });
  }

  get systemTtls(): Ttls {
    return this.#options.systemTtls ?? SYSTEM_TTLS;
  }

  /** How long what a mount hands out lives. */
  ttlsOf({ config }: Pick<Mount, 'config'>): Ttls {
    return effectiveTtls(config, this.systemTtls);
  }

  /** The mount that serves `path`. A path that names a mount without its '/' is the mount's empty path. */
  find(path: string): Route | undefined {
    for (let slash = path.indexOf('/'); slash >= 0; slash = path.indexOf('/', slash + 1)) {
      const mount = this.#mounts.get(path.slice(0, slash + 1));
      if (mount !== undefined) return { mount, path: path.slice(slash + 1) };
    }
    const mount = this.#mounts.get(`${path}/`);
    return mount && { mount, path: '' };
  }

  /** All mounts, sorted by path. */
  all(): Mount[] {
    return [...this.#mounts.values()].sort((a, b) => (a.path < b.path ? -1 : 1));
  }

  /**
   * Adds a mount; durable when it resolves.
   * @throws ERR_REQUEST_INVALID when the path is taken, reserved, or inside another mount
   */
  enable(wish: MountWish): Promise<void> {
    return this.#lock.run(TABLE_KEY, async () => {
      this.#checkFree(wish.path);
      const kind = isAuthPath(wish.path) ? `auth_${wish.type}` : wish.type;
      const record: MountRecord = { config: DEFAULT_MOUNT_CONFIG, ...wish, uuid: randomUUID(), accessor: `${kind}_${randomBytes(4).toString('hex')}`, isRemoved: false };
      const mount = this.#open(record);
      await this.#store([...this.#records, record]);
      this.#mounts.set(record.path, mount);
    });
  }

  /**
   * Removes a mount with everything in it; an unknown path is no error.
   * @throws ERR_REQUEST_INVALID for a built-in one, and what `beforeRemoval` throws
   */
  disable(path: string): Promise<void> {
    return this.#lock.run(TABLE_KEY, async () => {
      const record = this.#records.find((known) => known.path === path && !known.isRemoved);
      if (record === undefined && this.#mounts.has(path)) throw refused(`cannot unmount ${path}`);
      const mount = this.#mounts.get(path);
      if (record === undefined || mount === undefined) return;
      await this.#options.beforeRemoval?.(mount);
      await this.#store(this.#records.map((known) => (known === record ? { ...known, isRemoved: true } : known)));
      this.#mounts.delete(path);
      this.#options.onDisabled?.();
      await this.#wipe(record, mount);
    });
  }

  /**
   * Changes how a mount is tuned; other options give it an engine that is made with them. Durable when it resolves.
   * @param change from the mount as it is to what is to change; what it throws is thrown
   * @throws ERR_REQUEST_INVALID for a mount that is not there or built in, and what the engine's making throws
   */
  tune(path: string, change: (before: MountRecord) => Partial<Pick<MountRecord, 'description' | 'config' | 'options'>>): Promise<void> {
    return this.#lock.run(TABLE_KEY, async () => {
      const record = this.#records.find((known) => known.path === path && !known.isRemoved);
      const before = this.#mounts.get(path);
      if (record === undefined && before !== undefined && TUNABLE.includes(path)) { await this.#tuneBuiltIn(before, change({ ...before, isRemoved: false })); return; }
      if (record === undefined || before === undefined) throw refused(`${path} cannot be tuned: it is built in or not there`);
      const changed = { ...record, ...change(record) };
      const isSameEngine = changed.options === record.options;
      const after = isSameEngine ? { ...before, ...changed } : this.#open(changed);
      if (!isSameEngine) await before.engine.close?.();
      try {
        await this.#store(this.#records.map((known) => (known === record ? changed : known)));
      } catch (error) {
        if (!isSameEngine) this.#mounts.set(path, this.#open(record)); // the one before is closed
        throw error;
      }
      this.#mounts.set(path, after);
    });
  }

  /**
   * Lets a mount answer at another path, with all its records; its accessor stays, its leases end. Durable when it resolves.
   * @throws ERR_REQUEST_INVALID for a mount that is built in or not there, for a path that is not free, and between engines and auth
   *   methods; and what `beforeRemoval` throws
   */
  move(from: string, to: string): Promise<void> {
    return this.#lock.run(TABLE_KEY, async () => {
      const record = this.#records.find((known) => known.path === from && !known.isRemoved);
      const before = this.#mounts.get(from);
      if (before === undefined) throw refused(`no matching mount at ${JSON.stringify(from)}`);
      if (record === undefined) throw refused(`cannot remount ${JSON.stringify(from)}`);
      if (isAuthPath(from) !== isAuthPath(to)) throw refused('cannot remount an auth method to a secret engine, or the other way round');
      this.#checkFree(to);
      await this.#options.beforeRemoval?.(before);
      const changed = { ...record, path: to };
      const after = this.#open(changed); // an engine knows its path
      await before.engine.close?.();
      try {
        await this.#store(this.#records.map((known) => (known === record ? changed : known)));
      } catch (error) {
        this.#mounts.set(from, this.#open(record)); // the one before is closed
        throw error;
      }
      this.#mounts.delete(from);
      this.#mounts.set(to, after);
      this.#options.onDisabled?.();
    });
  }

  /** The mount with an accessor, which it keeps for life. */
  byAccessor(accessor: string): Mount | undefined {
    for (const mount of this.#mounts.values()) if (mount.accessor === accessor) return mount;
    return undefined;
  }

  #checkFree(path: string): void {
    if (this.#records.length >= MAX_MOUNTS) throw refused(`there are ${MAX_MOUNTS} mounts already`);
    if (path === AUTH_PREFIX) throw refused('auth/ is where auth methods are mounted');
    if (path.length > MAX_PATH_LENGTH) throw refused('the mount path is too long');
    for (const mount of this.#mounts.values()) {
      if (path.startsWith(mount.path) || mount.path.startsWith(path)) throw refused(`path is already in use at ${mount.path}`, 'give it a path of its own with --path');
    }
    if (RESERVED.some((reserved) => path.startsWith(reserved))) throw refused(`cannot mount below ${path.slice(0, path.indexOf('/') + 1)}`);
  }

  #open(record: MountRecord): Mount {
    return { ...record, ...this.#options.createEngine(record, this.#viewOf(record)) };
  }

  #viewOf(record: MountRecord): View {
    return (isAuthPath(record.path) ? this.#options.auth : this.#options.logical).sub(`${record.uuid}/`);
  }

  async #wipe(record: MountRecord, { engine }: Mount): Promise<void> {
    await this.#options.onRemoved?.(record);
    await engine.close?.();
    await wipeFolder(this.#viewOf(record), '');
    await this.#store(this.#records.filter((known) => known.uuid !== record.uuid));
  }

  async #tuneBuiltIn(before: Mount, { description, config, options }: Partial<Pick<MountRecord, 'description' | 'config' | 'options'>>): Promise<void> {
    if ((description ?? before.description) !== before.description || (options ?? before.options) !== before.options) throw refused(`of ${before.path} only the config can be tuned`);
    const configs = new Map(this.#builtInConfigs).set(before.path, config ?? before.config);
    await this.#options.view.put(BUILT_IN_KEY, encodeRecord({ v: 1, configs: Object.fromEntries(configs) }));
    this.#builtInConfigs = configs;
    this.#mounts.set(before.path, { ...before, config: config ?? before.config });
  }

  async #store(records: readonly MountRecord[]): Promise<void> {
    await this.#options.view.put(TABLE_KEY, encodeRecord({ v: 1, mounts: records }));
    this.#records = records;
  }
}

/** Prefixes that belong to the core, now or when their engine exists. */
const RESERVED = ['sys/', 'node/', 'identity/', 'cubbyhole/'];

/** True for a path below `auth/`. */
export function isAuthPath(path: string): boolean {
  return path.startsWith(AUTH_PREFIX);
}

function refused(message: string, hint?: string): PurserError {
  return new PurserError('ERR_REQUEST_INVALID', message, hint === undefined ? {} : { hint });
}
