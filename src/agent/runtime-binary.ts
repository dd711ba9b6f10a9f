// The installed copy of purser-runtime. Docker's configuration names this copy and never a build tree, which somebody may clean while
// containers need the program to stop.

import { execFile } from 'node:child_process';
import { access, constants, readFile, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { makeDirectory } from '../lib/make-directory.ts';
import { writeFileAtomic } from '../lib/atomic-file.ts';
import { PurserError, messageOf } from '../lib/errors.ts';

const MODE = 0o755;

/** The version that a purser-runtime reports; undefined when there is none, or the file is something else. */
export async function runtimeVersion(path: string): Promise<string | undefined> {
  const { stdout } = await promisify(execFile)(path, ['purser-version'], { timeout: 5000, maxBuffer: 4096 }).catch(() => ({ stdout: '' }));
  return /^purser-runtime ([0-9A-Za-z.+-]{1,64})\n$/.exec(stdout)?.[1];
}

/** What is at the place of the shim: it works, or why not. */
export type BinaryState = 'works' | 'missing' | 'not-executable' | 'not-purser-runtime';

/** @param version as runtimeVersion() gave it */
export async function binaryState(path: string, version: string | undefined): Promise<BinaryState> {
  if (version !== undefined) return 'works';
  const refusal = await access(path, constants.X_OK).then(() => undefined, ({ code }: NodeJS.ErrnoException) => code);
  return refusal === undefined ? 'not-purser-runtime' : refusal === 'ENOENT' ? 'missing' : 'not-executable';
}

/** Whether two files hold the same bytes; undefined when one of them cannot be read. */
export async function isSameFile(one: string, other: string): Promise<boolean | undefined> {
  const contents = await Promise.all([readFile(one), readFile(other)]).catch(() => undefined);
  return contents?.[0].equals(contents[1]);
}

/**
 * Copies the built program to its place, unless it is there already. Atomic: containerd finds the old program or the new one.
 * @returns how to undo it; undefined when nothing changed
 * @throws ERR_RUNTIME_CONFIG when `source` is no working purser-runtime; ERR_STATE_WRITE
 */
export async function installBinary(source: string, target: string): Promise<(() => Promise<void>) | undefined> {
  if (await runtimeVersion(source) === undefined) {
    throw new PurserError('ERR_RUNTIME_CONFIG', `${source} is no working purser-runtime`, { hint: 'build it first: npm run build' });
  }
  const content = await readFile(source);
  const previous = await readFile(target).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw new PurserError('ERR_RUNTIME_CONFIG', `${target} cannot be read: ${messageOf(error)}`, { hint: 'remove what is there, then try again', cause: error });
  });
  if (previous?.equals(content) === true && await binaryState(target, await runtimeVersion(target)) === 'works') return undefined; // else its mode was changed
  makeDirectory(dirname(target));
  await writeFileAtomic(target, content, { mode: MODE });
  return async () => {
    if (previous === undefined) await rm(target, { force: true });
    else await writeFileAtomic(target, previous, { mode: MODE });
  };
}
