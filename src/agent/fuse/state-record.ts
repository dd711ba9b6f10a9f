// The records of the state log: the only way the tree ever changes, live and at recovery, so both give the same tree.
// Ids (nodes, files, versions) come from one counter, are never used twice on a mount, and stay below 2^32.

/** How a file is offered to a container; `hidden`: not at all, its value is for the agent (variables of the environment). */
export type FileKind = 'versioned' | 'bound' | 'placeholder' | 'hidden';

interface InitRecord { readonly type: 'init'; readonly minor: number; readonly flags: number; readonly flags2: number }

/** A container appears, or its cgroup changes, or files go whose versions would have told the generation. */
interface ContainerRecord {
  readonly type: 'container';
  readonly id: string;
  /** Absent for the mount of a volume. */
  readonly cgroupPath?: string | undefined;
  /** For the mount of a volume: whose processes may read; absent while nobody may. */
  readonly readerId?: string | undefined;
  readonly node: number;
  readonly filesNode: number;
  readonly boundNode: number;
  readonly generation: number;
}

interface FileRecord { readonly type: 'file'; readonly container: string; readonly file: number; readonly name: string; readonly kind: FileKind }

/** A file gets a new current version; `value` is its content. */
interface VersionRecord {
  readonly type: 'version';
  readonly container: string;
  readonly file: number;
  readonly id: number;
  readonly version: number;
  /** The container's generation that this version begins: all versions of one generation appear in one step. */
  readonly generation: number;
  /** Milliseconds since the epoch. */
  readonly time: number;
  readonly uid: number;
  readonly gid: number;
  readonly mode: number;
}

/** inotify events were raised for every change up to this generation. */
interface RaisedRecord { readonly type: 'raised'; readonly container: string; readonly generation: number }

interface DropFileRecord { readonly type: 'drop-file'; readonly container: string; readonly file: number }
interface DropContainerRecord { readonly type: 'drop-container'; readonly container: string }

export type StateRecord = (InitRecord | ContainerRecord | FileRecord | VersionRecord | RaisedRecord | DropFileRecord | DropContainerRecord)
  & { readonly value?: Uint8Array };
export type StateRecordOf<T extends StateRecord['type']> = Extract<StateRecord, { type: T }>;
