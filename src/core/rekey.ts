// The rekey: enough holders of the present shares agree to a new root key and a new split of it. With verification the new shares
// count only once enough of them were given back, so that shares lost on the way lose nothing. Everything here is in memory and
// gone at seal; what is stored changes by one transaction (Barrier.rekey), last.

import { KEY_BYTES } from '../crypto/aead.ts';
import { randomBytes } from '../crypto/random.ts';
import { constantTimeEqual, wipe } from '../lib/bytes.ts';
import { PurserError } from '../lib/errors.ts';
import { KeyedLock } from '../lib/keyed-lock.ts';
import type { Barrier } from './barrier.ts';
import { Quorum } from './quorum.ts';
import { assertSealConfig } from './seal-config.ts';
import type { SealConfig } from './seal-config.ts';
import { splitRootKey } from './split.ts';

export interface RekeyStatus {
  readonly isStarted: boolean;
  /** Empty when none is under way. */
  readonly nonce: string;
  /** The new split; 0 when none is under way. */
  readonly shares: number;
  readonly threshold: number;
  /** Present shares given, and needed. */
  readonly progress: number;
  readonly required: number;
  readonly needsVerification: boolean;
  /** Names the verification once the new shares were handed out; else empty. */
  readonly verificationNonce: string;
}

export interface RekeyVerification {
  readonly nonce: string;
  readonly shares: number;
  readonly threshold: number;
  readonly progress: number;
}

/** Keeps shares outside the store (the auto-unseal file), in two steps around the change of the store. */
export interface ShareKeeper {
  /** @param shares a threshold of the new ones. Throwing stops the rekey */
  stage(shares: readonly Uint8Array[]): Promise<void>;
  /** The store has changed. Never throws: the operator must get the shares. */
  finish(): Promise<void>;
}

interface Attempt {
  readonly config: SealConfig;
  readonly needsVerification: boolean;
  readonly quorum: Quorum;
}

interface Pending {
  readonly rootKey: Uint8Array;
  quorum: Quorum;
}

export class Rekey {
  readonly #barrier: Barrier;
  readonly #keeper: ShareKeeper | undefined;
  readonly #lock = new KeyedLock();
  #attempt: Attempt | undefined;
  /** Made, handed out and not verified yet. */
  #pending: Pending | undefined;

  constructor(barrier: Barrier, keeper?: ShareKeeper) {
    this.#barrier = barrier;
    this.#keeper = keeper;
  }

  status(): RekeyStatus {
    const { config, quorum } = this.#attempt ?? {};
    return {
      isStarted: quorum !== undefined, nonce: quorum?.nonce ?? '', shares: config?.shares ?? 0, threshold: config?.threshold ?? 0, progress: quorum?.progress ?? 0,
      required: this.#barrier.sealConfig.threshold, needsVerification: this.#attempt?.needsVerification ?? false, verificationNonce: this.#pending?.quorum.nonce ?? '',
    };
  }

  /** @throws ERR_SEAL_CONFIG; ERR_SEAL_ATTEMPT when one is under way */
  start(config: SealConfig, needsVerification: boolean): Promise<RekeyStatus> {
    return this.#exclusively(async () => {
      assertSealConfig(config);
      if (this.#attempt !== undefined) throw new PurserError('ERR_SEAL_ATTEMPT', 'rekey already in progress', { hint: 'go on with it, or cancel it first' });
      this.#attempt = { config, needsVerification, quorum: new Quorum(this.#barrier.sealConfig, (candidate) => this.#barrier.isRootKey(candidate)) };
      return this.status();
    });
  }

  /** Forgets everything given and made so far; the present shares keep their worth. */
  cancel(): Promise<void> {
    return this.#exclusively(async () => this.#forget());
  }

  /**
   * Takes one present share (copied).
   * @returns the new shares once enough were given, for the caller to hand out and wipe; undefined before
   * @throws ERR_SEAL_ATTEMPT, ERR_SEAL_SHARE, and what the storage throws
   */
  provide(share: Uint8Array, nonce: string): Promise<Uint8Array[] | undefined> {
    return this.#exclusively(async () => {
      const attempt = this.#attempt;
      if (attempt === undefined) throw noneUnderWay('no rekey in progress');
      if (this.#pending !== undefined) throw new PurserError('ERR_SEAL_ATTEMPT', 'rekey operation already finished; verification must be performed', { hint: 'give the new shares to the verification' });
      if (!await attempt.quorum.provide(share, nonce)) return undefined;
      attempt.quorum.forget();
      return this.#makeShares(attempt);
    });
  }

  /** @throws ERR_SEAL_ATTEMPT when there is nothing to verify */
  verification(): RekeyVerification {
    const { nonce, config, progress } = this.#expectPending().quorum;
    return { nonce, ...config, progress };
  }

  /**
   * Takes one new share (copied) back.
   * @returns true once enough were given: from then on the new shares open the core, and the old ones do not
   * @throws as provide()
   */
  verify(share: Uint8Array, nonce: string): Promise<boolean> {
    return this.#exclusively(async () => {
      const { quorum, rootKey } = this.#expectPending();
      if (!await quorum.provide(share, nonce)) return false;
      const shares = quorum.shares();
      try {
        await this.#commit(rootKey, quorum.config, shares);
      } finally {
        wipe(...shares);
        quorum.forget(); // after a failed write all shares are given again
      }
      this.#forget();
      return true;
    });
  }

  /** Starts the verification anew, under another nonce. The new shares stay. @throws ERR_SEAL_ATTEMPT */
  restartVerification(): Promise<RekeyVerification> {
    return this.#exclusively(async () => {
      const pending = this.#expectPending();
      pending.quorum.forget();
      pending.quorum = verificationOf(pending.rootKey, pending.quorum.config);
      return this.verification();
    });
  }

  async #makeShares({ config, needsVerification }: Attempt): Promise<Uint8Array[]> {
    const rootKey = randomBytes(KEY_BYTES);
    const shares = await splitRootKey(rootKey, config);
    if (needsVerification) {
      this.#pending = { rootKey, quorum: verificationOf(rootKey, config) };
      return shares;
    }
    try {
      await this.#commit(rootKey, config, shares.slice(0, config.threshold));
    } catch (error) {
      wipe(...shares);
      throw error;
    } finally {
      wipe(rootKey);
    }
    this.#forget();
    return shares;
  }

  /** A staged file of a rekey that failed stays: it opens nothing, and the next start removes it. */
  async #commit(rootKey: Uint8Array, config: SealConfig, shares: readonly Uint8Array[]): Promise<void> {
    await this.#keeper?.stage(shares);
    await this.#barrier.rekey(rootKey, config);
    await this.#keeper?.finish();
  }

  #expectPending(): Pending {
    if (this.#pending === undefined) throw noneUnderWay('no rekey verification in progress');
    return this.#pending;
  }

  #forget(): void {
    this.#attempt?.quorum.forget();
    this.#pending?.quorum.forget();
    if (this.#pending !== undefined) wipe(this.#pending.rootKey);
    this.#attempt = undefined;
    this.#pending = undefined;
  }

  #exclusively<T>(action: () => Promise<T>): Promise<T> {
    return this.#lock.run('rekey', action);
  }
}

function verificationOf(rootKey: Uint8Array, config: SealConfig): Quorum {
  return new Quorum(config, (candidate) => constantTimeEqual(rootKey, candidate));
}

function noneUnderWay(message: string): PurserError {
  return new PurserError('ERR_SEAL_ATTEMPT', message, { hint: 'start one with purser rekey init' });
}
