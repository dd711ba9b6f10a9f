// Where the C program of this installation is. The command may be called by a link to it (/usr/local/bin/purser), so the link is followed.

import { existsSync, realpathSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';

/** The path of purser-runtime: beside the command that runs, else in PATH; undefined when it is nowhere. */
export function findRuntimeProgram(): string | undefined {
  const folders = [process.argv[1] === undefined ? '' : dirname(realpathSync(process.argv[1])), ...(process.env['PATH'] ?? '').split(delimiter)];
  return folders.filter((folder) => folder.startsWith('/')).map((folder) => join(folder, 'purser-runtime')).find((path) => existsSync(path));
}
