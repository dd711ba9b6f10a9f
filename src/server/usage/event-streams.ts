// `GET sys/usage/events`: live updates for the page as server-sent events (HTML Living Standard, 9.2). Few clients, each with
// little in its socket: who does not read is cut off and comes back. A stream ends with its token, and with the core.

import type { ServerResponse } from 'node:http';

import type { JsonObject } from '../../core/logical.ts';
import { PurserError } from '../../lib/errors.ts';

const MAX_CLIENTS = 64;
const MAX_WAITING_BYTES = 1024 * 1024;
const HEARTBEAT_MS = 15_000;
/** The same tells a client how soon to come back. */
const RETRY_MS = 2_000;

export type UsageEvent = 'rotation' | 'refused' | 'denied' | 'holdings';

export interface EventClient {
  readonly tokenId: string;
  /** Milliseconds since the epoch. */
  readonly tokenExpires: number;
}

export interface EventStreamsOptions {
  readonly now: () => number;
  /** Whether the token is still good; asked with every heartbeat. */
  readonly isLive: (tokenId: string) => Promise<boolean>;
  /** What a new client is told first. */
  readonly first: () => readonly (readonly [UsageEvent, JsonObject])[];
  readonly heartbeatMs?: number;
}

export class EventStreams {
  readonly #options: EventStreamsOptions;
  readonly #clients = new Map<ServerResponse, EventClient>();
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(options: EventStreamsOptions) {
    this.#options = options;
  }

  get clients(): number {
    return this.#clients.size;
  }

  /** Turns an authorised and audited response into a stream. @throws ERR_REQUEST_BUSY, ERR_BARRIER_SEALED before anything was written */
  attach(client: EventClient, response: ServerResponse): void {
    if (this.#isClosed) throw new PurserError('ERR_BARRIER_SEALED', 'the core is sealed');
    if (this.#clients.size >= MAX_CLIENTS) throw new PurserError('ERR_REQUEST_BUSY', `${MAX_CLIENTS} clients follow the usage already`, { hint: 'close other pages, or ask again later' });
    response.writeHead(200, { 'Content-Type': 'text/event-stream; charset=utf-8', 'Cache-Control': 'no-store', 'X-Accel-Buffering': 'no' });
    response.socket?.setTimeout(0).setNoDelay(true);
    response.on('error', () => undefined);
    response.once('close', () => { this.#clients.delete(response); });
    this.#clients.set(response, client);
    response.write(`retry: ${RETRY_MS}\n\n`);
    for (const [name, data] of this.#options.first()) response.write(frame(name, data));
    this.#timer ??= setInterval(() => void this.#tend(), this.#options.heartbeatMs ?? HEARTBEAT_MS).unref();
  }

  /** Tells all clients. Costs nothing without one. */
  send(name: UsageEvent, data: JsonObject): void {
    if (this.#clients.size === 0) return;
    const text = frame(name, data);
    for (const response of this.#clients.keys()) this.#write(response, text);
  }

  /** Ends all streams; the core seals or stops. */
  close(): void {
    this.#isClosed = true;
    clearInterval(this.#timer);
    for (const response of [...this.#clients.keys()]) this.#end(response);
  }

  #write(response: ServerResponse, text: string): void {
    if (response.writableLength > MAX_WAITING_BYTES) this.#end(response);
    else response.write(text);
  }

  #end(response: ServerResponse): void {
    this.#clients.delete(response);
    if (response.writableLength > MAX_WAITING_BYTES) response.destroy();
    else response.end();
  }

  async #tend(): Promise<void> {
    for (const [response, { tokenId, tokenExpires }] of [...this.#clients]) {
      const isLive = this.#options.now() < tokenExpires && await this.#options.isLive(tokenId).catch(() => false);
      if (!isLive) this.#end(response);
      else this.#write(response, ': still here\n\n');
    }
    if (this.#clients.size > 0 || this.#isClosed) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}

/** JSON has no line break of its own, so one `data:` line is enough. */
function frame(name: UsageEvent, data: JsonObject): string {
  return `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
}
