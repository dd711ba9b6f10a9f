// Who holds which version of a `bound` file open. Such a file keeps one inode for ever, so fstat(2) has to answer with the size of the version
// that the asking process has open, or a reader that trusts the size would cut a value. Best knowledge first: the thread that opened it, then the
// largest size its process holds (readers stop at end of file, but never read past the size), then the current version.

import { currentOf, type File, type Version } from './tree.ts';

/** Threads remembered per file, and open descriptors per thread; beyond them only the current size is known. */
const MAX_THREADS = 4096;
const MAX_OPEN = 64;

interface Holder { readonly tgid: number; readonly versions: Version[] }

export class Holders {
  readonly #files = new Map<File, Map<number, Holder>>();

  opened(version: Version, tid: number, tgid: number): void {
    const threads = this.#files.get(version.file) ?? new Map<number, Holder>();
    this.#files.set(version.file, threads);
    const holder = threads.get(tid);
    if (holder?.tgid === tgid) {
      if (holder.versions.length < MAX_OPEN) holder.versions.push(version);
    } else if (threads.size < MAX_THREADS) threads.set(tid, { tgid, versions: [version] });
  }

  released(version: Version, tid: number): void {
    const threads = this.#files.get(version.file);
    const holder = threads?.get(tid);
    const at = holder?.versions.indexOf(version) ?? -1;
    if (threads === undefined || holder === undefined || at === -1) return;
    holder.versions.splice(at, 1);
    if (holder.versions.length === 0) threads.delete(tid);
    if (threads.size === 0) this.#files.delete(version.file);
  }

  /**
   * The version whose size and times fstat(2) should show.
   * @param tgidOf asked only when someone holds an older version
   * @param next the version that the process would open now
   */
  versionFor(file: File, tid: number, tgidOf: () => number, next: () => Version): Version {
    const current = currentOf(file);
    const threads = this.#files.get(file);
    if (threads === undefined || !file.versions.some((version) => version !== current && version.opens > 0)) return next();
    const own = threads.get(tid)?.versions.at(-1);
    if (own !== undefined) return own;
    const tgid = tgidOf();
    let best: Version | undefined;
    for (const holder of threads.values()) {
      if (holder.tgid !== tgid) continue;
      for (const version of holder.versions) if (best === undefined || version.slot.valueLength > best.slot.valueLength) best = version;
    }
    return best ?? next();
  }

  forget(file: File): void {
    this.#files.delete(file);
  }
}
