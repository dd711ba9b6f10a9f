// The operations on hand-made requests, without a kernel: who may do what, pins, sizes, handles. Offsets as in include/uapi/linux/fuse.h.

import assert from 'node:assert/strict';
import { after, before, describe, mock, test } from 'node:test';
import { cgroupPathIn, containerIn, decidingHierarchy, isWithin, mountRoot, type Callers } from '../../../src/agent/fuse/caller.ts';
import { EventFold } from '../../../src/agent/fuse/events.ts';
import { ERRNO, OP, READ_LOCKOWNER, ROOT_NODE, negotiate } from '../../../src/agent/fuse/protocol.ts';
import { PIN_IDLE_MS } from '../../../src/agent/fuse/pins.ts';
import { FuseServer } from '../../../src/agent/fuse/server.ts';
import { WAIT_MS } from '../../../src/agent/fuse/waiting.ts';
import type { StateFile } from '../../../src/agent/fuse/state-file.ts';

// Pins, folds and waits end by the clock, which goes on only when a test says so.
before(() => { mock.timers.enable({ apis: ['Date'], now: 1_700_000_000_000 }); });
after(() => { mock.timers.reset(); });

const ID = 'c'.repeat(64);
const MEMBER = 100, SIBLING_THREAD = 101, STRANGER = 200, AGENT = 300, OTHER_MEMBER = 400, SPLICER = 500;
const MEMBERS = [MEMBER, SIBLING_THREAD, OTHER_MEMBER, SPLICER];
const TGID: Record<number, number> = { [MEMBER]: 100, [SIBLING_THREAD]: 100, [STRANGER]: 200, [OTHER_MEMBER]: 400 };

const callers: Callers = {
  isOwn: (tid) => tid === AGENT,
  isInCgroup: (tid, path) => path === `/docker/${ID}` && MEMBERS.includes(tid),
  isInContainer: (tid, id) => id === ID && MEMBERS.includes(tid),
  process: (tid) => (TGID[tid] === undefined ? undefined : { tgid: TGID[tid], name: `p${TGID[tid]}` }),
  executable: () => '/bin/reader',
  isSplicing: (tid) => tid === SPLICER,
};

function memoryFile(): StateFile {
  let bytes = Buffer.alloc(0);
  const grow = (size: number): void => { bytes = size <= bytes.length ? bytes.subarray(0, size) : Buffer.concat([bytes, Buffer.alloc(size - bytes.length)]); };
  return {
    size: () => bytes.length,
    read: (target, at, length, position) => (position >= bytes.length ? 0 : bytes.copy(target, at, position, position + length)),
    write(data, position) {
      if (position + data.length > bytes.length) grow(position + data.length);
      bytes.set(data, position);
    },
    truncate: grow,
  };
}

/** A request with body; `node` and `tid` as the kernel fills them in. */
function request(op: number, node: number, tid: number, body: Buffer = Buffer.alloc(0)): Buffer {
  const b = Buffer.alloc(40 + body.length);
  b.writeUInt32LE(b.length, 0);
  b.writeUInt32LE(op, 4);
  b.writeBigUInt64LE(0x8000_0000_0000_0042n, 8);
  b.writeUInt32LE(node, 16);
  b.writeUInt32LE(1000, 24);
  b.writeUInt32LE(tid, 32);
  body.copy(b, 40);
  return b;
}

class Mounted {
  readonly server = new FuseServer([memoryFile(), memoryFile()], callers);

  constructor() {
    const file = { version: 1, uid: 0, gid: 0, mode: 0o400 };
    this.server.execute({ op: 'add', tree: { id: ID, cgroupPath: `/docker/${ID}`, files: [
      { ...file, name: 'user', kind: 'versioned', content: Buffer.from('user-1') }, { ...file, name: 'pass', kind: 'versioned', content: Buffer.from('pass-1') },
      { ...file, name: 'single', kind: 'bound', content: Buffer.from('single-1') }, { ...file, name: 'spot', kind: 'placeholder', mode: 0, content: Buffer.alloc(0) },
    ] } }, Date.now());
  }

  rotate(version: number, more = ''): void {
    const files = ['user', 'pass', 'single'].map((name) => ({ name, version, content: Buffer.from(`${name}-${version}${more}`) }));
    this.server.execute({ op: 'replace', updates: [{ containerId: ID, files }] }, Date.now());
  }

