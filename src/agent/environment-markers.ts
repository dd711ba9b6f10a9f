// `<run-dir>/environment/<id>` (0600 in a 0700 directory, PROTOCOL.md section 2): this container has variables with references, and
// its bundle is there. The runtime asks the agent at `start` only when there is such a file.

import { readFile, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { makeDirectory } from '../lib/make-directory.ts';

export class EnvironmentMarkers {
  readonly #directory: string;
  /** Most containers have none, and their end must not cost a system call. */
  readonly #marked: Set<string>;

  private constructor(directory: string, marked: readonly string[]) {
    this.#directory = directory;
    this.#marked = new Set(marked);
  }

  static async open(directory: string): Promise<EnvironmentMarkers> {
    makeDirectory(directory, 0o700);
    return new EnvironmentMarkers(directory, await readdir(directory));
  }

  /** Not synced: after a power loss there is no container to start. */
  async put(id: string, bundle: string): Promise<void> {
    this.#marked.add(id);
    // A bundle path may have a line break; then the whole is no path that exists, and the start is refused.
    await writeFile(this.#path(id), `${bundle}\n`, { mode: 0o600 });
  }

  /** The bundle of a container that is about to start. */
  async bundleOf(id: string): Promise<string> {
    return (await readFile(this.#path(id), 'utf8')).replace(/\n$/, '');
  }

  async remove(id: string): Promise<void> {
    if (this.#marked.delete(id)) await rm(this.#path(id), { force: true });
  }

  /** Removes what a predecessor could not, older than `graceMs`. */
  async sweep(isNeeded: (id: string) => boolean, graceMs: number): Promise<void> {
    for (const id of this.#marked) {
      if (isNeeded(id)) continue;
      const mtimeMs = await stat(this.#path(id)).then((found) => found.mtimeMs, () => 0);
      if (Date.now() - mtimeMs > graceMs) await this.remove(id);
    }
  }

  #path(id: string): string {
    return join(this.#directory, id);
  }
}
