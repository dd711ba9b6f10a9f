// A new root token for those who hold enough unseal shares, for when every other one is gone. The token leaves only under the
// one-time pad that the starter holds (lib/one-time-pad.ts), so that no holder of a share who calls last sees it.

import { PurserError } from '../lib/errors.ts';
import { KeyedLock } from '../lib/keyed-lock.ts';
import type { Barrier } from './barrier.ts';
import { Quorum } from './quorum.ts';

export interface RootGenerationStatus {
  readonly isStarted: boolean;
  /** Empty when none is under way. */
  readonly nonce: string;
  readonly progress: number;
  readonly required: number;
}

export class RootGeneration {
  readonly #barrier: Barrier;
  readonly #lock = new KeyedLock();
  #attempt: { readonly quorum: Quorum; readonly pad: string } | undefined;

  constructor(barrier: Barrier) {
    this.#barrier = barrier;
  }

  status(): RootGenerationStatus {
    const quorum = this.#attempt?.quorum;
    return { isStarted: quorum !== undefined, nonce: quorum?.nonce ?? '', progress: quorum?.progress ?? 0, required: this.#barrier.sealConfig.threshold };
  }

  /** @param pad a one-time pad as long as a token. @throws ERR_SEAL_ATTEMPT when one is under way */
  start(pad: string): Promise<RootGenerationStatus> {
    return this.#lock.run('root', async () => {
      if (this.#attempt !== undefined) throw new PurserError('ERR_SEAL_ATTEMPT', 'root generation already in progress', { hint: 'go on with it, or cancel it first' });
      this.#attempt = { pad, quorum: new Quorum(this.#barrier.sealConfig, (candidate) => this.#barrier.isRootKey(candidate)) };
      return this.status();
    });
  }

  /** Forgets the shares given so far, and the pad. */
  cancel(): Promise<void> {
    return this.#lock.run('root', async () => this.#forget());
  }

  /**
   * Takes one share (copied).
   * @param make called with the pad once enough were given; its failure ends the attempt
   * @returns what `make` returned, undefined before
   * @throws ERR_SEAL_ATTEMPT, ERR_SEAL_SHARE
   */
  provide<T>(share: Uint8Array, nonce: string, make: (pad: string) => Promise<T>): Promise<T | undefined> {
    return this.#lock.run('root', async () => {
      const attempt = this.#attempt;
      if (attempt === undefined) throw new PurserError('ERR_SEAL_ATTEMPT', 'no root generation in progress', { hint: 'start one with purser generate-root init' });
      if (!await attempt.quorum.provide(share, nonce)) return undefined;
      this.#forget(); // before the token is made: a pad is good for one token
      return make(attempt.pad);
    });
  }

  #forget(): void {
    this.#attempt?.quorum.forget();
    this.#attempt = undefined;
  }
}
