// All watch streams of this core (PROTOCOL.md 1.3): fans changes out to the nodes that hold the path, keeps streams alive with
// heartbeats from one timer, and ends them when the token, the node or the core does.

import type { ServerResponse } from 'node:http';

import { z } from 'zod';

import { PurserError } from '../../lib/errors.ts';
import { GRANTS_HEARTBEAT_SECONDS, HEARTBEAT_SECONDS, WATCH_SILENCE_SECONDS } from '../../wire/node-protocol.ts';
import { validate } from '../../wire/validate.ts';
import type { Holdings } from './holdings.ts';
import { WatchStream } from './watch-stream.ts';

/** An agent has one; two while it is being replaced. */
const MAX_STREAMS_PER_NODE = 4;
/** How long a stream without a connection can be resumed. */
const RESUME_MS = 5 * 60_000;
const TICKS_PER_HEARTBEAT = 10;

const querySchema = z.strictObject({
  stream: z.string().max(64).optional(),
  after: z.union([z.number(), z.string().regex(/^\d{1,16}$/).transform(Number)]).pipe(z.number().int().min(0).max(Number.MAX_SAFE_INTEGER)).optional(),
  grants: z.union([z.boolean(), z.enum(['true', 'false']).transform((value) => value === 'true')]).default(false),
});

export interface WatchHubOptions {
  readonly holdings: Holdings;
  readonly now: () => number;
  /** Milliseconds between heartbeats; tests shorten it. */
  readonly heartbeatMs?: number;
}

export interface Watcher {
  readonly nodeId: string;
  /** Milliseconds since the epoch at which the token ends. */
  readonly tokenExpires: number;
}

export class WatchHub {
  readonly #holdings: Holdings;
  readonly #now: () => number;
  readonly #heartbeatMs: number;
  readonly #streams = new Map<string, Set<WatchStream>>();
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(options: WatchHubOptions) {
    this.#holdings = options.holdings;
    this.#now = options.now;
    this.#heartbeatMs = options.heartbeatMs ?? HEARTBEAT_SECONDS * 1000;
  }

  /**
   * Turns an authenticated, audited response into a stream.
   * @param query of `GET node/watch`
   * @throws ERR_REQUEST_INVALID before anything was written
   */
  attach(watcher: Watcher, query: unknown, response: ServerResponse): void {
    const { stream: wanted, after, grants } = validate(querySchema, query, 'watch query');
    if (this.#isClosed) throw new PurserError('ERR_BARRIER_SEALED', 'the core is sealed');
    const known = [...this.#streams.get(watcher.nodeId) ?? []].find(({ id }) => id === wanted);
    const isResumed = known !== undefined && after !== undefined && known.canResume(after);
    if (known !== undefined && !isResumed) this.#drop(known);
    const stream = isResumed ? known : this.#create(watcher.nodeId, grants);
    response.writeHead(200, { 'Content-Type': 'application/x-ndjson', 'Cache-Control': 'no-store' });
    response.socket?.setTimeout(0).setNoDelay(true);
    // A random first beat: agents that came back together must not beat together for ever.
    const nextHeartbeat = this.#now() + this.#pause(stream) * Math.random();
    stream.connect({ response, expires: watcher.tokenExpires, nextHeartbeat, blockedSince: undefined }, isResumed ? after : 0, isResumed);
    this.#timer ??= setInterval(() => this.#tick(), Math.min(this.#heartbeatMs / TICKS_PER_HEARTBEAT, GRANTS_HEARTBEAT_SECONDS * 500)).unref();
  }

  /** The secret at the full logical `path` has a new current version (0: none left); called after the commit is durable. */
  changed(path: string, version: number): void {
    for (const nodeId of this.#holdings.nodesHolding(path)) {
      for (const stream of this.#streams.get(nodeId) ?? []) if (!stream.push(path, version)) this.#drop(stream);
    }
  }

  /** Policies, roles, mounts or nodes changed: what was granted before may not be any more. Called before the change is acknowledged. */
  grantsChanged(): void {
    for (const streams of this.#streams.values()) {
      for (const stream of streams) if (stream.hearsGrants && !stream.grantsChanged()) this.#drop(stream);
    }
  }

  /** True while the node has a stream with a connection. */
  isConnected(nodeId: string): boolean {
    for (const { connection } of this.#streams.get(nodeId) ?? []) if (connection !== undefined) return true;
    return false;
  }

  /** Ends all streams of a revoked node at once. */
  revoke(nodeId: string): void {
    for (const stream of this.#streams.get(nodeId) ?? []) stream.end({ type: 'revoked' });
    this.#streams.delete(nodeId);
  }

  /** Ends everything; the core seals or stops. */
  close(): void {
    this.#isClosed = true;
    clearInterval(this.#timer);
    for (const streams of this.#streams.values()) for (const stream of streams) stream.end();
    this.#streams.clear();
  }

  #create(nodeId: string, hearsGrants: boolean): WatchStream {
    let streams = this.#streams.get(nodeId);
    if (streams === undefined) this.#streams.set(nodeId, (streams = new Set()));
    if (streams.size >= MAX_STREAMS_PER_NODE) {
      const oldest = [...streams].find(({ connection }) => connection === undefined) ?? [...streams][0];
      if (oldest !== undefined) this.#drop(oldest);
    }
    const stream = new WatchStream(nodeId, this.#now, hearsGrants);
    // Again, since the last drop may have taken the set of the node away.
    this.#streams.set(nodeId, streams.add(stream));
    return stream;
  }

  #drop(stream: WatchStream): void {
    stream.end();
    const streams = this.#streams.get(stream.nodeId);
    streams?.delete(stream);
    if (streams?.size === 0) this.#streams.delete(stream.nodeId);
  }

  #tick(): void {
    const now = this.#now();
    for (const streams of this.#streams.values()) for (const stream of streams) this.#tend(stream, now);
    if (this.#streams.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #tend(stream: WatchStream, now: number): void {
    const { connection } = stream;
    if (connection === undefined) {
      if (stream.hearsGrants || now - (stream.detachedAt ?? 0) > RESUME_MS) this.#drop(stream);
    } else if (now >= connection.expires || now - (connection.blockedSince ?? now) > WATCH_SILENCE_SECONDS * 1000) {
      stream.end();
    } else if (now >= connection.nextHeartbeat) {
      connection.nextHeartbeat = now + this.#pause(stream);
      stream.heartbeat();
    }
  }

  /** Milliseconds between two heartbeats of a stream. */
  #pause(stream: WatchStream): number {
    return stream.hearsGrants ? Math.min(this.#heartbeatMs, GRANTS_HEARTBEAT_SECONDS * 1000) : this.#heartbeatMs;
  }
}
