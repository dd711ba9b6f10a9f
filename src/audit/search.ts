// Searches an audit file from its end: the newest entries first, a bounded piece of the file per call. Only reads; a line of an
// absurd length is passed over, not held in memory.

import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';

import { PurserError } from '../lib/errors.ts';
import type { EntryMatcher, FoundEntry } from './filter.ts';

const CHUNK_BYTES = 1 << 18;
/** What one call reads at most; the caller goes on with the cursor. */
const MAX_SCANNED_BYTES = 32 << 20;
const MAX_LINE_BYTES = 1 << 20;
const LF = 10;

export interface SearchOptions {
  readonly limit: number;
  /** Where an earlier search of the same file ended. */
  readonly cursor?: string | undefined;
}

export interface SearchResult {
  /** Newest first. */
  readonly entries: readonly FoundEntry[];
  /** Goes on from here; undefined at the beginning of the file. */
  readonly cursor: string | undefined;
}

/** @throws ERR_REQUEST_INVALID when there is no such file, or the cursor is of another one */
export async function searchFile(path: string, matcher: EntryMatcher, { limit, cursor }: SearchOptions): Promise<SearchResult> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch((cause: unknown) => {
    throw new PurserError('ERR_REQUEST_INVALID', 'there is no such audit file', { cause });
  });
  try {
    const stat = await file.stat();
    if (!stat.isFile()) throw new PurserError('ERR_REQUEST_INVALID', 'there is no such audit file');
    const identity = `${stat.dev}-${stat.ino}`;
    const end = cursor === undefined ? stat.size : offsetOf(cursor, identity, stat.size);
    const { entries, offset } = await scan(file, end, matcher, limit);
    return { entries, cursor: offset === 0 ? undefined : `${identity}-${offset}` };
  } finally {
    await file.close();
  }
}

async function scan(file: FileHandle, end: number, matcher: EntryMatcher, limit: number): Promise<{ entries: FoundEntry[]; offset: number }> {
  const entries: FoundEntry[] = [];
  const floor = Math.max(0, end - MAX_SCANNED_BYTES);
  let offset = end;
  for await (const { bytes, start } of linesBackwards(file, end, floor)) {
    if (matcher.isBefore(bytes)) return { entries, offset: 0 };
    const entry = matcher.match(bytes);
    offset = start;
    if (entry !== undefined && entries.push(entry) >= limit) return { entries, offset };
  }
  // A line longer than all that was read has no beginning here: go on before it.
  return { entries, offset: floor > 0 && offset === end ? floor : floor === 0 ? 0 : offset };
}

/** Whole lines that end at or before `end` and begin at or after `floor`, the last one first. */
async function* linesBackwards(file: FileHandle, end: number, floor: number): AsyncGenerator<{ readonly bytes: Buffer; readonly start: number }> {
  let rest: Buffer[] = []; // of the line whose beginning was not found yet, in reverse order
  let length = 0;
  for (let position = end; position > floor;) {
    const size = Math.min(CHUNK_BYTES, position - floor);
    position -= size;
    const chunk = Buffer.allocUnsafe(size);
    const { bytesRead } = await file.read(chunk, 0, size, position);
    if (bytesRead < size) return; // somebody cut it meanwhile
    let to = size;
    for (let at = chunk.lastIndexOf(LF); at >= 0; at = at === 0 ? -1 : chunk.lastIndexOf(LF, at - 1)) {
      length += to - at - 1;
      if (length > 0 && length <= MAX_LINE_BYTES) yield { bytes: Buffer.concat([chunk.subarray(at + 1, to), ...rest.reverse()]), start: position + at + 1 };
      rest = [];
      length = 0;
      to = at;
    }
    length += to;
    if (length > MAX_LINE_BYTES) rest = [];
    else rest.push(chunk.subarray(0, to));
  }
  if (floor === 0 && length > 0 && length <= MAX_LINE_BYTES) yield { bytes: Buffer.concat(rest.reverse()), start: 0 };
}

function offsetOf(cursor: string, identity: string, size: number): number {
  const offset = cursor.startsWith(`${identity}-`) ? cursor.slice(identity.length + 1) : '';
  if (!/^\d{1,16}$/.test(offset) || Number(offset) > size) {
    throw new PurserError('ERR_REQUEST_INVALID', 'the cursor is not of this audit file', { hint: 'the file may have been rotated: begin again, or name the rotated file' });
  }
  return Number(offset);
}
