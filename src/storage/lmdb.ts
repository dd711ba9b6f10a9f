// Storage in one LMDB file. A resolved promise means on disk: writes that arrive in one turn of the event loop (turn.ts) share one
// synchronous transaction, which LMDB ends with fdatasync before the meta page and again with it. lmdb-js's own asynchronous
// writer is not used: it cannot make room before a commit (lmdb-space.ts) nor tell one failed write from its neighbours. The
// price is that the event loop waits for the disk once per group of writes; a single write is twice as fast.

import { join } from 'node:path';

import { PurserError, isPurserError, messageOf } from '../lib/errors.ts';
import type { FileLock } from '../lib/file-lock.ts';
import { atEndOfTurn } from '../lib/turn.ts';
import { lockDataDirectory } from './data-directory-lock.ts';
import { checkDataFile, markDataFile } from './lmdb-file.ts';
import { LmdbSpace, isFull } from './lmdb-space.ts';
import type { LmdbStats } from './lmdb-space.ts';
import { assertChildName, assertStorageKey, assertStoragePrefix } from './storage.ts';
import type { ClosableStorage, StorageOperation } from './storage.ts';
import type { RangeOptions, RootDatabase } from 'lmdb';

type Database = RootDatabase<Buffer, Buffer>;

/** Names collected between two turns of the event loop by list(). */
const LIST_CHUNK = 4_096;

const SLASH = '/';
/** The character after '/' in byte order: `x0` is the first key behind everything in folder `x/`. */
const AFTER_SLASH = '0';

interface Write {
  readonly operations: readonly StorageOperation[];
  /** What must be stored for the operations to be applied; undefined: they always are. */
  readonly condition: Condition | undefined;
  readonly resolve: (isApplied: boolean) => void;
  readonly reject: (error: unknown) => void;
}

interface Condition {
  readonly key: string;
  readonly expected: Uint8Array;
}

export class LmdbStorage implements ClosableStorage {
  readonly #database: Database;
  readonly #space: LmdbSpace;
  readonly #lock: FileLock;
  #waiting: Write[] = [];
  #isClosed = false;
  #failure: PurserError | undefined;

  private constructor(database: Database, space: LmdbSpace, lock: FileLock) {
    this.#database = database;
    this.#space = space;
    this.#lock = lock;
  }

  /**
   * Opens the store in `directory`, or makes a new one.
   * @throws ERR_STORAGE_LOCKED, ERR_STORAGE_FAILED, ERR_STORAGE_FULL; ERR_STATE_CORRUPT when the files are damaged
   */
  static async open(options: { readonly directory: string }): Promise<LmdbStorage> {
    const { directory } = options;
    const lock = lockDataDirectory(directory);
    try {
      return new LmdbStorage(await openDatabase(directory), new LmdbSpace(join(directory, 'data.mdb')), lock);
    } catch (error) {
      lock.release();
      throw storageError(error, 'the store could not be opened');
    }
  }

  async get(key: string): Promise<Uint8Array | undefined> {
    this.#assertOpen();
    assertStorageKey(key);
    return this.#read(() => this.#database.get(Buffer.from(key)));
  }

  put(key: string, value: Uint8Array): Promise<void> {
    return this.transaction([{ kind: 'put', key, value }]);
  }

  delete(key: string): Promise<void> {
    return this.transaction([{ kind: 'delete', key }]);
  }

  async transaction(operations: readonly StorageOperation[]): Promise<void> {
    await this.#write(operations);
  }

  replace(key: string, expected: Uint8Array, value: Uint8Array): Promise<boolean> {
    return this.#write([{ kind: 'put', key, value }], { key, expected: Uint8Array.from(expected) });
  }

  async list(prefix: string, page: { readonly after?: string; readonly limit?: number } = {}): Promise<string[]> {
    assertStoragePrefix(prefix);
    if (page.after !== undefined) assertChildName(page.after);
    const limit = page.limit ?? Number.POSITIVE_INFINITY;
    const names: string[] = [];
    let after = page.after;
    for (;;) {
      this.#assertOpen();
      const wanted = Math.min(LIST_CHUNK, limit - names.length);
      const chunk = this.#read(() => this.#collectNames(prefix, after, wanted));
      for (const name of chunk) names.push(name);
      if (chunk.length < wanted || names.length >= limit) return names;
      after = chunk.at(-1);
      await new Promise(setImmediate); // a folder of any size must not stop the server
    }
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#commitWaiting();
    await this.#database.close();
    this.#space.close();
    this.#lock.release();
  }

  /** @returns whether the operations were applied */
  async #write(operations: readonly StorageOperation[], condition?: Condition): Promise<boolean> {
    this.#assertOpen();
    for (const { key } of operations) assertStorageKey(key);
    const copies = operations.map((operation) => operation.kind === 'put'
      ? { ...operation, value: Buffer.from(operation.value) } // the caller may reuse its bytes before the commit
      : operation);
    return new Promise<boolean>((resolve, reject) => {
      if (this.#waiting.push({ operations: copies, condition, resolve, reject }) === 1) atEndOfTurn(() => this.#commitWaiting());
    });
  }

