// The OCI bundle of a container that is being created (opencontainers/runtime-spec, config.md): what the agent reads from config.json and
// the few edits it makes. Everything else in the file, unknown members and large numbers too, is written back as it was.

import { join, posix } from 'node:path';
import { BundleDocument, arrayOf, memberAt, objectOf, stringOf, uint32Of, unusable, wrongType } from './bundle-document.ts';
import { expectedCgroupPath } from './cgroup-path.ts';
import { EnvList } from './env-list.ts';
import { notifyOfExecs } from './exec-notices.ts';
import type { LosslessObject } from '../lib/lossless-json.ts';

export interface BundleMount {
  /** Absolute and normalized. */
  readonly destination: string;
  readonly source: string | undefined;
  readonly type: string | undefined;
  readonly options: readonly string[];
}

export interface IdMapping {
  readonly containerId: number;
  readonly hostId: number;
  readonly size: number;
}

/** Docker mounts these three from `<docker root>/containers/<id>/`. */
const DOCKER_FILES = new Set(['/etc/hostname', '/etc/hosts', '/etc/resolv.conf']);
const DOCKER_SOURCE = /^(\/.*|)\/containers\/[0-9a-f]{64}\//s;
const DEFAULT_DOCKER_ROOT = '/var/lib/docker';

export class Bundle {
  readonly env: EnvList;
  readonly #document: BundleDocument;

  private constructor(document: BundleDocument) {
    this.#document = document;
    this.env = new EnvList(objectOf(memberAt(document.root, 'process'), 'process'));
  }

  /**
   * @param directory the bundle directory, which holds config.json
   * @throws ERR_RUNTIME_BUNDLE
   */
  static async load(directory: string): Promise<Bundle> {
    return new Bundle(await BundleDocument.load(join(directory, 'config.json')));
  }

  /** Writes config.json: whole or not at all, with its old mode and owner. @throws ERR_RUNTIME_BUNDLE */
  async save(): Promise<void> {
    await this.#document.save();
  }