  /** The errno (0 for success) and the reply after its header. */
  call(...args: Parameters<typeof request>): { errno: number; body: Buffer; length: number } {
    const length = this.server.dispatcher.handle(request(...args));
    const reply = Buffer.from(this.server.dispatcher.reply.subarray(0, length));
    if (length === 0) return { errno: 0, body: reply, length };
    assert.equal(reply.readUInt32LE(0), length);
    assert.equal(reply.readBigUInt64LE(8), 0x8000_0000_0000_0042n, 'unique is echoed unchanged');
    return { errno: Math.abs(reply.readInt32LE(4)), body: reply.subarray(16), length };
  }

  lookup(parent: number, name: string, tid = MEMBER): number {
    const { errno, body } = this.call(OP.LOOKUP, parent, tid, Buffer.from(`${name}\0`));
    return errno === 0 ? body.readUInt32LE(0) : -errno;
  }

  directory(name: 'files' | 'bound'): number {
    return this.lookup(this.lookup(ROOT_NODE, ID), name);
  }

  open(node: number, tid = MEMBER, flags = 0): { errno: number; handle: Buffer } {
    const body = Buffer.alloc(8);
    body.writeUInt32LE(flags, 0);
    const reply = this.call(OP.OPEN, node, tid, body);
    return { errno: reply.errno, handle: reply.body.subarray(0, 8) };
  }

  read(node: number, handle: Buffer, offset = 0, size = 4096, tid = MEMBER): string | number {
    const body = Buffer.alloc(40);
    handle.copy(body);
    body.writeUInt32LE(offset, 8);
    body.writeUInt32LE(size, 16);
    const reply = this.call(OP.READ, node, tid, body);
    return reply.errno === 0 ? reply.body.toString() : -reply.errno;
  }

  release(node: number, handle: Buffer): void {
    const body = Buffer.alloc(24);
    handle.copy(body);
    assert.equal(this.call(OP.RELEASE, node, 0, body).errno, 0);
  }

  size(node: number, tid = MEMBER): number {
    return Number(this.call(OP.GETATTR, node, tid, Buffer.alloc(16)).body.readBigUInt64LE(16 + 8));
  }

  value(node: number, tid = MEMBER): string | number {
    const { errno, handle } = this.open(node, tid);
    return errno === 0 ? this.read(node, handle, 0, 4096, tid) : -errno;
  }
}

