// The head of a block (FORMAT.md): what its rows are about, as hashes, so that a question opens only the blocks that can answer it. A
// stay also carries its earliest grant, because a question about a span of time long ago asks which stays had begun by then.

import { PurserError } from '../../lib/errors.ts';
import { staysOf, subjectHash, subjectsOf, type HistoryRow, type PlainSubject, type StaySubject, type Subject } from './row.ts';

const FORMAT = 2;
/** Heads without stays; segment.ts makes new ones of them. */
const OLD_FORMAT = 1;
export const HASH_BYTES = 6;
/** Of a time in milliseconds since the epoch. */
export const TIME_BYTES = 6;
const COUNT_BYTES = 4;

export interface Head {
  readonly subjects: ReadonlySet<number>;
  /** With the earliest grant. */
  readonly stays: ReadonlyMap<number, number>;
}

/** What a block must hold for a question. */
export interface Wanted {
  readonly subjects: readonly number[];
  readonly stays: readonly number[];
  /** Each of the stays had begun by then, in milliseconds since the epoch. */
  readonly grantedUntil: number;
}

export function wantedOf(subjects: readonly Subject[], grantedUntil = Infinity): Wanted {
  const isStay = (subject: Subject) => subject.startsWith('stay:');
  return { subjects: subjects.filter((one) => !isStay(one)).map(subjectHash), stays: subjects.filter(isStay).map(subjectHash), grantedUntil };
}

export function headOf(rows: readonly HistoryRow[]): Head {
  const subjects = new Set<PlainSubject>();
  const stays = new Map<StaySubject, number>();
  for (const row of rows) {
    for (const subject of subjectsOf(row)) subjects.add(subject);
    for (const [subject, granted] of staysOf(row)) stays.set(subject, Math.min(granted, stays.get(subject) ?? Infinity));
  }
  return { subjects: new Set([...subjects].map(subjectHash)), stays: new Map([...stays].map(([subject, granted]) => [subjectHash(subject), granted])) };
}

export function encodeHead({ subjects, stays }: Head): Uint8Array {
  const head = Buffer.alloc(1 + COUNT_BYTES + HASH_BYTES * subjects.size + (HASH_BYTES + TIME_BYTES) * stays.size);
  let at = head.writeUInt32BE(subjects.size, head.writeUInt8(FORMAT, 0));
  for (const hash of subjects) at = head.writeUIntBE(hash, at, HASH_BYTES);
  for (const [hash, granted] of stays) at = head.writeUIntBE(granted, head.writeUIntBE(hash, at, HASH_BYTES), TIME_BYTES);
  return head;
}

/** @returns undefined for a head of the old form, which does not know the stays. @throws ERR_RECORD_INVALID */
export function decodeHead(head: Uint8Array): Head | undefined {
  if (head[0] === OLD_FORMAT) return undefined;
  const bytes = Buffer.from(head.buffer, head.byteOffset, head.length);
  if (bytes[0] !== FORMAT || bytes.length < 1 + COUNT_BYTES) throw unknownForm();
  const [subjects, stays] = [new Set<number>(), new Map<number, number>()];
  let at = 1 + COUNT_BYTES;
  const end = at + bytes.readUInt32BE(1) * HASH_BYTES;
  if (bytes.length < end || (bytes.length - end) % (HASH_BYTES + TIME_BYTES) !== 0) throw unknownForm();
  for (; at < end; at += HASH_BYTES) subjects.add(bytes.readUIntBE(at, HASH_BYTES));
  for (; at < bytes.length; at += HASH_BYTES + TIME_BYTES) stays.set(bytes.readUIntBE(at, HASH_BYTES), bytes.readUIntBE(at + HASH_BYTES, TIME_BYTES));
  return { subjects, stays };
}

/** True when the block can hold what is wanted; an old head excludes nothing. @throws ERR_RECORD_INVALID */
export function mayConcern(head: Uint8Array, { subjects, stays, grantedUntil }: Wanted): boolean {
  const known = decodeHead(head);
  if (known === undefined) return true;
  return subjects.every((hash) => known.subjects.has(hash)) && stays.every((hash) => isBegun(known.stays.get(hash), grantedUntil));
}

/** @param granted undefined: there is no such stay */
export function isBegun(granted: number | undefined, until: number): boolean {
  return granted !== undefined && granted <= until;
}

function unknownForm(): PurserError {
  return new PurserError('ERR_RECORD_INVALID', 'a stored head of ledger history has a form this version does not know', { hint: 'run the version of purser that wrote it, or restore the store from a backup' });
}
