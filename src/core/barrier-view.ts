// A view of the barrier: plain concatenation of a fixed prefix and a checked key. '..' means nothing below, so there is no
// way out; the relative part is checked on its own, because 'x/' + '' or 'x/' + '/y' would be keys nobody can list.

import { assertStorageKey, assertStoragePrefix } from '../storage/storage.ts';
import type { View, ViewOperation } from './view.ts';

/** What a view stands on: the barrier, which takes full paths. */
type Barrier = Omit<View, 'sub'>;

export class BarrierView implements View {
  readonly #barrier: Barrier;
  readonly #prefix: string;

  /** @param prefix checked by the caller: not empty, ends in '/' */
  constructor(barrier: Barrier, prefix: string) {
    this.#barrier = barrier;
    this.#prefix = prefix;
  }

  async get(key: string): Promise<Uint8Array | undefined> {
    return this.#barrier.get(this.#path(key));
  }

  async put(key: string, value: Uint8Array): Promise<void> {
    return this.#barrier.put(this.#path(key), value);
  }

  async delete(key: string): Promise<void> {
    return this.#barrier.delete(this.#path(key));
  }

  async list(prefix: string, page?: { readonly after?: string; readonly limit?: number }): Promise<string[]> {
    assertStoragePrefix(prefix);
    return this.#barrier.list(this.#prefix + prefix, page);
  }

  async transaction(operations: readonly ViewOperation[]): Promise<void> {
    return this.#barrier.transaction(operations.map((operation) => ({ ...operation, key: this.#path(operation.key) })));
  }

  sub(prefix: string): View {
    assertStoragePrefix(prefix);
    return new BarrierView(this.#barrier, this.#prefix + prefix);
  }

  #path(key: string): string {
    assertStorageKey(key);
    return this.#prefix + key;
  }
}
