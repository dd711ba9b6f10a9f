// One request in, at most one reply out; nothing here waits. Guarantees:
// - Names and attributes are open to all (runc has to resolve bind sources, and a refused LOOKUP would detach mounts in the container);
//   OPEN, OPENDIR and READDIR inside a container's directory only to threads in that container's cgroup, and to the agent.
// - Every open sees one immutable version; READ needs only the handle, which must belong to the node.
// - Nothing can be changed: EROFS, except the agent's two gestures that make the kernel raise inotify events (see staging.ts).
// Protocol: protocol.ts. Requests that are not listed get ENOSYS, which the kernel remembers.

import type { Callers } from './caller.ts';
import type { EventFold, Occurrence } from './events.ts';
import { Holders } from './holders.ts';
import { STAGED_PREFIX } from './plan.ts';
import type { Pins } from './pins.ts';
import {
  ERRNO, FOPEN_DIRECT_IO, FOPEN_NOFLUSH, FOREVER_SECONDS, GETATTR_FH, OP, READ_LOCKOWNER, REPLY_HEADER, REQUEST_HEADER, S_IFDIR, S_IFREG, WAKE_NAME, WAKE_NODE, header, negotiate,
  readHandle, readName, readU64, replyAttributes, replyEntry, replyHeader, replyInit, replyOpen, replyStatfs, writeDirent,
  type Attributes, type Negotiated,
} from './protocol.ts';
import { Staging } from './staging.ts';
import { MAX_VALUE, type StateLog } from './state-log.ts';
import { WaitingOpens } from './waiting.ts';
import { currentOf, isUnassigned, type Container, type Directory, type File, type Node, type Tree, type Version } from './tree.ts';

const BODY = REQUEST_HEADER;
const MUTATING: ReadonlySet<number> = new Set([
  OP.SETATTR, OP.SYMLINK, OP.MKNOD, OP.MKDIR, OP.UNLINK, OP.RMDIR, OP.LINK, OP.SETXATTR, OP.REMOVEXATTR, OP.CREATE, OP.FALLOCATE,
  OP.COPY_FILE_RANGE, OP.COPY_FILE_RANGE_64, OP.TMPFILE,
]);
const SILENT: ReadonlySet<number> = new Set([OP.FORGET, OP.BATCH_FORGET, OP.NOTIFY_REPLY]);
/** Requests of a dead agent's own threads must not run again, and a new mount's first reply may be lost: only these are answered anew. */
const REPEATABLE: ReadonlySet<number> = new Set([OP.LOOKUP, OP.GETATTR, OP.OPEN, OP.READ, OP.STATFS, OP.RELEASE, OP.INIT, OP.OPENDIR, OP.READDIR, OP.RELEASEDIR]);
/** O_WRONLY | O_RDWR | O_TRUNC of open(2), asm-generic/fcntl.h. */
const WRITE_FLAGS = 0o1003;

const WAKE: Attributes = { node: WAKE_NODE, size: 0, time: 0, mode: S_IFREG, links: 1, uid: 0, gid: 0 };

export interface DispatchParts {
  readonly tree: Tree;
  readonly log: StateLog;
  readonly callers: Callers;
  readonly events: EventFold;
  readonly pins: Pins;
  /** True when the kernel sends a request again that a dead server left unanswered. */
  readonly canWait: () => boolean;
  /** Makes the INIT agreement durable before the kernel hears of it. */
  readonly onInit: (agreed: Negotiated | undefined) => void;
}

export class Dispatcher {
  /** The reply under construction; handle() returns how much of it counts. */
  readonly reply = Buffer.alloc(REPLY_HEADER + MAX_VALUE);
  readonly holders = new Holders();
  readonly staging = new Staging();
  readonly waiting = new WaitingOpens();
  readonly #parts: DispatchParts;
  #now = 0;
  #mayWait = true;

  constructor(parts: DispatchParts) {
    this.#parts = parts;
  }

  /** True when a request that a predecessor left unanswered may be answered as if it were new. */
  static isRepeatable(request: Buffer): boolean {
    return REPEATABLE.has(header.opcode(request));
  }

