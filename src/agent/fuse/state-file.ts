// One of the two files of the state log: the four calls it needs, so that tests can end them at any byte.

import { fstatSync, ftruncateSync, readSync, writeSync } from 'node:fs';

export interface StateFile {
  size(): number;
  /** Reads up to `length` bytes at `position` into `target`; fewer only at the end of the file. */
  read(target: Buffer, at: number, length: number, position: number): number;
  write(bytes: Uint8Array, position: number): void;
  truncate(size: number): void;
}

/** A state file behind an inherited descriptor. */
export function stateFile(fd: number): StateFile {
  return {
    size: () => fstatSync(fd).size,
    read(target, at, length, position) {
      let done = 0;
      for (let n = 1; n > 0 && done < length; done += n) n = readSync(fd, target, at + done, length - done, position + done);
      return done;
    },
    write(bytes, position) {
      for (let done = 0; done < bytes.length;) done += writeSync(fd, bytes, done, bytes.length - done, position + done);
    },
    truncate: (size) => ftruncateSync(fd, size),
  };
}
