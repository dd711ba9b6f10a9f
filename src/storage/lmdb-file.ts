// Looks at data.mdb before LMDB maps it. LMDB takes an empty file for a new store, and a broken header or a truncated file
// ends the process with SIGSEGV or SIGBUS; here each of them is a clear refusal, and nothing is ever recreated in silence.
// Layout: liblmdb mdb.c, data version 2 (lmdb-js): two meta pages, each a 24-byte page header, then MDB_meta, little endian.

import { chmod, open, stat, unlink } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';

import { readJsonFile, syncDirectory, writeFileAtomic } from '../lib/atomic-file.ts';
import { PurserError } from '../lib/errors.ts';

const MARKER = '{"format":1,"driver":"lmdb"}\n';

/** Offsets in a meta page (struct MDB_page, then struct MDB_meta). */
const META = { flags: 18, magic: 24, version: 28, mapSize: 40, pageSize: 48, lastPage: 144, bytes: 160 } as const;
const P_META = 0x08;
const MAGIC = 0xbeefc0de;
const DATA_VERSION = 2;

/** More than LMDB writes when it makes its files. */
const NEW_FILES_BYTES = 256 * 1024;

/**
 * @throws ERR_STATE_CORRUPT when data.mdb is missing, empty, not LMDB's or shorter than its header says; the system's ENOSPC
 *   when there is no room for new files, which LMDB would meet with SIGBUS
 */
export async function checkDataFile(directory: string): Promise<void> {
  const path = join(directory, 'data.mdb');
  const isKnown = await readJsonFile(join(directory, 'store.json'), parseMarker) !== undefined;
  const size = await sizeOf(path);
  if (size === 0) {
    if (isKnown) throw corrupt(path, 'it is missing or empty, though the directory held a store');
  } else if (size < await expectedSize(path)) {
    throw corrupt(path, 'it is truncated');
  }
  if (size === 0 || await sizeOf(join(directory, 'lock.mdb')) === 0) await proveRoom(directory);
}

/** Once LMDB made its files: keeps them private and makes the marker durable, after which an empty data.mdb is damage. */
export async function markDataFile(directory: string): Promise<void> {
  for (const name of ['data.mdb', 'lock.mdb']) await chmod(join(directory, name), 0o600);
  if (await readJsonFile(join(directory, 'store.json'), parseMarker) !== undefined) return;
  const file = await open(join(directory, 'data.mdb'), 'r+');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
  await writeFileAtomic(join(directory, 'store.json'), MARKER, { mode: 0o600 });
  await syncDirectory(dirname(directory));
}

async function sizeOf(path: string): Promise<number> {
  return stat(path).then((file) => file.size, (error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return 0;
    throw error;
  });
}

async function proveRoom(directory: string): Promise<void> {
  const path = join(directory, 'room.tmp');
  const file = await open(path, 'w', 0o600);
  try {
    await file.writeFile(new Uint8Array(NEW_FILES_BYTES));
    await file.sync();
  } finally {
    await file.close();
    await unlink(path);
  }
}

async function expectedSize(path: string): Promise<number> {
  const file = await open(path, 'r');
  try {
    const first = await readMeta(file, path, 0);
    const second = await readMeta(file, path, first.pageSize);
    return Math.max(first.size, second.size);
  } finally {
    await file.close();
  }
}

async function readMeta(file: FileHandle, path: string, position: number): Promise<{ pageSize: number; size: number }> {
  const page = Buffer.alloc(META.bytes);
  const { bytesRead } = await file.read(page, 0, META.bytes, position);
  if (bytesRead < META.bytes) throw corrupt(path, 'its header is cut off');
  const isMeta = (page.readUInt16LE(META.flags) & P_META) !== 0 && page.readUInt32LE(META.magic) === MAGIC;
  if (!isMeta) throw corrupt(path, 'it is not an LMDB file');
  if ((page.readUInt32LE(META.version) & 0xffff) !== DATA_VERSION) throw corrupt(path, 'it was written by another version of LMDB');
  const pageSize = position === 0 ? page.readUInt32LE(META.pageSize) : position;
  const size = (Number(page.readBigUInt64LE(META.lastPage)) + 1) * pageSize;
  const isSound = pageSize >= 512 && pageSize <= 65_536 && Number.isSafeInteger(Math.log2(pageSize))
    && size <= Number(page.readBigUInt64LE(META.mapSize));
  if (!isSound) throw corrupt(path, 'its header is damaged');
  return { pageSize, size };
}

function parseMarker(value: unknown): true {
  if (JSON.stringify(value) !== MARKER.trim()) throw new Error('it does not describe a store of this version');
  return true;
}

function corrupt(path: string, reason: string): PurserError {
  return new PurserError('ERR_STATE_CORRUPT', `${path} cannot be used: ${reason}`, {
    hint: 'restore the data directory from a backup, or give the server an empty one',
  });
}
