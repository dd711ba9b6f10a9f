// How inotify learns of a rotation that has already happened: the agent renames a staged name over the file's name, through the mount. Inside that
// one rename(2) the kernel looks up both names for the thread that makes it; this file answers the staged name with the new version and, for that thread
// only, the file's name with the old version, so that watchers of the old inode see IN_DELETE_SELF and those of the directory IN_MOVED_TO.
// A staged name says everything (`.purser-<old>-<new>`, version ids), so nothing has to be prepared and nothing is left when an agent dies.

import { STAGED_PREFIX } from './plan.ts';
import type { Container, File, Tree, Version } from './tree.ts';

interface Staged { readonly name: string; readonly file: File; readonly old: Version | undefined }

/** The staged name for the step from one version to the next. */
export function stagedName(oldId: number, newId: number): string {
  return `${STAGED_PREFIX}${oldId}-${newId}`;
}

export class Staging {
  /** By thread id of the child that makes gestures. */
  readonly #threads = new Map<number, Staged>();

  /** The new version behind a staged name; from now on of() answers this thread. */
  stage(tree: Tree, container: Container, name: string, tid: number): Version | undefined {
    const match = /^(\d{1,10})-(\d{1,10})$/.exec(name.slice(STAGED_PREFIX.length));
    const next = match === null ? undefined : tree.versions.get(Number(match[2]));
    if (match === null || next?.file.container !== container || next.file.type !== 'versioned') return undefined;
    const old = tree.versions.get(Number(match[1]));
    this.#threads.clear(); // one gesture at a time: what another thread staged was never finished
    this.#threads.set(tid, { name, file: next.file, old: old?.file === next.file ? old : undefined });
    return next;
  }

  /** What this thread staged for `file`, if anything. */
  of(tid: number, file: File): Staged | undefined {
    if (this.#threads.size === 0) return undefined;
    const staged = this.#threads.get(tid);
    return staged?.file === file ? staged : undefined;
  }

  /** Ends the thread's gesture; false when it does not fit what was staged. */
  finish(tid: number, from: string, to: string): boolean {
    const staged = this.#threads.get(tid);
    if (staged?.name !== from || staged.file.name !== to) return false;
    this.#threads.delete(tid);
    if (staged.old !== undefined) staged.old.isUnlinked = true;
    return true;
  }
}
