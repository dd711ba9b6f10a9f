// The wire format of the kernel's FUSE protocol, version 7.x, as far as this filesystem speaks it.
// Source of every number and offset: Linux include/uapi/linux/fuse.h (7.45). All integers are little-endian, as on every host Node runs on here.
// One read(2) of /dev/fuse is one whole request, one write(2) one whole reply. Node ids of this filesystem are below 2^32.

/** enum fuse_opcode. */
export const OP = {
  LOOKUP: 1, FORGET: 2, GETATTR: 3, SETATTR: 4, READLINK: 5, SYMLINK: 6, MKNOD: 8, MKDIR: 9, UNLINK: 10, RMDIR: 11,
  RENAME: 12, LINK: 13, OPEN: 14, READ: 15, WRITE: 16, STATFS: 17, RELEASE: 18, SETXATTR: 21, REMOVEXATTR: 24, INIT: 26,
  OPENDIR: 27, READDIR: 28, RELEASEDIR: 29, CREATE: 35, INTERRUPT: 36, DESTROY: 38, NOTIFY_REPLY: 41, BATCH_FORGET: 42, FALLOCATE: 43,
  RENAME2: 45, COPY_FILE_RANGE: 47, TMPFILE: 51, COPY_FILE_RANGE_64: 53,
} as const;

/** enum fuse_notify_code, the ones that are sent. */
export const NOTIFY = { INVAL_INODE: 2, INVAL_ENTRY: 3, RETRIEVE: 5, DELETE: 6, RESEND: 7 } as const;

/** asm-generic/errno-base.h and errno.h. */
export const ERRNO = { EPERM: 1, ENOENT: 2, EINTR: 4, EIO: 5, EACCES: 13, EISDIR: 21, ENOTDIR: 20, EINVAL: 22, EROFS: 30, ENOSYS: 38, ESTALE: 116, EPROTO: 71 } as const;

/** INIT flags of the first word that this server takes when offered. */
export const INIT_FLAGS = { ASYNC_READ: 1 << 0, PARALLEL_DIROPS: 1 << 18, ABORT_ERROR: 1 << 21, EXPLICIT_INVAL_DATA: 1 << 25, INIT_EXT: 1 << 30 } as const;
/** INIT flags of the second word. */
export const INIT_FLAGS2 = { DIRECT_IO_ALLOW_MMAP: 1 << 4, HAS_RESEND: 1 << 7 } as const;

export const FOPEN_DIRECT_IO = 1;
export const FOPEN_NOFLUSH = 32;
/** getattr_in.getattr_flags: the request carries a file handle. */
export const GETATTR_FH = 1;
/** read_in.read_flags (FUSE_READ_LOCKOWNER): set by read(2) past the page cache, unset when the kernel fills its page cache (fs/fuse/file.c). */
export const READ_LOCKOWNER = 2;

export const ROOT_NODE = 1;
/** An empty file in the root that only the agent can resolve; it exists to be named in notifyWake(). */
export const WAKE_NODE = 2;
export const WAKE_NAME = '.purser-wake';
export const REQUEST_HEADER = 40;
export const REPLY_HEADER = 16;
/** Smallest read buffer the kernel accepts is 8192 (FUSE_MIN_READ_BUFFER); the longest request here is a SYMLINK of 4.4 KiB. */
export const REQUEST_BUFFER = 16_384;
/** The smallest max_write the kernel knows; writes are only the agent's one-byte touches. */
export const MAX_WRITE = 4096;
/** First protocol minor with the 64-byte init_out. */
export const MIN_MINOR = 23;
/** This server's protocol minor; the kernel and it use the smaller of the two. */
export const OWN_MINOR = 45;

/** Seconds for which the kernel may keep what can never change. */
export const FOREVER_SECONDS = 3600;

export const S_IFDIR = 0o040000;
export const S_IFREG = 0o100000;

/** Fields of fuse_in_header; offsets in bytes. */
export const header = {
  length: (b: Buffer): number => b.readUInt32LE(0),
  opcode: (b: Buffer): number => b.readUInt32LE(4),
  /** The node id, or 0 (never valid) when it is not one of ours. */
  node: (b: Buffer): number => (b.readUInt32LE(20) === 0 ? b.readUInt32LE(16) : 0),
  uid: (b: Buffer): number => b.readUInt32LE(24),
  gid: (b: Buffer): number => b.readUInt32LE(28),
  /** The caller's thread id in the mounter's pid namespace; 0 for RELEASE and for callers outside that namespace. */
  tid: (b: Buffer): number => b.readUInt32LE(32),
};