  /** Answers the request in `request`; returns the length of the reply, 0 for none. @param isLast it has waited and may not again */
  handle(request: Buffer, isLast = false): number {
    this.#now = Date.now();
    this.#mayWait = !isLast;
    const op = header.opcode(request);
    switch (op) {
      case OP.LOOKUP: return this.#lookup(request);
      case OP.GETATTR: return this.#getattr(request);
      case OP.OPEN: return this.#open(request);
      case OP.READ: return this.#read(request);
      case OP.RELEASE: return this.#release(request);
      case OP.OPENDIR: return this.#opendir(request);
      case OP.READDIR: return this.#readdir(request);
      case OP.RELEASEDIR: case OP.DESTROY: return replyHeader(this.reply, request, 0);
      case OP.STATFS: return replyStatfs(this.reply, request);
      case OP.RENAME: return this.#rename(request, 8);
      case OP.RENAME2: return this.#rename(request, 16);
      case OP.WRITE: return this.#write(request);
      case OP.INIT: return this.#init(request);
      case OP.INTERRUPT: return this.#interrupt(request);
      default:
        if (SILENT.has(op)) return 0;
        return this.#fail(request, MUTATING.has(op) ? ERRNO.EROFS : ERRNO.ENOSYS);
    }
  }

  /** Erases what the last reply held. */
  scrub(length: number): void {
    this.reply.fill(0, 0, length);
  }

