// The server's data directory: `store/` (the encrypted store and its lock), `tls/`, `audit/`, and with --init-if-needed
// `root-token`. Mode 0700; one that others may enter is refused rather than changed.

import { stat } from 'node:fs/promises';
import { makeDirectory } from '../lib/make-directory.ts';
import { messageOf, PurserError } from '../lib/errors.ts';

/** Creates the directory when it is missing. @throws ERR_STORAGE_FAILED */
export async function prepareDataDirectory(directory: string): Promise<void> {
  try {
    makeDirectory(directory, 0o700);
  } catch (error) {
    throw refused(directory, messageOf(error), 'check the path and its permissions');
  }
  const { mode, uid } = await stat(directory);
  if (uid !== process.geteuid?.()) throw refused(directory, 'it belongs to another user', 'chown it to the user of the server');
  if ((mode & 0o077) !== 0) throw refused(directory, 'it is open to other users', `chmod 0700 ${directory}`);
}

function refused(directory: string, reason: string, hint: string): PurserError {
  return new PurserError('ERR_STORAGE_FAILED', `the data directory ${directory} cannot be used: ${reason}`, { hint });
}
