// One attempt to show that enough holders of shares agree to something: a rekey, its verification, a new root token. The nonce
// names the attempt, so that a share meant for one is never counted for another. Wrong shares end in progress 0, not in the
// attempt's end: its starter decides about that.

import { randomUUID } from 'node:crypto';

import { wipe } from '../lib/bytes.ts';
import { PurserError } from '../lib/errors.ts';
import type { SealConfig } from './seal-config.ts';
import { ShareCollection } from './share-collection.ts';

export class Quorum {
  readonly nonce = randomUUID();
  readonly config: SealConfig;
  readonly #isRootKey: (candidate: Uint8Array) => boolean;
  readonly #shares = new ShareCollection();

  /** @param isRootKey compares in constant time with the root key that the shares must rebuild */
  constructor(config: SealConfig, isRootKey: (candidate: Uint8Array) => boolean) {
    this.config = config;
    this.#isRootKey = isRootKey;
  }

  get progress(): number {
    return this.#shares.count;
  }

  /**
   * Takes one share (copied).
   * @returns true once enough right shares were given; the caller then ends the attempt
   * @throws ERR_SEAL_ATTEMPT for another attempt's nonce; ERR_SEAL_SHARE for a malformed share, and when the shares do not fit,
   *   after which progress is 0
   */
  async provide(share: Uint8Array, nonce: string): Promise<boolean> {
    if (nonce !== this.nonce) {
      throw new PurserError('ERR_SEAL_ATTEMPT', 'incorrect nonce supplied', { hint: 'give the nonce of the present attempt, as its start and its status show it' });
    }
    this.#shares.add(share, this.config);
    if (this.#shares.count < this.config.threshold) return false;
    const candidate = await this.#shares.combine(this.config);
    const isRight = candidate !== undefined && this.#isRootKey(candidate);
    if (candidate !== undefined) wipe(candidate);
    if (isRight) return true;
    this.forget();
    throw new PurserError('ERR_SEAL_SHARE', 'the shares do not rebuild the root key', { hint: 'one of them is wrong: give all of them again' });
  }

  /** Copies of the shares given, for the caller to wipe. */
  shares(): Uint8Array[] {
    return this.#shares.copies();
  }

  /** Wipes the shares; progress is 0. */
  forget(): void {
    this.#shares.forget();
  }
}
