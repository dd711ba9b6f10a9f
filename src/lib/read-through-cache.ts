// A bounded least-recently-used cache over slow reads that never serves what a writer replaced: a load that was under way
// when anything was forgotten is returned to its caller but not kept. Writers forget() before their write, and afterwards forget()
// again or, when it is known to have happened, put() what they wrote.

export class ReadThroughCache<V> {
  readonly #entries = new Map<string, V>();
  readonly #capacity: number;
  #epoch = 0;

  /** @param capacity the largest number of entries kept */
  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  /** The kept value, which becomes the most recently used one. */
  get(key: string): V | undefined {
    const value = this.#entries.get(key);
    // While there is much room nothing is dropped soon, so the order does not matter yet.
    if (value === undefined || this.#entries.size * 2 < this.#capacity) return value;
    this.#entries.delete(key);
    this.#entries.set(key, value);
    return value;
  }

  /** Runs `load` and keeps what it returns, unless it is undefined or a writer came in between. */
  async load(key: string, load: () => Promise<V | undefined>): Promise<V | undefined> {
    const epoch = this.#epoch;
    const value = await load();
    if (value !== undefined && epoch === this.#epoch) this.#keep(key, value);
    return value;
  }

  /** Drops `key` and every load under way. */
  forget(key: string): void {
    this.#epoch++;
    this.#entries.delete(key);
  }

  /** Keeps what a writer has stored, and drops every load under way. */
  put(key: string, value: V): void {
    this.#epoch++;
    this.#keep(key, value);
  }

  /** Drops what fits, by looking at all that is kept, and every load under way. */
  forgetWhere(fits: (value: V) => boolean): void {
    this.#epoch++;
    for (const [key, value] of this.#entries) if (fits(value)) this.#entries.delete(key);
  }

  #keep(key: string, value: V): void {
    this.#entries.delete(key);
    this.#entries.set(key, value);
    if (this.#entries.size <= this.#capacity) return;
    const oldest = this.#entries.keys().next();
    if (oldest.done !== true) this.#entries.delete(oldest.value);
  }
}