/** A NUL-terminated name at `at`; `end` is the length of the request. */
export function readName(b: Buffer, at: number, end: number): string {
  const nul = b.indexOf(0, at);
  return b.toString('utf8', at, nul === -1 || nul > end ? end : nul);
}

/** A u64 as a number; values above 2^53 lose precision and are only ever compared with small ones. */
export function readU64(b: Buffer, at: number): number {
  return b.readUInt32LE(at) + b.readUInt32LE(at + 4) * 0x1_0000_0000;
}

function writeU64(b: Buffer, at: number, value: number): void {
  b.writeUInt32LE(value >>> 0, at);
  b.writeUInt32LE(Math.floor(value / 0x1_0000_0000), at + 4);
}

/** What stat(2) shows of a node. */
export interface Attributes {
  readonly node: number;
  readonly size: number;
  /** Milliseconds since the epoch. */
  readonly time: number;
  /** File type and permission bits. */
  readonly mode: number;
  readonly links: number;
  readonly uid: number;
  readonly gid: number;
}

/** struct fuse_attr, 88 bytes. */
function writeAttributes(b: Buffer, at: number, a: Attributes): void {
  b.fill(0, at, at + 88);
  const seconds = Math.floor(a.time / 1000);
  const nanoseconds = (a.time % 1000) * 1_000_000;
  writeU64(b, at, a.node);
  writeU64(b, at + 8, a.size);
  writeU64(b, at + 16, Math.ceil(a.size / 512));
  for (let i = 0; i < 3; i++) {
    writeU64(b, at + 24 + i * 8, seconds);
    b.writeUInt32LE(nanoseconds, at + 48 + i * 4);
  }
  b.writeUInt32LE(a.mode, at + 60);
  b.writeUInt32LE(a.links, at + 64);
  b.writeUInt32LE(a.uid, at + 68);
  b.writeUInt32LE(a.gid, at + 72);
  b.writeUInt32LE(4096, at + 80);
}

/** Starts a reply to `request` in `reply` and returns the total length. */
export function replyHeader(reply: Buffer, request: Buffer, bodyLength: number, errno = 0): number {
  reply.writeUInt32LE(REPLY_HEADER + bodyLength, 0);
  reply.writeInt32LE(-errno, 4);
  request.copy(reply, 8, 8, 16);
  return REPLY_HEADER + bodyLength;
}

/** fuse_entry_out: a node and how long name and attributes hold, in seconds. */
export function replyEntry(reply: Buffer, request: Buffer, a: Attributes, entrySeconds: number, attrSeconds: number): number {
  reply.fill(0, REPLY_HEADER, REPLY_HEADER + 40);
  writeU64(reply, 16, a.node);
  writeU64(reply, 32, entrySeconds);
  writeU64(reply, 40, attrSeconds);
  writeAttributes(reply, 56, a);
  return replyHeader(reply, request, 128);
}

/** fuse_attr_out. */
export function replyAttributes(reply: Buffer, request: Buffer, a: Attributes, attrSeconds: number): number {
  writeU64(reply, 16, attrSeconds);
  writeU64(reply, 24, 0);
  writeAttributes(reply, 32, a);
  return replyHeader(reply, request, 104);
}

/** A file handle: it needs no table, so any successor can read it. */
export interface Handle {
  /** Id of the version that was opened. */
  readonly version: number;
  /** The thread that opened it. */
  readonly tid: number;
}

/** fuse_open_out; the handle is `version << 32 | tid`. */
export function replyOpen(reply: Buffer, request: Buffer, handle: Handle, flags: number): number {
  reply.writeUInt32LE(handle.tid, 16);
  reply.writeUInt32LE(handle.version, 20);
  reply.writeUInt32LE(flags, 24);
  reply.writeUInt32LE(0, 28);
  return replyHeader(reply, request, 16);
}

/** The handle that replyOpen() wrote, as the kernel sends it back. */
export function readHandle(b: Buffer, at: number): Handle {
  return { tid: b.readUInt32LE(at), version: b.readUInt32LE(at + 4) };
}

/** fuse_statfs_out of an empty filesystem with 4 KiB blocks and 255-byte names. */
export function replyStatfs(reply: Buffer, request: Buffer): number {
  reply.fill(0, REPLY_HEADER, REPLY_HEADER + 80);
  reply.writeUInt32LE(4096, 16 + 40);
  reply.writeUInt32LE(255, 16 + 44);
  reply.writeUInt32LE(4096, 16 + 48);
  return replyHeader(reply, request, 80);
}

