// Turns a wish (add, replace or remove a container's files) into the records that bring it about. Pure: it checks everything before the first
// record exists, so an invalid wish changes nothing. Same content keeps its version and node; a changed file gets a new version, and all changes
// of one container share one new generation.

import { PurserError } from '../../lib/errors.ts';
import { MAX_VALUE, type Slot } from './state-log.ts';
import type { FileKind, StateRecord } from './state-record.ts';
import { LAST_ID, currentOf, filesOf, filesOfKind, type Container, type File, type Tree } from './tree.ts';

/** Names with this prefix are the agent's own staged names; containers never see them. */
export const STAGED_PREFIX = '.purser-';

export interface SecretFile {
  /** One path component, at most 255 bytes. */
  readonly name: string;
  readonly kind: FileKind;
  /** At most 1 MiB; empty for a placeholder. */
  readonly content: Uint8Array;
  readonly version: number;
  readonly uid: number;
  readonly gid: number;
  /** Permission bits only (0 to 0o777). */
  readonly mode: number;
}

export interface ContainerTree {
  /** The container id, or the id of a volume's mount; 64 hex digits. */
  readonly id: string;
  /** As /proc/PID/cgroup shows it, below the root of the host's cgroup mount. Undefined for the mount of a volume, which exists before the cgroup does. */
  readonly cgroupPath?: string | undefined;
  /** For the mount of a volume: the container whose processes may read; nobody may while it is undefined. */
  readonly readerId?: string | undefined;
  readonly files: readonly SecretFile[];
  /** The files come to those that a container has already; otherwise they are all that it has. */
  readonly isAddition?: boolean;
}

export interface ContainerUpdate {
  readonly containerId: string;
  readonly files: readonly { readonly name: string; readonly content: Uint8Array; readonly version: number }[];
}

export interface Plan {
  readonly records: StateRecord[];
  readonly nextId: number;
}

type HasContent = (slot: Slot, content: Uint8Array) => boolean;

function invalid(message: string): PurserError {
  return new PurserError('ERR_WORKLOAD_INVALID', message, { hint: 'check the names, owners and modes of the secret files this container declares' });
}

function isId(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value < 0xffff_ffff;
}

function checkFile(file: SecretFile): void {
  const bytes = Buffer.byteLength(file.name);
  if (bytes === 0 || bytes > 255 || /[/\0]/.test(file.name) || Buffer.from(file.name).toString() !== file.name || file.name === '.' || file.name === '..' || file.name.startsWith(STAGED_PREFIX)) {
    throw invalid('a secret file has a name that cannot be a file name');
  }
  if (!isId(file.uid) || !isId(file.gid)) throw invalid(`the owner of the secret file ${file.name} is out of range`);
  if (!Number.isInteger(file.mode) || file.mode < 0 || file.mode > 0o777) throw invalid(`the mode of the secret file ${file.name} has more than permission bits`);
  if (!Number.isSafeInteger(file.version) || file.version < 0) throw invalid(`the version of the secret file ${file.name} is not a number`);
  if (file.content.length > MAX_VALUE) throw invalid(`the secret file ${file.name} is larger than 1 MiB`);
  if (file.kind === 'placeholder' && (file.content.length > 0 || file.mode !== 0)) throw invalid(`the placeholder ${file.name} is not empty with mode 0000`);
}

/** The files are memory of the host, whatever memory the container may use; templates could make much of little. */
const MAX_TREE_BYTES = 32 * 1024 * 1024;

/** @throws ERR_WORKLOAD_INVALID when the tree cannot be served as it is */
export function checkTree(tree: ContainerTree): void {
  if (!/^[0-9a-f]{64}$/.test(tree.id)) throw invalid('a container id is not 64 hex digits');
  const { cgroupPath: path, readerId } = tree;
  if (readerId !== undefined && (path !== undefined || !/^[0-9a-f]{64}$/.test(readerId))) throw invalid('the reader of a volume is not a container id');
  // The root cgroup holds every process of the host, so it can never stand for one container.
  if (path !== undefined && (!/^(\/[^/\n]+)+$/.test(path) || path.length > 4096 || path.split('/').some((part) => part === '.' || part === '..'))) {
    throw invalid(`the cgroup path of container ${tree.id.slice(0, 12)} is not an absolute path below the root`);
  }
  for (const names of [tree.files.filter((f) => f.kind !== 'placeholder'), tree.files.filter((f) => f.kind !== 'bound')].map((files) => files.map((f) => f.name))) {
    if (new Set(names).size !== names.length) throw invalid(`container ${tree.id.slice(0, 12)} has two secret files of one name`);
  }
  tree.files.forEach(checkFile);
  if (tree.files.reduce((sum, { content }) => sum + content.length, 0) > MAX_TREE_BYTES) throw invalid(`the secret files of container ${tree.id.slice(0, 12)} take more than 32 MiB in all`);
}

