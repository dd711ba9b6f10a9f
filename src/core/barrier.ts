// The barrier: everything above it is plaintext, everything below it ciphertext. Every data record passes here, is encrypted
// under the active term and bound to its full path. Sealed means that no call gets through. The records of the core itself
// (`core/`) cannot be reached: neither the keyring nor the seal configuration is data.

import { KeyedLock } from '../lib/keyed-lock.ts';
import { utf8, wipe } from '../lib/bytes.ts';
import { PurserError } from '../lib/errors.ts';
import { assertStorageKey, assertStoragePrefix } from '../storage/storage.ts';
import type { Storage, StorageOperation } from '../storage/storage.ts';
import { BarrierView } from './barrier-view.ts';
import { KEYRING_PATH } from './keyring.ts';
import type { Keyring } from './keyring.ts';
import { SEAL_CONFIG_PATH, encodeSealConfig } from './seal-config.ts';
import type { SealConfig } from './seal-config.ts';
import { storedKeys } from './stored-keys.ts';
import type { View, ViewOperation } from './view.ts';

const CORE_PREFIX = 'core/';

/** A record encrypted anew under the active term, not stored yet. */
export interface Renewal {
  readonly key: string;
  readonly bytes: number;
  /** @returns false when the record was written or deleted meanwhile; then nothing was stored */
  store(): Promise<boolean>;
}

export class Barrier {
  readonly #storage: Storage;
  readonly #rotations = new KeyedLock();
  #keyring: Keyring | undefined;
  #encryptions = 0;
  /** Writes that the storage has not answered. */
  readonly #unsettled = new Set<Promise<unknown>>();

  constructor(storage: Storage) {
    this.#storage = storage;
  }

  get isSealed(): boolean {
    return this.#keyring === undefined;
  }

  /** Takes over the opened keyring; only the seal calls this. */
  unseal(keyring: Keyring): void {
    this.seal();
    this.#keyring = keyring;
    this.#encryptions = 0;
  }

  /** Wipes the keys. Calls under way end with ERR_BARRIER_SEALED, except writes that storage already has. */
  seal(): void {
    this.#keyring?.wipe();
    this.#keyring = undefined;
  }

  /** A chroot at `prefix`, which ends in '/'. @throws ERR_STORAGE_KEY for anything else, and for the core's own records */
  view(prefix: string): View {
    assertDataPrefix(prefix);
    return new BarrierView(this, prefix);
  }

  /** @throws ERR_BARRIER_SEALED, ERR_BARRIER_OPEN, ERR_STORAGE_KEY and what the storage throws; so do all calls below */
  async get(key: string): Promise<Uint8Array | undefined> {
    this.#openKeyring();
    assertDataKey(key);
    const record = await this.#storage.get(key);
    return record && this.#openKeyring().decrypt(key, record);
  }

  async put(key: string, value: Uint8Array): Promise<void> {
    const keyring = this.#openKeyring();
    assertDataKey(key);
    this.#encryptions += 1;
    await this.#settle(this.#storage.put(key, keyring.encrypt(key, value)));
  }

  async delete(key: string): Promise<void> {
    this.#openKeyring();
    assertDataKey(key);
    await this.#storage.delete(key);
  }

  async list(prefix: string, page?: { readonly after?: string; readonly limit?: number }): Promise<string[]> {
    this.#openKeyring();
    assertDataPrefix(prefix);
    const names = await this.#storage.list(prefix, page);
    this.#openKeyring();
    return names;
  }

  async transaction(operations: readonly ViewOperation[]): Promise<void> {
    const keyring = this.#openKeyring();
    for (const { key } of operations) assertDataKey(key);
    const encrypted = operations.map((operation): StorageOperation => operation.kind === 'put'
      ? { ...operation, value: keyring.encrypt(operation.key, operation.value) }
      : operation);
    this.#encryptions += operations.length;
    await this.#settle(this.#storage.transaction(encrypted));
  }

  /** The keys of all records but the core's own, in pages. Those that are written meanwhile may be missing. */
  async *keys(): AsyncGenerator<string> {
    const list: Storage['list'] = (prefix, page) => {
      this.#openKeyring();
      return this.#storage.list(prefix, page);
    };
    for await (const key of storedKeys(list, [CORE_PREFIX])) yield key;
  }

