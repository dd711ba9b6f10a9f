// Directories with all their parents. Node's own `recursive` goes round for ever where the kernel says ENOENT for a name whose parent is there,
// as /proc does (measured, Node 20): a mistyped --data-dir would hang the server where no signal reaches it.

import { existsSync, mkdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';

/**
 * Makes a directory and what is missing above it; one that is there is left as it is.
 * @param mode of every directory made, less the umask
 * @throws the error of mkdir(2)
 */
export function makeDirectory(path: string, mode = 0o777): void {
  try {
    mkdirSync(path, { mode });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST' && statSync(path).isDirectory()) return;
    if (code !== 'ENOENT' || existsSync(dirname(path))) throw error;
    makeDirectory(dirname(path), mode);
    makeDirectory(path, mode);
  }
}
