// Remembers the last results of a pure function of a short text. Bounded, whatever strangers ask for: when it is full it begins
// anew, which costs no more than having none, and long texts are not kept.

const MAX_LENGTH = 256;

export class Memo {
  readonly #compute: (text: string) => string;
  readonly #capacity: number;
  readonly #results = new Map<string, string>();

  /** @param capacity the largest number of results kept */
  constructor(capacity: number, compute: (text: string) => string) {
    this.#capacity = capacity;
    this.#compute = compute;
  }

  get(text: string): string {
    if (text.length > MAX_LENGTH) return this.#compute(text);
    let result = this.#results.get(text);
    if (result === undefined) {
      result = this.#compute(text);
      if (this.#results.size >= this.#capacity) this.#results.clear();
      this.#results.set(text, result);
    }
    return result;
  }
}
