// Tells operators. Guarantees: an event that was stored is tried until it is taken, over restarts, for a day; the same about the
// same subject is told once an hour, with the number of repeats; the queue and the memory are bounded, and what does not fit is
// counted and logged. Nobody waits for it: a receiver that is away slows nothing down.

import { randomUUID } from 'node:crypto';
import type { Logger } from 'pino';
import { z } from 'zod';

import type { View } from '../../core/view.ts';
import { messageOf } from '../../lib/errors.ts';
import { decodeRecord, encodeRecord } from '../../lib/json-record.ts';
import { Counts, single, type Family } from '../../lib/metrics.ts';
import { deliver, type NotifyTarget } from './delivery.ts';
import { EVENT_TYPES, type NewEvent, type NotifyEvent } from './event.ts';

const MAX_QUEUED = 1_000;
const MAX_SUBJECTS = 10_000;
const QUIET_MS = 3600_000;
const FIRST_RETRY_MS = 5_000;
const MAX_RETRY_MS = 10 * 60_000;
const GIVE_UP_MS = 24 * 3600_000;

const queuedSchema = z.strictObject({
  format: z.literal(1), target: z.string(), created: z.number().int(),
  event: z.strictObject({ id: z.string(), type: z.enum(EVENT_TYPES), time: z.string(), count: z.number().int(), details: z.record(z.string(), z.json()) }),
});
interface Queued { readonly key: string; readonly target: string; readonly created: number; readonly event: NotifyEvent }

export interface NotifierOptions {
  readonly view: View;
  readonly targets: readonly NotifyTarget[];
  readonly now: () => number;
  readonly log: Logger;
  /** Milliseconds before the second try, doubled each time; tests shorten it. */
  readonly retryMs?: number;
}

export class Notifier {
  readonly #options: NotifierOptions;
  /** By target, the oldest first. */
  readonly #queues = new Map<string, Queued[]>();
  readonly #loops = new Set<Promise<void>>();
  readonly #running = new Set<string>();
  readonly #subjects = new Map<string, { since: number; suppressed: number }>();
  readonly #outcomes = new Counts('target', 'outcome');
  readonly #stop = new AbortController();
  /** Notifications that take a place in the queues, also while they are being stored. */
  #waiting = 0;
  #dropped = 0;
  #sequence = 0;

  private constructor(options: NotifierOptions) {
    this.#options = options;
  }

  /** Goes on with what is still queued. @throws ERR_RECORD_INVALID, ERR_BARRIER_* */
  static async open(options: NotifierOptions): Promise<Notifier> {
    const notifier = new Notifier(options);
    const names = new Set(options.targets.map(({ name }) => name));
    for (const key of await options.view.list('')) {
      const bytes = await options.view.get(key);
      if (bytes === undefined) continue;
      const { target, created, event } = decodeRecord(bytes, queuedSchema, 'notification');
      if (!names.has(target)) {
        await options.view.delete(key);
        continue;
      }
      notifier.#waiting++;
      notifier.#queue(target).push({ key, target, created, event });
    }
    for (const target of options.targets) notifier.#start(target);
    return notifier;
  }

  /** Whether anybody is to be told of anything. */
  get isOn(): boolean {
    return this.#options.targets.length > 0;
  }

