// The filesystem's tree in memory: containers, their files, and the immutable versions of each file. Pure: it changes only by apply() of a
// committed record and by forget() of a version nobody needs; it never sees a value, only the slot in the state log where the value lies.
// Invariant: every file has a current version (the last), and versions of one file have rising generations.

import { PurserError } from '../../lib/errors.ts';
import { ROOT_NODE, type Negotiated } from './protocol.ts';
import type { Slot } from './state-log.ts';
import type { FileKind, StateRecord, StateRecordOf } from './state-record.ts';

/** Ids below are reserved: 0 is no node, 1 the root, the rest directory cookies. */
export const FIRST_ID = 16;
/** Ids must fit the upper half of a file handle. */
export const LAST_ID = 0xffff_ffff;

export interface Version {
  readonly kind: 'version';
  readonly id: number;
  readonly file: File;
  readonly version: number;
  readonly generation: number;
  readonly time: number;
  readonly uid: number;
  readonly gid: number;
  readonly mode: number;
  readonly slot: Slot;
  /** When the next version came, in milliseconds since the epoch; undefined while current. */
  supersededAt: number | undefined;
  /** First generation in which it is no longer current. */
  supersededBy: number | undefined;
  /** Descriptors this server saw opened and not yet released. */
  opens: number;
  /** From a predecessor's time: descriptors may be open that this server never saw. */
  opensUnknown: boolean;
  /** The name was taken over by a newer version in the kernel's eyes too, so stat shows no link. */
  isUnlinked: boolean;
}

export interface File {
  readonly kind: 'file';
  readonly id: number;
  readonly name: string;
  readonly type: FileKind;
  readonly container: Container;
  readonly slot: Slot;
  /** Oldest first; the last one is current. */
  readonly versions: Version[];
}

export interface Directory {
  readonly kind: 'directory';
  readonly role: 'root' | 'container' | 'files' | 'bound';
  readonly node: number;
  /** Undefined for the root only. */
  readonly container: Container | undefined;
}

export class Container {
  readonly id: string;
  readonly directory: Directory;
  readonly filesDirectory: Directory;
  readonly boundDirectory: Directory;
  /** `versioned` and `placeholder` files by name. */
  readonly files = new Map<string, File>();
  readonly bound = new Map<string, File>();
  /** In no directory, so no request of the kernel leads to them. */
  readonly hidden = new Map<string, File>();
  /** Undefined for the mount of a volume. */
  cgroupPath: string | undefined;
  readerId: string | undefined;
  generation: number;
  /** inotify events are out for everything up to this generation; the first one has no watchers yet. */
  raised = 1;
  slot: Slot;
  raisedSlot: Slot | undefined;

  constructor(record: StateRecordOf<'container'>, slot: Slot) {
    this.id = record.id;
    this.cgroupPath = record.cgroupPath;
    this.readerId = record.readerId;
    this.generation = record.generation;
    this.slot = slot;
    this.directory = { kind: 'directory', role: 'container', node: record.node, container: this };
    this.filesDirectory = { kind: 'directory', role: 'files', node: record.filesNode, container: this };
    this.boundDirectory = { kind: 'directory', role: 'bound', node: record.boundNode, container: this };
  }
}

export type Node = Directory | File | Version;

/** The current version of a file. */
export function currentOf(file: File): Version {
  const current = file.versions[file.versions.length - 1];
  if (current === undefined) throw new PurserError('ERR_STATE_CORRUPT', 'a file in the handed-over state has no version');
  return current;
}

/** True while nobody may read: a volume is mounted, and for which container is not known yet. */
export function isUnassigned(container: Container): boolean {
  return container.cgroupPath === undefined && container.readerId === undefined;
}

/** All files of a container, in a directory or hidden. */
export function filesOf(container: Container): File[] {
  return [...container.files.values(), ...container.bound.values(), ...container.hidden.values()];
}

/** Where files of a kind are found by name. */
export function filesOfKind(container: Container, kind: FileKind): Map<string, File> {
  return kind === 'bound' ? container.bound : kind === 'hidden' ? container.hidden : container.files;
}

/** Slots that a record made useless: meta only counts as garbage, values must be erased. */
export interface Dropped { readonly meta: Slot[]; readonly values: Slot[] }

export class Tree {
  readonly root: Directory = { kind: 'directory', role: 'root', node: ROOT_NODE, container: undefined };
  readonly containers = new Map<string, Container>();
  /** Everything the kernel can name by node id. */
  readonly nodes = new Map<number, Node>([[ROOT_NODE, this.root]]);
  /** Every retained version by id, which is also what file handles carry. */
  readonly versions = new Map<number, Version>();
  /** Versions that are no longer current, oldest first. */
  readonly superseded = new Set<Version>();
  init: (Negotiated & { readonly slot: Slot }) | undefined;

