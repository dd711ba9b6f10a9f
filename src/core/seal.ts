// The seal: turns shares into the root key, and the root key into an open barrier, or into nothing. Only the keyring can tell
// right shares from wrong ones, so progress says nothing about them. Between calls this class holds the shares of one attempt
// and no key; all of them are wiped when the attempt ends, however it ends.

import { randomUUID } from 'node:crypto';

import { KEY_BYTES } from '../crypto/aead.ts';
import { randomBytes } from '../crypto/random.ts';
import { utf8, wipe } from '../lib/bytes.ts';
import { PurserError, isPurserError } from '../lib/errors.ts';
import { KeyedLock } from '../lib/keyed-lock.ts';
import type { Storage } from '../storage/storage.ts';
import type { Barrier } from './barrier.ts';
import { KEYRING_PATH, Keyring } from './keyring.ts';
import { SEAL_CONFIG_PATH, assertSealConfig, encodeSealConfig, parseSealConfig } from './seal-config.ts';
import type { SealConfig } from './seal-config.ts';
import { ShareCollection } from './share-collection.ts';
import { splitRootKey } from './split.ts';
import { discardStagedUnsealFile, hasStagedUnsealFile, promoteStagedUnsealFile, readUnsealFile, stagedPath } from './unseal-file.ts';

export interface SealStatus {
  readonly initialized: boolean;
  readonly sealed: boolean;
  /** Shares in all and shares needed; 0 before initialization. */
  readonly shares: number;
  readonly threshold: number;
  /** Different shares given in the present attempt. */
  readonly progress: number;
  /** Names the present attempt; empty when there is none. */
  readonly nonce: string;
}

export class Seal {
  readonly #storage: Storage;
  readonly #barrier: Barrier;
  readonly #lock = new KeyedLock();
  readonly #given = new ShareCollection();
  #nonce = '';

  constructor(storage: Storage, barrier: Barrier) {
    this.#storage = storage;
    this.#barrier = barrier;
  }

  /** @throws ERR_SEAL_CONFIG when the stored configuration is damaged */
  async status(): Promise<SealStatus> {
    return this.#describe(await this.#readConfig());
  }

