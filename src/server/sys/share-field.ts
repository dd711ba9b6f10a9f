// An unseal share in a request body, in either spelling that sys/init and sys/rekey give.

import type { JsonObject } from '../../core/logical.ts';
import { bytesFromBase64, bytesFromHex, hexFromBytes, utf8, wipe } from '../../lib/bytes.ts';
import { PurserError } from '../../lib/errors.ts';
import { stringField } from '../../lib/fields.ts';

/**
 * Runs `action` with the share of the field `key`, hexadecimal or base64, and wipes it afterwards.
 * @param missing the message when the field is not there
 * @throws ERR_REQUEST_INVALID, ERR_SEAL_SHARE
 */
export async function withShare<T>(data: JsonObject, missing: string, action: (share: Uint8Array) => Promise<T>): Promise<T> {
  const text = stringField(data, 'key') ?? '';
  if (text === '') throw new PurserError('ERR_REQUEST_INVALID', missing);
  const share = bytesFromHex(utf8(text)) ?? bytesFromBase64(text);
  if (share === undefined) throw new PurserError('ERR_SEAL_SHARE', "'key' must be a valid hex or base64 string", { hint: 'give one whole share as purser init or purser rekey printed it' });
  try {
    return await action(share);
  } finally {
    wipe(share);
  }
}

/** New shares as the API hands them out. Wipes them. */
export function handedOut(shares: readonly Uint8Array[]): { readonly keys: string[]; readonly keys_base64: string[] } {
  const fields = {
    keys: shares.map((share) => Buffer.from(hexFromBytes(share)).toString('latin1')),
    keys_base64: shares.map((share) => Buffer.from(share).toString('base64')),
  };
  wipe(...shares);
  return fields;
}

/**
 * Refuses what Purser does not have, instead of doing less than was asked for. Empty and false count as not asked for.
 * @throws ERR_REQUEST_INVALID with a hint
 */
export function refuseFields(data: JsonObject, hints: Readonly<Record<string, string>>): void {
  for (const [name, hint] of Object.entries(hints)) {
    const value = data[name];
    const isNeutral = value === undefined || value === null || value === '' || value === 0 || value === false || (Array.isArray(value) && value.length === 0);
    if (!isNeutral) throw new PurserError('ERR_REQUEST_INVALID', `the field ${name} is not supported`, { hint });
  }
}

/** The fields of init and rekey that ask for shares in another form. */
export const SHARE_HINTS: Readonly<Record<string, string>> = {
  pgp_keys: 'leave it out and encrypt each share yourself, for example with age or gpg',
  root_token_pgp_key: 'leave it out and revoke the root token once there is another way in',
  stored_shares: 'leave it out; a single host unseals itself with purser server --auto-unseal-key-file',
  recovery_shares: 'leave it out: unseal shares also serve for recovery',
  recovery_threshold: 'leave it out: unseal shares also serve for recovery',
  recovery_pgp_keys: 'leave it out: unseal shares also serve for recovery',
  backup: 'leave it out: the core keeps no share, in no form',
};
