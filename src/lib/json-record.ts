// Small records stored as JSON behind a barrier. What does not have the expected shape is ERR_RECORD_INVALID: it was written
// by another version or by nobody; guessing would lose it.

import type { z } from 'zod';

import { PurserError } from './errors.ts';

/** UTF-8 JSON of `value`. */
export function encodeRecord(value: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(value), 'utf8');
}

/**
 * The record in `bytes`.
 * @param what names the record in the error, such as "node record"
 * @throws ERR_RECORD_INVALID; the content is not quoted
 */
export function decodeRecord<T>(bytes: Uint8Array, schema: z.ZodType<T>, what: string): T {
  try {
    return schema.parse(JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8')));
  } catch {
    throw new PurserError('ERR_RECORD_INVALID', `a stored ${what} has a form this version does not know`,
      { hint: 'run the version of purser that wrote it, or restore the store from a backup' });
  }
}