  /** The mounts in the order in which runc makes them. @throws ERR_RUNTIME_BUNDLE */
  get mounts(): readonly BundleMount[] {
    return this.#mounts().map((mount) => ({
      destination: destinationOf(mount),
      source: optionalString(mount, 'source'),
      type: optionalString(mount, 'type'),
      options: arrayOf(mount.get('options'), 'mounts.options').map((option) => stringOf(option, 'mounts.options')),
    }));
  }

  /**
   * Adds a mount after the mounts on its parent directories, which would hide it, and before those below it, which it would hide.
   * @throws ERR_RUNTIME_BUNDLE when something is already mounted at the same place
   */
  addMount(mount: { readonly destination: string; readonly source: string; readonly type: string; readonly options: readonly string[] }): void {
    const destination = posix.resolve('/', mount.destination);
    const known = this.#mounts().map(destinationOf);
    if (known.includes(destination)) throw unusable(`the container already has a mount at ${destination}`);
    const afterParents = known.findLastIndex((other) => isBelow(destination, other)) + 1;
    const firstBelow = known.findIndex((other, index) => index >= afterParents && isBelow(other, destination));
    const place = firstBelow === -1 ? known.length : firstBelow;
    const list = arrayOf(memberAt(this.#document.root, 'mounts'), 'mounts');
    const entry: LosslessObject = new Map<string, string | string[]>([
      ['destination', destination], ['type', mount.type], ['source', mount.source], ['options', [...mount.options]],
    ]);
    this.#document.root.set('mounts', list.toSpliced(place, 0, entry));
  }

  /** Gives the mount at `destination` another source; its options stay. @throws ERR_RUNTIME_BUNDLE unless exactly one mount is there */
  replaceMountSource(destination: string, source: string): void {
    const found = this.#mounts().filter((mount) => destinationOf(mount) === posix.resolve('/', destination));
    const [mount] = found;
    if (mount === undefined || found.length > 1) throw unusable(`the container has ${found.length} mounts at ${destination} where there should be one`);
    mount.set('source', source);
  }

  /** Makes the kernel tell a listener of each execve in the container. @throws ERR_WORKLOAD_INVALID, ERR_RUNTIME_BUNDLE when its seccomp profile does not allow that */
  notifyOfExecs(listenerPath: string): void {
    notifyOfExecs(objectOf(memberAt(this.#document.root, 'linux'), 'linux'), listenerPath);
  }

  /** The cgroup of the container's processes as /proc/PID/cgroup shows it. @throws ERR_RUNTIME_BUNDLE when there is none or it cannot be known */
  get cgroupPath(): string {
    return expectedCgroupPath(stringOf(memberAt(this.#document.root, 'linux', 'cgroupsPath'), 'linux.cgroupsPath'));
  }

  /** Ids inside the container. @throws ERR_RUNTIME_BUNDLE */
  get user(): { readonly uid: number; readonly gid: number } {
    const user = memberAt(this.#document.root, 'process', 'user');
    if (user === undefined) return { uid: 0, gid: 0 };
    const ids = objectOf(user, 'process.user');
    const id = (key: string): number => ids.has(key) ? uint32Of(ids.get(key), `process.user.${key}`) : 0;
    return { uid: id('uid'), gid: id('gid') };
  }

  /** @throws ERR_RUNTIME_BUNDLE */
  get isRootReadonly(): boolean {
    const value = memberAt(this.#document.root, 'root', 'readonly') ?? false;
    if (typeof value !== 'boolean') throw wrongType('root.readonly', 'true or false');
    return value;
  }

  /** Empty without a user namespace. @throws ERR_RUNTIME_BUNDLE */
  get uidMappings(): readonly IdMapping[] {
    return this.#mappings('uidMappings');
  }

  get gidMappings(): readonly IdMapping[] {
    return this.#mappings('gidMappings');
  }

  /**
   * Docker root directories that the container's own mounts point into, best guess first, Docker's default last. A user may mount over
   * one of the three files they are taken from, so the caller tries each until one has `containers/<id>/config.v2.json`.
   */
  get dockerRoots(): readonly string[] {
    const roots = this.mounts.filter((mount) => DOCKER_FILES.has(mount.destination))
      .map((mount) => DOCKER_SOURCE.exec(mount.source ?? '')?.[1]).filter((root) => root !== undefined);
    return [...new Set([...roots.map((root) => root === '' ? '/' : root), DEFAULT_DOCKER_ROOT])];
  }

  #mounts(): readonly LosslessObject[] {
    return arrayOf(memberAt(this.#document.root, 'mounts'), 'mounts').map((mount) => objectOf(mount, 'mounts'));
  }

  #mappings(key: 'uidMappings' | 'gidMappings'): readonly IdMapping[] {
    return arrayOf(memberAt(this.#document.root, 'linux', key), `linux.${key}`).map((entry) => {
      const mapping = objectOf(entry, `linux.${key}`);
      const number = (name: string): number => uint32Of(mapping.get(name), `linux.${key}.${name}`);
      return { containerId: number('containerID'), hostId: number('hostID'), size: number('size') };
    });
  }
}

/** The process that `docker exec` starts: the file that `runc exec --process` names. */
export class ProcessFile {
  readonly env: EnvList;
  readonly #document: BundleDocument;

  private constructor(document: BundleDocument) {
    this.#document = document;
    this.env = new EnvList(document.root);
  }

  /** @throws ERR_RUNTIME_BUNDLE */
  static async load(path: string): Promise<ProcessFile> {
    return new ProcessFile(await BundleDocument.load(path));
  }

  /** @throws ERR_RUNTIME_BUNDLE */
  async save(): Promise<void> {
    await this.#document.save();
  }
}

/** The id on the host of an id in the container; undefined when the user namespace does not map it. */
export function hostId(mappings: readonly IdMapping[], containerId: number): number | undefined {
  if (mappings.length === 0) return containerId;
  const mapping = mappings.find((one) => containerId >= one.containerId && containerId - one.containerId < one.size);
  return mapping === undefined ? undefined : mapping.hostId + containerId - mapping.containerId;
}

function destinationOf(mount: LosslessObject): string {
  const destination = stringOf(mount.get('destination'), 'mounts.destination');
  // The specification allows a relative one (deprecated); runc takes it from the root.
  return posix.resolve('/', destination);
}

function isBelow(path: string, parent: string): boolean {
  return parent === '/' ? path !== '/' : path.startsWith(`${parent}/`);
}

function optionalString(mount: LosslessObject, key: string): string | undefined {
  const value = mount.get(key) ?? undefined;
  return value === undefined ? undefined : stringOf(value, `mounts.${key}`);
}
