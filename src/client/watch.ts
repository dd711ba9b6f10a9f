// The streams of the core, the watch stream of a node (PROTOCOL.md 1.3) and the tail of the audit log, as async iterators. It ends when the core ends the stream, throws when the line is
// silent too long or breaks, and never holds more than one frame and one chunk. Reconnecting is the caller's decision.

import type { IncomingMessage } from 'node:http';

import type { z } from 'zod';

import { MAX_TAIL_LINE_BYTES, TAIL_SILENCE_SECONDS, tailFrameSchema, type TailFrame } from '../wire/audit-log.ts';
import { MAX_FRAME_BYTES, WATCH_SILENCE_SECONDS, watchFrameSchema, type WatchFrame } from '../wire/node-protocol.ts';
import { protocolError } from './response.ts';

const NEWLINE = 0x0a;

/**
 * The frames of an opened stream.
 * @param silenceMs longest time without a byte before the stream counts as dead
 * @throws ERR_CLIENT_PROTOCOL for a frame that is too long, not JSON or not known; otherwise whatever broke the line
 */
export async function* readFrames(response: IncomingMessage, silenceMs = WATCH_SILENCE_SECONDS * 1000): AsyncGenerator<WatchFrame, void, undefined> {
  for await (const line of readLines(response, silenceMs, MAX_FRAME_BYTES)) {
    if (line.length > 0) yield parseFrame(watchFrameSchema, line);
  }
}

/** The frames of a tail of the audit log. @throws as readFrames */
export async function* readTail(response: IncomingMessage): AsyncGenerator<TailFrame, void, undefined> {
  for await (const line of readLines(response, TAIL_SILENCE_SECONDS * 1000, MAX_TAIL_LINE_BYTES)) {
    if (line.length > 0) yield parseFrame(tailFrameSchema, line);
  }
}

async function* readLines(response: IncomingMessage, silenceMs: number, maxBytes: number): AsyncGenerator<Buffer, void, undefined> {
  const silence = setTimeout(() => response.destroy(new Error(`nothing heard for ${silenceMs / 1000} s`)), silenceMs);
  let rest: Buffer = Buffer.alloc(0);
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      silence.refresh();
      let data = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
      for (let end = data.indexOf(NEWLINE); end >= 0; end = data.indexOf(NEWLINE)) {
        if (end >= maxBytes) break;
        yield data.subarray(0, end);
        data = data.subarray(end + 1);
      }
      if (data.length >= maxBytes) throw protocolError(`a frame of more than ${maxBytes} bytes`);
      rest = data;
    }
  } finally {
    clearTimeout(silence);
  }
}

function parseFrame<T>(schema: z.ZodType<T>, line: Buffer): T {
  try {
    const parsed = schema.safeParse(JSON.parse(line.toString('utf8')));
    if (parsed.success) return parsed.data;
  } catch {
    // Not JSON; said below without quoting it.
  }
  throw protocolError('a frame that is not known');
}
