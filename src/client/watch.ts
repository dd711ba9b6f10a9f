// The watch stream (PROTOCOL.md 1.3) as an async iterator. It ends when the core ends the stream, throws when the line is
// silent too long or breaks, and never holds more than one frame and one chunk. Reconnecting is the caller's decision.

import type { IncomingMessage } from 'node:http';

import { MAX_FRAME_BYTES, WATCH_SILENCE_SECONDS, watchFrameSchema, type WatchFrame } from '../wire/node-protocol.ts';
import { protocolError } from './response.ts';

const NEWLINE = 0x0a;

/**
 * The frames of an opened stream.
 * @param silenceMs longest time without a byte before the stream counts as dead
 * @throws ERR_CLIENT_PROTOCOL for a frame that is too long, not JSON or not known; otherwise whatever broke the line
 */
export async function* readFrames(response: IncomingMessage, silenceMs = WATCH_SILENCE_SECONDS * 1000): AsyncGenerator<WatchFrame, void, undefined> {
  for await (const line of readLines(response, silenceMs)) {
    if (line.length > 0) yield parseFrame(line);
  }
}

async function* readLines(response: IncomingMessage, silenceMs: number): AsyncGenerator<Buffer, void, undefined> {
  const silence = setTimeout(() => response.destroy(new Error(`nothing heard for ${silenceMs / 1000} s`)), silenceMs);
  let rest: Buffer = Buffer.alloc(0);
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      silence.refresh();
      let data = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
      for (let end = data.indexOf(NEWLINE); end >= 0; end = data.indexOf(NEWLINE)) {
        if (end >= MAX_FRAME_BYTES) break;
        yield data.subarray(0, end);
        data = data.subarray(end + 1);
      }
      if (data.length >= MAX_FRAME_BYTES) throw protocolError(`a watch frame of more than ${MAX_FRAME_BYTES} bytes`);
      rest = data;
    }
  } finally {
    clearTimeout(silence);
  }
}

function parseFrame(line: Buffer): WatchFrame {
  try {
    const parsed = watchFrameSchema.safeParse(JSON.parse(line.toString('utf8')));
    if (parsed.success) return parsed.data;
  } catch {
    // Not JSON; said below without quoting it.
  }
  throw protocolError('a watch frame that is not known');
}
