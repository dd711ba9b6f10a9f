// State files that are whole or absent: a reader sees the old content or the new one, never a mixture, also after a power
// loss (write a temporary file in the same directory, fsync, rename, fsync the directory). Reading is strict: a file that is
// there but not understood is an error, never a reason to start afresh.

import { randomBytes } from 'node:crypto';
import { open, rename, unlink } from 'node:fs/promises';
import { constants } from 'node:fs';
import { basename, dirname, join } from 'node:path';

import { PurserError, messageOf } from './errors.ts';

/** Largest state file read, in bytes, unless the caller says otherwise. */
const MAX_STATE_BYTES = 16 * 1024 * 1024;

/**
 * Replaces `path` with `content`, atomically and durably.
 * @param options.mode permission bits of the file, exactly (the umask does not apply)
 * @throws ERR_STATE_WRITE; the old file is then untouched
 */
export async function writeFileAtomic(path: string, content: Uint8Array | string, options: { readonly mode: number }): Promise<void> {
  const temporary = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString('hex')}.tmp`);
  try {
    const file = await open(temporary, 'wx', options.mode);
    try {
      await file.chmod(options.mode);
      await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
    await syncDirectory(dirname(path));
  } catch (error) {
    await unlink(temporary).catch(() => undefined);
    throw new PurserError('ERR_STATE_WRITE', `cannot write ${path}: ${messageOf(error)}`, {
      hint: 'check the free space and the permissions of its directory', cause: error,
    });
  }
}

/** Makes a rename or unlink in `directory` durable. */
export async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/**
 * The JSON value in `path`, as `parse` accepts it; undefined when there is no such file.
 * @param parse checks the shape and throws when it does not fit
 * @throws ERR_STATE_CORRUPT when the file is unreadable, too large, not JSON or refused by `parse`
 */
export async function readJsonFile<T>(path: string, parse: (value: unknown) => T, maxBytes = MAX_STATE_BYTES): Promise<T | undefined> {
  try {
    const text = await readBounded(path, maxBytes);
    return text === undefined ? undefined : parse(parseJson(text));
  } catch (error) {
    throw new PurserError('ERR_STATE_CORRUPT', `state file ${path} cannot be used: ${messageOf(error)}`, {
      hint: `restore ${path} from a backup, or move it away if you mean to start afresh`, cause: error,
    });
  }
}

async function readBounded(path: string, maxBytes: number): Promise<string | undefined> {
  // O_NONBLOCK: opening a FIFO in place of the file must not hang; it is refused below.
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (file === undefined) return undefined;
  try {
    const stat = await file.stat();
    if (!stat.isFile()) throw new Error('it is not a regular file');
    if (stat.size > maxBytes) throw new Error(`it is larger than ${maxBytes} bytes`);
    return new TextDecoder('utf-8', { fatal: true }).decode(await file.readFile());
  } finally {
    await file.close();
  }
}

/** JSON.parse without the engine's message, which quotes the input. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    throw new Error(text.trim() === '' ? 'it is empty' : 'it is not valid JSON');
  }
}
