// A mutex per string key, for read-modify-write sequences inside one process. First come, first served per key; different
// keys never wait for each other; memory is held only for keys in use. It is not re-entrant.

export class KeyedLock {
  readonly #tails = new Map<string, Promise<void>>();

  /** Runs `action` when no other action holds `key`; a failing action releases it like any other. */
  async run<T>(key: string, action: () => Promise<T>): Promise<T> {
    const before = this.#tails.get(key);
    let release!: () => void;
    const mine = new Promise<void>((resolve) => { release = resolve; });
    this.#tails.set(key, mine);
    try {
      await before;
      return await action();
    } finally {
      if (this.#tails.get(key) === mine) this.#tails.delete(key);
      release();
    }
  }
}
