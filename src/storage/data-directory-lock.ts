// A data directory belongs to one process and to one user: mode 0700, owned by the user of the process, and locked until the
// process ends. A directory of somebody else's making is refused rather than changed, unless it is still empty.

import { chmodSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';

import { makeDirectory } from '../lib/make-directory.ts';
import { PurserError, messageOf } from '../lib/errors.ts';
import { lockFile } from '../lib/file-lock.ts';
import type { FileLock } from '../lib/file-lock.ts';

/**
 * Creates `directory` when it is missing, checks who may enter it, and takes its lock.
 * @throws ERR_STORAGE_LOCKED when another process uses it; ERR_STORAGE_FAILED when it cannot be used or others may enter it
 */
export function lockDataDirectory(directory: string): FileLock {
  makePrivate(directory);
  return lockFile(join(directory, 'lock'), {
    code: 'ERR_STORAGE_LOCKED',
    message: `the data directory ${directory} is in use by another process`,
    hint: 'stop the other server, or give this one a directory of its own',
  });
}

function makePrivate(directory: string): void {
  try {
    makeDirectory(directory, 0o700);
    const { uid, mode } = statSync(directory);
    if (uid !== process.geteuid?.()) {
      throw refusal(`the data directory ${directory} belongs to another user`, `chown it to the user of the server`);
    }
    if ((mode & 0o077) === 0) return;
    if (readdirSync(directory).length > 0) {
      throw refusal(`the data directory ${directory} is open to other users`, `chmod 0700 ${directory}`);
    }
    chmodSync(directory, 0o700);
  } catch (error) {
    if (error instanceof PurserError) throw error;
    throw refusal(`the data directory cannot be used: ${messageOf(error)}`, 'check the path and its permissions', error);
  }
}

function refusal(message: string, hint: string, cause?: unknown): PurserError {
  return new PurserError('ERR_STORAGE_FAILED', message, { hint, cause });
}
