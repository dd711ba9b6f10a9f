// OpenFold: a container that opens without end fills a bounded part of the ledger, and every open is still counted.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FileEvent } from '../../src/agent/fuse/events.ts';
import { OpenFold } from '../../src/agent/open-fold.ts';

const A = 'a'.repeat(64);
const event = (pid: number, more: Partial<FileEvent> = {}, program = 'cat'): FileEvent => ({
  type: 'opened', containerId: A, name: 'pw', version: 1, process: { pid, uid: 0, gid: 0, name: program, executable: `/bin/${program}` }, count: 1, firstTime: pid, lastTime: pid, ...more,
});
function collect(): { readonly fold: OpenFold; readonly out: FileEvent[] } {
  const out: FileEvent[] = [];
  return { out, fold: new OpenFold((one) => { out.push(one); }) };
}
const total = (events: readonly FileEvent[]): number => events.reduce((sum, { count }) => sum + count, 0);

test('add() passes single opens on at once, with their process', () => {
  const { fold, out } = collect();
  for (let pid = 1; pid <= 100; pid++) fold.add(event(pid), 0);
  assert.deepEqual(out.map(({ process }) => process.pid), Array.from({ length: 100 }, (_, index) => index + 1));
});

test('add() folds a flood of processes into one entry per file and program, and loses no count', () => {
  const { fold, out } = collect();
  for (let pid = 1; pid <= 100_000; pid++) fold.add(event(pid, { name: pid % 2 === 0 ? 'pw' : 'key' }), pid / 10);
  const before = out.length;
  assert.ok(before <= 251, String(before));
  fold.close();
  assert.equal(out.length, before + 2);
  assert.equal(total(out), 100_000);
  const last = out.at(-1);
  assert.deepEqual([last?.process.pid, last?.process.name, last?.lastTime], [0, 'cat', 100_000]);
});

test('add() tells only so many programs apart', () => {
  const { fold, out } = collect();
  for (let pid = 1; pid <= 10_000; pid++) fold.add(event(pid, {}, `program-${String(pid)}`), 0);
  fold.close();
  assert.ok(out.length <= 240 + 32 + 1, String(out.length));
  assert.equal(total(out), 10_000);
});

test('a flood of one container leaves the entries of another one alone', () => {
  const { fold, out } = collect();
  for (let pid = 1; pid <= 1_000; pid++) fold.add(event(pid), 0);
  fold.add(event(7, { containerId: 'b'.repeat(64) }), 0);
  assert.equal(out.at(-1)?.containerId, 'b'.repeat(64));
});

test('end() passes on what was folded of the container, and its allowance begins anew', () => {
  const { fold, out } = collect();
  for (let pid = 1; pid <= 300; pid++) fold.add(event(pid), 0);
  fold.end(A);
  assert.equal(total(out), 300);
  fold.add(event(1), 0);
  assert.equal(total(out), 301);
});

test('a container that calms down gets single entries again', () => {
  const { fold, out } = collect();
  for (let pid = 1; pid <= 300; pid++) fold.add(event(pid), 0);
  fold.close();
  const before = out.length;
  fold.add(event(1), 10_000);
  assert.equal(out.length, before + 1);
});
