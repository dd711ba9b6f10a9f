// Live tails of the audit log: one JSON object per line, `{"type":"entry"}`, `{"type":"lost"}` and heartbeats. A tail ends with its
// token, when its policy no longer allows it, or with the core. A slow reader gets no queue: what it cannot take is lost and
// counted, because the log itself must not wait for it.

import type { ServerResponse } from 'node:http';
import type { EntryMatcher } from '../audit/filter.ts';
import type { FileAuditDevice } from '../audit/file-device.ts';
import { PurserError } from '../lib/errors.ts';

const MAX_TAILS = 16;
const HEARTBEAT_MS = 10_000;
const MAX_ENTRY_BYTES = 60_000;

export interface Watcher {
  readonly tokenId: string;
  /** Milliseconds since the epoch. */
  readonly tokenExpires: number;
}

interface Tail { readonly response: ServerResponse; readonly watcher: Watcher; stop(): void }

export class AuditTails {
  readonly #now: () => number;
  readonly #mayRead: (watcher: Watcher) => Promise<boolean>;
  readonly #tails = new Set<Tail>();
  #timer: NodeJS.Timeout | undefined;

  constructor(now: () => number, mayRead: (watcher: Watcher) => Promise<boolean>) {
    this.#now = now;
    this.#mayRead = mayRead;
  }

  /** @throws ERR_REQUEST_BUSY before anything was written */
  start(watcher: Watcher, device: FileAuditDevice, matcher: EntryMatcher, response: ServerResponse): void {
    if (this.#tails.size >= MAX_TAILS) throw new PurserError('ERR_REQUEST_BUSY', `${MAX_TAILS} tails of the audit log are open already`);
    response.writeHead(200, { 'Content-Type': 'application/x-ndjson', 'Cache-Control': 'no-store' });
    response.socket?.setTimeout(0).setNoDelay(true);
    let lost = 0;
    const unfollow = device.follow((line) => {
      const entry = matcher.match(line);
      if (entry === undefined) return;
      if (response.writableNeedDrain) { lost++; return; }
      if (lost > 0) response.write(frame({ type: 'lost', count: lost }));
      lost = 0;
      response.write(frame({ type: 'entry', entry: line.length > MAX_ENTRY_BYTES ? { time: entry['time'], type: entry['type'], outcome: entry.outcome, too_long: true } : entry }));
    });
    const tail: Tail = {
      response, watcher,
      stop: () => {
        unfollow();
        this.#tails.delete(tail);
        response.end();
        setTimeout(() => response.destroy(), 1_000).unref();
      },
    };
    this.#tails.add(tail);
    response.on('error', () => undefined).once('close', () => tail.stop());
    response.write(frame({ type: 'heartbeat' }));
    this.#timer ??= setInterval(() => { for (const open of this.#tails) void this.#tend(open); }, HEARTBEAT_MS).unref();
  }

  close(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    for (const tail of this.#tails) tail.stop();
  }

  async #tend(tail: Tail): Promise<void> {
    const isAllowed = this.#now() < tail.watcher.tokenExpires && await this.#mayRead(tail.watcher).catch(() => false);
    if (!isAllowed) tail.stop();
    else if (!tail.response.writableNeedDrain) tail.response.write(frame({ type: 'heartbeat' }));
  }
}

function frame(value: object): string {
  return `${JSON.stringify(value)}\n`;
}
