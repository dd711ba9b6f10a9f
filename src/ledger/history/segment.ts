// A segment of the index (FORMAT.md): the heads of many blocks turned round, so that one small read tells which of them a subject is in. Cut
// into buckets by hash; each bucket names all blocks of the segment and can be read alone.

import { PurserError } from '../../lib/errors.ts';
import { digits } from '../record.ts';
import { HASH_BYTES, isBegun, TIME_BYTES, type Head } from './head.ts';

const FORMAT = 1;
const BUCKETS = 128;
/** Of one segment: a block is one byte in it. */
export const SEGMENT_BLOCKS = 128;
const COUNT_BYTES = 4;

/** A subject, the blocks it is in (by their place in the segment), and for a stay the earliest grant in each. */
interface Posting { readonly hash: number; readonly blocks: number[]; readonly granted: number[] }

/** What is wanted of a segment. */
export interface Lookup {
  readonly hash: number;
  /** For a stay: it had begun by then, in milliseconds since the epoch. */
  readonly grantedUntil?: number | undefined;
}

export interface Bucket {
  /** The ids of all blocks of the segment. */
  readonly covered: readonly string[];
  /** Of them, those that hold what was looked up. */
  readonly found: ReadonlySet<string>;
}

export const BUCKET_NAMES: readonly string[] = Array.from({ length: BUCKETS }, (_, bucket) => digits(bucket, 3));

/** The bucket a subject is in. */
export function bucketOf(hash: number): string {
  return digits(hash % BUCKETS, 3);
}

/** All buckets, by name. @param blocks ids (12 hexadecimal digits) and heads, at most SEGMENT_BLOCKS */
export function encodeSegment(blocks: readonly { readonly id: string; readonly head: Head }[]): Map<string, Uint8Array> {
  const ids = Buffer.from(blocks.map(({ id }) => id).join(''), 'hex');
  const buckets = new Map(BUCKET_NAMES.map((name) => [name, { subjects: new Map<number, Posting>(), stays: new Map<number, Posting>() }]));
  const post = (kind: 'subjects' | 'stays', hash: number, block: number, granted?: number): void => {
    const postings = buckets.get(bucketOf(hash))?.[kind];
    const posting: Posting = postings?.get(hash) ?? { hash, blocks: [], granted: [] };
    postings?.set(hash, posting);
    posting.blocks.push(block);
    if (granted !== undefined) posting.granted.push(granted);
  };
  for (const [block, { head }] of blocks.entries()) {
    for (const hash of head.subjects) post('subjects', hash, block);
    for (const [hash, granted] of head.stays) post('stays', hash, block, granted);
  }
  return new Map([...buckets].map(([name, { subjects, stays }]) => [name, encodeBucket(ids, [...subjects.values()], [...stays.values()])]));
}

/** Looks a subject up in its bucket. @throws ERR_RECORD_INVALID */
export function lookUp(bucket: Uint8Array, { hash, grantedUntil }: Lookup): Bucket {
  const bytes = Buffer.from(bucket.buffer, bucket.byteOffset, bucket.length);
  if (bytes[0] !== FORMAT) throw new PurserError('ERR_RECORD_INVALID', 'a stored index of ledger history has a form this version does not know', { hint: 'run the version of purser that wrote it, or restore the store from a backup' });
  let at = 2 + (bytes[1] ?? 0) * HASH_BYTES;
  const covered = (bytes.toString('hex', 2, at).match(/.{12}/g) ?? []);
  const subjectsEnd = at + COUNT_BYTES + bytes.readUInt32BE(at);
  at += COUNT_BYTES;
  const isStay = grantedUntil !== undefined;
  const [begin, end, step] = isStay ? [subjectsEnd, bytes.length, 1 + TIME_BYTES] : [at, subjectsEnd, 1];
  for (at = begin; at < end;) {
    const count = bytes.readUInt8(at + HASH_BYTES);
    const isIt = bytes.readUIntBE(at, HASH_BYTES) === hash;
    at += HASH_BYTES + 1;
    if (!isIt) { at += count * step; continue; }
    const found = new Set<string>();
    for (let left = count; left > 0; left--, at += step) {
      if (!isStay || isBegun(bytes.readUIntBE(at + 1, TIME_BYTES), grantedUntil)) found.add(covered[bytes.readUInt8(at)] ?? '');
    }
    return { covered, found };
  }
  return { covered, found: new Set() };
}

/** `0x01 ‖ number of blocks ‖ their ids ‖ length of the subjects ‖ subjects ‖ stays`; in each `hash ‖ count ‖ places in the segment`, of a stay with its grant. */
function encodeBucket(ids: Buffer, subjects: readonly Posting[], stays: readonly Posting[]): Uint8Array {
  const encoded = subjects.map(encodePosting);
  const length = Buffer.alloc(COUNT_BYTES);
  length.writeUInt32BE(encoded.reduce((sum, one) => sum + one.length, 0));
  return Buffer.concat([Uint8Array.of(FORMAT, ids.length / HASH_BYTES), ids, length, ...encoded, ...stays.map(encodePosting)]);
}

function encodePosting({ hash, blocks, granted }: Posting): Buffer {
  const bytes = Buffer.alloc(HASH_BYTES + 1 + blocks.length + granted.length * TIME_BYTES);
  let at = bytes.writeUInt8(blocks.length, bytes.writeUIntBE(hash, 0, HASH_BYTES));
  for (const [index, block] of blocks.entries()) {
    at = bytes.writeUInt8(block, at);
    const time = granted[index];
    if (time !== undefined) at = bytes.writeUIntBE(time, at, TIME_BYTES);
  }
  return bytes;
}
