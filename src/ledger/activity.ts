// How much was read and refused, and when: counters for steps of five minutes, so that a plot costs what it draws and not what happened.
// Guarantees: every entry counts once, because its counter is part of its transaction, also when it leaves no row of its own; an hour
// that is over becomes part of one record for its day, whatever comes late, so neither nodes nor time make a plot slow.

import { z } from 'zod';

import type { View, ViewOperation } from '../core/view.ts';
import { decodeRecord, encodeRecord } from '../lib/json-record.ts';
import { KeyedLock } from '../lib/keyed-lock.ts';
import { addCounts } from './fold.ts';
import { dayOf } from './history/block.ts';
import type { HistoryRow } from './history/row.ts';
import { namesBelow } from './names.ts';
import { digits } from './record.ts';

const HOURS_PER_DAY = 24;
const HOUR_MS = 3600_000;
export const DAY_MS = HOURS_PER_DAY * HOUR_MS;
/** Of one counter. */
export const STEP_MS = 5 * 60_000;
const STEPS_PER_DAY = DAY_MS / STEP_MS;
/** What a node still sends of an hour that is over mostly comes within this. */
const LATE_MS = 5 * 60_000;
/** The name of a day's record; those of hours are `<node>.<hour>`, so that the hours of one node lie side by side. */
const DAY_RECORD = 'day';

const count = z.number().int().min(0);
const recordSchema = z.strictObject({ format: z.literal(1), steps: z.array(z.tuple([z.number().int().min(0).max(STEPS_PER_DAY - 1), count, count, count])).max(STEPS_PER_DAY) });

/** Reads, opens that an agent turned away, and references that the core refused. */
export interface ActivityCounts { readonly opened: number; readonly refused: number; readonly denied: number }

/** By step of the day, from 0. */
type Steps = Map<number, ActivityCounts>;

export interface ActivityOptions {
  readonly view: View;
  readonly now: () => number;
  /** Days older than this are not counted, and deleted; in milliseconds. */
  readonly maxAgeMs: number;
}

export class Activity {
  readonly #view: View;
  readonly #now: () => number;
  readonly #maxAgeMs: number;
  /** Held while records of the hours of a node change. */
  readonly #nodes = new KeyedLock();
  /** Held while the record of a day changes, or is read together with its hours. */
  readonly #days = new KeyedLock();

  constructor({ view, now, maxAgeMs }: ActivityOptions) {
    this.#view = view;
    this.#now = now;
    this.#maxAgeMs = maxAgeMs;
  }

  /**
   * Counts rows of one node.
   * @param write stores the rows, and in the same transaction what it is given
   */
  async count(node: string, rows: readonly HistoryRow[], write: (operations: readonly ViewOperation[]) => Promise<void>): Promise<void> {
    await this.#nodes.run(node, async () => write(await this.#operations(node, rows)));
  }

  /** The counters of a day that are not zero, each with the beginning of its step in milliseconds since the epoch. @throws ERR_RECORD_INVALID */
  async ofDay(day: string): Promise<(readonly [number, ActivityCounts])[]> {
    return this.#days.run(day, async () => {
      const sum: Steps = new Map();
      for await (const name of namesBelow(this.#view, `activity/${day}/`)) addSteps(sum, await this.#read(`activity/${day}/${name}`));
      return [...sum].map(([step, counts]) => [Date.parse(day) + step * STEP_MS, counts] as const);
    });
  }

  /** Days with counters, in order. */
  async days(): Promise<string[]> {
    return (await this.#view.list('activity/')).map((day) => day.replace(/\/$/, ''));
  }

  /** Makes what is over part of its day. */
  async merge(): Promise<void> {
    for (const day of await this.days()) {
      const over = new Map<string, string[]>();
      for await (const name of namesBelow(this.#view, `activity/${day}/`)) {
        const [node = '', hour] = name.split('.');
        if (hour === undefined || Date.parse(day) + (Number(hour) + 1) * HOUR_MS + LATE_MS > this.#now()) continue;
        over.set(node, [...over.get(node) ?? [], `activity/${day}/${name}`]);
      }
      for (const [node, keys] of over) await this.#nodes.run(node, () => this.#days.run(day, () => this.#mergeInto(`activity/${day}/${DAY_RECORD}`, keys)));
    }
  }

  /** Deletes the days that are too old. */
  async prune(): Promise<void> {
    for (const day of await this.days()) {
      if (day >= this.#oldest()) return;
      for await (const name of namesBelow(this.#view, `activity/${day}/`)) await this.#view.delete(`activity/${day}/${name}`);
    }
  }

  async #mergeInto(dayKey: string, keys: readonly string[]): Promise<void> {
    const steps = await this.#read(dayKey);
    for (const key of keys) addSteps(steps, await this.#read(key));
    await this.#view.transaction([{ kind: 'put', key: dayKey, value: encode(steps) }, ...keys.map((key) => ({ kind: 'delete', key }) as const)]);
  }

  async #operations(node: string, rows: readonly HistoryRow[]): Promise<ViewOperation[]> {
    const oldest = this.#oldest();
    const hours = new Map<number, Steps>();
    for (const { at, entry } of rows) {
      if (entry.type !== 'opened' && entry.type !== 'refused' && entry.type !== 'denied') continue;
      const hour = Math.floor(at / HOUR_MS);
      let steps = hours.get(hour);
      if (steps === undefined) hours.set(hour, (steps = new Map<number, ActivityCounts>()));
      addStep(steps, Math.floor(at % DAY_MS / STEP_MS), { opened: 0, refused: 0, denied: 0, [entry.type]: entry.count });
    }
    const operations: ViewOperation[] = [];
    for (const [hour, steps] of hours) {
      const day = dayOf(hour * HOUR_MS);
      if (day < oldest) continue;
      const key = `activity/${day}/${node}.${digits(hour % HOURS_PER_DAY, 2)}`;
      addSteps(steps, await this.#read(key));
      operations.push({ kind: 'put', key, value: encode(steps) });
    }
    return operations;
  }

  async #read(key: string): Promise<Steps> {
    const bytes = await this.#view.get(key);
    if (bytes === undefined) return new Map();
    const { steps } = decodeRecord(bytes, recordSchema, 'record of activity');
    return new Map(steps.map(([step, opened, refused, denied]) => [step, { opened, refused, denied }]));
  }

  #oldest(): string {
    return dayOf(Math.max(0, this.#now() - this.#maxAgeMs));
  }
}

/** The sum of two. */
export function addActivity(a: ActivityCounts, b: ActivityCounts): ActivityCounts {
  return { opened: addCounts(a.opened, b.opened), refused: addCounts(a.refused, b.refused), denied: addCounts(a.denied, b.denied) };
}

function addSteps(sum: Steps, more: Steps): void {
  for (const [step, counts] of more) addStep(sum, step, counts);
}

function addStep(steps: Steps, step: number, counts: ActivityCounts): void {
  const known = steps.get(step);
  steps.set(step, known === undefined ? counts : addActivity(known, counts));
}

function encode(steps: Steps): Uint8Array {
  return encodeRecord({ format: 1, steps: [...steps].map(([step, { opened, refused, denied }]) => [step, opened, refused, denied]) });
}