  /** Tells of an event; never throws and never waits. */
  notify({ type, subject, details }: NewEvent): void {
    const { targets, now } = this.#options;
    const wanted = targets.filter(({ events }) => events.includes(type));
    if (wanted.length === 0 || this.#stop.signal.aborted) return;
    const count = this.#count(`${type}\0${subject}`);
    if (count === 0) return;
    const event: NotifyEvent = { id: randomUUID(), type, time: new Date(now()).toISOString(), count, details };
    for (const target of wanted) void this.#enqueue(target, event);
  }

  families(): Family[] {
    return [
      { name: 'purser_notifications_total', help: 'Notifications by target and outcome', type: 'counter', values: this.#outcomes.values() },
      single('purser_notifications_queued', 'Notifications that are still to be delivered', 'gauge', this.#waiting),
      single('purser_notifications_dropped_total', 'Notifications that found no room or no receiver for a day', 'counter', this.#dropped),
    ];
  }

  /** Leaves what is queued to the next start. */
  async close(): Promise<void> {
    this.#stop.abort();
    await Promise.race([Promise.all(this.#loops), pause(2_000)]);
  }

  /** 0: it is too soon to tell of this subject again. */
  #count(key: string): number {
    const now = this.#options.now();
    const known = this.#subjects.get(key);
    if (known !== undefined && now < known.since + QUIET_MS) {
      known.suppressed++;
      return 0;
    }
    this.#subjects.delete(key);
    this.#subjects.set(key, { since: now, suppressed: 0 });
    if (this.#subjects.size > MAX_SUBJECTS) for (const [oldest] of this.#subjects) { this.#subjects.delete(oldest); break; }
    return 1 + (known?.suppressed ?? 0);
  }

  async #enqueue(target: NotifyTarget, event: NotifyEvent): Promise<void> {
    const { view, now, log } = this.#options;
    if (this.#waiting >= MAX_QUEUED) {
      if (this.#dropped++ === 0) log.error({ target: target.name }, 'notifications are dropped: too many wait for their receivers');
      return;
    }
    this.#waiting++;
    const created = now();
    const key = `${String(created).padStart(13, '0')}.${String(++this.#sequence).padStart(8, '0')}.${event.id}`;
    await view.put(key, encodeRecord({ format: 1, target: target.name, created, event }))
      .catch((error: unknown) => { log.warn({ reason: messageOf(error) }, 'a notification could not be stored; it is lost if the core stops before it is delivered'); });
    // Behind the write: what is delivered at once must not be stored after it was removed.
    this.#queue(target.name).push({ key, target: target.name, created, event });
    this.#start(target);
  }

  #start(target: NotifyTarget): void {
    if (this.#running.has(target.name) || this.#stop.signal.aborted) return;
    this.#running.add(target.name);
    const loop: Promise<void> = this.#deliverAll(target).finally(() => {
      this.#running.delete(target.name);
      this.#loops.delete(loop);
    });
    this.#loops.add(loop);
  }

  async #deliverAll(target: NotifyTarget): Promise<void> {
    const { view, now, log, retryMs = FIRST_RETRY_MS } = this.#options;
    const queue = this.#queue(target.name);
    let failures = 0;
    for (let first = queue[0]; first !== undefined && !this.#stop.signal.aborted; first = queue[0]) {
      try {
        await deliver(target, first.event, now());
        this.#outcomes.add(target.name, 'ok');
        failures = 0;
      } catch (error) {
        this.#outcomes.add(target.name, 'failed');
        if (failures++ === 0) log.warn({ target: target.name, event: first.event.type, reason: messageOf(error) }, 'a notification could not be delivered; it is tried again');
        if (now() - first.created < GIVE_UP_MS) {
          await pause(Math.min(MAX_RETRY_MS, retryMs * 2 ** Math.min(failures - 1, 16)) * (0.5 + Math.random() / 2), this.#stop.signal);
          continue;
        }
        this.#dropped++;
        log.error({ target: target.name, event: first.event.type }, 'a notification found no receiver for a day and is dropped');
      }
      queue.shift();
      this.#waiting--;
      await view.delete(first.key).catch((error: unknown) => { log.warn({ reason: messageOf(error) }, 'a delivered notification could not be removed; it is sent again after a restart'); });
    }
  }

  #queue(target: string): Queued[] {
    let queue = this.#queues.get(target);
    if (queue === undefined) this.#queues.set(target, (queue = []));
    return queue;
  }
}

function pause(milliseconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, milliseconds).unref();
    function done(): void {
      clearTimeout(timer);
      signal?.removeEventListener('abort', done);
      resolve();
    }
    signal?.addEventListener('abort', done, { once: true });
  });
}
