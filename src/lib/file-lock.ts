// One process at a time: an exclusive flock(2) that the kernel releases when the holder dies, however it dies. Node has no
// flock, so util-linux's flock locks our own descriptor, inherited as its descriptor 3: a flock belongs to the open file
// description, which we keep open, and not to the process that asked for it. The file stays; only the lock matters.

import { spawnSync } from 'node:child_process';
import { closeSync, constants, openSync } from 'node:fs';

import { PurserError, messageOf } from './errors.ts';
import type { ErrorCode } from './error-codes.ts';

/** Exit status of flock(1) when somebody else holds the lock. */
const STATUS_HELD = 1;

export interface FileLock {
  /** Gives the lock up; a second call does nothing. */
  release(): void;
}

/** What to say when the lock is held by another process. */
export interface LockRefusal {
  readonly code: ErrorCode;
  readonly message: string;
  readonly hint: string;
}

/**
 * Takes the lock on `path` (created with mode 0600 when missing) without waiting.
 * @throws `held.code` when another open file description has it; ERR_STATE_LOCK when locking itself fails
 */
export function lockFile(path: string, held: LockRefusal): FileLock {
  // A plain descriptor: a FileHandle would be closed, and the lock lost, when it is garbage collected.
  const descriptor = openLockFile(path);
  const result = spawnSync('flock', ['-n', '3'], { stdio: ['ignore', 'ignore', 'ignore', descriptor] });
  if (result.status === 0) return openLock(descriptor);
  closeSync(descriptor);
  if (result.status === STATUS_HELD) throw new PurserError(held.code, held.message, { hint: held.hint });
  throw new PurserError('ERR_STATE_LOCK', `cannot lock ${path}: flock ${result.error === undefined ? `ended with status ${result.status}` : 'could not be run'}`, {
    hint: 'install the flock command (Debian package util-linux)', cause: result.error,
  });
}

function openLockFile(path: string): number {
  try {
    return openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
  } catch (error) {
    throw new PurserError('ERR_STATE_LOCK', `cannot open the lock file: ${messageOf(error)}`, {
      hint: 'check that the directory exists and is writable', cause: error,
    });
  }
}

function openLock(descriptor: number): FileLock {
  let held = true;
  return {
    release() {
      if (held) closeSync(descriptor);
      held = false;
    },
  };
}