describe('handle()', () => {
  test('OPEN is for the container and the agent; strangers get EACCES and an event', () => {
    const mounted = new Mounted();
    const user = mounted.lookup(mounted.directory('files'), 'user', STRANGER);
    assert.ok(user > 0, 'a stranger resolves the name');
    assert.equal(mounted.value(user), 'user-1');
    assert.equal(mounted.open(user, AGENT).errno, 0);
    assert.equal(mounted.open(user, STRANGER).errno, ERRNO.EACCES);
    assert.equal(mounted.open(user, 0).errno, ERRNO.EACCES);
    assert.equal(mounted.open(user, STRANGER, 1).errno, ERRNO.EACCES);
    const events = mounted.server.events.flush()!;
    assert.deepEqual(events.map(({ type, name, count, process }) => [type, name, count, process.pid]), [['opened', 'user', 1, 100], ['refused', 'user', 2, 200], ['refused', 'user', 1, 0]]);
  });

  test('READ wants a handle of the very node, and stops at the end of the value', () => {
    const mounted = new Mounted();
    const files = mounted.directory('files');
    const user = mounted.lookup(files, 'user'), pass = mounted.lookup(files, 'pass');
    const { handle } = mounted.open(user);
    assert.equal(mounted.read(user, handle, 2, 3), 'er-');
    assert.equal(mounted.read(user, handle, 6), '');
    assert.equal(mounted.read(user, handle, 4_000_000), '');
    assert.equal(mounted.read(pass, handle), -ERRNO.ESTALE);
    assert.equal(mounted.read(user, Buffer.alloc(8)), -ERRNO.ESTALE);
    assert.equal(mounted.read(ROOT_NODE, handle), -ERRNO.ESTALE);
    mounted.rotate(2);
    assert.equal(mounted.read(user, handle), 'user-1');
  });

  const refused: [string, number, Buffer][] = [
    ['SETATTR', OP.SETATTR, Buffer.alloc(88)], ['UNLINK', OP.UNLINK, Buffer.from('user\0')], ['MKDIR', OP.MKDIR, Buffer.from('\0\0\0\0\0\0\0\0d\0')],
    ['CREATE', OP.CREATE, Buffer.alloc(20)], ['SYMLINK', OP.SYMLINK, Buffer.from('a\0b\0')], ['RENAME', OP.RENAME, Buffer.from('\0\0\0\0\0\0\0\0user\0pass\0')],
    ['RENAME2', OP.RENAME2, Buffer.concat([Buffer.alloc(16), Buffer.from('user\0pass\0')])], ['LINK', OP.LINK, Buffer.alloc(12)], ['WRITE', OP.WRITE, Buffer.alloc(41)],
    ['FALLOCATE', OP.FALLOCATE, Buffer.alloc(32)], ['SETXATTR', OP.SETXATTR, Buffer.alloc(12)], ['TMPFILE', OP.TMPFILE, Buffer.alloc(17)],
  ];
  for (const [name, op, body] of refused) {
    test(`${name} is refused with EROFS, for the agent too`, () => {
      const mounted = new Mounted();
      const files = mounted.directory('files');
      for (const tid of [MEMBER, STRANGER, AGENT]) assert.equal(mounted.call(op, files, tid, body).errno, ERRNO.EROFS);
    });
  }

  test('RENAME of a staged name works for the agent only, and shows it the old version', () => {
    const mounted = new Mounted();
    const files = mounted.directory('files');
    const old = mounted.lookup(files, 'user');
    mounted.rotate(2);
    const current = mounted.lookup(files, 'user');
    const staged = `.purser-${old}-${current}`;
    assert.equal(mounted.lookup(files, staged), -ERRNO.ENOENT);
    const body = Buffer.alloc(8);
    body.writeUInt32LE(files, 0);
    const rename = Buffer.concat([body, Buffer.from(`${staged}\0user\0`)]);
    assert.equal(mounted.call(OP.RENAME, files, AGENT, rename).errno, ERRNO.EROFS, 'nothing was staged');
    assert.equal(mounted.lookup(files, staged, AGENT), current);
    assert.equal(mounted.lookup(files, 'user', AGENT), old);
    assert.equal(mounted.lookup(files, 'user'), current);
    assert.equal(mounted.call(OP.RENAME, files, MEMBER, rename).errno, ERRNO.EROFS);
    assert.equal(mounted.call(OP.RENAME, files, AGENT, rename).errno, 0);
    assert.equal(mounted.call(OP.RENAME, files, AGENT, rename).errno, ERRNO.EROFS, 'a gesture counts once');
    assert.equal(mounted.call(OP.GETATTR, old, MEMBER, Buffer.alloc(16)).body.readUInt32LE(16 + 64), 0, 'the old version has no link');
  });

  test('WRITE touches a bound file for the agent and changes nothing', () => {
    const mounted = new Mounted();
    const single = mounted.lookup(mounted.directory('bound'), 'single');
    assert.equal(mounted.open(single, MEMBER, 1).errno, ERRNO.EROFS);
    assert.equal(mounted.open(single, AGENT, 1).errno, 0);
    const body = Buffer.alloc(41);
    body.writeUInt32LE(1, 16);
    assert.equal(mounted.call(OP.WRITE, single, AGENT, body).body.readUInt32LE(0), 1);
    assert.equal(mounted.call(OP.WRITE, single, MEMBER, body).errno, ERRNO.EROFS);
    assert.equal(mounted.value(single), 'single-1');
  });

  test('a bound file keeps its node; fstat shows each process the size of the version it holds', () => {
    const mounted = new Mounted();
    const bound = mounted.directory('bound');
    const single = mounted.lookup(bound, 'single');
    const { handle } = mounted.open(single);
    mounted.rotate(2, '-which-is-longer');
    assert.equal(mounted.lookup(bound, 'single'), single);
    assert.equal(mounted.size(single, MEMBER), 8);
    assert.equal(mounted.size(single, SIBLING_THREAD), 8, 'another thread of the same process');
    assert.equal(mounted.size(single, OTHER_MEMBER), 24);
    assert.equal(mounted.read(single, handle), 'single-1');
    assert.equal(mounted.value(single, OTHER_MEMBER), 'single-2-which-is-longer');
    mounted.release(single, handle);
    assert.equal(mounted.size(single, MEMBER), 24);
  });

  test('a process in a round gets every name from one generation, another process the current one', () => {
    const mounted = new Mounted();
    const files = mounted.directory('files');
    assert.equal(mounted.value(mounted.lookup(files, 'user')), 'user-1');
    mounted.rotate(2);
    assert.equal(mounted.value(mounted.lookup(files, 'pass', OTHER_MEMBER), OTHER_MEMBER), 'pass-2');
    assert.equal(mounted.value(mounted.lookup(files, 'pass', SIBLING_THREAD), SIBLING_THREAD), 'pass-1');
    assert.equal(mounted.value(mounted.lookup(files, 'user')), 'user-2', 'a name opened again begins a new round');
    assert.equal(mounted.value(mounted.lookup(files, 'pass')), 'pass-2');
  });

  test('a round ends by time, and files served from the older generation get their events once more', () => {
    const mounted = new Mounted();
    const files = mounted.directory('files');
    mounted.value(mounted.lookup(files, 'user'));
    mounted.rotate(2);
    assert.equal(mounted.value(mounted.lookup(files, 'pass')), 'pass-1');
    assert.deepEqual(mounted.server.execute({ op: 'tick' }, Date.now()).raises, []);
    mock.timers.tick(PIN_IDLE_MS + 1);
    assert.deepEqual(mounted.server.execute({ op: 'tick' }, Date.now()).raises.map(({ name }) => name), ['pass']);
    assert.deepEqual(mounted.server.execute({ op: 'tick' }, Date.now()).raises, []);
    assert.equal(mounted.value(mounted.lookup(files, 'pass')), 'pass-2');
  });

  test('a bound file is not spliced from the page cache that its versions share; mapping it and reading it go on', () => {
    const mounted = new Mounted();
    const read = (node: number, tid: number, flags: number): number => {
      const body = Buffer.alloc(40);
      mounted.open(node, tid).handle.copy(body);
      body.writeUInt32LE(4096, 16);
      body.writeUInt32LE(flags, 20);
      return mounted.call(OP.READ, node, tid, body).errno;
    };
    const [single, user] = [mounted.lookup(mounted.directory('bound'), 'single'), mounted.lookup(mounted.directory('files'), 'user')];
    assert.equal(read(single, SPLICER, 0), ERRNO.EINVAL);
    assert.equal(read(single, SPLICER, READ_LOCKOWNER), 0, 'read(2) past the page cache');
    assert.equal(read(single, MEMBER, 0), 0, 'a page fault');
    assert.equal(read(user, SPLICER, 0), 0, 'a version with an inode of its own');
  });

  test('directories list to the container only, whole with any buffer size, and the root to the agent only', () => {
    const mounted = new Mounted();
    const files = mounted.directory('files');
    for (const node of [files, ROOT_NODE]) assert.equal(mounted.call(OP.OPENDIR, node, STRANGER, Buffer.alloc(8)).errno, ERRNO.EACCES);
    assert.equal(mounted.call(OP.OPENDIR, ROOT_NODE, MEMBER, Buffer.alloc(8)).errno, ERRNO.EACCES);
    assert.equal(mounted.call(OP.OPENDIR, ROOT_NODE, AGENT, Buffer.alloc(8)).errno, 0);
    for (const size of [32, 64, 100, 4096]) {
      const names: string[] = [];
      for (let cookie = 0n, isEnd = false; !isEnd;) {
        const body = Buffer.alloc(40);
        body.writeBigUInt64LE(cookie, 8);
        body.writeUInt32LE(size, 16);
        assert.equal(mounted.call(OP.READDIR, files, STRANGER, body).errno, ERRNO.EACCES);
        const reply = mounted.call(OP.READDIR, files, MEMBER, body).body;
        assert.ok(reply.length <= size);
        isEnd = reply.length === 0;
        for (let at = 0; at < reply.length; at += (24 + reply.readUInt32LE(at + 16) + 7) & ~7) {
          names.push(reply.toString('utf8', at + 24, at + 24 + reply.readUInt32LE(at + 16)));
          cookie = reply.readBigUInt64LE(at + 8);
        }
      }
      assert.deepEqual(names, ['.', '..', 'user', 'pass', 'spot']);
    }
  });

  test('a placeholder and a directory may be cached, so that their names never fail to be confirmed; a file may not', () => {
    const mounted = new Mounted();
    const files = mounted.directory('files');
    const validity = (parent: number, name: string): bigint => mounted.call(OP.LOOKUP, parent, STRANGER, Buffer.from(`${name}\0`)).body.readBigUInt64LE(16);
    assert.equal(validity(ROOT_NODE, ID), 3600n);
    assert.equal(validity(files, 'spot'), 3600n);
    assert.equal(validity(files, 'user'), 0n);
    assert.equal(validity(mounted.directory('bound'), 'single'), 0n);
  });

  test('FORGET, INTERRUPT and NOTIFY_REPLY get no reply, unknown operations ENOSYS, unknown nodes ESTALE', () => {
    const mounted = new Mounted();
    for (const op of [OP.FORGET, OP.BATCH_FORGET, OP.INTERRUPT, OP.NOTIFY_REPLY]) assert.equal(mounted.call(op, ROOT_NODE, MEMBER, Buffer.alloc(16)).length, 0);
    for (const op of [25, 34, 39, 40, 46, 52, 4000]) assert.equal(mounted.call(op, ROOT_NODE, MEMBER, Buffer.alloc(64)).errno, ERRNO.ENOSYS);
    for (const op of [OP.LOOKUP, OP.GETATTR, OP.OPEN, OP.READ, OP.OPENDIR, OP.READDIR]) assert.equal(mounted.call(op, 9999, MEMBER, Buffer.alloc(64)).errno, ERRNO.ESTALE);
  });

  test('INIT is recorded before it is answered', () => {
    const mounted = new Mounted();
    const body = Buffer.alloc(64);
    [7, 45, 131072, 0x73fffffb, 0x5fd].forEach((word, i) => body.writeUInt32LE(word >>> 0, i * 4));
    const { errno, body: reply } = mounted.call(OP.INIT, 0, 0, body);
    assert.equal(errno, 0);
    assert.deepEqual([reply.length, reply.readUInt32LE(0), reply.readUInt32LE(4), reply.readUInt32LE(20)], [64, 7, 45, 4096]);
    assert.equal(mounted.server.agreed?.flags2, 0x90, 'RESEND and mmap under direct_io');
    body.writeUInt32LE(8, 0);
    assert.equal(mounted.call(OP.INIT, 0, 0, body).errno, ERRNO.EPROTO);
    assert.equal(mounted.server.isRefused, true);
  });
});

