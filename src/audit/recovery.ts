// Opening an audit file: finds out whether it still is what the anchor says, follows the chain behind the anchor to its end, and
// closes off what a crash tore. Nothing is ever removed.

import type { MacKey } from '../crypto/mac.ts';
import { PurserError } from '../lib/errors.ts';
import type { Anchor } from './anchor.ts';
import type { AppendFile } from './append-file.ts';
import { nextHead, parseLine, sealLine } from './chain.ts';
import type { Head } from './chain.ts';
import { ChainWalk } from './chain-walk.ts';
import { readLines } from './lines.ts';
import { renderMarker } from './marker.ts';
import type { Marker } from './marker.ts';

export interface Recovery {
  readonly file: AppendFile;
  readonly anchor: Anchor;
  readonly chainKey: MacKey;
  /** Why the file is begun, when it is empty. */
  readonly reason: 'created' | 'rotated' | 'replaced';
  readonly timeMs: number;
}

/**
 * Makes the file ready for the next line.
 * @returns the head of its chain
 * @throws ERR_AUDIT_CHAIN when it was cut or changed; ERR_AUDIT_FILE when it cannot be written
 */
export async function recover({ file, anchor, chainKey, reason, timeMs }: Recovery): Promise<Head> {
  await requireAnchoredLine(file, anchor);
  const walk = new ChainWalk(chainKey, anchor.head);
  let lacksEnd = false;
  for await (const line of readLines(file.handle, anchor.size, file.size)) {
    const problem = walk.accept(line);
    if (problem !== undefined) throw damaged(`${problem.message} (line ${problem.seq} of the chain)`);
    lacksEnd = !line.isWhole;
  }
  const head = walk.head ?? anchor.head;
  const { torn } = walk;
  // A file can only be closed off by a chain that has begun in it.
  if (torn !== undefined && anchor.size === 0 && head.seq === anchor.head.seq) throw damaged('it was there before the audit device');
  const marker: Marker | undefined = torn !== undefined ? { event: 'torn', ...torn }
    : file.size === 0 ? { event: 'begin', previous: head.mac, reason } : undefined;
  const next = marker && sealed(renderMarker(marker, timeMs), chainKey, head);
  if (lacksEnd || next !== undefined) file.append(Buffer.from((lacksEnd ? '\n' : '') + (next?.line ?? '')));
  return next?.head ?? head;
}

/** @throws ERR_AUDIT_CHAIN */
export function damaged(what: string): PurserError {
  return new PurserError('ERR_AUDIT_CHAIN', `the audit file does not fit what the core knows of it: ${what}`, {
    hint: 'find out who changed it; to go on with a new file and keep this one beside it, start once with --replace-damaged-audit',
  });
}

async function requireAnchoredLine(file: AppendFile, { head, size }: Anchor): Promise<void> {
  if (file.size < size) throw damaged(`its end is missing (${file.size} bytes of at least ${size})`);
  if (size === 0) return;
  const tail = Buffer.alloc(Math.min(size, 256));
  await file.handle.read(tail, 0, tail.length, size - tail.length);
  const link = tail.at(-1) === 10 ? parseLine(tail.subarray(0, -1)) : undefined;
  if (link === undefined || link.seq !== head.seq || head.mac !== link.mac) {
    throw damaged(`line ${head.seq} of the chain is not at its place`);
  }
}

function sealed(body: string, key: MacKey, before: Head): { readonly head: Head; readonly line: string } {
  const head = nextHead(key, before, body);
  return { head, line: sealLine(body, head) };
}
