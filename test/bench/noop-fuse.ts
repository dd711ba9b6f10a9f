// A FUSE server that does nothing but answer: one file of 64 bytes, no policy, no versions, no ledger. What a read through it
// costs is the price of FUSE itself; what ours costs on top is the price of Purser. usage: noop-fuse.ts MOUNTPOINT

import { spawn } from 'node:child_process';
import { openSync, readSync, writeSync } from 'node:fs';

import { header, negotiate, OP, REPLY_HEADER, REQUEST_BUFFER, replyAttributes, replyEntry, replyHeader, replyInit, replyOpen, FOPEN_DIRECT_IO, FOPEN_NOFLUSH, S_IFDIR, S_IFREG, ERRNO, type Attributes } from '../../src/agent/fuse/protocol.ts';

const VALUE = Buffer.alloc(64, 'x');
const root: Attributes = { node: 1, size: 0, time: 0, mode: S_IFDIR | 0o555, links: 2, uid: 0, gid: 0 };
const file: Attributes = { node: 2, size: VALUE.length, time: 0, mode: S_IFREG | 0o444, links: 1, uid: 0, gid: 0 };
const reply = Buffer.alloc(REQUEST_BUFFER);

function answer(request: Buffer): number {
  switch (header.opcode(request)) {
    case OP.INIT: return replyInit(reply, request, negotiate(request) ?? { minor: 31, flags: 0, flags2: 0 });
    case OP.LOOKUP: return replyEntry(reply, request, file, 0, 3600);
    case OP.GETATTR: return replyAttributes(reply, request, header.node(request) === 1 ? root : file, 3600);
    case OP.OPEN: return replyOpen(reply, request, { version: 0, tid: 0 }, FOPEN_DIRECT_IO | FOPEN_NOFLUSH);
    case OP.READ: {
      const at = request.readUInt32LE(48);
      return replyHeader(reply, request, at >= VALUE.length ? 0 : VALUE.copy(reply, REPLY_HEADER, at));
    }
    case OP.RELEASE: return replyHeader(reply, request, 0);
    case OP.FORGET: case OP.BATCH_FORGET: case OP.INTERRUPT: return 0;
    default: return replyHeader(reply, request, 0, ERRNO.ENOSYS);
  }
}

const fd = openSync('/dev/fuse', 'r+');
spawn('mount', ['-i', '-t', 'fuse', '-o', `nosuid,nodev,noexec,fd=3,rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions`, 'noop', process.argv[2] ?? ''], { stdio: ['ignore', 'inherit', 'inherit', fd] });
// The mount is made while this turn ends; the first request (INIT) waits in the kernel until the loop reads it.
setImmediate(() => {
  const request = Buffer.alloc(REQUEST_BUFFER);
  for (;;) {
    let length: number;
    try {
      length = readSync(fd, request);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENODEV') process.exit(0);
      continue;
    }
    const size = answer(request.subarray(0, length));
    if (size > 0) writeSync(fd, reply, 0, size);
  }
});
