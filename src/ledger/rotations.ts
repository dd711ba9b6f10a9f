// Rotations under way, for the page that shows them and the alarm for those that get stuck: told of every new version and of
// everything the ledger takes, it counts anew how many of the holders have the new version. Those that somebody has not taken yet
// are on disk and go on after a restart of the core.

import { setImmediate as turn } from 'node:timers/promises';

import type { HistoryRow } from './history/row.ts';
import { pathsOf } from './history/row.ts';
import { rotationStatus, stateOf, type RotationStatus } from './query/rotation-status.ts';
import type { HoldingSources } from './query/sources.ts';
import type { RotationRecords } from './rotation-records.ts';

export interface Rotation extends RotationStatus {
  /** Milliseconds since the epoch. */
  readonly started: number;
  /** When all that can follow in place had the new version; undefined while some have not. */
  readonly finished: number | undefined;
}

/** 0: none is left. `created` is milliseconds since the epoch. */
export interface CurrentVersion { readonly version: number; readonly created: number }

export interface RotationsOptions {
  readonly sources: HoldingSources;
  readonly records: RotationRecords;
  /** Of a secret by its full logical path; undefined when there is none. */
  readonly currentVersion: (path: string) => Promise<CurrentVersion | undefined>;
  readonly now: () => number;
  readonly onProgress: (rotation: Rotation) => void;
  readonly onFault: (error: unknown) => void;
}

/** Of all that are followed; the oldest is forgotten first. */
const MAX_FOLLOWED = 1_000;
/** Holdings looked at after a start. */
const MAX_LOOKED_AT = 100_000;
const LOOKED_AT_ONCE = 64;
/** A finished one is still shown for so long. */
const SHOWN_MS = 10 * 60_000;
/** Counting waits so long for more to come … */
const GATHER_MS = 50;
/** … and, with very many holders, so many times as long as it took. */
const REST_FACTOR = 2;

interface Followed { rotation: Rotation; timer: NodeJS.Timeout | undefined; restMs: number; counting: Promise<void> }

export class Rotations {
  readonly #options: RotationsOptions;
  readonly #followed = new Map<string, Followed>();
  #isClosed = false;

  constructor(options: RotationsOptions) {
    this.#options = options;
  }

  /** Goes on with those that were under way when the core stopped. @throws ERR_RECORD_INVALID */
  async resume(): Promise<void> {
    for (const { path, version, started } of await this.#options.records.load()) {
      const current = await this.#options.currentVersion(path);
      if (current === undefined || current.version === 0) await this.#options.records.drop(path);
      // A newer version may have been written without a record of it.
      else this.#follow(path, current.version, current.version === version ? started : current.created);
    }
  }

  /** Looks for those that have no record, because the core stopped between a new version and the first count: who holds an old one tells of them. */
  async discover(): Promise<void> {
    const { sources, currentVersion } = this.#options;
    const known = new Map<string, CurrentVersion | undefined>();
    let looked = 0;
    for await (const { found } of sources.live({}, undefined)) {
      for (const { holding } of found) {
        const { path } = holding;
        if (!known.has(path)) known.set(path, await currentVersion(path));
        const { version = 0, created = 0 } = known.get(path) ?? {};
        if (version !== 0 && holding.released === null && stateOf(holding, version) === 'behind' && !this.#followed.has(path)) this.#follow(path, version, created);
        // Reads of an embedded store do not let go of the thread by themselves.
        if (++looked % LOOKED_AT_ONCE === 0) await turn();
      }
      if (this.#isClosed || looked > MAX_LOOKED_AT) return;
    }
  }

  /** A secret has a new version, which is durable (0: none is left, so nothing rotates). */
  changed(path: string, version: number): void {
    this.#forget(path);
    if (this.#isClosed) return;
    if (version === 0) this.#drop(path);
    else this.#follow(path, version, this.#options.now());
  }

  /** The ledger took rows. */
  noticed(rows: readonly HistoryRow[]): void {
    if (this.#followed.size === 0) return;
    for (const { entry } of rows) {
      if (entry.type === 'released') for (const followed of this.#followed.values()) this.#plan(followed, followed.restMs);
      if (entry.type !== 'rotated' && entry.type !== 'granted') continue;
      for (const path of pathsOf(entry)) {
        const followed = this.#followed.get(path);
        if (followed !== undefined) this.#plan(followed, followed.restMs);
      }
    }
  }

  /** Those under way and those that finished a moment ago, the newest first. */
  list(): readonly Rotation[] {
    const now = this.#options.now();
    for (const [path, { rotation }] of this.#followed) if (rotation.finished !== undefined && now - rotation.finished > SHOWN_MS) this.#forget(path);
    return [...this.#followed.values()].map(({ rotation }) => rotation).filter(({ total }) => total > 0).sort((a, b) => b.started - a.started);
  }

  close(): void {
    this.#isClosed = true;
    for (const path of [...this.#followed.keys()]) this.#forget(path);
  }

  #follow(path: string, version: number, started: number): void {
    const followed: Followed = { rotation: { path, version, total: 0, current: 0, needRestart: 0, started, finished: undefined }, timer: undefined, restMs: GATHER_MS, counting: Promise.resolve() };
    this.#followed.set(path, followed);
    if (this.#followed.size > MAX_FOLLOWED) {
      for (const [oldest] of this.#followed) {
        this.#forget(oldest);
        this.#drop(oldest);
        break;
      }
    }
    this.#plan(followed, 0);
  }

  #drop(path: string): void {
    this.#options.records.drop(path).catch(this.#options.onFault);
  }

  #forget(path: string): void {
    clearTimeout(this.#followed.get(path)?.timer);
    this.#followed.delete(path);
  }

  #plan(followed: Followed, milliseconds: number): void {
    if (followed.rotation.finished !== undefined) return;
    followed.timer ??= setTimeout(() => {
      // Free again before it counts: what comes meanwhile is counted by the next one.
      followed.timer = undefined;
      followed.counting = followed.counting.then(() => this.#count(followed)).catch(this.#options.onFault);
    }, milliseconds).unref();
  }

  async #count(followed: Followed): Promise<void> {
    const { sources, records, now, onProgress } = this.#options;
    const { path, version, started } = followed.rotation;
    const began = performance.now();
    const status = await rotationStatus(sources, path, version);
    followed.restMs = Math.max(GATHER_MS, REST_FACTOR * (performance.now() - began));
    if (this.#followed.get(path) !== followed) return;
    const isFinished = status.current + status.needRestart === status.total;
    if (status.total === 0) this.#forget(path);
    else onProgress(followed.rotation = { ...status, started, finished: isFinished ? now() : undefined });
    await (isFinished ? records.drop(path) : records.keep({ path, version, started }));
  }
}
