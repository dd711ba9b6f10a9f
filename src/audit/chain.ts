// The hash chain of an audit file (FORMAT.md 1): each line's code covers the code before it, its number and its body, so no line
// can be altered, removed, moved or added by somebody without the chain key.

import type { MacKey } from '../crypto/mac.ts';

/** The end of a chain: the number and the code of its last line. */
export interface Head {
  readonly seq: number;
  /** 64 lower-case hexadecimal digits. */
  readonly mac: string;
}

/** A line taken apart; its code is not checked yet. */
export interface Link extends Head {
  readonly body: Uint8Array;
}

export const GENESIS: Head = { seq: 0, mac: '0'.repeat(64) };

const SUFFIX = /,"chain":\{"seq":([1-9]\d{0,15}),"mac":"([0-9a-f]{64})"\}\}$/;
const MAX_SUFFIX_BYTES = 128;
const BRACE = Buffer.from('}');
/** The code before and the number, as they go into the next code; used within one call only. */
const before = Buffer.alloc(40);

/** The head after a line with `body`, a JSON object. */
export function nextHead(key: MacKey, head: Head, body: Uint8Array | string): Head {
  const seq = head.seq + 1;
  before.write(head.mac, 0, 'hex');
  before.writeUInt32BE(Math.floor(seq / 2 ** 32), 32);
  before.writeUInt32BE(seq % 2 ** 32, 36);
  return { seq, mac: key.hex(body, before) };
}

/** `body` as a line that ends in its chain member and LF. */
export function sealLine(body: string, head: Head): string {
  return `${body.slice(0, -1)},"chain":{"seq":${head.seq},"mac":"${head.mac}"}}\n`;
}

/** A line without LF, or undefined when it does not end in a chain member. */
export function parseLine(line: Uint8Array): Link | undefined {
  const end = Buffer.from(line.buffer, line.byteOffset, line.byteLength);
  const match = SUFFIX.exec(end.subarray(Math.max(0, end.length - MAX_SUFFIX_BYTES)).toString('latin1'));
  if (match === null) return undefined;
  const body = Buffer.concat([end.subarray(0, end.length - match[0].length), BRACE]);
  return { seq: Number(match[1]), mac: match[2] as string, body };
}
