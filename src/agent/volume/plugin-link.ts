// Docker's path for the plugin `purser`, kept on the agent's own socket by a link for as long as no driver listens there. The driver takes
// the path by replacing the link; when it is gone for a while, or dead, the link comes back. So Docker, which remembers the path, always
// finds somebody.

import { lstat, readlink, symlink, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Logger } from 'pino';
import { makeDirectory } from '../../lib/make-directory.ts';
import { messageOf } from '../../lib/errors.ts';
import { isListening } from '../../lib/unix-socket.ts';

const LOOK_MS = 2000;
/** Looks in a row that must find nobody: a driver that restarts is not gone. */
const PATIENCE = 3;

export class PluginLink {
  readonly #path: string;
  readonly #target: string;
  readonly #log: Logger;
  #absences = PATIENCE;
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> | undefined;

  /** @param path Docker's, @param target the agent's own socket */
  constructor(path: string, target: string, log: Logger) {
    this.#path = path;
    this.#target = target;
    this.#log = log;
  }

  /** Looks at once, and then again and again. Never throws. */
  async start(): Promise<void> {
    await this.#look();
    this.#timer = setInterval(() => { this.#looking ??= this.#look().finally(() => { this.#looking = undefined; }); }, LOOK_MS).unref();
  }

  /** Takes the link away if it is there. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#looking;
    if (await this.#linked() === this.#target) await unlink(this.#path).catch(() => undefined);
  }

  async #look(): Promise<void> {
    try {
      const linked = await this.#linked();
      if (linked === this.#target || (linked === undefined && await isListening(this.#path))) {
        this.#absences = 0;
        return;
      }
      if (++this.#absences < PATIENCE) return;
      makeDirectory(dirname(this.#path), 0o755);
      await unlink(this.#path).catch((error: NodeJS.ErrnoException) => { if (error.code !== 'ENOENT') throw error; });
      await symlink(this.#target, this.#path);
      this.#log.info({ path: this.#path }, 'volumes of the driver purser are served');
    } catch (error) {
      if (this.#absences === PATIENCE) this.#log.warn({ path: this.#path, err: messageOf(error) }, 'Docker does not find the volume driver');
    }
  }

  /** Where the path leads, when it is a link. */
  async #linked(): Promise<string | undefined> {
    const found = await lstat(this.#path).catch(() => undefined);
    return found?.isSymbolicLink() === true ? readlink(this.#path) : undefined;
  }
}
