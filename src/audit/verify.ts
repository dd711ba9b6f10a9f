// Proves that an audit file is whole, or names the first line that is not and why. Streaming: files of any size.

import { open } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { constants } from 'node:fs';

import type { MacKey } from '../crypto/mac.ts';
import { parseLine } from './chain.ts';
import type { Head } from './chain.ts';
import { ChainWalk } from './chain-walk.ts';
import type { Problem } from './chain-walk.ts';
import { readLines } from './lines.ts';

export interface VerifyReport {
  /** Absent: every line is as it was written. */
  readonly problem?: Problem;
  /** Good lines before the problem, or all. */
  readonly lines: number;
  /** Places where a crash tore a line, closed off and accounted for. */
  readonly torn: number;
  /** What the first line is chained to: the last line of the file before, or number 0. */
  readonly first: Head | undefined;
  readonly last: Head | undefined;
}

export interface VerifyOptions {
  readonly chainKey: MacKey;
  /** The file must hold at least this line. */
  readonly anchor?: Head;
  /** Read no further: the file is being written. Default: all of it. */
  readonly size?: number;
}

/** @throws the system's error when the file cannot be read; ERR_AUDIT_CHAIN for a line without end */
export async function verifyFile(path: string, options: VerifyOptions): Promise<VerifyReport> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const size = Math.min(options.size ?? Infinity, (await file.stat()).size);
    const walk = new ChainWalk(options.chainKey);
    const problem = await firstProblem(file, size, walk) ?? walk.finish() ?? missingEnd(walk, options.anchor);
    return {
      ...(problem === undefined ? {} : { problem }), lines: problem === undefined ? walk.lines : problem.line - 1,
      torn: walk.tornCount, first: walk.first, last: walk.head,
    };
  } finally {
    await file.close();
  }
}

async function firstProblem(file: FileHandle, size: number, walk: ChainWalk): Promise<Problem | undefined> {
  let found: Problem | undefined;
  for await (const line of readLines(file, 0, size)) {
    if (found === undefined) {
      found = walk.accept(line);
      if (found !== undefined && found.kind !== 'removed') return found;
    } else if (parseLine(line.bytes)?.seq === found.seq) {
      // Lines seemed to be missing, but the next one of the chain stands further down.
      return { ...found, kind: 'reordered', message: `line ${found.seq} of the chain stands further down` };
    }
  }
  return found;
}

function missingEnd(walk: ChainWalk, anchor: Head | undefined): Problem | undefined {
  const seq = walk.head?.seq ?? 0;
  if (anchor === undefined || seq >= anchor.seq) return undefined;
  return { kind: 'cut', line: walk.lines + 1, seq: seq + 1, message: `the end of the file is missing: lines ${seq + 1} to ${anchor.seq} of the chain` };
}