  /**
   * Makes the root key and the first data key, in an empty store. The core stays sealed.
   * @returns the shares, which exist nowhere else; with 1 of 1 the only share is the root key
   * @throws ERR_SEAL_CONFIG, ERR_SEAL_INITIALIZED; ERR_STATE_CORRUPT when the store holds records but no keyring
   */
  initialize(config: SealConfig): Promise<Uint8Array[]> {
    return this.#exclusively(async () => {
      assertSealConfig(config);
      await this.#assertEmpty();
      const rootKey = randomBytes(KEY_BYTES);
      const keyring = Keyring.create(rootKey, config);
      try {
        const shares = await splitRootKey(rootKey, config);
        await this.#storage.transaction([
          { kind: 'put', key: KEYRING_PATH, value: keyring.toRecord() },
          { kind: 'put', key: SEAL_CONFIG_PATH, value: utf8(encodeSealConfig(config)) },
        ]);
        return shares;
      } finally {
        keyring.wipe();
        wipe(rootKey);
      }
    });
  }

  /**
   * Takes one share (copied); with enough of them the barrier opens. A share given before changes nothing.
   * @throws ERR_SEAL_SHARE when the share has the wrong length, or when the shares do not open the keyring, which ends the attempt;
   *   ERR_SEAL_UNINITIALIZED, ERR_SEAL_CONFIG
   */
  provide(share: Uint8Array): Promise<SealStatus> {
    return this.#exclusively(async () => {
      const config = await this.#readConfig();
      if (config === undefined) {
        throw new PurserError('ERR_SEAL_UNINITIALIZED', 'the core is not initialized', { hint: 'run purser init' });
      }
      if (!this.#barrier.isSealed) return this.#describe(config);
      this.#given.add(share, config);
      if (this.#nonce === '') this.#nonce = randomUUID();
      if (this.#given.count >= config.threshold) await this.#unseal(config);
      return this.#describe(config);
    });
  }

  /**
   * Unseals with the shares of an auto-unseal file (FORMAT.md section 6). When a rekey was cut off, the file that it had staged
   * may be the one that opens the store: then it takes the place of the old one.
   * @throws as provide(), and ERR_SEAL_FILE
   */
  async unsealFromFile(path: string): Promise<SealStatus> {
    try {
      await this.#unsealWith(path);
      await discardStagedUnsealFile(path);
    } catch (error) {
      if (!isPurserError(error, 'ERR_SEAL_SHARE', 'ERR_SEAL_FILE') || !hasStagedUnsealFile(path)) throw error;
      await this.#unsealWith(stagedPath(path));
      await promoteStagedUnsealFile(path);
    }
    return this.status();
  }

  async #unsealWith(path: string): Promise<void> {
    const shares = await readUnsealFile(path);
    try {
      await this.reset();
      for (const share of shares) if (this.#barrier.isSealed) await this.provide(share);
    } finally {
      wipe(...shares);
    }
    if (!this.#barrier.isSealed) return;
    await this.reset();
    throw new PurserError('ERR_SEAL_FILE', 'the auto-unseal file holds fewer shares than the threshold', {
      hint: 'write the missing shares into it, or unseal by hand with purser unseal',
    });
  }

  /** Forgets the shares of the present attempt. */
  reset(): Promise<void> {
    return this.#exclusively(async () => this.#forget());
  }

  /** Closes the barrier and wipes all keys and shares. */
  seal(): Promise<void> {
    this.#barrier.seal(); // at once, not behind an attempt that waits for the disk
    return this.#exclusively(async () => {
      this.#barrier.seal();
      this.#forget();
    });
  }

  async #unseal(config: SealConfig): Promise<void> {
    try {
      const rootKey = await this.#given.combine(config);
      if (rootKey === undefined) throw wrongShares();
      try {
        this.#barrier.unseal(await this.#openKeyring(rootKey, config));
      } finally {
        wipe(rootKey);
      }
    } finally {
      this.#forget();
    }
  }

  async #openKeyring(rootKey: Uint8Array, config: SealConfig): Promise<Keyring> {
    const record = await this.#storage.get(KEYRING_PATH);
    if (record === undefined) throw damaged('the keyring is missing');
    const keyring = openKeyring(record, rootKey);
    if (encodeSealConfig(keyring.sealConfig) === encodeSealConfig(config)) return keyring;
    keyring.wipe();
    throw damaged('it differs from the copy in the keyring');
  }

  async #readConfig(): Promise<SealConfig | undefined> {
    const record = await this.#storage.get(SEAL_CONFIG_PATH);
    if (record === undefined) {
      if (await this.#storage.get(KEYRING_PATH) !== undefined) throw damaged('it is missing');
      return undefined;
    }
    const config = parseSealConfig(Buffer.from(record).toString('latin1'));
    if (config === undefined) throw damaged('it is malformed');
    return config;
  }

  async #assertEmpty(): Promise<void> {
    if (await this.#readConfig() !== undefined) {
      throw new PurserError('ERR_SEAL_INITIALIZED', 'the core is already initialized', { hint: 'run purser unseal' });
    }
    if ((await this.#storage.list('', { limit: 1 })).length > 0) {
      throw new PurserError('ERR_STATE_CORRUPT', 'the store holds records but no keyring', {
        hint: 'restore the store from a backup, or initialize an empty one',
      });
    }
  }

  #describe(config: SealConfig | undefined): SealStatus {
    return {
      initialized: config !== undefined,
      sealed: this.#barrier.isSealed,
      shares: config?.shares ?? 0,
      threshold: config?.threshold ?? 0,
      progress: this.#given.count,
      nonce: this.#nonce,
    };
  }

  #forget(): void {
    this.#given.forget();
    this.#nonce = '';
  }

  #exclusively<T>(action: () => Promise<T>): Promise<T> {
    return this.#lock.run('seal', action);
  }
}

function openKeyring(record: Uint8Array, rootKey: Uint8Array): Keyring {
  try {
    return Keyring.open(record, rootKey);
  } catch (error) {
    throw isPurserError(error, 'ERR_BARRIER_OPEN') ? wrongShares() : error;
  }
}

function wrongShares(): PurserError {
  return new PurserError('ERR_SEAL_SHARE', 'the shares do not open the keyring', {
    hint: 'start again with other shares; if all of them are right, the keyring was altered and needs its backup',
  });
}

function damaged(reason: string): PurserError {
  return new PurserError('ERR_SEAL_CONFIG', `the stored seal configuration cannot be used: ${reason}`, {
    hint: 'restore the store from a backup',
  });
}