  /**
   * Applies one committed record.
   * @param isRecovery the record was written by a predecessor
   * @throws ERR_STATE_CORRUPT when the record does not fit the tree
   */
  apply(record: StateRecord, slot: Slot, isRecovery = false): Dropped {
    const dropped: Dropped = { meta: [], values: [] };
    switch (record.type) {
      case 'init':
        if (this.init !== undefined) dropped.meta.push(this.init.slot);
        this.init = { minor: record.minor, flags: record.flags, flags2: record.flags2, slot };
        break;
      case 'container': this.#applyContainer(record, slot, dropped); break;
      case 'file': this.#applyFile(record, slot); break;
      case 'version': this.#applyVersion(record, slot, isRecovery); break;
      case 'raised': this.#applyRaised(record, slot, dropped); break;
      case 'drop-file':
        this.#dropFile(this.#file(record.file, record.container), dropped);
        dropped.meta.push(slot);
        break;
      case 'drop-container': this.#dropContainer(this.#container(record.container), dropped); dropped.meta.push(slot); break;
    }
    return dropped;
  }

  /** Removes a superseded version; its value must be erased by the caller. */
  forget(version: Version): void {
    version.file.versions.splice(version.file.versions.indexOf(version), 1);
    this.#unindex(version);
  }

  /** Slots of everything alive, in an order in which apply() accepts them. */
  liveSlots(): Slot[] {
    const slots: Slot[] = this.init === undefined ? [] : [this.init.slot];
    for (const container of this.containers.values()) {
      slots.push(container.slot);
      for (const file of filesOf(container)) slots.push(file.slot, ...file.versions.map((version) => version.slot));
      if (container.raisedSlot !== undefined) slots.push(container.raisedSlot);
    }
    return slots;
  }

  #applyContainer(record: StateRecordOf<'container'>, slot: Slot, dropped: Dropped): void {
    const known = this.containers.get(record.id);
    if (known !== undefined) {
      dropped.meta.push(known.slot);
      known.slot = slot;
      known.cgroupPath = record.cgroupPath;
      known.readerId = record.readerId;
      known.generation = Math.max(known.generation, record.generation);
      return;
    }
    const container = new Container(record, slot);
    for (const each of [container.directory, container.filesDirectory, container.boundDirectory]) this.nodes.set(each.node, each);
    this.containers.set(record.id, container);
  }

  #applyFile(record: StateRecordOf<'file'>, slot: Slot): void {
    const container = this.#container(record.container);
    const file: File = { kind: 'file', id: record.file, name: record.name, type: record.kind, container, slot, versions: [] };
    filesOfKind(container, record.kind).set(record.name, file);
    this.nodes.set(record.file, file);
  }

  #applyVersion(record: StateRecordOf<'version'>, slot: Slot, isRecovery: boolean): void {
    const file = this.#file(record.file, record.container);
    const { id, version, generation, time, uid, gid, mode } = record;
    const previous = file.versions.at(-1);
    if (previous !== undefined) {
      previous.supersededAt = time;
      previous.supersededBy = generation;
      this.superseded.add(previous);
    }
    const next: Version = {
      kind: 'version', id, file, version, generation, time, uid, gid, mode, slot,
      supersededAt: undefined, supersededBy: undefined, opens: 0, opensUnknown: isRecovery, isUnlinked: false,
    };
    file.versions.push(next);
    this.versions.set(id, next);
    if (file.type === 'versioned') this.nodes.set(id, next);
    file.container.generation = Math.max(file.container.generation, generation);
  }

  #applyRaised(record: StateRecordOf<'raised'>, slot: Slot, dropped: Dropped): void {
    const container = this.#container(record.container);
    if (container.raisedSlot !== undefined) dropped.meta.push(container.raisedSlot);
    container.raised = record.generation;
    container.raisedSlot = slot;
  }

  #dropFile(file: File, dropped: Dropped): void {
    dropped.meta.push(file.slot);
    for (const version of file.versions) {
      dropped.values.push(version.slot);
      this.#unindex(version);
    }
    this.nodes.delete(file.id);
    filesOfKind(file.container, file.type).delete(file.name);
  }

  #dropContainer(container: Container, dropped: Dropped): void {
    for (const file of filesOf(container)) this.#dropFile(file, dropped);
    for (const { node } of [container.directory, container.filesDirectory, container.boundDirectory]) this.nodes.delete(node);
    dropped.meta.push(container.slot, ...(container.raisedSlot === undefined ? [] : [container.raisedSlot]));
    this.containers.delete(container.id);
  }

  #unindex(version: Version): void {
    this.versions.delete(version.id);
    this.nodes.delete(version.file.type === 'versioned' ? version.id : 0);
    this.superseded.delete(version);
  }

  #container(id: string): Container {
    const container = this.containers.get(id);
    if (container === undefined) throw new PurserError('ERR_STATE_CORRUPT', 'a record in the handed-over state names an unknown container');
    return container;
  }

  #file(id: number, containerId: string): File {
    const node = this.nodes.get(id);
    if (node?.kind !== 'file' || node.container.id !== containerId) throw new PurserError('ERR_STATE_CORRUPT', 'a record in the handed-over state names an unknown file');
    return node;
  }
}
