// Blocks of history (FORMAT.md): up to a thousand rows of one day, compressed together, and beside each a head that says what
// the block is about, so that a question opens only the blocks that can answer it. The name carries the span of time.

import { randomBytes } from 'node:crypto';
import { promisify } from 'node:util';
import { brotliCompress, brotliDecompress, constants } from 'node:zlib';

import { PurserError } from '../../lib/errors.ts';
import { digits } from '../record.ts';
import { subjectHash, subjectsOf, type HistoryRow } from './row.ts';

const FORMAT = 1;
const HASH_BYTES = 6;
/** Of one block's rows as JSON; a row is far below. */
const MAX_PLAIN_BYTES = 64 * 1024 * 1024;
const DAY_CHARACTERS = 10;

const compress = promisify(brotliCompress);
const decompress = promisify(brotliDecompress);

export interface BlockName {
  readonly text: string;
  /** Times of the newest and the oldest row, in milliseconds since the epoch. */
  readonly last: number;
  readonly first: number;
  readonly count: number;
  /** Of the block and its head as they are handed to the store. */
  readonly bytes: number;
}

export interface Block {
  readonly day: string;
  readonly name: BlockName;
  readonly body: Uint8Array;
  readonly head: Uint8Array;
}

/** The UTC day of a time, `2026-01-31`. */
export function dayOf(at: number): string {
  return new Date(at).toISOString().slice(0, DAY_CHARACTERS);
}

/** @param rows of one day, in any order, at least one */
export async function encodeBlock(rows: readonly HistoryRow[]): Promise<Block> {
  const text = JSON.stringify(rows);
  const packed = await compress(text, { params: { [constants.BROTLI_PARAM_QUALITY]: 5, [constants.BROTLI_PARAM_LGWIN]: 20, [constants.BROTLI_PARAM_SIZE_HINT]: text.length } });
  const body = Buffer.concat([Uint8Array.of(FORMAT), packed]);
  const head = encodeHead(rows);
  const times = rows.map(({ at }) => at);
  // No spread into Math.max: its number of arguments is bounded.
  const last = times.reduce((a, b) => Math.max(a, b));
  const first = times.reduce((a, b) => Math.min(a, b));
  return { day: dayOf(last), name: blockName({ last, first, count: rows.length, bytes: body.length + head.length }), body, head };
}

/** @throws ERR_RECORD_INVALID */
export async function decodeBlock(body: Uint8Array): Promise<HistoryRow[]> {
  if (body[0] !== FORMAT) throw unknownForm('block of ledger history');
  try {
    // What is inside passed the validators when it came, and the barrier proves that it is what was written.
    return JSON.parse((await decompress(body.subarray(1), { maxOutputLength: MAX_PLAIN_BYTES })).toString('utf8')) as HistoryRow[];
  } catch {
    throw unknownForm('block of ledger history');
  }
}

/** True when the block can hold rows about every one of the subjects. @throws ERR_RECORD_INVALID */
export function mayConcern(head: Uint8Array, hashes: readonly number[]): boolean {
  if (head[0] !== FORMAT || (head.length - 1) % HASH_BYTES !== 0) throw unknownForm('head of ledger history');
  const bytes = Buffer.from(head.buffer, head.byteOffset, head.length);
  const missing = new Set(hashes);
  for (let at = 1; at < bytes.length && missing.size > 0; at += HASH_BYTES) missing.delete(bytes.readUIntBE(at, HASH_BYTES));
  return missing.size === 0;
}

/** The parts of a name; undefined for what is none. */
export function parseBlockName(text: string): BlockName | undefined {
  const match = /^(\d{13})\.(\d{13})\.(\d{6})\.(\d{8})\.[0-9a-f]{12}$/.exec(text);
  if (match === null) return undefined;
  return { text, last: Number(match[1]), first: Number(match[2]), count: Number(match[3]), bytes: Number(match[4]) };
}

function blockName(parts: Omit<BlockName, 'text'>): BlockName {
  return { ...parts, text: `${digits(parts.last, 13)}.${digits(parts.first, 13)}.${digits(parts.count, 6)}.${digits(parts.bytes, 8)}.${randomBytes(6).toString('hex')}` };
}

function encodeHead(rows: readonly HistoryRow[]): Uint8Array {
  const subjects = new Set(rows.flatMap((row) => [...subjectsOf(row)]));
  const head = Buffer.alloc(1 + HASH_BYTES * subjects.size);
  head[0] = FORMAT;
  let at = 1;
  for (const subject of subjects) at = head.writeUIntBE(subjectHash(subject), at, HASH_BYTES);
  return head;
}

function unknownForm(what: string): PurserError {
  return new PurserError('ERR_RECORD_INVALID', `a stored ${what} has a form this version does not know`, { hint: 'run the version of purser that wrote it, or restore the store from a backup' });
}