describe('hidden files', () => {
  const hidden = (content: string, version: number) => ({ name: '$0', kind: 'hidden' as const, content: Buffer.from(content), version, uid: 0, gid: 0, mode: 0 });
  const values = (server: FuseServer): unknown => server.execute({ op: 'values', id: ID }, Date.now()).values?.map(({ name, version, content }) => [name, version, Buffer.from(content).toString()]);

  test('no request of the kernel leads to a hidden file, only `values` does', () => {
    const server = new FuseServer([memoryFile(), memoryFile()], callers);
    server.execute({ op: 'add', tree: { id: ID, cgroupPath: `/docker/${ID}`, files: [hidden('one', 1)] } }, Date.now());
    assert.deepEqual(values(server), [['$0', 1, 'one']]);
    const mounted = Object.assign(new Mounted(), { server });
    for (const [folder, tid] of [['files', MEMBER], ['bound', MEMBER], ['files', AGENT], ['bound', AGENT]] as const) {
      assert.equal(mounted.lookup(mounted.directory(folder), '$0', tid), -ERRNO.ENOENT);
      assert.doesNotMatch(mounted.call(OP.READDIR, mounted.directory(folder), tid, Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, ...new Array<number>(16).fill(0)])).body.toString('latin1'), /\$0/);
    }
    assert.deepEqual(server.execute({ op: 'values', id: 'd'.repeat(64) }, Date.now()).values, []);
  });

  test('a hidden file rotates without a gesture and is there for a successor', () => {
    const files = [memoryFile(), memoryFile()] as const;
    const server = new FuseServer(files, callers);
    server.execute({ op: 'add', tree: { id: ID, cgroupPath: `/docker/${ID}`, files: [hidden('one', 1)] } }, Date.now());
    const { raises, notifications } = server.execute({ op: 'replace', updates: [{ containerId: ID, files: [{ name: '$0', version: 2, content: Buffer.from('two') }] }] }, Date.now());
    assert.deepEqual(raises.map(({ name, isHidden }) => [name, isHidden]), [['$0', true]]);
    assert.deepEqual(notifications, []);
    const successor = new FuseServer(files, callers);
    assert.deepEqual(values(successor), [['$0', 2, 'two']]);
    successor.execute({ op: 'remove', id: ID }, Date.now());
    assert.deepEqual(values(successor), []);
    assert.deepEqual(values(new FuseServer(files, callers)), []);
  });
});