/** Appends one fuse_dirent at `at`; returns the next offset, or 0 when it does not fit below `limit`. */
export function writeDirent(b: Buffer, at: number, limit: number, entry: { node: number; cookie: number; name: string; isDirectory: boolean }): number {
  const nameLength = Buffer.byteLength(entry.name);
  const next = at + ((24 + nameLength + 7) & ~7);
  if (next > limit) return 0;
  b.fill(0, at, next);
  writeU64(b, at, entry.node);
  writeU64(b, at + 8, entry.cookie);
  b.writeUInt32LE(nameLength, at + 16);
  b.writeUInt32LE(entry.isDirectory ? 4 : 8, at + 20);
  b.write(entry.name, at + 24, 'utf8');
  return next;
}

/** What kernel and server agreed on; `major` 7 is implied. */
export interface Negotiated {
  readonly minor: number;
  readonly flags: number;
  readonly flags2: number;
}

/** The agreement for the INIT in `request`, or undefined when the kernel is too old or speaks another major version. */
export function negotiate(request: Buffer): Negotiated | undefined {
  const major = request.readUInt32LE(40);
  const minor = Math.min(request.readUInt32LE(44), OWN_MINOR);
  if (major !== 7 || minor < MIN_MINOR) return undefined;
  const wanted = Object.values(INIT_FLAGS).reduce((sum, flag) => sum | flag, 0);
  const flags = request.readUInt32LE(52) & wanted;
  const extended = (flags & INIT_FLAGS.INIT_EXT) !== 0 && header.length(request) >= REQUEST_HEADER + 20;
  return { minor, flags, flags2: extended ? request.readUInt32LE(56) & (INIT_FLAGS2.DIRECT_IO_ALLOW_MMAP | INIT_FLAGS2.HAS_RESEND) : 0 };
}

/** fuse_init_out, 64 bytes. */
export function replyInit(reply: Buffer, request: Buffer, agreed: Negotiated): number {
  reply.fill(0, REPLY_HEADER, REPLY_HEADER + 64);
  reply.writeUInt32LE(7, 16);
  reply.writeUInt32LE(agreed.minor, 20);
  request.copy(reply, 24, 48, 52); // max_readahead as offered
  reply.writeUInt32LE(agreed.flags, 28);
  reply.writeUInt16LE(64, 32); // max_background
  reply.writeUInt16LE(48, 34); // congestion_threshold
  reply.writeUInt32LE(MAX_WRITE, 36);
  reply.writeUInt32LE(1, 40); // time_gran
  reply.writeUInt32LE(agreed.flags2, 48);
  return replyHeader(reply, request, 64);
}

function notification(code: number, bodyLength: number): Buffer {
  const b = Buffer.alloc(REPLY_HEADER + bodyLength);
  b.writeUInt32LE(b.length, 0);
  b.writeInt32LE(code, 4);
  return b;
}

/** FUSE_NOTIFY_RESEND (Linux 6.9): the kernel queues again what a dead server had read and not answered. */
export function notifyResend(): Buffer {
  return notification(NOTIFY.RESEND, 0);
}

/**
 * FUSE_NOTIFY_RETRIEVE of nothing from the wake node: the kernel queues a NOTIFY_REPLY, which wakes a blocked server. No thread waits for it, so an agent
 * that is killed meanwhile leaves no thread behind that cannot die (a statfs(2) as wake-up call would). The kernel must have the node cached, and it
 * must be a regular file.
 */
export function notifyWake(): Buffer {
  const b = notification(NOTIFY.RETRIEVE, 32);
  writeU64(b, 24, WAKE_NODE);
  return b;
}

/** FUSE_NOTIFY_INVAL_INODE over the whole file: cached pages and attributes. */
export function notifyInvalidateInode(node: number): Buffer {
  const b = notification(NOTIFY.INVAL_INODE, 24);
  writeU64(b, 16, node);
  return b;
}

/** FUSE_NOTIFY_INVAL_ENTRY: the kernel forgets a name, and everything below it. */
export function notifyInvalidateEntry(parent: number, name: string): Buffer {
  const nameLength = Buffer.byteLength(name);
  const b = notification(NOTIFY.INVAL_ENTRY, 16 + nameLength + 1);
  writeU64(b, 16, parent);
  b.writeUInt32LE(nameLength, 24);
  b.write(name, 32, 'utf8');
  return b;
}

/** FUSE_NOTIFY_DELETE: as if `name` had been unlinked, so watchers of the file see IN_DELETE_SELF. */
export function notifyDelete(parent: number, child: number, name: string): Buffer {
  const nameLength = Buffer.byteLength(name);
  const b = notification(NOTIFY.DELETE, 24 + nameLength + 1);
  writeU64(b, 16, parent);
  writeU64(b, 24, child);
  b.writeUInt32LE(nameLength, 32);
  b.write(name, 40, 'utf8');
  return b;
}
