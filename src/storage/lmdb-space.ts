// Keeps LMDB from ever meeting a full disk. When a page cannot be written, lmdb-js overflows a heap buffer while it composes
// the error (mdb_page_flush: sprintf of up to 126 bytes into malloc(100)); the process dies at once or, worse, later. So the
// blocks that a transaction can need are allocated first, by writing zeros behind the pages in use, where a full disk is an
// ordinary error. Invariant at every commit: the tail of data.mdb is at least pagesNeeded().

import { closeSync, fstatSync, openSync, writeSync } from 'node:fs';

import { PurserError } from '../lib/errors.ts';
import type { StorageOperation } from './storage.ts';

const MIB = 1024 * 1024;
/** Tail kept for the time when the disk is full, so that deletes and small rewrites still go through. */
const RESERVE_BYTES = MIB;
/** Growth in steps of an eighth of the file, up to this much, so that growing costs little and wastes little. */
const MAX_STEP_BYTES = 4 * MIB;

interface TreeStats {
  readonly treeDepth: number;
  readonly treeBranchPageCount: number;
  readonly treeLeafPageCount: number;
  readonly overflowPages: number;
}

/** The parts of lmdb-js's getStats() used here: the main tree, and in `free` the tree of free pages. */
export interface LmdbStats extends TreeStats {
  readonly pageSize: number;
  readonly lastPageNumber: number;
  readonly free: TreeStats;
}

export class LmdbSpace {
  readonly #descriptor: number;

  /** @param path of data.mdb, which LMDB has opened */
  constructor(path: string) {
    this.#descriptor = openSync(path, 'r+');
  }

  /**
   * Allocates what one transaction can need. With the disk full it still lets through what fits into the reserve and only
   * deletes, or is likely to find its pages among those that deletes have freed.
   * @throws ERR_STORAGE_FULL
   */
  makeRoom(stats: LmdbStats, operations: readonly StorageOperation[]): void {
    const pages = pagesNeeded(stats, operations);
    const needed = pages * stats.pageSize;
    if (this.#tail(stats) >= needed + RESERVE_BYTES) return;
    const cause = this.#grow(stats, needed + RESERVE_BYTES);
    if (cause === undefined) return;
    const mayShrink = operations.every(({ kind }) => kind === 'delete') || freePages(stats) > 2 * pages;
    if (mayShrink && this.#tail(stats) >= needed) return;
    throw new PurserError('ERR_STORAGE_FULL', 'no space left for the store', {
      hint: 'free space on the file system of the data directory; nothing acknowledged is lost', cause,
    });
  }

  close(): void {
    closeSync(this.#descriptor);
  }

  #tail(stats: LmdbStats): number {
    return fstatSync(this.#descriptor).size - (stats.lastPageNumber + 1) * stats.pageSize;
  }

  /** @returns why there was no room to make the tail `bytes` long */
  #grow(stats: LmdbStats, bytes: number): unknown {
    const size = fstatSync(this.#descriptor).size;
    const missing = bytes - this.#tail(stats);
    try {
      writeZeros(this.#descriptor, size, Math.max(missing, Math.min(Math.floor(size / 8), MAX_STEP_BYTES)));
      return undefined;
    } catch (error) {
      if (!isFull(error)) throw error;
      return this.#tail(stats) >= bytes ? undefined : error;
    }
  }
}

/** True for the system's errors that mean "no room": disk, quota, file size limit. */
export function isFull(error: unknown): boolean {
  return ['ENOSPC', 'EDQUOT', 'EFBIG'].includes(String((error as { code?: unknown } | undefined)?.code));
}

/**
 * An upper bound for the pages that one transaction of `operations` allocates: each operation may copy its leaf and a
 * neighbour, and the branches above; new nodes fill new pages to a quarter at least; large values get pages of their own;
 * and the list of free pages is written anew.
 */
export function pagesNeeded(stats: LmdbStats, operations: readonly StorageOperation[]): number {
  const count = operations.length;
  let inlineBytes = 0;
  let overflowPages = 0;
  for (const operation of operations) {
    const valueBytes = operation.kind === 'put' ? operation.value.length : 0;
    const isLarge = valueBytes > stats.pageSize / 4;
    inlineBytes += Buffer.byteLength(operation.key) + 16 + Math.min(valueBytes, stats.pageSize / 2);
    if (isLarge) overflowPages += Math.ceil((valueBytes + 64) / stats.pageSize);
  }
  const depth = stats.treeDepth + 3;
  const copied = Math.min(2 * count, stats.treeLeafPageCount) + Math.min(2 * count * depth, stats.treeBranchPageCount);
  const added = 2 * Math.min(2 * count, Math.ceil(4 * inlineBytes / stats.pageSize)) + depth;
  const freed = copied + overflowPages + stats.overflowPages;
  const { treeBranchPageCount, treeLeafPageCount, overflowPages: freeOverflow } = stats.free;
  const freeList = 2 * (treeBranchPageCount + treeLeafPageCount + freeOverflow) + Math.ceil(12 * freed / stats.pageSize);
  return copied + added + overflowPages + freeList + 32;
}

function freePages(stats: LmdbStats): number {
  const used = [stats, stats.free].reduce((sum, tree) => sum + tree.treeBranchPageCount + tree.treeLeafPageCount + tree.overflowPages, 2);
  return stats.lastPageNumber + 1 - used;
}

/** Zeros a megabyte at a time: blocks that exist, not a hole. What was written before an error stays. */
function writeZeros(descriptor: number, position: number, length: number): void {
  const zeros = new Uint8Array(Math.min(length, MIB));
  for (let done = 0; done < length;) done += writeSync(descriptor, zeros, 0, Math.min(zeros.length, length - done), position + done);
}
