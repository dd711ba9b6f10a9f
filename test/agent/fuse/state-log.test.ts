// The state log and the tree behind it: whatever byte a kill interrupts, the successor finds the state before or after, never between.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { FuseServer, summaryOf } from '../../../src/agent/fuse/server.ts';
import type { StateFile } from '../../../src/agent/fuse/state-file.ts';
import { MAX_VALUE, StateLog } from '../../../src/agent/fuse/state-log.ts';
import type { Command } from '../../../src/agent/fuse/messages.ts';
import { currentOf, filesOf } from '../../../src/agent/fuse/tree.ts';
import type { SecretFile } from '../../../src/agent/fuse/plan.ts';

/** A state file in memory. With a budget it dies like a killed process: in the middle of a write, and everything after fails too. */
class MemoryFile implements StateFile {
  bytes: Buffer;
  isFull = false;
  readonly budget: { left: number } | undefined;
  constructor(bytes: Buffer = Buffer.alloc(0), budget?: { left: number }) {
    this.bytes = bytes;
    this.budget = budget;
  }
  size(): number {
    return this.bytes.length;
  }
  read(target: Buffer, at: number, length: number, position: number): number {
    return position >= this.bytes.length ? 0 : this.bytes.copy(target, at, position, position + length);
  }
  write(bytes: Uint8Array, position: number): void {
    if (this.isFull) throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
    const count = this.#spend(bytes.length);
    if (count > 0 && position + count > this.bytes.length) this.truncate(position + count, true);
    if (count > 0) this.bytes.set(bytes.subarray(0, count), position);
    if (count < bytes.length) throw new Error('killed');
  }
  truncate(size: number, isFree = false): void {
    if (!isFree && this.#spend(1) === 0) throw new Error('killed');
    this.bytes = size <= this.bytes.length ? Buffer.from(this.bytes.subarray(0, size)) : Buffer.concat([this.bytes, Buffer.alloc(size - this.bytes.length)]);
  }
  #spend(wanted: number): number {
    if (this.budget === undefined) return wanted;
    const count = Math.min(wanted, this.budget.left);
    this.budget.left -= count;
    return count;
  }
}

type Files = [MemoryFile, MemoryFile];
const newFiles = (): Files => [new MemoryFile(), new MemoryFile()];
const copyOf = (files: Files, budget?: { left: number }): Files => [new MemoryFile(Buffer.from(files[0].bytes), budget), new MemoryFile(Buffer.from(files[1].bytes), budget)];
const bytesOf = (files: Files): [Buffer, Buffer] => [Buffer.from(files[0].bytes), Buffer.from(files[1].bytes)];

const id = (n: number): string => String(n).padStart(64, 'a');
const file = (name: string, content: string, more: Partial<SecretFile> = {}): SecretFile =>
  ({ name, kind: 'versioned', content: Buffer.from(content), version: 1, uid: 0, gid: 0, mode: 0o400, ...more });
const add = (n: number, ...files: SecretFile[]): Command => ({ op: 'add', tree: { id: id(n), cgroupPath: `/docker/${id(n)}`, files } });
const replace = (n: number, name: string, content: string, version = 2): Command =>
  ({ op: 'replace', updates: [{ containerId: id(n), files: [{ name, content: Buffer.from(content), version }] }] });

/** Everything a reader could see, values and node ids included. */
function view(server: FuseServer): unknown {
  return [...server.tree.containers.values()].map((container) => ({
    ...summaryOf(container), generation: container.generation, nodes: [container.directory.node, container.filesDirectory.node, container.boundDirectory.node],
    values: filesOf(container).map((each) => {
      const { id: version, slot } = currentOf(each);
      const value = Buffer.alloc(slot.valueLength);
      server.log.read(slot, 0, value, 0, value.length);
      return [each.id, version, value.toString()];
    }),
  }));
}