describe('negotiate()', () => {
  const init = (major: number, minor: number, flags = 0, flags2 = 0): Buffer => {
    const body = Buffer.alloc(64);
    [major, minor, 0, flags, flags2].forEach((word, i) => body.writeUInt32LE(word >>> 0, i * 4));
    return request(OP.INIT, 0, 0, body);
  };
  const table: [string, Buffer, ReturnType<typeof negotiate>][] = [
    ['an old minor', init(7, 22), undefined], ['another major', init(8, 45), undefined], ['a newer minor', init(7, 99), { minor: 45, flags: 0, flags2: 0 }],
    ['flags2 without the extension bit', init(7, 45, 1, 0x90), { minor: 45, flags: 1, flags2: 0 }],
    ['unknown flags', init(7, 31, 0x0000_0ff0), { minor: 31, flags: 0, flags2: 0 }],
  ];
  for (const [what, bytes, expected] of table) test(`handles ${what}`, () => assert.deepEqual(negotiate(bytes), expected));
});

describe('the cgroup of a caller', () => {
  const v1 = '11:cpu,cpuacct:/x\n9:name=systemd:/sd\n8:pids:/pids\n5:devices:/docker/abc\n4:memory:/mem\n0::/unified\n';
  const v2 = '0::/system.slice/docker-abc.scope\n';
  const hybrid = '30 25 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n31 30 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n';
  const unified = '30 25 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n31 25 0:27 / /run/v1 rw - cgroup cgroup rw,devices\n';
  for (const [what, file, mountinfo, head] of [
    ['devices first', v1, hybrid, '5:devices:'], ['then memory', v1.replace('5:devices:/docker/abc\n', ''), hybrid, '4:memory:'],
    ['devices beside another', '3:freezer,devices:/a\n0::/\n', hybrid, '3:freezer,devices:'],
    ['the unified one alone', v2, '', '0::'], ['the unified one where it is the root, with a v1 hierarchy besides', v1, unified, '0::'],
    ['nothing', '', unified, undefined],
  ] as const) test(`decidingHierarchy() is ${what}`, () => { assert.equal(decidingHierarchy(file, mountinfo), head); });
  test('cgroupPathIn() finds the line by its whole head', () => {
    assert.equal(cgroupPathIn(v1, '5:devices:'), '/docker/abc');
    assert.equal(cgroupPathIn(v1, '1:cpu,cpuacct:'), undefined, 'not the tail of 11:');
    assert.equal(cgroupPathIn(v1, '11:cpu,cpuacct:'), '/x');
    assert.equal(cgroupPathIn(v2, '0::'), '/system.slice/docker-abc.scope');
    assert.equal(cgroupPathIn(v2, '5:devices:'), undefined);
  });
  for (const [path, container, expected] of [
    ['/docker/abc', '/docker/abc', true], ['/docker/abc/sub', '/docker/abc', true], ['/docker/abcd', '/docker/abc', false], ['/docker', '/docker/abc', false],
    ['/docker/abc (deleted)', '/docker/abc', false], ['/docker/x/docker/abc', '/docker/abc', false], ['/', '/docker/abc', false],
  ] as const) {
    test(`isWithin(${path}, ${container}) is ${expected}`, () => assert.equal(isWithin(path, container), expected));
  }
  test('mountRoot() reads the part of the hierarchy that is mounted', () => {
    const info = '30 25 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n31 25 0:27 /outer /sys/fs/cgroup/devices rw shared:9 - cgroup cgroup rw,devices\n';
    assert.equal(mountRoot(info, '5:devices:'), '/outer');
    assert.equal(mountRoot(info, '0::'), '');
    assert.equal(mountRoot(info, '4:memory:'), '');
    assert.equal(mountRoot(info.replace('/outer', '/../..'), '5:devices:'), '');
  });
});

