// Bind mounts on the host, by mount(8), and what the kernel says is mounted (proc(5), mountinfo). Always asynchronous: the
// paths lie in the filesystem that this very process serves.

import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { PurserError } from '../lib/errors.ts';

const run = promisify(execFile);
const TIMEOUT_MS = 10_000;

export interface MountEntry {
  readonly mountPoint: string;
  readonly options: readonly string[];
  readonly type: string;
}

/** What is mounted in the mount namespace of a process, in mount order. */
export async function mountsOf(pid: number | 'self'): Promise<MountEntry[]> {
  return parseMountinfo(await readFile(`/proc/${pid}/mountinfo`, 'utf8'));
}

export function parseMountinfo(text: string): MountEntry[] {
  return text.split('\n').flatMap((line) => {
    const [left = '', right = ''] = line.split(' - ');
    const [, , , , mountPoint, options] = left.split(' ');
    if (mountPoint === undefined || options === undefined) return [];
    return [{ mountPoint: unescape(mountPoint), options: options.split(','), type: right.split(' ')[0] ?? '' }];
  });
}

/**
 * Binds `source` over `target`, read-only.
 * @throws ERR_FUSE_UNAVAILABLE; nothing is mounted then
 */
export async function bindReadOnly(source: string, target: string): Promise<void> {
  await command('mount', ['--bind', source, target]);
  const made = (await mountsOf('self')).findLast(({ mountPoint }) => mountPoint === target);
  // The copies that propagate keep these flags: a writable one would be writable for root in the container.
  if (made?.type.startsWith('fuse') === true && made.options.includes('ro')) return;
  await unmount(target);
  throw new PurserError('ERR_FUSE_UNAVAILABLE', `the mount over ${target} did not come out read-only`, { hint: 'check that <run-dir>/ro is mounted read-only; restart the agent together with its holder' });
}

/** Takes the topmost mount at `target` away; nothing happens when there is none. */
export async function unmount(target: string): Promise<void> {
  await command('umount', ['-l', target]).catch(() => undefined);
}

async function command(name: string, args: readonly string[]): Promise<void> {
  try {
    await run(name, args, { timeout: TIMEOUT_MS, killSignal: 'SIGKILL', env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' } });
  } catch (error) {
    const said = (error as { stderr?: string }).stderr?.trim().split('\n')[0];
    throw new PurserError('ERR_FUSE_UNAVAILABLE', `${name} failed: ${said || 'it could not be run'}`, { hint: 'run the agent as root in the mount namespace of dockerd', cause: error });
  }
}

/** mountinfo writes space, tab, newline and backslash as three octal digits. */
function unescape(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}