describe('StateLog', () => {
  test('open() recovers what append() committed, and hands out no id twice', () => {
    const files = newFiles();
    const { log } = StateLog.open(files, 16);
    const [slot] = log.append([{ type: 'init', minor: 45, flags: 1, flags2: 2, value: Buffer.from('v') }], 99);
    assert.equal(slot!.valueLength, 1);
    const again = StateLog.open(files, 16);
    assert.deepEqual(again.records.map(({ record }) => record), [{ type: 'init', minor: 45, flags: 1, flags2: 2 }]);
    assert.equal(again.log.nextId, 99);
  });

  const steps: [string, (server: FuseServer) => void][] = [
    ['a first start', () => undefined],
    ['replace()', (server) => server.execute(replace(1, 'pw', 'two'), 2)],
    ['add() that drops a file', (server) => server.execute(add(1, file('pw', 'three')), 2)],
    ['compact()', (server) => server.log.compact(server.tree.liveSlots())],
    ['remove()', (server) => server.execute({ op: 'remove', id: id(1) }, 3)],
  ];
  for (const [what, step] of steps) {
    test(`open() gives the state before or after ${what}, whichever byte a kill interrupted`, () => {
      const start = newFiles();
      if (what !== 'a first start') new FuseServer(start).execute(add(1, file('pw', 'one'), file('b', 'x', { kind: 'bound' })), 1);
      const done = copyOf(start);
      const before = JSON.stringify(view(new FuseServer(copyOf(start))));
      step(new FuseServer(done));
      const afterwards = JSON.stringify(view(new FuseServer(done)));
      let left = 0;
      for (let isKilled = true; isKilled; left++) {
        const files = copyOf(start, { left });
        try {
          step(new FuseServer(files));
          isKilled = false;
        } catch (error) {
          assert.match(`${(error as Error).message}`, /killed/);
        }
        const survivors = copyOf(files);
        const seen = JSON.stringify(view(new FuseServer(survivors)));
        assert.ok(seen === before || seen === afterwards, `after ${left} bytes`);
        // The successor goes on where the dead one was.
        new FuseServer(survivors).execute(add(9, file('next', 'x')), 4);
        assert.equal(new FuseServer(survivors).tree.containers.has(id(9)), true);
      }
      assert.ok(left > 60);
    });
  }

  test('open() refuses state whose committed bytes are cut off or altered, instead of losing values silently', () => {
    const files = newFiles();
    new FuseServer(files).execute(add(1, file('pw', 'one')), 1);
    const [a, b] = bytesOf(files);
    for (let length = 8192; length < a.length; length++) {
      assert.throws(() => new FuseServer([new MemoryFile(a.subarray(0, length)), new MemoryFile(b)]), { code: 'ERR_STATE_CORRUPT' }, `length ${length}`);
    }
    // Bytes 9 to 15 of a frame head and the padding behind a value mean nothing.
    let refused = 0;
    for (let i = 8192; i < a.length; i++) {
      const altered = Buffer.from(a);
      altered[i]! ^= 0xff;
      try {
        assert.deepEqual(view(new FuseServer([new MemoryFile(altered), new MemoryFile(b)])), view(new FuseServer(copyOf(files))));
      } catch (error) {
        assert.equal((error as { code: string }).code, 'ERR_STATE_CORRUPT');
        refused++;
      }
    }
    assert.ok(refused > (a.length - 8192) * 0.8);
  });

  test('open() refuses files that hold something else', () => {
    assert.throws(() => StateLog.open([new MemoryFile(Buffer.alloc(10_000, 1)), new MemoryFile()], 16), { code: 'ERR_STATE_CORRUPT' });
    assert.throws(() => StateLog.open([new MemoryFile(), new MemoryFile(Buffer.alloc(10_000))], 16), { code: 'ERR_STATE_CORRUPT' });
  });

  test('wipe() leaves nothing of the value, and a kill in the middle of it harms nothing', () => {
    const files = newFiles();
    const server = new FuseServer(files);
    server.execute(add(1, file('pw', 'canary-value'), file('keep', 'kept')), 1);
    server.execute(add(1, file('keep', 'kept')), 2);
    for (const bytes of bytesOf(files)) assert.equal(bytes.includes('canary-value'), false);
    assert.deepEqual(view(new FuseServer(files)), view(server));
  });

  test('append() without memory refuses, and changes nothing', () => {
    const files = newFiles();
    const server = new FuseServer(files);
    server.execute(add(1, file('pw', 'one')), 1);
    const before = view(server);
    files[0].isFull = true;
    assert.throws(() => server.execute(replace(1, 'pw', 'two'), 2), { code: 'ERR_STORAGE_FULL' });
    files[0].isFull = false;
    assert.deepEqual(view(server), before);
    assert.deepEqual(view(new FuseServer(copyOf(files))), before);
    server.execute(replace(1, 'pw', 'two'), 3);
    assert.deepEqual(view(new FuseServer(copyOf(files))), view(server));
  });

  test('append() refuses a value larger than 1 MiB', () => {
    const { log } = StateLog.open(newFiles(), 16);
    assert.throws(() => log.append([{ type: 'raised', container: 'x', generation: 1, value: Buffer.alloc(MAX_VALUE + 1) }], 17), { code: 'ERR_WORKLOAD_INVALID' });
  });

  test('open() hands over the request that was in flight', () => {
    const files = newFiles();
    const { log } = StateLog.open(files, 16);
    const request = Buffer.alloc(48, 7);
    request.writeUInt32LE(48, 0);
    log.saveInFlight(request, 48);
    assert.deepEqual(StateLog.open(files, 16).inFlight, request);
  });
});

