// Shamir's secret sharing over GF(2^8), by the audited shamir-secret-sharing package: 2 to 255 shares, each `secret` bytes of
// y and one byte of x. Shares carry no checksum: combining wrong ones gives a wrong secret, so the caller must verify it.

import { combine, split } from 'shamir-secret-sharing';

/** Most shares that the field allows. */
export const MAX_SHARES = 255;

/** Splits `secret` into `shares` parts, any `threshold` of which rebuild it; both from 2 to MAX_SHARES. */
export function splitSecret(secret: Uint8Array, shares: number, threshold: number): Promise<Uint8Array[]> {
  return split(secret, shares, threshold);
}

/** @returns the secret, or undefined when the shares cannot belong to one split (lengths differ, or two claim one point) */
export async function combineShares(shares: readonly Uint8Array[]): Promise<Uint8Array | undefined> {
  try {
    return await combine([...shares]);
  } catch {
    return undefined;
  }
}
