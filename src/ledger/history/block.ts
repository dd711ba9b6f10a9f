// Blocks of history (FORMAT.md): up to a thousand rows of one day, compressed together. The name carries the span of time. A question
// about something parses only the rows whose text names it: parsing is most of what opening a block costs.

import { randomBytes } from 'node:crypto';
import { promisify } from 'node:util';
import { brotliCompress, brotliDecompress, constants } from 'node:zlib';

import { PurserError } from '../../lib/errors.ts';
import { digits } from '../record.ts';
import { encodeHead, headOf } from './head.ts';
import type { HistoryRow } from './row.ts';

const FORMAT = 1;
/** How the text of every row begins. Nothing in a row looks so: quotes in its strings are escaped, and no object in it begins with `at`. */
const ROW_BEGIN = '{"at":';
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
  /** Twelve hexadecimal digits, its own. */
  readonly id: string;
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
  const text = JSON.stringify(rows.map(({ at, ...row }) => ({ at, ...row })));
  const packed = await compress(text, { params: { [constants.BROTLI_PARAM_QUALITY]: 5, [constants.BROTLI_PARAM_LGWIN]: 20, [constants.BROTLI_PARAM_SIZE_HINT]: text.length } });
  const body = Buffer.concat([Uint8Array.of(FORMAT), packed]);
  const head = encodeHead(headOf(rows));
  const times = rows.map(({ at }) => at);
  // No spread into Math.max: its number of arguments is bounded.
  const last = times.reduce((a, b) => Math.max(a, b));
  const first = times.reduce((a, b) => Math.min(a, b));
  return { day: dayOf(last), name: blockName({ last, first, count: rows.length, bytes: body.length + head.length }), body, head };
}

/**
 * The rows of a block, in the order in which they were given.
 * @param named only rows whose text holds all of these
 * @throws ERR_RECORD_INVALID
 */
export async function decodeBlock(body: Uint8Array, named: readonly string[] = []): Promise<HistoryRow[]> {
  if (body[0] !== FORMAT) throw unknownForm();
  try {
    const text = await decompress(body.subarray(1), { maxOutputLength: MAX_PLAIN_BYTES });
    // What is inside passed the validators when it came, and the barrier proves that it is what was written.
    return JSON.parse(named.length === 0 ? text.toString('utf8') : `[${rowsNaming(text, named).join(',')}]`) as HistoryRow[];
  } catch {
    throw unknownForm();
  }
}

/** The texts of the rows that hold all of `named`. @param text an array of rows; searched as bytes, because making a string of it costs as much as unpacking it */
function rowsNaming(text: Buffer, [first = '', ...others]: readonly string[]): string[] {
  const rows: string[] = [];
  for (let hit = text.indexOf(first); hit >= 0;) {
    const next = text.indexOf(`,${ROW_BEGIN}`, hit);
    const end = next < 0 ? text.length - 1 : next;
    const row = text.toString('utf8', text.lastIndexOf(ROW_BEGIN, hit), end);
    if (others.every((other) => row.includes(other))) rows.push(row);
    hit = text.indexOf(first, end);
  }
  return rows;
}

/** The parts of a name; undefined for what is none. */
export function parseBlockName(text: string): BlockName | undefined {
  const match = /^(\d{13})\.(\d{13})\.(\d{6})\.(\d{8})\.([0-9a-f]{12})$/.exec(text);
  if (match === null) return undefined;
  return { text, last: Number(match[1]), first: Number(match[2]), count: Number(match[3]), bytes: Number(match[4]), id: match[5] ?? '' };
}

function blockName(parts: Omit<BlockName, 'text' | 'id'>): BlockName {
  const id = randomBytes(6).toString('hex');
  return { ...parts, id, text: `${digits(parts.last, 13)}.${digits(parts.first, 13)}.${digits(parts.count, 6)}.${digits(parts.bytes, 8)}.${id}` };
}

function unknownForm(): PurserError {
  return new PurserError('ERR_RECORD_INVALID', 'a stored block of ledger history has a form this version does not know', { hint: 'run the version of purser that wrote it, or restore the store from a backup' });
}
