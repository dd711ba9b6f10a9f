// Where the C program of this installation belongs. The command may be called by a link to it (/usr/local/bin/purser), so the link is followed.

import { realpathSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** The path of purser-runtime beside the command that runs, whether it is there or not. */
export function runtimeProgramBeside(): string {
  const [, command = ''] = process.argv;
  return join(dirname(command === '' ? command : realpathSync(command)), 'purser-runtime');
}
