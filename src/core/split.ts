// How a root key becomes shares (FORMAT.md section 5).

import { splitSecret } from '../crypto/shamir.ts';
import type { SealConfig } from './seal-config.ts';

/** @returns new bytes, for the caller to hand out and wipe; with 1 of 1 the only share is the root key itself */
export async function splitRootKey(rootKey: Uint8Array, { shares, threshold }: SealConfig): Promise<Uint8Array[]> {
  return shares === 1 ? [Uint8Array.from(rootKey)] : splitSecret(rootKey, shares, threshold);
}
