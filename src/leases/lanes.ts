// Bounded concurrency per mount: each has a lane of a few places. A lane whose work does not end soon is passed over for the rest
// of the round, so that a hanging engine holds up its own work only. A round takes at most a tenth of the time.

import { setTimeout as delay } from 'node:timers/promises';

const PLACES = 16;
/** How long a round waits for a place in a full lane, in milliseconds. */
const PATIENCE_MILLISECONDS = 250;
const SHARE = 10;

export class Lanes {
  readonly #lanes = new Map<string, Map<string, Promise<void>>>();
  readonly #underWay = new Set<string>();
  #passedOver = new Set<string>();
  #isRunning = false;
  #restUntil = 0;

  /** Runs one round, unless there is one or the last one took long and was a moment ago. */
  async exclusively(round: () => Promise<void>): Promise<void> {
    const start = performance.now();
    if (this.#isRunning || start < this.#restUntil) return;
    this.#isRunning = true;
    this.#passedOver = new Set();
    try {
      await round();
    } finally {
      this.#isRunning = false;
      const end = performance.now();
      if (this.#passedOver.size > 0) this.#restUntil = end + (end - start) * SHARE;
    }
  }

  isUnderWay(name: string): boolean {
    return this.#underWay.has(name);
  }

  /** Starts `work`, which never rejects, in a lane; or passes it over when the lane stays full. */
  async start(lane: string, name: string, work: () => Promise<void>): Promise<void> {
    if (this.#passedOver.has(lane)) return;
    const places = this.#lanes.get(lane) ?? new Map<string, Promise<void>>();
    if (places.size >= PLACES) await Promise.race([...places.values(), delay(PATIENCE_MILLISECONDS, undefined, { ref: false })]);
    if (places.size >= PLACES) {
      this.#passedOver.add(lane);
      return;
    }
    this.#lanes.set(lane, places);
    this.#underWay.add(name);
    places.set(name, work().finally(() => {
      this.#underWay.delete(name);
      places.delete(name);
      if (places.size === 0) this.#lanes.delete(lane);
    }));
  }

  async settled(): Promise<void> {
    await Promise.all([...this.#lanes.values()].flatMap((places) => [...places.values()]));
  }
}