  /** Encrypts the record at `key` under the active term. @returns undefined when it has that term already, or is gone */
  async renew(key: string): Promise<Renewal | undefined> {
    this.#openKeyring();
    assertDataKey(key);
    const record = await this.#storage.get(key);
    const keyring = this.#openKeyring();
    if (record === undefined || keyring.isCurrent(record)) return undefined;
    const plaintext = keyring.decrypt(key, record);
    const renewed = keyring.encrypt(key, plaintext);
    wipe(plaintext);
    this.#encryptions += 1;
    return { key, bytes: record.length + renewed.length, store: () => this.#settle(this.#storage.replace(key, record, renewed)) };
  }

  /** Resolves when the storage has answered every write begun before: none under an older term than the active one is on its way then. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#unsettled);
  }

  async #settle<T>(write: Promise<T>): Promise<T> {
    this.#unsettled.add(write);
    try {
      return await write;
    } finally {
      this.#unsettled.delete(write);
    }
  }

  /** Adds a term, which encrypts from now on. @returns its number, once it is durable */
  rotate(): Promise<number> {
    return this.#rotations.run(KEYRING_PATH, async () => {
      const keyring = this.#openKeyring();
      const next = keyring.withNewTerm();
      await this.#storage.put(KEYRING_PATH, next.toRecord());
      if (this.#keyring !== keyring) {
        next.wipe();
        throw sealed();
      }
      this.#keyring = next;
      this.#encryptions = 0;
      return next.activeTerm;
    });
  }

  /**
   * Puts the keyring under another root key. Keyring and seal configuration change in one transaction: whatever is cut off, the
   * store opens with the old shares or with the new ones.
   * @param rootKey copied
   * @throws what the storage throws, and then the old shares hold
   */
  rekey(rootKey: Uint8Array, config: SealConfig): Promise<void> {
    return this.#rotations.run(KEYRING_PATH, async () => {
      const keyring = this.#openKeyring();
      const next = keyring.withRootKey(rootKey, config);
      const record = next.toRecord();
      try {
        await this.#storage.transaction([
          { kind: 'put', key: KEYRING_PATH, value: record },
          { kind: 'put', key: SEAL_CONFIG_PATH, value: utf8(encodeSealConfig(config)) },
        ]);
      } catch (error) {
        // A remote store may have done it and only failed to say so; then the new shares are the ones that count.
        if (!await this.#isStored(record)) {
          next.wipeRootKey();
          throw error;
        }
      }
      if (this.#keyring === keyring) {
        this.#keyring = next;
        keyring.wipeRootKey();
      } else {
        next.wipe(); // sealed meanwhile; the new shares hold all the same
      }
    });
  }

  async #isStored(record: Uint8Array): Promise<boolean> {
    const stored = await this.#storage.get(KEYRING_PATH).catch(() => undefined);
    return stored !== undefined && Buffer.from(stored).equals(record);
  }

  /** Compares in constant time. @throws ERR_BARRIER_SEALED */
  isRootKey(candidate: Uint8Array): boolean {
    return this.#openKeyring().hasRootKey(candidate);
  }

  /** How the present root key was split. @throws ERR_BARRIER_SEALED */
  get sealConfig(): SealConfig {
    return this.#openKeyring().sealConfig;
  }

  /** The active term, when it was made (RFC 3339), and the records encrypted under it by this process. @throws ERR_BARRIER_SEALED */
  keyStatus(): { readonly term: number; readonly installTime: string; readonly encryptions: number } {
    const keyring = this.#openKeyring();
    return { term: keyring.activeTerm, installTime: keyring.activeCreatedTime, encryptions: this.#encryptions };
  }

  #openKeyring(): Keyring {
    if (this.#keyring === undefined) throw sealed();
    return this.#keyring;
  }
}

function sealed(): PurserError {
  return new PurserError('ERR_BARRIER_SEALED', 'the core is sealed', { hint: 'run purser unseal' });
}

function assertDataKey(key: string): void {
  assertStorageKey(key);
  if (key.startsWith(CORE_PREFIX)) throw reserved();
}

function assertDataPrefix(prefix: string): void {
  assertStoragePrefix(prefix);
  if (prefix === '' || prefix.startsWith(CORE_PREFIX)) throw reserved();
}

function reserved(): PurserError {
  return new PurserError('ERR_STORAGE_KEY', "the core's own records are not data", {
    hint: 'name a prefix that FORMAT.md gives to your part, ending in a slash',
  });
}
