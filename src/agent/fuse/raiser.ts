// Makes the kernel raise inotify events for versions that are already visible: rename(2) of the staged name over a file in files/, one written byte
// for a file in bound/. Runs on the thread pool through the mount, few at a time so that other file work of the agent still gets threads; the steps
// of one container keep their order. A failed step loses an event, never a value.

import { open, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf } from '../../lib/errors.ts';
import type { Raise } from './messages.ts';

/** Threads of libuv's pool (4 by default) that may be busy with events. */
const CONCURRENCY = 3;
const TOUCH = Buffer.of(0x0a);

export class Raiser {
  readonly #mountPoint: string;
  readonly #warn: (message: string) => void;
  /** The last step of each container that has steps under way. */
  readonly #tails = new Map<string, Promise<void>>();
  readonly #waiting: (() => void)[] = [];
  #free = CONCURRENCY;

  constructor(mountPoint: string, warn: (message: string) => void) {
    this.#mountPoint = mountPoint;
    this.#warn = warn;
  }

  /** Resolves when the events of all steps are raised; never rejects. */
  async raise(steps: readonly Raise[]): Promise<void> {
    await Promise.all(steps.map((step) => this.#enqueue(step)));
  }

  #enqueue(step: Raise): Promise<void> {
    const { containerId } = step;
    const tail = (this.#tails.get(containerId) ?? Promise.resolve()).then(() => this.#run(step));
    this.#tails.set(containerId, tail);
    return tail.then(() => {
      if (this.#tails.get(containerId) === tail) this.#tails.delete(containerId);
    });
  }

  async #run(step: Raise): Promise<void> {
    if (this.#free === 0) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#free--;
    try {
      await this.#perform(step);
    } catch (error) {
      // ENOENT and ESTALE: the container or the version ended meanwhile.
      if (!['ENOENT', 'ESTALE'].includes((error as NodeJS.ErrnoException).code ?? '')) this.#warn(`no change event for a secret file: ${messageOf(error)}`);
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free++;
      else next();
    }
  }

  async #perform({ containerId, name, from }: Raise): Promise<void> {
    const directory = join(this.#mountPoint, containerId, from === undefined ? 'bound' : 'files');
    if (from !== undefined) return rename(join(directory, from), join(directory, name));
    const file = await open(join(directory, name), 'r+');
    try {
      await file.write(TOUCH);
    } finally {
      await file.close();
    }
  }
}
