// What the main thread and the serving thread say to each other. The serving thread blocks in read(2) of /dev/fuse, so a command is posted, the
// counter in shared memory is raised, and a notification makes the kernel send it a request; it looks at the counter after every request.

import type { FileEvent } from './events.ts';
import type { ContainerTree, ContainerUpdate } from './plan.ts';
import type { FileKind } from './state-record.ts';

/** workerData of the serving thread. */
export interface FuseWorkerData {
  readonly role: 'fuse-server';
  readonly fuseFd: number;
  readonly stateFds: readonly [number, number];
  /** Int32 words: see POSTED, GESTURE_PID and READS. */
  readonly signal: SharedArrayBuffer;
}

/** Word of the shared memory that counts posted commands. */
export const POSTED = 0;
/** Word of the shared memory with the process id that performs gestures on the mount; 0 for none. */
export const GESTURE_PID = 1;
/** Word of the shared memory that counts READ requests; it begins anew at 2^32. */
export const READS = 2;
export const SIGNAL_WORDS = 3;

export const FUSE_ROLE = 'fuse-server';

export type Command =
  | { readonly op: 'add'; readonly tree: ContainerTree }
  | { readonly op: 'replace'; readonly updates: readonly ContainerUpdate[] }
  | { readonly op: 'remove'; readonly id: string }
  | { readonly op: 'raised'; readonly steps: readonly { readonly containerId: string; readonly generation: number }[] }
  /** Reads the current values of a container's hidden files. */
  | { readonly op: 'values'; readonly id: string }
  | { readonly op: 'tick' }
  | { readonly op: 'stop' };

/** A container as containers() shows it. */
export interface ContainerSummary {
  readonly id: string;
  readonly cgroupPath: string | undefined;
  readonly files: readonly { readonly name: string; readonly kind: FileKind; readonly version: number; readonly uid: number; readonly gid: number; readonly mode: number }[];
}

/** A change that watchers have to hear of: `from` renamed to `name` in files/, or `name` touched in bound/. */
export interface Raise {
  readonly containerId: string;
  readonly generation: number;
  readonly name: string;
  /** The staged name; undefined for a bound file. */
  readonly from: string | undefined;
  /** Nobody can watch it. */
  readonly isHidden: boolean;
}

/** The current value of a hidden file. Whoever gets it erases it. */
export interface HiddenValue { readonly name: string; readonly version: number; readonly content: Uint8Array }

/** What a command changed. */
export interface Outcome {
  readonly changed: readonly ContainerSummary[];
  readonly raises: readonly Raise[];
  /** Notifications for the kernel, sent by the main thread: from the serving thread they could deadlock. */
  readonly notifications: readonly Uint8Array[];
  /** The serving thread has more to say soon: superseded versions to erase, or folded events to flush. */
  readonly wakeInMs: number | undefined;
  /** What `values` asked for. */
  readonly values?: readonly HiddenValue[];
}

export interface Failure { readonly code: string; readonly message: string; readonly hint: string | undefined }

export type Report =
  | { readonly type: 'ready'; readonly outcome: Outcome }
  | { readonly type: 'done'; readonly sequence: number; readonly outcome: Outcome }
  | { readonly type: 'failed'; readonly sequence: number; readonly failure: Failure }
  | { readonly type: 'events'; readonly events: readonly FileEvent[] }
  /** Readers wait until somebody may read; a tick ends their waiting. */
  | { readonly type: 'waiting' }
  /** The filesystem cannot be served, or no longer; `sequence` free. */
  | { readonly type: 'lost'; readonly failure: Failure }
  | { readonly type: 'stopped' };

/** A command with its number, as posted. */
export type NumberedCommand = Command & { readonly sequence: number };
