// Lines of a file as bytes, streaming: memory is bounded by the longest line, which is bounded too.

import type { FileHandle } from 'node:fs/promises';

import { PurserError } from '../lib/errors.ts';

/** A request body of 32 MiB becomes a longer entry: a hashed string of one byte takes 80. */
const MAX_LINE_BYTES = 1 << 30;
const CHUNK_BYTES = 1 << 18;
const LF = 10;

export interface Line {
  /** Without LF. */
  readonly bytes: Uint8Array;
  /** False for a last line without LF. */
  readonly isWhole: boolean;
}

/**
 * The lines in [start, end) of `file`.
 * @throws ERR_AUDIT_CHAIN for a line longer than anything this program writes
 */
export async function* readLines(file: FileHandle, start: number, end: number): AsyncGenerator<Line> {
  let parts: Buffer[] = [];
  let length = 0;
  for (let position = start; position < end;) {
    const chunk = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, end - position));
    const { bytesRead } = await file.read(chunk, 0, chunk.length, position);
    if (bytesRead === 0) break;
    position += bytesRead;
    let from = 0;
    for (let at = chunk.indexOf(LF); at >= 0 && at < bytesRead; at = chunk.indexOf(LF, from)) {
      parts.push(chunk.subarray(from, at));
      length += at - from;
      yield { bytes: Buffer.concat(parts, length), isWhole: true };
      parts = [];
      length = 0;
      from = at + 1;
    }
    parts.push(chunk.subarray(from, bytesRead));
    length += bytesRead - from;
    if (length > MAX_LINE_BYTES) throw new PurserError('ERR_AUDIT_CHAIN', 'the audit file holds a line of more than 1 GiB');
  }
  if (length > 0) yield { bytes: Buffer.concat(parts, length), isWhole: false };
}