class Allocator {
  nextId: number;
  constructor(nextId: number) {
    this.nextId = nextId;
  }
  take(): number {
    if (this.nextId > LAST_ID) throw new PurserError('ERR_FUSE_UNAVAILABLE', 'the filesystem has used up its node numbers', { hint: 'restart the holder with no container running' });
    return this.nextId++;
  }
}

/** Records that make the container exactly `wish`, or add it; files that stay as they are keep their versions. */
export function planAdd(tree: Tree, nextId: number, wish: ContainerTree, now: number, hasContent: HasContent): Plan {
  checkTree(wish);
  const ids = new Allocator(nextId);
  const container = tree.containers.get(wish.id);
  const records: StateRecord[] = [];
  const existing = new Set(container === undefined ? [] : filesOf(container));
  for (const file of wish.files) {
    const known = container === undefined ? undefined : find(container, file);
    if (known !== undefined) existing.delete(known);
    if (known !== undefined && isUnchanged(known, file, hasContent)) continue;
    const id = known?.id ?? ids.take();
    if (known === undefined) records.push({ type: 'file', container: wish.id, file: id, name: file.name, kind: file.kind });
    const { version, uid, gid, mode, content } = file;
    records.push({ type: 'version', container: wish.id, file: id, id: ids.take(), version, generation: (container?.generation ?? 0) + 1, time: now, uid, gid, mode, value: content });
  }
  // Drops come before the rest: a name may return with another kind.
  const drops = wish.isAddition === true ? [] : [...existing].map((file): StateRecord => ({ type: 'drop-file', container: wish.id, file: file.id }));
  const isSame = container !== undefined && (wish.isAddition === true || (container.cgroupPath === wish.cgroupPath && container.readerId === wish.readerId));
  const head: StateRecord[] = isSame && drops.length === 0 ? [] : [{
    type: 'container', id: wish.id, cgroupPath: wish.cgroupPath, readerId: wish.readerId, generation: container?.generation ?? 0, node: container?.directory.node ?? ids.take(),
    filesNode: container?.filesDirectory.node ?? ids.take(), boundNode: container?.boundDirectory.node ?? ids.take(),
  }];
  return { records: [...head, ...drops, ...records], nextId: ids.nextId };
}

/** Records that give the named files new versions, all containers at once. Unknown containers and files are passed over: they ended meanwhile. */
export function planReplace(tree: Tree, nextId: number, updates: readonly ContainerUpdate[], now: number, hasContent: HasContent): Plan {
  const ids = new Allocator(nextId);
  const records: StateRecord[] = [];
  for (const { containerId, files } of updates) {
    const container = tree.containers.get(containerId);
    if (container === undefined) continue;
    for (const { name, content, version } of files) {
      const file = valueFile(container, name);
      if (file === undefined) continue;
      const { uid, gid, mode } = currentOf(file);
      const wish: SecretFile = { name, kind: file.type, content, version, uid, gid, mode };
      checkFile(wish);
      if (isUnchanged(file, wish, hasContent)) continue;
      records.push({ type: 'version', container: containerId, file: file.id, id: ids.take(), version, generation: container.generation + 1, time: now, uid, gid, mode, value: content });
    }
  }
  const keys = records.map((record) => (record.type === 'version' ? record.file : 0));
  if (new Set(keys).size !== keys.length) throw invalid('one secret file is replaced twice in one step');
  return { records, nextId: ids.nextId };
}

/** Records that remove a container; none when it is not there. */
export function planRemove(tree: Tree, nextId: number, id: string): Plan {
  return { records: tree.containers.has(id) ? [{ type: 'drop-container', container: id }] : [], nextId };
}

/** The file that carries a value under this name; a placeholder of the same name is only its mount target. */
function valueFile(container: Container, name: string): File | undefined {
  const file = container.files.get(name);
  return file?.type === 'versioned' ? file : container.bound.get(name) ?? container.hidden.get(name);
}

function find(container: Container, wish: SecretFile): File | undefined {
  const file = filesOfKind(container, wish.kind).get(wish.name);
  return file?.type === wish.kind ? file : undefined;
}

function isUnchanged(file: File, wish: SecretFile, hasContent: HasContent): boolean {
  const current = currentOf(file);
  return current.version === wish.version && current.uid === wish.uid && current.gid === wish.gid && current.mode === wish.mode
    && hasContent(current.slot, wish.content);
}
