// The core between sealed and unsealed: owns the seal and, only while the barrier is open, everything that lives above it. A
// core is of use only when all of that came up; if any part fails, the barrier closes again. State changes run one at a time.

import { openCore } from '../core/core.ts';
import type { Barrier } from '../core/barrier.ts';
import type { Seal, SealStatus } from '../core/seal.ts';
import type { SealConfig } from '../core/seal-config.ts';
import { wipe } from '../lib/bytes.ts';
import { PurserError } from '../lib/errors.ts';
import { KeyedLock } from '../lib/keyed-lock.ts';
import type { Storage } from '../storage/storage.ts';

/** What exists only while the core is unsealed. */
export interface Closable {
  /** Ends streams and timers, lets requests under way finish for a moment, and closes audit. Never throws. */
  close(): Promise<void>;
}

/** Opens what is above the barrier, and sets a new core up. */
export interface Lifecycle<T extends Closable> {
  open(barrier: Barrier): Promise<T>;
  /** True when setUp() was completed before. */
  isSetUp(barrier: Barrier): Promise<boolean>;
  /**
   * Fills a new core. `deliver` gets the root token before the last step, so that a crash in between repeats the whole setup.
   */
  setUp(core: T, deliver: (rootToken: string) => Promise<void>): Promise<void>;
}

export class CoreState<T extends Closable> {
  readonly barrier: Barrier;
  readonly #seal: Seal;
  readonly #lifecycle: Lifecycle<T>;
  readonly #lock = new KeyedLock();
  #unsealed: T | undefined;

  constructor(storage: Storage, lifecycle: Lifecycle<T>) {
    const { barrier, seal } = openCore(storage);
    this.barrier = barrier;
    this.#seal = seal;
    this.#lifecycle = lifecycle;
  }

  /** Everything above the barrier, or undefined when sealed. */
  get unsealed(): T | undefined {
    return this.#unsealed;
  }

  /** The seal's state; `sealed` stays true until the core is ready for requests. */
  async status(): Promise<SealStatus> {
    return { ...(await this.#seal.status()), sealed: this.#unsealed === undefined };
  }

  /**
   * Makes a new core, and seals it again.
   * @returns shares and root token, which exist nowhere else
   * @throws ERR_SEAL_CONFIG, ERR_SEAL_INITIALIZED
   */
  initialize(config: SealConfig): Promise<{ readonly shares: readonly Uint8Array[]; readonly rootToken: string }> {
    return this.#exclusively(async () => {
      const shares = await this.#seal.initialize(config);
      const rootToken = await this.#openNew(shares.slice(0, config.threshold));
      await this.#close();
      return { shares, rootToken };
    });
  }

  /**
   * Makes a new core with one share and leaves it open.
   * @param keep stores the share before anything else is written; afterwards it is wiped
   */
  initializeOpen(keep: (shares: readonly Uint8Array[]) => Promise<void>, deliver: (rootToken: string) => Promise<void>): Promise<void> {
    return this.#exclusively(async () => {
      const shares = await this.#seal.initialize({ shares: 1, threshold: 1 });
      try {
        await keep(shares);
        await this.#openNew(shares, deliver);
      } finally {
        wipe(...shares);
      }
    });
  }

  /** Gives one share. @throws ERR_SEAL_SHARE, ERR_SEAL_UNINITIALIZED, and what opening throws */
  provide(share: Uint8Array): Promise<SealStatus> {
    return this.#exclusively(async () => {
      await this.#seal.provide(share);
      if (!this.barrier.isSealed && this.#unsealed === undefined) await this.#open();
      return this.status();
    });
  }

  /** Unseals with an auto-unseal file, and completes a setup that a crash interrupted. @throws ERR_SEAL_FILE and as provide() */
  unsealFromFile(path: string, deliver: (rootToken: string) => Promise<void>): Promise<void> {
    return this.#exclusively(async () => {
      await this.#seal.unsealFromFile(path);
      const isSetUp = await this.#lifecycle.isSetUp(this.barrier);
      const core = await this.#open();
      if (!isSetUp) await this.#orSeal(() => this.#lifecycle.setUp(core, deliver));
    });
  }

  /** Forgets the shares given so far. */
  reset(): Promise<void> {
    return this.#seal.reset();
  }

  /** Takes no more requests, and wipes the keys once those under way ended or had a moment to. */
  seal(): Promise<void> {
    return this.#exclusively(() => this.#close());
  }

  async #openNew(shares: readonly Uint8Array[], deliver: (rootToken: string) => Promise<void> = async () => undefined): Promise<string> {
    for (const share of shares) await this.#seal.provide(share);
    const core = await this.#open();
    let rootToken = '';
    await this.#orSeal(() => this.#lifecycle.setUp(core, async (token) => {
      await deliver(token);
      rootToken = token;
    }));
    return rootToken;
  }

  #open(): Promise<T> {
    return this.#orSeal(async () => {
      if (this.barrier.isSealed) throw new PurserError('ERR_BARRIER_SEALED', 'the core is sealed', { hint: 'give more unseal shares' });
      return this.#unsealed = await this.#lifecycle.open(this.barrier);
    });
  }

  async #orSeal<R>(action: () => Promise<R>): Promise<R> {
    try {
      return await action();
    } catch (error) {
      await this.#close();
      throw error;
    }
  }

  async #close(): Promise<void> {
    const core = this.#unsealed;
    this.#unsealed = undefined;
    await core?.close(); // before the keys go: audit writes its last anchor through the barrier
    await this.#seal.seal();
  }

  #exclusively<R>(action: () => Promise<R>): Promise<R> {
    return this.#lock.run('state', action);
  }
}