describe('FuseServer', () => {
  const command = fc.oneof(
    fc.record({ n: fc.nat(3), names: fc.uniqueArray(fc.constantFrom('a', 'b', 'c'), { maxLength: 3 }), content: fc.string({ maxLength: 40 }), kind: fc.constantFrom('versioned' as const, 'bound' as const) })
      .map(({ n, names, content, kind }) => add(n, ...names.map((name) => file(name, content, { kind })))),
    fc.record({ n: fc.nat(3), name: fc.constantFrom('a', 'b', 'c'), content: fc.string({ maxLength: 40 }), version: fc.nat(5) })
      .map(({ n, name, content, version }) => replace(n, name, content, version)),
    fc.nat(3).map((n): Command => ({ op: 'remove', id: id(n) })),
    fc.constant<Command>({ op: 'tick' }),
  );

  test('a successor has exactly the tree of its predecessor after any commands', () => {
    fc.assert(fc.property(fc.array(command, { maxLength: 25 }), (commands) => {
      const files = newFiles();
      let server = new FuseServer(files);
      commands.forEach((each, i) => {
        server.execute(each, i * 20_000);
        if (i % 7 === 6) server.log.compact(server.tree.liveSlots());
        const successor = new FuseServer(files);
        assert.deepEqual(view(successor), view(server));
        if (i % 5 === 4) server = successor;
      });
    }), { numRuns: 40 });
  });

  test('execute() keeps the log and the tree bounded under rotation for ever', () => {
    const files = newFiles();
    const server = new FuseServer(files);
    server.execute(add(1, file('pw', 'x'.repeat(1000))), 0);
    for (let i = 1; i <= 3000; i++) {
      server.execute(replace(1, 'pw', `${i}`.repeat(200), i), i * 1000);
      if (i % 5 === 0) server.execute({ op: 'tick' }, i * 1000);
    }
    assert.ok(server.tree.superseded.size < 80);
    assert.ok(server.tree.nodes.size < 100);
    assert.ok(bytesOf(files).reduce((sum, { length }) => sum + length, 0) < 1_000_000);
    assert.deepEqual(view(new FuseServer(files)), view(server));
  });

  test('tick() keeps a superseded version while it is open, and erases it after the last release and the grace', () => {
    const files = newFiles();
    const server = new FuseServer(files);
    server.execute(add(1, file('pw', 'old-canary')), 0);
    const old = currentOf(server.tree.containers.get(id(1))!.files.get('pw')!);
    old.opens = 1;
    server.execute(replace(1, 'pw', 'new'), 1);
    server.execute({ op: 'tick' }, 3_600_000);
    assert.equal(server.tree.versions.get(old.id), old);
    old.opens = 0;
    server.execute({ op: 'tick' }, 3_600_001);
    assert.equal(server.tree.versions.get(old.id), undefined);
    for (const bytes of bytesOf(files)) assert.equal(bytes.includes('old-canary'), false);
  });

  test('recovered() names the steps whose events the predecessor did not raise, and no others', () => {
    const files = newFiles();
    const server = new FuseServer(files);
    server.execute(add(1, file('pw', '1'), file('b', '1', { kind: 'bound' })), 0);
    const { raises } = server.execute(replace(1, 'pw', '2'), 1);
    assert.deepEqual(new FuseServer(files).recovered().raises, raises);
    assert.equal(raises.length, 1);
    server.execute({ op: 'raised', steps: raises }, 2);
    assert.deepEqual(new FuseServer(files).recovered().raises, []);
  });

  const invalid: [string, Command][] = [
    ['a name with a slash', add(1, file('a/b', ''))], ['the name ..', add(1, file('..', ''))], ['an empty name', add(1, file('', ''))],
    ['a staged name', add(1, file('.purser-1-2', ''))], ['a lone surrogate', add(1, file('\ud800', ''))], ['a long name', add(1, file('x'.repeat(256), ''))],
    ['setuid', add(1, file('a', '', { mode: 0o4755 }))], ['a negative uid', add(1, file('a', '', { uid: -1 }))], ['two of one name', add(1, file('a', ''), file('a', ''))],
    ['a placeholder with content', add(1, file('a', 'x', { kind: 'placeholder', mode: 0 }))], ['2 MiB', add(1, file('a', 'x'.repeat(2 * MAX_VALUE)))],
    ['the root cgroup', { op: 'add', tree: { id: id(1), cgroupPath: '/', files: [] } }], ['a cgroup with ..', { op: 'add', tree: { id: id(1), cgroupPath: '/a/../b', files: [] } }],
    ['33 files of 1 MiB', add(1, ...Array.from({ length: 33 }, (_, n) => file(`f${String(n)}`, 'x'.repeat(MAX_VALUE))))],
    ['a short id', { op: 'add', tree: { id: 'abc', cgroupPath: '/a', files: [] } }],
  ];
  for (const [what, bad] of invalid) {
    test(`execute() refuses ${what} and changes nothing`, () => {
      const files = newFiles();
      const server = new FuseServer(files);
      const before = bytesOf(files);
      assert.throws(() => server.execute(bad, 0), { code: 'ERR_WORKLOAD_INVALID' });
      assert.deepEqual(bytesOf(files), before);
    });
  }
});
