// The seal configuration (FORMAT.md section 4): how many shares there are and how many open the core. It is stored in clear
// and checked at unseal against its copy in the keyring, so it has exactly one spelling.

import { MAX_SHARES } from '../crypto/shamir.ts';
import { PurserError } from '../lib/errors.ts';

export const SEAL_CONFIG_PATH = 'core/seal-config';

export interface SealConfig {
  readonly shares: number;
  readonly threshold: number;
}

/** Checks what an operator asked for, with Vault's rules and words. @throws ERR_SEAL_CONFIG */
export function assertSealConfig({ shares, threshold }: SealConfig): void {
  if (!Number.isInteger(shares) || shares < 1) refuse('shares must be at least one');
  if (!Number.isInteger(threshold) || threshold < 1) refuse('threshold must be at least one');
  if (threshold > shares) refuse('threshold cannot be larger than shares');
  if (shares > MAX_SHARES) refuse('shares must be less than 256');
  if (shares > 1 && threshold === 1) refuse('threshold must be greater than one for multiple shares');
}

/** The one spelling of a seal configuration. */
export function encodeSealConfig({ shares, threshold }: SealConfig): string {
  return JSON.stringify({ version: 1, type: 'shamir', shares, threshold });
}

/** @returns undefined unless `text` is exactly what encodeSealConfig() writes for a valid configuration */
export function parseSealConfig(text: string): SealConfig | undefined {
  const match = /^\{"version":1,"type":"shamir","shares":(\d{1,3}),"threshold":(\d{1,3})\}$/.exec(text);
  if (match === null) return undefined;
  const config = { shares: Number(match[1]), threshold: Number(match[2]) };
  try {
    assertSealConfig(config);
  } catch {
    return undefined;
  }
  return encodeSealConfig(config) === text ? config : undefined;
}

function refuse(reason: string): never {
  throw new PurserError('ERR_SEAL_CONFIG', `invalid seal configuration: ${reason}`, {
    hint: 'choose 1 share with threshold 1, or up to 255 shares with a threshold from 2 to their number',
  });
}
