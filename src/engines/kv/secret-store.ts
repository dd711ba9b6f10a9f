// Secrets with versions over a View (FORMAT.md). Guarantees: a change of metadata and version data is one transaction; changes
// of one secret run one after the other; readers never wait and see one whole version; listeners hear of a change after it
// is durable. Metadata is kept in memory, values never are. One process writes to the view at a time.

import type { JsonObject, SecretChangeListener } from '../../core/logical.ts';
import type { View, ViewOperation } from '../../core/view.ts';
import { PurserError } from '../../lib/errors.ts';
import { encodeRecord } from '../../lib/json-record.ts';
import { KeyedLock } from '../../lib/keyed-lock.ts';
import { ReadThroughCache } from '../../lib/read-through-cache.ts';
import { DEFAULT_CONFIG, isReadable, parseConfig, parseMetadata, readableCurrent } from './metadata.ts';
import type { MountConfig, SecretMetadata, VersionMetadata } from './metadata.ts';

const CACHED_SECRETS = 8_192;
/** A read that meets a destroy or a pruning between metadata and data looks again this often. */
const READ_ATTEMPTS = 3;

/** One version as found; `data` is null when it is deleted or destroyed. */
export interface SecretVersion {
  readonly metadata: SecretMetadata;
  readonly number: number;
  readonly version: VersionMetadata;
  readonly data: JsonObject | null;
  /** The current version, and `metadata` is still what is kept of the secret: as long as that object lives it stands for these data. */
  readonly isAsKept: boolean;
}

/** What a change does: the new metadata (undefined removes the secret), and version data to write and to remove. */
export interface SecretChange {
  readonly metadata: SecretMetadata | undefined;
  readonly write?: { readonly number: number; readonly data: JsonObject };
  readonly remove?: readonly number[];
}

export class SecretStore {
  readonly #view: View;
  readonly #now: () => number;
  readonly #onChange: SecretChangeListener;
  readonly #lock = new KeyedLock();
  readonly #cache = new ReadThroughCache<SecretMetadata>(CACHED_SECRETS);
  #config: Promise<MountConfig> | undefined;

  /** @param onChange called after a commit that changed which versions can be read; must not throw */
  constructor(view: View, now: () => number, onChange: SecretChangeListener) {
    this.#view = view;
    this.#now = now;
    this.#onChange = onChange;
  }

  /** The metadata of a secret, without opening any of its values. */
  async metadata(path: string): Promise<SecretMetadata | undefined> {
    return this.#cache.get(path) ?? this.#cache.load(path, async () => {
      const bytes = await this.#view.get(metadataKey(path));
      return bytes && parseMetadata(bytes);
    });
  }

  /**
   * @param wanted a version number; 0: the current one
   * @returns undefined when there is no such secret or version
   * @throws ERR_RECORD_INVALID when the data of a version that should be there is not
   */
  async read(path: string, wanted: number): Promise<SecretVersion | undefined> {
    for (let attempt = 0; attempt < READ_ATTEMPTS; attempt++) {
      const metadata = await this.metadata(path);
      const number = wanted === 0 ? metadata?.current ?? 0 : wanted;
      const version = metadata?.versions[number];
      if (metadata === undefined || version === undefined) return undefined;
      if (!isReadable(version, this.#now())) return { metadata, number, version, data: null, isAsKept: false };
      const bytes = await this.#view.get(dataKey(path, number));
      if (bytes !== undefined) return { metadata, number, version, data: parseData(bytes), isAsKept: number === metadata.current && this.#cache.get(path) === metadata };
      this.#cache.forget(path);
    }
    throw new PurserError('ERR_RECORD_INVALID', 'the data of a stored version is missing', { hint: 'restore the data directory from a backup' });
  }

  /**
   * Runs one change of a secret; no other change of it runs meanwhile.
   * @param decide gets the present metadata and says what to do; undefined: nothing
   * @returns the metadata afterwards
   */
  async change(path: string, decide: (before: SecretMetadata | undefined) => SecretChange | undefined | Promise<SecretChange | undefined>): Promise<SecretMetadata | undefined> {
    const [before, after] = await this.#lock.run(path, async () => {
      const present = await this.metadata(path);
      const change = await decide(present);
      if (change === undefined) return [present, present] as const;
      await this.#commit(path, change);
      return [present, change.metadata] as const;
    });
    if (before?.versions !== after?.versions && (before?.current ?? 0) + (after?.current ?? 0) > 0) {
      this.#onChange(path, readableCurrent(after, this.#now()));
    }
    return after;
  }

  /** Immediate children of a folder (empty or ending in '/'), by name. */
  list(folder: string): Promise<string[]> {
    return this.#view.list(metadataKey(folder));
  }

  config(): Promise<MountConfig> {
    this.#config ??= this.#loadConfig().catch((error: unknown) => {
      this.#config = undefined;
      throw error;
    });
    return this.#config;
  }

  changeConfig(change: (config: MountConfig) => MountConfig): Promise<void> {
    // No secret is called like this: paths do not begin with '/'.
    return this.#lock.run('/config', async () => {
      const config = change(await this.config());
      try {
        await this.#view.put('config', encodeRecord(config));
      } finally {
        this.#config = undefined;
      }
    });
  }

  /** Forgets before: a read may begin in between; and after a write that failed, because it may still have happened. */
  async #commit(path: string, { metadata, write, remove = [] }: SecretChange): Promise<void> {
    const operations: ViewOperation[] = remove.map((number) => ({ kind: 'delete', key: dataKey(path, number) }));
    if (write !== undefined) operations.push({ kind: 'put', key: dataKey(path, write.number), value: encodeRecord(write.data) });
    operations.push(metadata === undefined ? { kind: 'delete', key: metadataKey(path) } : { kind: 'put', key: metadataKey(path), value: encodeRecord(metadata) });
    this.#cache.forget(path);
    try {
      await this.#view.transaction(operations);
    } catch (error) {
      this.#cache.forget(path);
      throw error;
    }
    if (metadata === undefined) this.#cache.forget(path);
    else this.#cache.put(path, metadata);
  }

  async #loadConfig(): Promise<MountConfig> {
    const bytes = await this.#view.get('config');
    return bytes === undefined ? DEFAULT_CONFIG : parseConfig(bytes);
  }
}

export function dataKey(path: string, number: number): string {
  return `data/${number}/${path}`;
}

export function metadataKey(path: string): string {
  return `meta/${path}`;
}

/** The barrier proved that this program wrote the bytes, and it writes objects only. */
function parseData(bytes: Uint8Array): JsonObject {
  return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString()) as JsonObject;
}
