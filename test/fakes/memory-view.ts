// A View over a Map, with the semantics of core/view.ts: copies in and out, sorted lists, whole transactions. It can be
// told to fail after some writes, as a full disk or a crash would, and it counts what was read.

import type { View, ViewOperation } from '../../src/core/view.ts';

interface Shared {
  readonly records: Map<string, Buffer>;
  writesLeft: number;
  gets: number;
}

export class MemoryView implements View {
  readonly #shared: Shared;
  readonly #prefix: string;

  constructor(shared: Shared = { records: new Map(), writesLeft: Infinity, gets: 0 }, prefix = '') {
    this.#shared = shared;
    this.#prefix = prefix;
  }

  /** Everything stored, by full key; for assertions. */
  get records(): ReadonlyMap<string, Buffer> {
    return this.#shared.records;
  }

  get gets(): number {
    return this.#shared.gets;
  }

  /** The next `writes` writes succeed, all later ones fail until this is called again. A transaction counts as one write. */
  failAfter(writes: number): void {
    this.#shared.writesLeft = writes;
  }

  async get(key: string): Promise<Uint8Array | undefined> {
    this.#shared.gets++;
    await Promise.resolve();
    const value = this.#shared.records.get(this.#prefix + key);
    return value === undefined ? undefined : Buffer.from(value);
  }

  put(key: string, value: Uint8Array): Promise<void> {
    return this.transaction([{ kind: 'put', key, value }]);
  }

  delete(key: string): Promise<void> {
    return this.transaction([{ kind: 'delete', key }]);
  }

  async transaction(operations: readonly ViewOperation[]): Promise<void> {
    const copies = operations.map((o) => (o.kind === 'put' ? { ...o, value: Buffer.from(o.value) } : o));
    await new Promise((resolve) => { setImmediate(resolve); });
    if (this.#shared.writesLeft <= 0) throw new Error('the fake view was told to fail');
    this.#shared.writesLeft--;
    for (const operation of copies) {
      if (operation.kind === 'put') this.#shared.records.set(this.#prefix + operation.key, operation.value);
      else this.#shared.records.delete(this.#prefix + operation.key);
    }
  }

  async list(prefix: string, page: { readonly after?: string; readonly limit?: number } = {}): Promise<string[]> {
    await Promise.resolve();
    const start = this.#prefix + prefix;
    const names = new Set<string>();
    for (const key of this.#shared.records.keys()) {
      if (!key.startsWith(start) || key.length === start.length) continue;
      const rest = key.slice(start.length);
      const slash = rest.indexOf('/');
      names.add(slash < 0 ? rest : rest.slice(0, slash + 1));
    }
    const sorted = [...names].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    const { after } = page;
    const rest = after === undefined ? sorted : sorted.filter((name) => Buffer.compare(Buffer.from(name), Buffer.from(after)) > 0);
    return rest.slice(0, page.limit ?? rest.length);
  }

  sub(prefix: string): View {
    return new MemoryView(this.#shared, this.#prefix + prefix);
  }
}