describe('EventFold', () => {
  const at = (tid: number, name = 'pw'): Parameters<EventFold['add']>[0] => ({ type: 'opened', containerId: ID, name, version: 1, tid, uid: 0, gid: 0 });
  test('add() folds by process and flush() waits for the tick that is owed', () => {
    const fold = new EventFold(callers);
    for (let i = 0; i < 1000; i++) fold.add(at(i % 2 === 0 ? MEMBER : SIBLING_THREAD), i);
    const [event, ...rest] = fold.flush()!;
    assert.deepEqual(rest, []);
    assert.deepEqual([event!.count, event!.firstTime, event!.lastTime, event!.process.pid], [1000, 0, 999, 100]);
    fold.add(at(MEMBER), 5100);
    assert.equal(fold.flush(), undefined);
    assert.equal(fold.flush(true)!.length, 1);
  });
  test('flush() holds nothing back when no tick is to come', () => {
    const fold = new EventFold(callers);
    assert.equal(fold.flush(true), undefined);
    for (let i = 0; i < 3; i++) {
      fold.add(at(MEMBER), i);
      assert.equal(fold.flush()!.length, 1);
      // However soon it comes: it was on its way, or somebody else's.
      assert.equal(fold.flush(true), undefined);
    }
  });
  test('add() never grows beyond its bound, and counts what it folds further', () => {
    const crowd: Callers = { ...callers, process: (tid) => ({ tgid: tid, name: 'x' }) };
    const fold = new EventFold(crowd);
    for (let tid = 1; tid <= 50_000; tid++) fold.add(at(tid), tid);
    const events = fold.flush()!;
    assert.ok(events.length <= 1025);
    assert.equal(events.reduce((sum, { count }) => sum + count, 0), 50_000);
    assert.equal(events.at(-1)!.process.pid, 0);
  });
});

