// The shares given so far in one attempt. Held as copies, each once, and wiped when the attempt ends, however it ends. What they
// rebuild is a candidate for the root key: whether it is the right one, only the keyring can tell.

import { KEY_BYTES } from '../crypto/aead.ts';
import { combineShares } from '../crypto/shamir.ts';
import { constantTimeEqual, wipe } from '../lib/bytes.ts';
import { PurserError } from '../lib/errors.ts';
import type { SealConfig } from './seal-config.ts';

export class ShareCollection {
  #shares: Uint8Array[] = [];

  /** Different shares given so far. */
  get count(): number {
    return this.#shares.length;
  }

  /** Takes a copy of `share`; one given before changes nothing. @throws ERR_SEAL_SHARE when it has the wrong length */
  add(share: Uint8Array, config: SealConfig): void {
    assertShareLength(share, config);
    if (!this.#shares.some((known) => constantTimeEqual(known, share))) this.#shares.push(Uint8Array.from(share));
  }

  /**
   * The root key that the shares rebuild, for the caller to check and wipe.
   * @returns undefined when they cannot belong to one split
   */
  async combine({ threshold }: SealConfig): Promise<Uint8Array | undefined> {
    return threshold === 1 ? Uint8Array.from(this.#shares[0]!) : combineShares(this.#shares);
  }

  /** Copies of the shares, for the caller to wipe. */
  copies(): Uint8Array[] {
    return this.#shares.map((share) => Uint8Array.from(share));
  }

  /** Wipes the shares. */
  forget(): void {
    wipe(...this.#shares);
    this.#shares = [];
  }
}

function assertShareLength(share: Uint8Array, config: SealConfig): void {
  const expected = config.threshold === 1 ? KEY_BYTES : KEY_BYTES + 1;
  if (share.length === expected) return;
  throw new PurserError('ERR_SEAL_SHARE', `an unseal share has ${expected} bytes, not ${share.length}`, {
    hint: 'give one whole share as purser init or purser rekey printed it',
  });
}
