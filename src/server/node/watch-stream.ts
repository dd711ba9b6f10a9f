// One watch stream: the changes a node has to hear, and the connection they go out on, if there is one. It survives its
// connection for a while so that the node can resume. Memory is bounded: a newer change of a path replaces the older one,
// there are at most MAX_FRAMES paths, and nothing is handed to a socket that has not taken the last write.

import { randomUUID } from 'node:crypto';
import type { ServerResponse } from 'node:http';

import type { WatchFrame } from '../../wire/node-protocol.ts';

/** Paths with a change that is remembered for resuming. */
const MAX_FRAMES = 1_024;
/** A reader that does not even take the end of the stream is cut off after this. */
const END_GRACE_MS = 1_000;

interface Change { readonly seq: number; readonly version: number }

export interface Connection {
  readonly response: ServerResponse;
  /** Milliseconds since the epoch: the token ends, and the stream with it. */
  readonly expires: number;
  nextHeartbeat: number;
  /** Since when the socket takes no more; undefined while it does. */
  blockedSince: number | undefined;
}

export class WatchStream {
  readonly id = randomUUID();
  readonly nodeId: string;
  /** Its reader hears when grants change. Such a stream is not resumed: what its reader remembered ends with the connection. */
  readonly hearsGrants: boolean;
  /** In order of sequence number, which is the order of insertion. */
  readonly #changes = new Map<string, Change>();
  readonly #now: () => number;
  #sequence = 0;
  /** Changes up to this number are forgotten. */
  #floor = 0;
  /** Changes up to this number were handed to the connection. */
  #sent = 0;
  #connection: Connection | undefined;
  /** Since when nobody is connected. */
  detachedAt: number | undefined;

  constructor(nodeId: string, now: () => number, hearsGrants = false) {
    this.nodeId = nodeId;
    this.hearsGrants = hearsGrants;
    this.#now = now;
  }

  get connection(): Connection | undefined {
    return this.#connection;
  }

  /** True when everything after `sequence` is still known. */
  canResume(sequence: number): boolean {
    return !this.hearsGrants && sequence >= this.#floor && sequence <= this.#sequence;
  }

  /** Begins, or goes on after `sequence`, on a new connection; an older one is ended. */
  connect(connection: Connection, sequence: number, isResumed: boolean): void {
    this.end();
    this.#connection = connection;
    this.detachedAt = undefined;
    this.#sent = sequence;
    const { response } = connection;
    response.on('error', () => undefined);
    response.on('drain', () => {
      if (this.#connection !== connection) return;
      connection.blockedSince = undefined;
      this.#flush(connection);
    });
    response.once('close', () => {
      if (this.#connection === connection) this.#detach();
    });
    this.#write(connection, { type: 'hello', stream: this.id, seq: sequence, resumed: isResumed, ...(this.hearsGrants ? { grants: true } : {}) });
    this.#flush(connection);
  }

  /**
   * Notes a change and sends it when the connection takes it.
   * @returns false when the reader is so slow that a change it has not got is forgotten: the stream is over
   */
  push(path: string, version: number): boolean {
    this.#changes.delete(path);
    this.#changes.set(path, { seq: ++this.#sequence, version });
    if (this.#changes.size > MAX_FRAMES) this.#forgetOldest();
    if (this.#connection === undefined) return true;
    if (this.#floor > this.#sent) return false;
    this.#flush(this.#connection);
    return true;
  }

  /**
   * Says that policies, roles, mounts or nodes changed.
   * @returns false when the reader cannot be told now: the stream is over
   */
  grantsChanged(): boolean {
    const connection = this.#connection;
    if (connection === undefined || connection.blockedSince !== undefined) return false;
    this.#write(connection, { type: 'grants', seq: this.#sent });
    return true;
  }

  /** Sends a heartbeat, unless something else waits to be taken. */
  heartbeat(): void {
    const connection = this.#connection;
    if (connection?.blockedSince === undefined && connection !== undefined) this.#write(connection, { type: 'heartbeat', seq: this.#sent });
  }

  /** Ends the connection, with a last frame if one is given. */
  end(last?: WatchFrame): void {
    const response = this.#connection?.response;
    if (response === undefined) return;
    this.#detach();
    if (last === undefined) response.end();
    else response.end(frameText(last));
    setTimeout(() => response.destroy(), END_GRACE_MS).unref();
  }

  #detach(): void {
    this.#connection = undefined;
    this.detachedAt = this.#now();
  }

  #flush(connection: Connection): void {
    if (connection.blockedSince !== undefined || this.#sent === this.#sequence) return;
    for (const [path, { seq, version }] of this.#changes) {
      if (seq <= this.#sent) continue;
      this.#sent = seq;
      if (!this.#write(connection, { type: 'changed', seq, path, version })) return;
    }
  }

  #write(connection: Connection, frame: WatchFrame): boolean {
    const isTaken = connection.response.write(frameText(frame));
    if (!isTaken) connection.blockedSince ??= this.#now();
    return isTaken;
  }

  #forgetOldest(): void {
    const [oldest] = this.#changes;
    if (oldest === undefined) return;
    this.#changes.delete(oldest[0]);
    this.#floor = oldest[1].seq;
  }
}

function frameText(frame: WatchFrame): string {
  return `${JSON.stringify(frame)}\n`;
}
