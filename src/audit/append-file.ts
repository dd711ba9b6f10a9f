// A file that only grows, by whole pieces: a piece that cannot be written whole is taken back, or the file refuses everything from
// then on. It is opened so that an audit path cannot be used to write anywhere else (Vault's CVE-2025-6000): inside the allowed
// directory, no symbolic link, no second name, nobody else's file, mode 0600.

import { constants, fstatSync, ftruncateSync, writeSync } from 'node:fs';
import type { Stats } from 'node:fs';
import { open, realpath, stat } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join, relative, sep } from 'node:path';

import { syncDirectory } from '../lib/atomic-file.ts';
import { messageOf, PurserError } from '../lib/errors.ts';

const FLAGS = constants.O_RDWR | constants.O_APPEND | constants.O_NOFOLLOW | constants.O_NONBLOCK;

export class AppendFile {
  readonly handle: FileHandle;
  /** Device and inode: tells whether a path still leads to this file. */
  readonly identity: string;
  #size: number;
  #broken: PurserError | undefined;

  private constructor(handle: FileHandle, found: Stats) {
    this.handle = handle;
    this.identity = `${found.dev}:${found.ino}`;
    this.#size = found.size;
  }

  /**
   * @param path absolute; its directory must be `directory` or below it, after following symbolic links
   * @param create make the file when it is not there
   * @returns undefined when there is no file and it may not be made
   * @throws ERR_AUDIT_FILE
   */
  static async open(path: string, directory: string, create: boolean): Promise<AppendFile | undefined> {
    const folder = await allowedFolder(path, directory);
    const resolved = join(folder, basename(path));
    const handle = await openHandle(resolved, create);
    if (handle === undefined) return undefined;
    try {
      const found = await checkedStat(handle, resolved);
      if (create) await syncDirectory(folder);
      return new AppendFile(handle, found);
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /** What the file must be long: everything that was appended. */
  get size(): number {
    return this.#size;
  }

  /** Why nothing can be appended any more. */
  get broken(): PurserError | undefined {
    return this.#broken;
  }

  /**
   * Appends all of `bytes` or nothing. Synchronous, because it copies to the page cache: through the thread pool it costs ten to
   * twenty times as much processor time, and while the disk stalls no request could go on anyway.
   * @throws ERR_AUDIT_FILE
   */
  append(bytes: Uint8Array): void {
    if (this.#broken !== undefined) throw this.#broken;
    try {
      for (let done = 0; done < bytes.length;) done += writeSync(this.handle.fd, bytes, done);
      this.#size += bytes.length;
    } catch (cause) {
      this.#takeBack(cause);
      throw fileError(`the audit entry could not be written: ${messageOf(cause)}`, cause);
    }
  }

  /**
   * Checks that nobody else changed the file's length or removed it.
   * @throws ERR_AUDIT_CHAIN; then the file is broken
   */
  check(): void {
    const { size, nlink } = fstatSync(this.handle.fd);
    if (size === this.#size && nlink > 0) return;
    this.#broken = new PurserError('ERR_AUDIT_CHAIN', `the audit file was ${nlink === 0 ? 'deleted' : 'changed by somebody else'} while in use`,
      { hint: 'to rotate it, rename it and send SIGHUP, never truncate it; now move it away and send SIGHUP to begin a new file' });
    throw this.#broken;
  }

  /** Makes what was appended durable. @throws ERR_AUDIT_FILE; then the file is broken: what was promised may not be there */
  async sync(): Promise<void> {
    try {
      await this.handle.datasync();
    } catch (cause) {
      this.#broken = fileError(`the audit file could not be synced: ${messageOf(cause)}`, cause);
      throw this.#broken;
    }
  }

  async close(): Promise<void> {
    await this.handle.close();
  }

  #takeBack(cause: unknown): void {
    try {
      ftruncateSync(this.handle.fd, this.#size);
    } catch {
      this.#broken = fileError(`a partly written audit entry could not be taken back: ${messageOf(cause)}`, cause);
    }
  }
}

async function allowedFolder(path: string, directory: string): Promise<string> {
  if (!isAbsolute(path) || path.includes('\0') || basename(path) === '') throw fileError('the path of an audit file must be absolute');
  const [folder, root] = await Promise.all([realpath(dirname(path)), realpath(directory)]).catch((cause: unknown) => {
    throw fileError(`the directory of the audit file cannot be used: ${messageOf(cause)}`, cause);
  });
  const inside = relative(root, folder);
  if (inside === '..' || inside.startsWith(`..${sep}`) || isAbsolute(inside)) throw fileError('the audit file lies outside the audit directory');
  const { mode, uid } = await stat(folder);
  if ((mode & 0o002) !== 0 || (uid !== 0 && uid !== process.geteuid?.())) {
    throw fileError('the directory of the audit file belongs to somebody else or can be written by everybody');
  }
  return folder;
}

async function openHandle(path: string, create: boolean): Promise<FileHandle | undefined> {
  try {
    return await open(path, FLAGS | (create ? constants.O_CREAT : 0), 0o600);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT' && !create) return undefined;
    throw fileError(`the audit file cannot be opened: ${messageOf(cause)}`, cause);
  }
}

async function checkedStat(handle: FileHandle, path: string): Promise<Stats> {
  const found = await handle.stat();
  if (!found.isFile()) throw fileError('the audit path is not a regular file');
  if (found.nlink !== 1) throw fileError('the audit file has more than one name');
  if (found.uid !== process.geteuid?.()) throw fileError('the audit file belongs to somebody else');
  if ((found.mode & 0o177) !== 0) throw fileError('the audit file must have mode 0600', undefined, `chmod 600 ${path}`);
  return found;
}

function fileError(message: string, cause?: unknown, hint = 'check the path, the owner and the free space of the audit directory'): PurserError {
  return new PurserError('ERR_AUDIT_FILE', message, cause === undefined ? { hint } : { hint, cause });
}
