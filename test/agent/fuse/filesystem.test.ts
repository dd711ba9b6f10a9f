// The filesystem on a real kernel mount: access, rotation, events, takeover. Needs root and /dev/fuse.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { FileEvent } from '../../../src/agent/fuse/filesystem.ts';
import { PIN_IDLE_MS } from '../../../src/agent/fuse/pins.ts';
import { FuseServer } from '../../../src/agent/fuse/server.ts';
import { stateFile } from '../../../src/agent/fuse/state-file.ts';
import { eventually } from '../../eventually.ts';
import { ServeChild, TestMount, containerId, runIn, secret, skip, spawnIn, writeScript, type TestCgroup } from './harness.ts';

/** Every value of the rotation tests: its length depends on n, and a cut or mixed one does not match. */
const valueOf = (n: number): string => `${n}|${'x'.repeat((n * 7) % 60)}|${n}`;

/**
 * Reads the named files in turn until stdin ends; prints what it saw, and on stderr how far it is. Pairs: all files must carry the same n, unless the
 * machine stood still between them for longer than a process is promised one generation.
 */
const READER = `
const { readFileSync } = require('node:fs');
const [mode, ...paths] = process.argv.slice(2);
const seen = { reads: 0, torn: 0, mixed: 0, errors: [], versions: [] };
let last, longest = 0, reported = 0, stop = false;
process.stdin.on('end', () => { stop = true; }).resume();
function round() {
  const started = performance.now();
  const numbers = paths.map((path) => {
    try {
      const text = readFileSync(path, 'utf8');
      const match = /^(\\d+)\\|(x*)\\|\\1$/.exec(text);
      seen.reads++;
      if (match === null || match[2].length !== (Number(match[1]) * 7) % 60) { seen.torn++; return undefined; }
      return match[1];
    } catch (error) { if (seen.errors.length < 10) seen.errors.push(error.code); return undefined; }
  });
  const took = performance.now() - started;
  if (mode === 'pair' && new Set(numbers).size !== 1 && took < ${String(PIN_IDLE_MS)}) seen.mixed++;
  if (numbers[0] !== last) { last = numbers[0]; if (seen.versions.length < 50) seen.versions.push(Number(last)); }
  longest = Math.max(longest, took);
}
(function loop() {
  for (let i = 0; i < 20; i++) round();
  if (performance.now() - reported > 10) { reported = performance.now(); console.error(seen.reads, seen.versions.length); }
  if (!stop) return setImmediate(loop);
  console.log(JSON.stringify({ ...seen, last: Number(last), longest }));
})();
`;

interface Seen { reads: number; torn: number; mixed: number; errors: string[]; versions: number[]; last: number; longest: number }

const countOf = (events: readonly FileEvent[]): number => events.reduce((sum, event) => sum + event.count, 0);

/** Starts inotifywait in a container's cgroup; resolves once its watches are set, as its standard error says. */
async function watching(cgroup: TestCgroup, argv: readonly string[]): Promise<ReturnType<typeof spawnIn>> {
  const child = spawnIn(cgroup, ['inotifywait', ...argv]);
  let said = '';
  await new Promise<void>((resolve, reject) => {
    child.stderr!.on('data', (data: Buffer) => { said += data.toString(); if (said.includes('Watches established.')) resolve(); });
    child.once('close', () => { reject(new Error(`inotifywait ended: ${said}`)); });
  });
  return child;
}

interface Reader { readonly reads: () => number; readonly changes: () => number; readonly stop: () => Promise<Seen> }