describe('a volume', () => {
  const MOUNT = 'd'.repeat(64);
  const RESENDS = 1 << 7;

  /** A mounted volume of which nobody knows for whom it is; the kernel can send requests again, or not. */
  function mounted(flags2 = RESENDS) {
    const fs = new Mounted();
    fs.server.dispatcher.handle(initRequest(flags2));
    const file = { name: 'db', kind: 'versioned', uid: 0, gid: 0, mode: 0o444 } as const;
    const mount = (readerId: string | undefined, version: number, content: string): void => {
      fs.server.execute({ op: 'add', tree: { id: MOUNT, readerId, files: [{ ...file, version, content: Buffer.from(content) }] } }, Date.now());
    };
    mount(undefined, 0, '');
    const directory = fs.lookup(fs.lookup(ROOT_NODE, MOUNT, MEMBER), 'files', MEMBER);
    const isDecided = (container: { readerId: string | undefined }): boolean => container.readerId !== undefined;
    return { fs, mount, directory, waiting: fs.server.dispatcher.waiting, isDecided, open: (node: number, tid: number) => fs.call(OP.OPEN, node, tid, Buffer.alloc(8)) };
  }

  function initRequest(flags2: number): Buffer {
    const body = Buffer.alloc(64);
    [7, 45, 131_072, (1 << 30) | (1 << 18), flags2].forEach((value, index) => body.writeInt32LE(value, index * 4));
    return request(OP.INIT, 0, AGENT, body);
  }

  test('an open waits until it is known who may read, is sent back to look again, and then reads the value', () => {
    const { fs, mount, directory, waiting, isDecided, open } = mounted();
    const early = fs.lookup(directory, 'db', MEMBER);
    assert.equal(open(early, MEMBER).length, 0, 'no reply yet');
    assert.deepEqual(waiting.take(Date.now(), isDecided), []);
    mount(ID, 3, 'value-3');
    const [held] = waiting.take(Date.now(), isDecided);
    assert.ok(held && waiting.isEmpty);
    const length = fs.server.dispatcher.handle(held, true);
    assert.equal(-fs.server.dispatcher.reply.readInt32LE(4), ERRNO.ESTALE);
    assert.ok(length > 0);
    const node = fs.lookup(directory, 'db', MEMBER);
    assert.notEqual(node, early);
    assert.equal(open(node, MEMBER).errno, 0);
    assert.equal(open(node, STRANGER).errno, ERRNO.EACCES);
  });

  test('an open that waited long enough is refused and recorded, and does not wait again', () => {
    const { fs, directory, waiting, isDecided, open } = mounted();
    open(fs.lookup(directory, 'db', MEMBER), MEMBER);
    const [held] = waiting.take(Date.now() + WAIT_MS, isDecided);
    assert.ok(held);
    fs.server.dispatcher.handle(held, true);
    assert.equal(-fs.server.dispatcher.reply.readInt32LE(4), ERRNO.EACCES);
    assert.ok(waiting.isEmpty);
    assert.deepEqual(fs.server.events.flush(true)?.map(({ type, containerId, name }) => [type, containerId, name]), [['refused', MOUNT, 'db']]);
  });

  test('an interrupt ends the waiting at once, one of something else says nothing', () => {
    const { fs, directory, waiting, open } = mounted();
    const unique = Buffer.alloc(8);
    unique.writeBigUInt64LE(7n);
    open(fs.lookup(directory, 'db', MEMBER), MEMBER);
    assert.equal(fs.call(OP.INTERRUPT, 0, MEMBER, unique).length, 0);
    unique.writeBigUInt64LE(0x8000_0000_0000_0042n);
    assert.equal(fs.call(OP.INTERRUPT, 0, MEMBER, unique).errno, ERRNO.EINTR);
    assert.ok(waiting.isEmpty);
  });

  test('nothing waits where the kernel cannot send a request again', () => {
    const { fs, directory, open } = mounted(0);
    assert.equal(open(fs.lookup(directory, 'db', MEMBER), MEMBER).errno, ERRNO.EACCES);
  });

  test('its names may be listed by anyone, its files are read-only', () => {
    const { fs, mount, directory } = mounted();
    assert.equal(fs.call(OP.OPENDIR, directory, STRANGER).errno, 0);
    mount(ID, 1, 'x');
    const write = Buffer.alloc(8);
    write.writeUInt32LE(1);
    assert.equal(fs.call(OP.OPEN, fs.lookup(directory, 'db', MEMBER), MEMBER, write).errno, ERRNO.EROFS);
  });

  test('it may be given to another container, and to none that is no container', () => {
    const { fs, mount, directory, open } = mounted();
    mount('e'.repeat(64), 1, 'x');
    assert.equal(open(fs.lookup(directory, 'db', MEMBER), MEMBER).errno, ERRNO.EACCES);
    mount(ID, 1, 'x');
    assert.equal(open(fs.lookup(directory, 'db', MEMBER), MEMBER).errno, 0);
    assert.throws(() => mount('/docker/x', 1, 'x'), { code: 'ERR_WORKLOAD_INVALID' });
    assert.throws(() => fs.server.execute({ op: 'add', tree: { id: MOUNT, cgroupPath: '/docker/x', readerId: ID, files: [] } }, 0), { code: 'ERR_WORKLOAD_INVALID' });
  });
});

test('containerIn() finds the outermost container of a cgroup path', () => {
  const [A, B] = ['a'.repeat(64), 'b'.repeat(64)];
  for (const [path, expected] of [
    [`/docker/${A}`, A], [`/system.slice/docker-${A}.scope`, A], [`/parent/${A}/init`, A], [`/docker/${A}/docker/${B}`, A], [`/docker/${A}/${B}`, A],
    ['/user.slice', undefined], ['/', undefined], [`/x${A}`, undefined], [`/docker/${A}0`, undefined], [`/libpod-${A}.scope`, undefined],
  ] as const) assert.equal(containerIn(path), expected, path);
});
