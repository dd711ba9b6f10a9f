// How long the manager may be kept waiting for a core that is slow or away. Swarm's dispatcher asks one secret after the other and
// everything else waits for it, so a bound for each answer is none for all of them: the waiting itself is rationed. When the ration is used up,
// answers are refused at once until enough of it has come back; Swarm then makes new tasks by the service's restart policy.

/** An answer within this time is free. */
const FREE_MS = 50;
const CAPACITY_MS = 5000;
/** What comes back in a millisecond: at most a fifth of the time is spent waiting. */
const REFILL = 0.2;
/** Less is not worth asking. */
const LEAST_MS = 1000;

export class WaitBudget {
  readonly #now: () => number;
  readonly #longestMs: number;
  #left = CAPACITY_MS;
  #at: number;

  /**
   * @param longestMs bound of one answer
   * @param now monotonic milliseconds
   */
  constructor(longestMs: number, now: () => number = () => performance.now()) {
    this.#longestMs = longestMs;
    this.#now = now;
    this.#at = now();
  }

  /** Milliseconds that the next answer may take; undefined when none may. */
  next(): number | undefined {
    this.#refill();
    return this.#left < LEAST_MS ? undefined : Math.min(this.#longestMs, this.#left);
  }

  /** Counts what an answer took. */
  spent(milliseconds: number): void {
    this.#refill();
    this.#left = Math.max(0, this.#left - Math.max(0, milliseconds - FREE_MS));
  }

  /** The core is there again: it may be asked once, whatever it took before. */
  renew(): void {
    this.#left = Math.max(this.#left, LEAST_MS);
  }

  #refill(): void {
    const now = this.#now();
    this.#left = Math.min(CAPACITY_MS, this.#left + (now - this.#at) * REFILL);
    this.#at = now;
  }
}
