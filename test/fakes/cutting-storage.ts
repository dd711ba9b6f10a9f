// A store whose process dies at the n-th write: before it is applied, or after it was applied but before it was acknowledged. From
// then on nothing works any more; what was applied is in the store below.

import type { Storage, StorageOperation } from '../../src/storage/storage.ts';

export class CuttingStorage implements Storage {
  readonly #below: Storage;
  readonly #cutAt: number;
  readonly #isApplied: boolean;
  #isCut = false;
  /** Writes begun. */
  writes = 0;

  /** @param cutAt which write dies, from 1 */
  constructor(below: Storage, cutAt: number, isApplied: boolean) {
    this.#below = below;
    this.#cutAt = cutAt;
    this.#isApplied = isApplied;
  }

  get isCut(): boolean { return this.#isCut; }

  async get(key: string): Promise<Uint8Array | undefined> { this.#assertAlive(); return this.#below.get(key); }
  async list(prefix: string, page?: { readonly after?: string; readonly limit?: number }): Promise<string[]> { this.#assertAlive(); return this.#below.list(prefix, page); }
  put(key: string, value: Uint8Array): Promise<void> { return this.transaction([{ kind: 'put', key, value }]); }
  delete(key: string): Promise<void> { return this.transaction([{ kind: 'delete', key }]); }

  transaction(operations: readonly StorageOperation[]): Promise<void> { return this.#write(() => this.#below.transaction(operations)); }

  async replace(key: string, expected: Uint8Array, value: Uint8Array): Promise<boolean> {
    let isStored = false;
    await this.#write(async () => { isStored = await this.#below.replace(key, expected, value); });
    return isStored;
  }

  async #write(apply: () => Promise<void>): Promise<void> {
    this.#assertAlive();
    this.writes += 1;
    this.#isCut = this.writes === this.#cutAt;
    if (!this.#isCut || this.#isApplied) await apply();
    this.#assertAlive();
  }

  #assertAlive(): void {
    if (this.#isCut) throw new Error('the process died here');
  }
}