  /** Up to `limit` children behind `after`. A child folder costs one seek, however much it holds. */
  #collectNames(prefix: string, after: string | undefined, limit: number): string[] {
    const names: string[] = [];
    let range: RangeOptions | undefined = rangeBehind(prefix, after);
    while (range !== undefined && names.length < limit) {
      const current: RangeOptions = range;
      range = undefined;
      for (const key of this.#database.getKeys(current)) {
        const rest: string = key.toString('utf8').slice(prefix.length);
        const slash = rest.indexOf(SLASH);
        const name = slash < 0 ? rest : rest.slice(0, slash + 1);
        names.push(name);
        if (slash >= 0) range = rangeBehind(prefix, name);
        if (slash >= 0 || names.length === limit) break;
      }
    }
    return names;
  }

  /** One transaction for everything that waits. If there is no room for all, each write gets its own: one must not fail the others. */
  #commitWaiting(): void {
    const writes = this.#waiting;
    this.#waiting = [];
    if (writes.length === 0 || this.#settle(writes) || writes.length === 1) return;
    for (const write of writes) this.#settle([write]);
  }

  /** Commits and tells the callers. @returns false when several writes failed together and nobody was told */
  #settle(writes: readonly Write[]): boolean {
    let applied: ReadonlySet<Write>;
    try {
      applied = this.#commit(writes);
    } catch (error) {
      if (writes.length === 1) writes[0]!.reject(storageError(error, 'the write failed'));
      return false;
    }
    for (const write of writes) write.resolve(applied.has(write));
    return true;
  }

  /** @returns the writes whose condition held, in the order of the calls */
  #commit(writes: readonly Write[]): Set<Write> {
    if (this.#failure !== undefined) throw this.#failure;
    this.#database.resetReadTxn(); // an old snapshot would keep freed pages from being used again
    this.#space.makeRoom(this.#database.getStats() as LmdbStats, writes.flatMap(({ operations }) => operations));
    const applied = new Set<Write>();
    try {
      this.#database.transactionSync(() => {
        for (const write of writes) {
          if (!this.#holds(write.condition)) continue;
          for (const operation of write.operations) this.#apply(operation);
          applied.add(write);
        }
      });
      return applied;
    } catch (error) {
      if (!isDiskFailure(error)) throw error;
      // See lmdb-space.ts on what a failed page does; and after a failed fdatasync the page cache cannot be trusted.
      this.#failure = new PurserError('ERR_STORAGE_FAILED', `the store failed while writing: ${messageOf(error)}`, {
        hint: 'check the disk, then restart the server; nothing acknowledged is lost', cause: error,
      });
      throw this.#failure;
    }
  }

  /** Inside of a transaction, which sees what it has written itself. */
  #holds(condition: Condition | undefined): boolean {
    return condition === undefined || this.#database.get(Buffer.from(condition.key))?.equals(condition.expected) === true;
  }

  #apply(operation: StorageOperation): void {
    const key = Buffer.from(operation.key);
    if (operation.kind === 'put') this.#database.putSync(key, operation.value as Buffer);
    else this.#database.removeSync(key);
  }

  #read<T>(action: () => T): T {
    try {
      return action();
    } catch (error) {
      this.#database.resetReadTxn(); // a failed read leaves its transaction unusable
      throw storageError(error, 'the store could not be read');
    }
  }

  #assertOpen(): void {
    if (this.#isClosed) throw new PurserError('ERR_STORAGE_CLOSED', 'the store is closed');
    if (this.#failure !== undefined) throw this.#failure;
  }
}

async function openDatabase(directory: string): Promise<Database> {
  const { open } = await loadLmdb();
  await checkDataFile(directory);
  const database = open<Buffer, Buffer>({
    path: directory,
    noSubdir: false,
    keyEncoding: 'binary', // byte order, and strings of any content
    encoding: 'binary',
    cache: false,
    overlappingSync: false, // committed means flushed
    noMemInit: false, // unused parts of a page must not carry heap memory to the disk
  });
  try {
    await markDataFile(directory);
    return database;
  } catch (error) {
    await database.close();
    throw error;
  }
}

async function loadLmdb(): Promise<typeof import('lmdb')> {
  try {
    return await import('lmdb');
  } catch (error) {
    throw new PurserError('ERR_STORAGE_FAILED', 'the lmdb package cannot be loaded', {
      hint: 'run npm install where purser is installed, on glibc or musl Linux for x64 or arm64', cause: error,
    });
  }
}

function rangeBehind(prefix: string, after: string | undefined): RangeOptions {
  const end = prefix === '' ? {} : { end: Buffer.from(`${prefix.slice(0, -1)}${AFTER_SLASH}`) };
  if (after === undefined) return prefix === '' ? {} : { start: Buffer.from(prefix), ...end };
  if (!after.endsWith(SLASH)) return { start: Buffer.from(prefix + after), exclusiveStart: true, ...end };
  return { start: Buffer.from(`${prefix}${after.slice(0, -1)}${AFTER_SLASH}`), ...end };
}

/** LMDB's own refusals are negative and end with the transaction; a positive code is the system's errno. */
function isDiskFailure(error: unknown): boolean {
  return Number((error as { code?: unknown } | undefined)?.code) > 0;
}

function storageError(error: unknown, what: string): PurserError {
  if (isPurserError(error)) return error;
  if (isFull(error)) {
    return new PurserError('ERR_STORAGE_FULL', `${what}: no space left`, {
      hint: 'free space on the file system of the data directory; nothing acknowledged is lost', cause: error,
    });
  }
  return new PurserError('ERR_STORAGE_FAILED', `${what}: ${messageOf(error)}`, {
    hint: 'check the disk and the permissions of the data directory', cause: error,
  });
}
