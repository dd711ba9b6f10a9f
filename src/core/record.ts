// The barrier record (FORMAT.md section 2): version ‖ term ‖ nonce ‖ ciphertext and tag, bound to its term and its path.
// One error for every way in which a record can fail to open, so that a tampering hand learns nothing from which.

import { NONCE_BYTES, TAG_BYTES, decrypt, encrypt } from '../crypto/aead.ts';
import { randomBytes } from '../crypto/random.ts';
import { PurserError } from '../lib/errors.ts';

const VERSION = 0x01;
const HEADER_BYTES = 5;

/** The term of the root key, which encrypts the keyring only; data keys count from 1. */
export const ROOT_TERM = 0;

/** Encrypts `plaintext` for `path` under the key of `term`, with a fresh nonce. */
export function sealRecord(path: string, term: number, key: Uint8Array, plaintext: Uint8Array): Uint8Array {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt8(VERSION, 0);
  header.writeUInt32BE(term, 1);
  const nonce = randomBytes(NONCE_BYTES);
  return Buffer.concat([header, nonce, encrypt(key, nonce, associatedData(header, path), plaintext)]);
}

/**
 * Decrypts the record stored at `path`.
 * @param keyOf the key of a term, undefined when this term may not be used here
 * @throws ERR_BARRIER_OPEN
 */
export function openRecord(path: string, keyOf: (term: number) => Uint8Array | undefined, record: Uint8Array): Uint8Array {
  const plaintext = tryOpen(path, keyOf, record);
  if (plaintext !== undefined) return plaintext;
  throw new PurserError('ERR_BARRIER_OPEN', `the stored record at ${path} does not open`, {
    hint: 'it was altered, moved, truncated or written under another key; restore the store from a backup',
  });
}

/** The term in the header of a record, not authenticated; undefined when it has none. */
export function termOf(record: Uint8Array): number | undefined {
  if (record.length < HEADER_BYTES || record[0] !== VERSION) return undefined;
  return (record[1]! << 24 | record[2]! << 16 | record[3]! << 8 | record[4]!) >>> 0;
}

function tryOpen(path: string, keyOf: (term: number) => Uint8Array | undefined, record: Uint8Array): Uint8Array | undefined {
  const term = termOf(record);
  if (term === undefined || record.length < HEADER_BYTES + NONCE_BYTES + TAG_BYTES) return undefined;
  const key = keyOf(term);
  if (key === undefined) return undefined;
  const nonce = record.subarray(HEADER_BYTES, HEADER_BYTES + NONCE_BYTES);
  return decrypt(key, nonce, associatedData(record, path), record.subarray(HEADER_BYTES + NONCE_BYTES));
}

/** The first bytes of the record, and the path. */
function associatedData(record: Uint8Array, path: string): Uint8Array {
  const data = Buffer.allocUnsafe(HEADER_BYTES + Buffer.byteLength(path));
  for (let i = 0; i < HEADER_BYTES; i++) data[i] = record[i]!;
  data.write(path, HEADER_BYTES);
  return data;
}