  #fail(request: Buffer, errno: number): number {
    return replyHeader(this.reply, request, 0, errno);
  }

  #node(request: Buffer): Node | undefined {
    return this.#parts.tree.nodes.get(header.node(request));
  }

  #tgid(tid: number): number {
    return this.#parts.callers.process(tid)?.tgid ?? 0;
  }

  #init(request: Buffer): number {
    const agreed = negotiate(request);
    this.#parts.onInit(agreed);
    return agreed === undefined ? this.#fail(request, ERRNO.EPROTO) : replyInit(this.reply, request, agreed);
  }

  #lookup(request: Buffer): number {
    const parent = this.#node(request);
    if (parent === undefined) return this.#fail(request, ERRNO.ESTALE);
    if (parent.kind !== 'directory') return this.#fail(request, ERRNO.ENOTDIR);
    const name = readName(request, BODY, request.length);
    const tid = header.tid(request);
    if (parent.role === 'root' && name === WAKE_NAME && this.#parts.callers.isOwn(tid)) return replyEntry(this.reply, request, WAKE, 0, 0);
    const found = this.#child(parent, name, tid);
    if (found === undefined) return this.#fail(request, ERRNO.ENOENT);
    if (found.kind === 'directory') return replyEntry(this.reply, request, attributesOfDirectory(found), FOREVER_SECONDS, FOREVER_SECONDS);
    if (found.kind === 'version') return replyEntry(this.reply, request, attributesOf(found, found.id), 0, FOREVER_SECONDS);
    // A placeholder carries a mount in the container, so its name must never fail to be confirmed; a bound file changes under its name.
    const seconds = found.type === 'placeholder' ? FOREVER_SECONDS : 0;
    return replyEntry(this.reply, request, attributesOf(currentOf(found), found.id), seconds, seconds);
  }

  #child(parent: Directory, name: string, tid: number): Node | undefined {
    const { tree, callers, pins } = this.#parts;
    const { container } = parent;
    if (container === undefined) return tree.containers.get(name)?.directory;
    if (parent.role === 'container') return name === 'files' ? container.filesDirectory : name === 'bound' ? container.boundDirectory : undefined;
    if (parent.role === 'bound') return container.bound.get(name);
    if (name.startsWith(STAGED_PREFIX)) return callers.isOwn(tid) ? this.staging.stage(tree, container, name, tid) : undefined;
    const file = container.files.get(name);
    if (file?.type !== 'versioned') return file;
    const staged = this.staging.of(tid, file);
    if (staged !== undefined) return staged.old;
    return pins.resolve(file, this.#now, () => this.#tgid(tid));
  }

  #getattr(request: Buffer): number {
    if (header.node(request) === WAKE_NODE) return replyAttributes(this.reply, request, WAKE, 0);
    const node = this.#node(request);
    if (node === undefined) return this.#fail(request, ERRNO.ESTALE);
    if (node.kind === 'directory') return replyAttributes(this.reply, request, attributesOfDirectory(node), FOREVER_SECONDS);
    if (node.kind === 'version') return replyAttributes(this.reply, request, attributesOf(node, node.id), FOREVER_SECONDS);
    const hasHandle = (request.readUInt32LE(BODY) & GETATTR_FH) !== 0;
    const opened = hasHandle ? this.#parts.tree.versions.get(readHandle(request, BODY + 8).version) : undefined;
    const tid = header.tid(request);
    const tgid = (): number => this.#tgid(tid);
    const version = opened?.file === node ? opened : this.holders.versionFor(node, tid, tgid, () => this.#parts.pins.resolve(node, this.#now, tgid));
    return replyAttributes(this.reply, request, attributesOf(version, node.id), 0);
  }

  #open(request: Buffer): number {
    const node = this.#node(request);
    if (node === undefined) return this.#fail(request, ERRNO.ESTALE);
    if (node.kind === 'directory') return this.#fail(request, ERRNO.EISDIR);
    const tid = header.tid(request);
    const file = node.kind === 'version' ? node.file : node;
    const { callers, pins } = this.#parts;
    const isMember = this.#isMember(tid, file.container);
    if (!isMember && !callers.isOwn(tid)) {
      if (isUnassigned(file.container) && this.#mayWait && this.#parts.canWait() && this.waiting.add(request, file.container, this.#now)) return 0;
      this.#note('refused', file.container, file, node.kind === 'version' ? node : currentOf(file), request);
      return this.#fail(request, ERRNO.EACCES);
    }
    const isWrite = (request.readUInt32LE(BODY) & WRITE_FLAGS) !== 0;
    // Looked up while nobody could read: the kernel looks the name up again (fs/namei.c, do_filp_open) and finds the value.
    if (node.kind === 'version' && node.version === 0 && node !== currentOf(file) && file.container.cgroupPath === undefined) return this.#fail(request, ERRNO.ESTALE);
    if (isWrite && !(file.type === 'bound' && callers.isOwn(tid))) return this.#fail(request, ERRNO.EROFS);
    const tgid = this.#tgid(tid);
    const version = node.kind === 'version' ? node : isWrite ? currentOf(node) : pins.resolve(node, this.#now, () => tgid);
    version.opens++;
    if (isMember && !isWrite) this.#opened(version, tid, tgid, request);
    return replyOpen(this.reply, request, { version: version.id, tid }, FOPEN_DIRECT_IO | FOPEN_NOFLUSH);
  }

  #isMember(tid: number, { cgroupPath, readerId }: Container): boolean {
    const { callers } = this.#parts;
    if (cgroupPath !== undefined) return callers.isInCgroup(tid, cgroupPath);
    return readerId !== undefined && callers.isInContainer(tid, readerId);
  }

  /** A signal came to somebody who waits. */
  #interrupt(request: Buffer): number {
    const held = this.waiting.interrupted(request, BODY);
    return held === undefined ? 0 : this.#fail(held, ERRNO.EINTR);
  }

  #opened(version: Version, tid: number, tgid: number, request: Buffer): void {
    this.#parts.pins.opened(version, tgid, this.#now);
    if (version.file.type === 'bound') this.holders.opened(version, tid, tgid);
    this.#note('opened', version.file.container, version.file, version, request);
  }

  #note(type: Occurrence['type'], container: Container, file: File | undefined, version: Version | undefined, request: Buffer): void {
    this.#parts.events.add({
      type, containerId: container.id, name: file?.name ?? '', version: version?.version ?? 0,
      tid: header.tid(request), uid: header.uid(request), gid: header.gid(request),
    }, this.#now);
  }

  #handleVersion(request: Buffer): Version | undefined {
    const version = this.#parts.tree.versions.get(readHandle(request, BODY).version);
    const node = header.node(request);
    return version !== undefined && (version.id === node || version.file.id === node) ? version : undefined;
  }

  #read(request: Buffer): number {
    const version = this.#handleVersion(request);
    if (version === undefined) return this.#fail(request, ERRNO.ESTALE);
    // A bound file's inode has one page cache and one size for all its versions, which sendfile(2) and its like would copy from, cut and
    // mixed. Refused with EINVAL ("in_fd does not support mmap(2)-like operations", sendfile(2)), programs read(2) instead, by their handle.
    const isCached = (request.readUInt32LE(BODY + 20) & READ_LOCKOWNER) === 0;
    if (isCached && version.file.type === 'bound' && this.#parts.callers.isSplicing(header.tid(request))) return this.#fail(request, ERRNO.EINVAL);
    const count = this.#parts.log.read(version.slot, readU64(request, BODY + 8), this.reply, REPLY_HEADER, request.readUInt32LE(BODY + 16));
    return replyHeader(this.reply, request, count);
  }

  #release(request: Buffer): number {
    const version = this.#handleVersion(request);
    if (version !== undefined) {
      version.opens = Math.max(0, version.opens - 1);
      if (version.file.type === 'bound') this.holders.released(version, readHandle(request, BODY).tid);
    }
    return replyHeader(this.reply, request, 0);
  }

  /** Why a directory may not be listed, as an errno; 0 when it may. */
  #listingErrno(node: Node | undefined, request: Buffer): number {
    if (node === undefined) return ERRNO.ESTALE;
    if (node.kind !== 'directory') return ERRNO.ENOTDIR;
    const { callers } = this.#parts;
    const tid = header.tid(request);
    // The names in a volume are no secret (docker volume inspect), and dockerd lists it to see whether it is empty.
    if (node.container !== undefined && node.container.cgroupPath === undefined) return 0;
    if ((node.container !== undefined && this.#isMember(tid, node.container)) || callers.isOwn(tid)) return 0;
    if (node.container !== undefined) this.#note('refused', node.container, undefined, undefined, request);
    return ERRNO.EACCES;
  }

  #opendir(request: Buffer): number {
    const errno = this.#listingErrno(this.#node(request), request);
    return errno === 0 ? replyOpen(this.reply, request, { version: 0, tid: 0 }, 0) : this.#fail(request, errno);
  }

  #readdir(request: Buffer): number {
    const node = this.#node(request);
    const errno = this.#listingErrno(node, request);
    if (errno !== 0) return this.#fail(request, errno);
    const after = readU64(request, BODY + 8);
    const limit = REPLY_HEADER + Math.min(request.readUInt32LE(BODY + 16), MAX_VALUE);
    let end = REPLY_HEADER;
    for (const entry of this.#entries(node as Directory)) {
      if (entry.cookie <= after) continue;
      const next = writeDirent(this.reply, end, limit, entry);
      if (next === 0) break;
      end = next;
    }
    return replyHeader(this.reply, request, end - REPLY_HEADER);
  }

  /** Entries with rising cookies; an id is its own cookie, so a listing stays sound while files come and go. */
  #entries(directory: Directory): { node: number; cookie: number; name: string; isDirectory: boolean }[] {
    const dot = [{ node: directory.node, cookie: 1, name: '.', isDirectory: true }, { node: directory.node, cookie: 2, name: '..', isDirectory: true }];
    const sub = (name: string, { node }: Directory): typeof dot[0] => ({ node, cookie: node, name, isDirectory: true });
    const { container, role } = directory;
    if (container === undefined) return [...dot, ...[...this.#parts.tree.containers].map(([id, each]) => sub(id, each.directory))];
    if (role === 'container') return [...dot, sub('files', container.filesDirectory), sub('bound', container.boundDirectory)];
    const files = [...(role === 'bound' ? container.bound : container.files).values()];
    const entries = files.map((file) => ({ node: file.type === 'versioned' ? currentOf(file).id : file.id, cookie: file.id, name: file.name, isDirectory: false }));
    return [...dot, ...entries.sort((a, b) => a.cookie - b.cookie)];
  }

  /** The agent's rename of a staged name: it has happened already, only the kernel's watchers did not know. */
  #rename(request: Buffer, bodyLength: number): number {
    const parent = this.#node(request);
    const isPlain = bodyLength === 8 || request.readUInt32LE(BODY + 8) === 0;
    const from = readName(request, BODY + bodyLength, request.length);
    const to = readName(request, BODY + bodyLength + Buffer.byteLength(from) + 1, request.length);
    const isInPlace = readU64(request, BODY) === header.node(request);
    const tid = header.tid(request);
    if (parent?.kind !== 'directory' || !isPlain || !isInPlace || !this.#parts.callers.isOwn(tid)) return this.#fail(request, ERRNO.EROFS);
    return this.staging.finish(tid, from, to) ? replyHeader(this.reply, request, 0) : this.#fail(request, ERRNO.EROFS);
  }

  /** The agent's touch of a bound file: the byte is not kept, the kernel raises IN_MODIFY and IN_CLOSE_WRITE. */
  #write(request: Buffer): number {
    const node = this.#node(request);
    if (node?.kind !== 'file' || node.type !== 'bound' || !this.#parts.callers.isOwn(header.tid(request))) return this.#fail(request, ERRNO.EROFS);
    this.reply.writeUInt32LE(request.readUInt32LE(BODY + 16), REPLY_HEADER);
    this.reply.writeUInt32LE(0, REPLY_HEADER + 4);
    return replyHeader(this.reply, request, 8);
  }
}

function attributesOfDirectory({ node }: Directory): Attributes {
  return { node, size: 0, time: 0, mode: S_IFDIR | 0o555, links: 2, uid: 0, gid: 0 };
}

function attributesOf(version: Version, node: number): Attributes {
  const { slot, time, mode, uid, gid, isUnlinked } = version;
  return { node, size: slot.valueLength, time, mode: S_IFREG | mode, links: isUnlinked ? 0 : 1, uid, gid };
}
