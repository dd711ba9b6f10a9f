// The storage interface: six calls over untrusted bytes. A driver never sees plaintext and never interprets a value.
// Guarantees every driver gives (test/conformance/storage.ts): a promise that resolved means the write is durable; a
// transaction is applied whole or not at all; list() returns the immediate children, sorted by byte order.

import { PurserError } from '../lib/errors.ts';

/** One write inside a transaction. */
export type StorageOperation =
  | { readonly kind: 'put'; readonly key: string; readonly value: Uint8Array }
  | { readonly kind: 'delete'; readonly key: string };

export interface Storage {
  /** The value stored under `key`, or undefined. The caller owns the returned bytes. */
  get(key: string): Promise<Uint8Array | undefined>;

  /** Stores `value` under `key`; resolves when it is durable. @throws ERR_STORAGE_FULL, ERR_STORAGE_KEY, ERR_STORAGE_FAILED */
  put(key: string, value: Uint8Array): Promise<void>;

  /** Removes `key`; removing what is not there is no error. Resolves when durable. */
  delete(key: string): Promise<void>;

  /**
   * Immediate children of `prefix` (which is empty or ends in '/'), without the prefix: `name` for an entry, `name/` for a
   * folder. A name that is both appears as both.
   * @param page continue after this child name, and return at most `limit` names (default: everything)
   */
  list(prefix: string, page?: { readonly after?: string; readonly limit?: number }): Promise<string[]>;

  /** Applies all operations in order, atomically; resolves when durable. */
  transaction(operations: readonly StorageOperation[]): Promise<void>;

  /**
   * Compare and set: stores `value` under `key` if exactly `expected` is stored there when the write is applied, and nothing otherwise.
   * @returns whether it was stored, once that is durable
   */
  replace(key: string, expected: Uint8Array, value: Uint8Array): Promise<boolean>;
}

/** A storage that holds operating-system resources. */
export interface ClosableStorage extends Storage {
  close(): Promise<void>;
}

/** Longest key in UTF-8 bytes that every driver must take (LMDB's default limit is 1,978; etcd's and PostgreSQL's are larger). */
export const MAX_KEY_BYTES = 1_900;

/** Keys of plain ASCII segments, which are nearly all: the rule below holds for them. */
const PLAIN_KEY = /^[!-.0-~]+(?:\/[!-.0-~]+)*$/;

/**
 * The rule for keys, the same for every driver: 1 to MAX_KEY_BYTES bytes of well-formed UTF-8 without NUL, in non-empty
 * segments divided by '/'. So every key has exactly one place in a listing. @throws ERR_STORAGE_KEY
 */
export function assertStorageKey(key: string): void {
  if (key.length <= MAX_KEY_BYTES && PLAIN_KEY.test(key)) return;
  if (key === '') refuseKey('it is empty');
  if (Buffer.byteLength(key) > MAX_KEY_BYTES) refuseKey(`it is longer than ${MAX_KEY_BYTES} bytes`);
  if (key.startsWith('/') || key.endsWith('/') || key.includes('//')) refuseKey('it has an empty segment');
  if (/[\0\p{Surrogate}]/u.test(key)) refuseKey('it holds NUL or a broken character');
}

/** The rule for the prefix of a listing or a view: empty, or a key followed by '/'. @throws ERR_STORAGE_KEY */
export function assertStoragePrefix(prefix: string): void {
  if (prefix === '') return;
  if (!prefix.endsWith('/')) refuseKey("a prefix must end in '/'");
  assertStorageKey(prefix.slice(0, -1));
}

/** The rule for `after` in a listing: the name of a child, with or without a trailing '/'. @throws ERR_STORAGE_KEY */
export function assertChildName(name: string): void {
  assertStorageKey(name.endsWith('/') ? name.slice(0, -1) : name);
  if (name.slice(0, -1).includes('/')) refuseKey("a child's name has one segment");
}

function refuseKey(reason: string): never {
  throw new PurserError('ERR_STORAGE_KEY', `malformed storage key: ${reason}`, {
    hint: 'paths are non-empty segments divided by single slashes, 1,900 bytes at most with their mount',
  });
}
