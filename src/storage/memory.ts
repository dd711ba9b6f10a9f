// Storage in memory, for `--dev` and tests: gone with the process, otherwise with every guarantee of storage.ts. A tree of
// folders held in Maps, so that listing one folder costs that folder only and no key can touch an object prototype.

import { PurserError } from '../lib/errors.ts';
import { assertChildName, assertStorageKey, assertStoragePrefix } from './storage.ts';
import type { ClosableStorage, StorageOperation } from './storage.ts';

class Folder {
  readonly values = new Map<string, Uint8Array>();
  readonly folders = new Map<string, Folder>();

  get isEmpty(): boolean {
    return this.values.size === 0 && this.folders.size === 0;
  }
}

export class MemoryStorage implements ClosableStorage {
  readonly #root = new Folder();
  #isClosed = false;

  async get(key: string): Promise<Uint8Array | undefined> {
    this.#check(key);
    const { folders, name } = split(key);
    const value = this.#find(folders)?.values.get(name);
    return value && Uint8Array.from(value);
  }

  async put(key: string, value: Uint8Array): Promise<void> {
    await this.transaction([{ kind: 'put', key, value }]);
  }

  async delete(key: string): Promise<void> {
    await this.transaction([{ kind: 'delete', key }]);
  }

  async list(prefix: string, page: { readonly after?: string; readonly limit?: number } = {}): Promise<string[]> {
    this.#assertOpen();
    assertStoragePrefix(prefix);
    if (page.after !== undefined) assertChildName(page.after);
    const folder = this.#find(prefix.split('/').slice(0, -1));
    if (folder === undefined) return [];
    const after = Buffer.from(page.after ?? '');
    return [...folder.values.keys(), ...[...folder.folders.keys()].map((name) => `${name}/`)]
      .map((name) => Buffer.from(name))
      .filter((name) => name.compare(after) > 0)
      .sort((a, b) => a.compare(b)) // byte order, which differs from the order of UTF-16 strings
      .slice(0, page.limit)
      .map((name) => name.toString());
  }

  async transaction(operations: readonly StorageOperation[]): Promise<void> {
    this.#assertOpen();
    for (const { key } of operations) assertStorageKey(key);
    for (const operation of operations) {
      const { folders, name } = split(operation.key);
      if (operation.kind === 'put') this.#makeFolder(folders).values.set(name, Uint8Array.from(operation.value));
      else removeValue(this.#root, folders, name);
    }
  }

  async replace(key: string, expected: Uint8Array, value: Uint8Array): Promise<boolean> {
    this.#check(key);
    const { folders, name } = split(key);
    const values = this.#find(folders)?.values;
    const stored = values?.get(name);
    if (values === undefined || stored === undefined || !Buffer.from(stored).equals(expected)) return false;
    values.set(name, Uint8Array.from(value));
    return true;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
  }

  #check(key: string): void {
    this.#assertOpen();
    assertStorageKey(key);
  }

  #assertOpen(): void {
    if (this.#isClosed) throw new PurserError('ERR_STORAGE_CLOSED', 'the store is closed');
  }

  #find(path: readonly string[]): Folder | undefined {
    let folder: Folder | undefined = this.#root;
    for (const name of path) folder = folder?.folders.get(name);
    return folder;
  }

  #makeFolder(path: readonly string[]): Folder {
    let folder = this.#root;
    for (const name of path) {
      let child = folder.folders.get(name);
      if (child === undefined) folder.folders.set(name, child = new Folder());
      folder = child;
    }
    return folder;
  }
}

function split(key: string): { folders: string[]; name: string } {
  const folders = key.split('/');
  const name = folders.pop()!;
  return { folders, name };
}

/** Removes the value, and on the way back every folder that became empty: an empty folder is not listed. */
function removeValue(folder: Folder, path: readonly string[], name: string): void {
  const [first, ...rest] = path;
  if (first === undefined) {
    folder.values.delete(name);
    return;
  }
  const child = folder.folders.get(first);
  if (child === undefined) return;
  removeValue(child, rest, name);
  if (child.isEmpty) folder.folders.delete(first);
}