async function startReader(cgroup: TestCgroup, script: string, args: readonly string[]): Promise<Reader> {
  const child = spawnIn(cgroup, [process.execPath, script, ...args]);
  let text = '';
  child.stdout!.on('data', (data: Buffer) => { text += data.toString(); });
  const closed = once(child, 'close');
  let [reads = 0, changes = 0]: number[] = [];
  createInterface({ input: child.stderr! }).on('line', (line) => { [reads = 0, changes = 0] = line.split(' ').map(Number); });
  const stop = async (): Promise<Seen> => {
    child.stdin!.end();
    await closed;
    return JSON.parse(text) as Seen;
  };
  await eventually('the first reads', () => reads > 0);
  return { reads: () => reads, changes: () => changes, stop };
}

describe('the mounted filesystem', { skip, timeout: 600_000 }, () => {
  let mount: TestMount;
  let server: ServeChild;
  let nextContainer = 1;
  let reader: string;

  before(async () => {
    mount = new TestMount();
    await mount.mount();
    server = await mount.serve();
    reader = writeScript(mount, 'reader.cjs', READER);
  });
  after(() => mount.close());

  /** A container with these files; `path` leads to its directory. */
  async function container(...files: ReturnType<typeof secret>[]): Promise<{ id: string; cgroup: TestCgroup; path: (...parts: string[]) => string }> {
    const id = containerId(nextContainer++);
    const cgroup = mount.cgroup();
    await server.run({ op: 'add', tree: { id, cgroupPath: cgroup.path, files } });
    return { id, cgroup, path: (...parts) => join(mount.mountPoint, id, ...parts) };
  }

  const rotate = (id: string, version: number, ...names: string[]): Promise<unknown> => server.run({
    op: 'replace', updates: [{ containerId: id, files: names.map((name) => ({ name, version, content: Buffer.from(valueOf(version)).toString('base64') })) }],
  });

  /** 200 rotations, and as many more as the readers need to see a few of them; gives the last version. */
  async function rotateUnder(readers: readonly Reader[], id: string, ...names: string[]): Promise<number> {
    let version = 0;
    while (version < 200) await rotate(id, ++version, ...names);
    await eventually('that the readers see rotations', async () => {
      const isSeen = readers.every((one) => one.changes() > 5);
      if (!isSeen) await rotate(id, ++version, ...names);
      return isSeen;
    });
    return version;
  }

  test('a process of the container reads the value, with the owner and mode that were asked for', async () => {
    const { cgroup, path } = await container(secret('pw', 'hunter2', { uid: 1234, gid: 55, mode: 0o440 }), secret('bound', 'b', { kind: 'bound' }));
    assert.equal((await runIn(cgroup, ['cat', path('files', 'pw'), path('bound', 'bound')])).stdout, 'hunter2b');
    assert.equal((await runIn(cgroup, ['stat', '-c', '%u %g %a %s', path('files', 'pw')])).stdout, '1234 55 440 7\n');
    assert.equal((await runIn(cgroup, ['setpriv', '--reuid', '1234', '--clear-groups', 'cat', path('files', 'pw')])).stdout, 'hunter2');
    assert.match((await runIn(cgroup, ['setpriv', '--reuid', '1000', '--regid', '1000', '--clear-groups', 'cat', path('files', 'pw')])).stderr, /Permission denied/);
  });

  test('a directory lists its files to its container and shows no staged name', async () => {
    const { cgroup, path } = await container(secret('b', '1'), secret('a', '2'), secret('spot', '', { kind: 'placeholder', mode: 0 }), secret('single', '3', { kind: 'bound' }));
    assert.equal((await runIn(cgroup, ['ls', '-A', path()])).stdout, 'bound\nfiles\n');
    assert.equal((await runIn(cgroup, ['ls', '-A', path('files')])).stdout, 'a\nb\nspot\n');
    assert.equal((await runIn(cgroup, ['ls', '-A', path('bound')])).stdout, 'single\n');
    assert.equal((await runIn(cgroup, ['stat', '-c', '%F %a', path('files', 'spot')])).stdout, 'regular empty file 0\n');
    for (const name of ['.purser-0-0', '.purser-17-18']) assert.notEqual((await runIn(cgroup, ['stat', path('files', name)])).status, 0);
  });

  test('a process outside the container, root included, may resolve names but opens nothing, and the try is recorded', async () => {
    const { id, path } = await container(secret('pw', 'hunter2', { version: 7, mode: 0o444 }));
    const other = mount.cgroup();
    assert.equal((await runIn(undefined, ['stat', '-c', '%s', path('files', 'pw')])).stdout, '7\n');
    for (const argv of [['cat', path('files', 'pw')], ['ls', path('files')], ['ls', path()], ['ls', mount.mountPoint]]) {
      for (const cgroup of [undefined, other]) {
        const { status, stdout, stderr } = await runIn(cgroup, argv);
        assert.notEqual(status, 0);
        assert.equal(stdout, '');
        assert.match(stderr, /Permission denied/);
      }
    }
    const refused = (): FileEvent[] => server.events.filter(({ type, containerId, name }) => type === 'refused' && containerId === id && name === 'pw');
    await eventually('the record of both tries', () => countOf(refused()) >= 2);
    assert.equal(countOf(refused()), 2);
    const cat = refused()[0]!;
    assert.deepEqual({ ...cat.process, pid: 0 }, { pid: 0, uid: 0, gid: 0, name: 'cat', executable: '/usr/bin/cat' });
    assert.equal(cat.version, 7);
  });

  test('an addition leaves the files that are there', async () => {
    const { id, cgroup, path } = await container(secret('pw', 'hunter2'), secret('single', 's', { kind: 'bound' }));
    await server.run({ op: 'add', tree: { id, cgroupPath: cgroup.path, isAddition: true, files: [secret('late', 'added', { kind: 'bound' })] } });
    assert.equal((await runIn(cgroup, ['cat', path('files', 'pw'), path('bound', 'single'), path('bound', 'late')])).stdout, 'hunter2sadded');
    await server.run({ op: 'add', tree: { id, cgroupPath: cgroup.path, files: [secret('late', 'added', { kind: 'bound' })] } });
    assert.equal((await runIn(cgroup, ['ls', path('files')])).stdout, '');
    assert.equal((await runIn(cgroup, ['cat', path('bound', 'late')])).stdout, 'added');
  });

  test('nothing in the mount can be changed by a container', async () => {
    const { cgroup, path } = await container(secret('pw', 'hunter2', { mode: 0o666 }), secret('single', 'x', { kind: 'bound', mode: 0o666 }));
    const file = path('files', 'pw');
    for (const script of [
      `echo x > ${file}`, `echo x >> ${path('bound', 'single')}`, `rm -f ${file}`, `mv ${file} ${file}2`, `touch ${file}3`, `chmod 777 ${file}`, `chown 1 ${file}`,
      `ln -s a ${file}4`, `ln ${file} ${file}5`, `mkdir ${file}6`, `truncate -s 0 ${file}`, `mknod ${file}7 p`, `touch ${file}`, `rmdir ${path('files')}`, `mv ${path('files', '.purser-17-18')} ${file}`,
    ]) {
      const { status, stderr } = await runIn(cgroup, ['sh', '-c', script]);
      assert.notEqual(status, 0, script);
      assert.match(stderr, /Read-only file system|No such file/, script);
    }
    assert.equal((await runIn(cgroup, ['cat', file])).stdout, 'hunter2');
  });

  test('a value of 1 MiB is read whole, by small and by large reads, and a larger one is refused', async () => {
    const value = Buffer.alloc(1_048_576, 'purser');
    const { cgroup, path } = await container(secret('big', value), secret('single', value, { kind: 'bound' }));
    for (const file of [path('files', 'big'), path('bound', 'single')]) {
      for (const size of ['1000', '4k', '2M']) {
        assert.equal((await runIn(cgroup, ['sh', '-c', `dd if=${file} bs=${size} status=none | cmp - ${writeScript(mount, 'expected', value.toString())}`])).stderr, '');
      }
    }
    await assert.rejects(container(secret('big', Buffer.alloc(1_048_577))), /ERR_WORKLOAD_INVALID/);
  });

  test('replace() under readers that loop shows whole versions only, in order, in files/ and in bound/', async () => {
    const { id, cgroup, path } = await container(secret('pw', valueOf(0)), secret('single', valueOf(0), { kind: 'bound' }));
    const readers = await Promise.all([startReader(cgroup, reader, ['each', path('files', 'pw')]), startReader(cgroup, reader, ['each', path('bound', 'single')])]);
    const last = await rotateUnder(readers, id, 'pw', 'single');
    for (const { stop } of readers) {
      const seen = await stop();
      assert.deepEqual({ torn: seen.torn, errors: seen.errors, last: seen.last }, { torn: 0, errors: [], last });
      assert.deepEqual(seen.versions, [...seen.versions].sort((a, b) => a - b));
    }
    assert.deepEqual(server.warnings, []);
  });

  test('a process that opens user and then password gets both of one version under rotation', async () => {
    for (const kind of ['versioned', 'bound'] as const) {
      const { id, cgroup, path } = await container(secret('user', valueOf(0), { kind }), secret('pass', valueOf(0), { kind }));
      const directory = kind === 'bound' ? 'bound' : 'files';
      const pairs = await startReader(cgroup, reader, ['pair', path(directory, 'user'), path(directory, 'pass')]);
      await rotateUnder([pairs], id, 'user', 'pass');
      const seen = await pairs.stop();
      assert.deepEqual({ torn: seen.torn, mixed: seen.mixed, errors: seen.errors }, { torn: 0, mixed: 0, errors: [] });
    }
  });

  test('a descriptor opened before a rotation keeps its snapshot', async () => {
    for (const [directory, kind] of [['files', 'versioned'], ['bound', 'bound']] as const) {
      const { id, cgroup, path } = await container(secret('pw', valueOf(1), { kind }));
      const child = spawnIn(cgroup, ['sh', '-c', 'exec 3< "$0"; echo open; read line; cat <&3; echo; cat "$0"', path(directory, 'pw')]);
      let text = '';
      child.stdout!.on('data', (data: Buffer) => { text += data.toString(); });
      await once(child.stdout!, 'data');
      await rotate(id, 2, 'pw');
      child.stdin!.end('go\n');
      await once(child, 'close');
      assert.equal(text, `open\n${valueOf(1)}\n${valueOf(2)}`);
    }
  });

  test('sendfile(2) gives whole versions too, whatever sizes other readers make the kernel hear', async () => {
    const value = (n: number): string => 'abcdefgh'.charAt(n % 8).repeat([40, 7, 300, 1, 64, 5000, 3, 4097][n % 8]!);
    const { id, cgroup, path } = await container(secret('single', value(0), { kind: 'bound' }));
    const loop = 'while [ ! -e "$1/stop" ]; do busybox cat "$0" || echo FAILED; echo; done';
    const marker = mkdtempSync(join(mount.directory, 'loop-'));
    const readers = Array.from({ length: 3 }, () => {
      const child = spawnIn(cgroup, ['sh', '-c', loop, path('bound', 'single'), marker]);
      let text = '';
      child.stdout!.on('data', (data: Buffer) => { text += data.toString(); });
      return { closed: once(child, 'close'), lines: () => text.split('\n').slice(0, -1) };
    });
    await eventually('the first reads', () => readers.every(({ lines }) => lines().length > 0));
    let n = 0;
    const next = (): Promise<unknown> => server.run({ op: 'replace', updates: [{ containerId: id, files: [{ name: 'single', content: Buffer.from(value(++n)).toString('base64'), version: n + 1 }] }] });
    while (n < 400) await next();
    await eventually('that the readers see rotations', async () => {
      const isSeen = readers.every(({ lines }) => new Set(lines()).size > 3);
      if (!isSeen) await next();
      return isSeen;
    });
    writeFileSync(join(marker, 'stop'), '');
    const whole = new Set(Array.from({ length: 8 }, (_, which) => value(which)));
    for (const { closed, lines: linesOf } of readers) {
      await closed;
      const lines = linesOf();
      assert.deepEqual(lines.filter((line) => !whole.has(line)).map((line) => `${line.slice(0, 8)}… of ${line.length} bytes`), []);
    }
  });

  test('a bound file can be mapped, copied and spliced', async () => {
    const value = 'm'.repeat(5000);
    const { cgroup, path } = await container(secret('single', value, { kind: 'bound' }));
    const source = writeScript(mount, 'map.c', `
      #include <fcntl.h>
      #include <sys/mman.h>
      #include <sys/stat.h>
      #include <unistd.h>
      int main(int argc, char **argv) {
        struct stat st;
        int fd = open(argv[1], O_RDONLY);
        if (fd < 0 || fstat(fd, &st) != 0) return 1;
        char *map = mmap(0, st.st_size, PROT_READ, argc > 2 ? MAP_SHARED : MAP_PRIVATE, fd, 0);
        if (map == MAP_FAILED) return 2;
        return write(1, map, st.st_size) == st.st_size && map[1] == 'm' ? 0 : 3;
      }`);
    execFileSync('gcc', ['-o', `${source}.out`, source]);
    const copy = join(mount.directory, 'copy');
    for (const argv of [[`${source}.out`, path('bound', 'single')], [`${source}.out`, path('bound', 'single'), 'shared'], ['cat', path('bound', 'single')],
      ['busybox', 'cat', path('bound', 'single')], ['sh', '-c', `cp ${path('bound', 'single')} ${copy} && cat ${copy}`], ['sh', '-c', `busybox cp ${path('bound', 'single')} ${copy}2 && cat ${copy}2`]]) {
      assert.equal((await runIn(cgroup, argv)).stdout, value, argv.join(' '));
    }
  });

  test('replace() raises inotify events on the file and on its directory', async () => {
    const { id, cgroup, path } = await container(secret('pw', valueOf(0)), secret('single', valueOf(0), { kind: 'bound' }));
    const [directory, file, bound] = await Promise.all([path('files'), path('files', 'pw'), path('bound', 'single')].map(async (target) => {
      const child = await watching(cgroup, ['-m', '--format', '%e %f', '-e', 'moved_to,delete_self,modify,close_write', target]);
      const lines: string[] = [];
      child.stdout!.on('data', (data: Buffer) => lines.push(...data.toString().split('\n').map((line) => line.trim()).filter((line) => line !== '')));
      return { child, lines };
    }));
    for (let n = 1; n <= 3; n++) {
      await rotate(id, n, 'pw', 'single');
      // inotify(7): an event that equals the one before it is dropped while that one is not read.
      await eventually('the events', () => directory!.lines.length >= n && bound!.lines.length >= 2 * n && file!.lines.length > 0);
    }
    for (const { child } of [directory!, file!, bound!]) child.kill();
    assert.deepEqual(directory!.lines, ['MOVED_TO pw', 'MOVED_TO pw', 'MOVED_TO pw']);
    assert.deepEqual(file!.lines, ['DELETE_SELF']);
    assert.deepEqual(bound!.lines, ['MODIFY', 'CLOSE_WRITE,CLOSE', 'MODIFY', 'CLOSE_WRITE,CLOSE', 'MODIFY', 'CLOSE_WRITE,CLOSE']);
    assert.equal((await runIn(cgroup, ['cat', path('files', 'pw'), path('bound', 'single')])).stdout, valueOf(3) + valueOf(3));
  });

  test('replace() raises events although the child that makes the gestures was killed', async () => {
    const { id, cgroup, path } = await container(secret('pw', valueOf(0)));
    const watch = await watching(cgroup, ['-t', '60', '-e', 'moved_to', '--format', '%f', path('files')]);
    const { pid } = server.process;
    for (const child of readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ')) process.kill(Number(child), 'SIGKILL');
    let seen = '';
    watch.stdout!.on('data', (data: Buffer) => { seen += data.toString(); });
    await rotate(id, 1, 'pw');
    await once(watch, 'close');
    assert.equal(seen, 'pw\n');
  });

  test('add() again changes only what differs, and remove() erases the value', async () => {
    const canary = 'canary-of-the-remove-test';
    const keep = secret('keep', 'same'), gone = secret('gone', canary);
    const { id, cgroup, path } = await container(keep, gone);
    const inode = statSync(path('files', 'keep')).ino;
    await server.run({ op: 'add', tree: { id, cgroupPath: cgroup.path, files: [keep, secret('fresh', 'new')] } });
    assert.equal(statSync(path('files', 'keep')).ino, inode);
    assert.equal((await runIn(cgroup, ['sh', '-c', `cat ${path('files')}/*; ls ${path('files')}`])).stdout, 'newsamefresh\nkeep\n');
    await server.run({ op: 'remove', id });
    await server.run({ op: 'remove', id });
    assert.throws(() => statSync(path()), { code: 'ENOENT' });
    const state = mount.stateFds.map((fd) => readFileSync(`/proc/self/fd/${fd}`));
    for (const bytes of state) assert.equal(bytes.includes(canary), false);
  });

  test('opens are folded per process and carry no value', async () => {
    const { id, cgroup, path } = await container(secret('pw', 'canary-of-the-event-test', { version: 3 }));
    const script = `for (let i = 0; i < 50; i++) require('node:fs').readFileSync(${JSON.stringify(path('files', 'pw'))})`;
    const begin = performance.now();
    const { status, stderr } = await runIn(cgroup, [process.execPath, '-e', script]);
    assert.equal(status, 0, stderr);
    // One for each tick, and other work ticks too.
    const flushes = 2 * Math.ceil((performance.now() - begin) / 250) + 2;
    const seen = (): FileEvent[] => server.events.filter((event) => event.containerId === id);
    await eventually('the record of all opens', () => countOf(seen()) >= 50);
    const events = seen();
    assert.equal(countOf(events), 50);
    assert.ok(events.length <= flushes, `${events.length} events in ${flushes} flushes`);
    assert.deepEqual(events.map(({ type, name, version }) => ({ type, name, version }))[0], { type: 'opened', name: 'pw', version: 3 });
    assert.equal(events[0]!.process.executable, process.execPath);
    assert.equal(JSON.stringify(events).includes('canary'), false);
  });

  test('readers keep going while the main thread of the agent is busy', async () => {
    const { cgroup, path } = await container(secret('pw', valueOf(1)));
    const { reads, stop } = await startReader(cgroup, reader, ['each', path('files', 'pw')]);
    const file = writeScript(mount, 'busy', '');
    const busy = server.run({ op: 'busy', file });
    await eventually('the busy thread', () => !existsSync(file));
    const before = reads();
    await eventually('more reads', () => reads() > before + 100);
    const seen = await stop();
    writeFileSync(file, '');
    await busy;
    assert.deepEqual(seen.errors, []);
  });

  test('replace() reaches 100 containers in one call', async (t) => {
    const all = [];
    for (let i = 0; i < 100; i++) all.push(await container(secret('user', valueOf(0)), secret('pass', valueOf(0))));
    const content = Buffer.from(valueOf(1)).toString('base64');
    const started = performance.now();
    await server.run({ op: 'replace', updates: all.map(({ id }) => ({ containerId: id, files: ['user', 'pass'].map((name) => ({ name, content, version: 1 })) })) });
    t.diagnostic(`replace() of 200 files in 100 containers, events raised: ${(performance.now() - started).toFixed(1)} ms`);
    for (const { cgroup, path } of [all[0]!, all[57]!, all[99]!]) {
      assert.equal((await runIn(cgroup, ['cat', path('files', 'user'), path('files', 'pass')])).stdout, valueOf(1) + valueOf(1));
    }
    for (const { id } of all) await server.run({ op: 'remove', id });
  });

  test('the rate of open, read and close is printed', async (t) => {
    const { cgroup, path } = await container(secret('pw', 'x'.repeat(64)));
    const loop = writeScript(mount, 'rate.cjs', `
      const fs = require('node:fs'); const b = Buffer.alloc(4096); const end = performance.now() + 1000; let n = 0;
      do { const fd = fs.openSync(process.argv[2], 'r'); while (fs.readSync(fd, b, 0, 4096, null) > 0); fs.closeSync(fd); n++; } while (performance.now() < end);
      console.log(n);`);
    for (const count of [1, 4]) {
      const runs = await Promise.all(Array.from({ length: count }, () => runIn(cgroup, [process.execPath, loop, path('files', 'pw')])));
      const total = runs.reduce((sum, { stdout }) => sum + Number(stdout), 0);
      t.diagnostic(`open+read+close per second, ${count} process(es): ${total}`);
      assert.ok(total > 0);
    }
  });
});

describe('a successor', { skip, timeout: 600_000 }, () => {
  let mount: TestMount;
  let reader: string;
  before(async () => {
    mount = new TestMount();
    await mount.mount();
    reader = writeScript(mount, 'reader.cjs', READER);
  });
  after(() => mount.close());

  test('attach() works on a fresh mount even when servers were killed at any moment of their start', async () => {
    for (const delay of [40, 60, 80, 100, 120]) {
      const child = new ServeChild(mount);
      await sleep(delay);
      await child.kill();
    }
    const server = await mount.serve();
    assert.deepEqual(await server.run({ op: 'containers' }), []);
    await server.run({ op: 'detach' });
    assert.equal((await server.exited).code, 0);
  });

  test('kill -9 under readers fails no read and loses no acknowledged version', async (t) => {
    const cgroup = mount.cgroup();
    const id = containerId(1);
    let server = await mount.serve();
    const files = [secret('pw', valueOf(0), { uid: 5, mode: 0o444 }), secret('single', valueOf(0), { kind: 'bound' })];
    await server.run({ op: 'add', tree: { id, cgroupPath: cgroup.path, files } });
    const path = join(mount.mountPoint, id);
    const readers = await Promise.all(['files/pw', 'files/pw', 'bound/single'].map((name) => startReader(cgroup, reader, ['each', join(path, name)])));
    const held = spawnIn(cgroup, ['sh', '-c', 'exec 3< "$0" 4< "$1"; echo open; read line; cat <&3 <&4; cat <&3', join(path, 'files/pw'), join(path, 'bound/single')]);
    let heldText = '';
    await once(held.stdout!, 'data');
    held.stdout!.on('data', (data: Buffer) => { heldText += data.toString(); });
    let acknowledged = 0;
    for (let round = 0; round < 5; round++) {
      const victim = server;
      const running = (async () => {
        for (;;) {
          const version = acknowledged + 1;
          const content = Buffer.from(valueOf(version)).toString('base64');
          await victim.run({ op: 'replace', updates: [{ containerId: id, files: ['pw', 'single'].map((name) => ({ name, version, content })) }] });
          acknowledged = version;
        }
      })();
      await Promise.race([running, sleep(60 + round * 17)]);
      await victim.kill();
      server = await mount.serve();
      const [recovered] = await server.run({ op: 'containers' }) as { id: string; cgroupPath: string; files: { name: string; kind: string; version: number; uid: number; mode: number }[] }[];
      assert.equal(recovered!.cgroupPath, cgroup.path);
      assert.deepEqual(recovered!.files.map(({ name, kind, uid, mode }) => [name, kind, uid, mode]), [['pw', 'versioned', 5, 0o444], ['single', 'bound', 0, 0o400]]);
      const versions = new Set(recovered!.files.map(({ version }) => version));
      assert.equal(versions.size, 1, 'both files are of one step');
      const [version] = versions;
      assert.ok(version === acknowledged || version === acknowledged + 1, `${version} after ${acknowledged} was acknowledged`);
      acknowledged = version;
    }
    await eventually('a hundred reads each', () => readers.every(({ reads }) => reads() > 100));
    for (const { stop } of readers) {
      const seen = await stop();
      assert.deepEqual({ torn: seen.torn, errors: seen.errors }, { torn: 0, errors: [] });
      t.diagnostic(`reads over 5 kills: ${seen.reads}, longest wait ${seen.longest.toFixed(0)} ms`);
    }
    held.stdin!.end('go\n');
    await once(held, 'close');
    assert.equal(heldText, valueOf(0) + valueOf(0), 'descriptors opened under the first server still read their version');
    await server.run({ op: 'detach' });
  });

  test('detach() leaves between two requests; readers wait and the next server answers them', async () => {
    const cgroup = mount.cgroup();
    const id = containerId(2);
    let server = await mount.serve();
    await server.run({ op: 'add', tree: { id, cgroupPath: cgroup.path, files: [secret('pw', valueOf(3))] } });
    const { stop } = await startReader(cgroup, reader, ['each', join(mount.mountPoint, id, 'files/pw')]);
    for (let i = 0; i < 4; i++) {
      await server.run({ op: 'detach' });
      assert.equal((await server.exited).code, 0);
      server = await mount.serve();
    }
    const seen = await stop();
    assert.deepEqual({ torn: seen.torn, errors: seen.errors, last: seen.last }, { torn: 0, errors: [], last: 3 });
    await server.run({ op: 'remove', id });
    await server.run({ op: 'detach' });
  });

  test('a change event that a killed server did not raise is raised by its successor', async () => {
    const cgroup = mount.cgroup();
    const id = containerId(3);
    const first = await mount.serve();
    await first.run({ op: 'add', tree: { id, cgroupPath: cgroup.path, files: [secret('pw', valueOf(0))] } });
    const watch = await watching(cgroup, ['-t', '60', '-e', 'moved_to', '--format', '%f', join(mount.mountPoint, id, 'files')]);
    await first.run({ op: 'detach' });
    // A server that gets as far as making the version durable, and no further.
    new FuseServer([stateFile(mount.stateFds[0]), stateFile(mount.stateFds[1])]).execute({ op: 'replace', updates: [{ containerId: id, files: [{ name: 'pw', version: 1, content: Buffer.from(valueOf(1)) }] }] }, Date.now());
    const second = await mount.serve();
    let seen = '';
    watch.stdout!.on('data', (data: Buffer) => { seen += data.toString(); });
    await once(watch, 'close');
    assert.equal(seen, 'pw\n');
    await second.run({ op: 'remove', id });
    await second.run({ op: 'detach' });
  });

  test('process.exit() without detach() ends at once instead of hanging in read(2)', async () => {
    const server = await mount.serve();
    void server.run({ op: 'exit' });
    assert.equal((await server.exited).signal, 'SIGKILL');
  });
});

describe('attach() refuses', { skip, timeout: 600_000 }, () => {
  test('a descriptor that is not mounted', async () => {
    const mount = new TestMount();
    try {
      await assert.rejects(mount.serve(), /ERR_FUSE_UNAVAILABLE/);
    } finally {
      await mount.close();
    }
  });

  test('state that is damaged, instead of starting empty', async () => {
    const mount = new TestMount();
    try {
      await mount.mount();
      writeFileSync(`/proc/self/fd/${mount.stateFds[0]}`, Buffer.alloc(9000, 1));
      await assert.rejects(mount.serve(), /ERR_STATE_CORRUPT/);
    } finally {
      await mount.close();
    }
  });
});
