// What follows a rotation: one action for a burst, retries, starting over, and what a successor finds.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Actions } from '../../src/agent/actions.ts';
import type { ContainerRecord, GrantedFile } from '../../src/agent/container-record.ts';
import { performAction } from '../../src/agent/perform-action.ts';
import type { Performed } from '../../src/agent/perform-action.ts';
import { PurserError } from '../../src/lib/errors.ts';
import { eventually, unlessDelayed } from '../eventually.ts';
import { recordedLog } from '../fakes/silent-log.ts';

const ID = 'a'.repeat(64);
const FILE: GrantedFile = { name: 'pw', kind: 'versioned', target: '/run/secrets/pw', source: { type: 'reference', text: 'purser://secret/db#pw' }, path: 'secret/db', field: 'pw', version: 1, isPinned: false };
const NOTHING: ContainerRecord = { workload: { id: ID, name: 'web', image: 'x', labels: {} }, grantedAt: 1, files: [FILE], overMounts: [] };
const RECORD: ContainerRecord = { ...NOTHING, onRotate: { action: { type: 'exec', command: ['reload', 'hunter2'] }, jitterMs: 0 } };

function setup(perform: (attempt: number) => Performed | Promise<Performed>, record: ContainerRecord = RECORD, quietMs = 30) {
  const records = new Map([[ID, record]]);
  const entries: Record<string, unknown>[] = [];
  const { log, text } = recordedLog();
  let calls = 0;
  const actions = new Actions({
    containers: { all: () => [...records.values()], get: (id) => records.get(id), put: (one) => { records.set(one.workload.id, one); } },
    ledger: { acted: (_, entry) => { entries.push({ ...entry, duration_ms: 0 }); } },
    log, perform: async () => perform(++calls), quietMs, patienceMs: 200, retryMs: 20,
  });
  const idle = () => eventually('that nothing is due', () => records.get(ID)?.isActionDue !== true);
  return { actions, records, entries, text, idle, calls: () => calls };
}

const QUIET_MS = 100;
test('rotated() makes one action of a burst', () => unlessDelayed(2 * QUIET_MS, async () => {
  const { actions, records, entries, idle } = setup(() => ({ outcome: 'done', exitCode: 0 }), RECORD, QUIET_MS);
  for (let i = 0; i < 10; i++) {
    actions.rotated(ID, [FILE]);
    assert.equal(records.get(ID)?.isActionDue, true);
    await sleep(5);
  }
  await idle();
  assert.deepEqual(entries, [{ action: 'exec:reload', outcome: 'done', exit_code: 0, duration_ms: 0, attempt: 1 }]);
}));

test('rotated() acts for a volume in the container that mounts it', async () => {
  const mountId = 'b'.repeat(64);
  const record: ContainerRecord = { ...RECORD, volume: { name: 'db', mountId, uses: 1 } };
  let stored = record;
  const acted: string[] = [];
  const actions = new Actions({
    containers: { all: () => [stored], get: (id) => id === mountId ? stored : undefined, put: (one) => { stored = one; } },
    ledger: { acted: (id) => { acted.push(id); } }, log: recordedLog().log, perform: async () => ({ outcome: 'done' }), quietMs: 5,
  });
  actions.rotated(mountId, [FILE]);
  await eventually('the action', () => stored.isActionDue === false);
  assert.deepEqual(acted, [ID]);
});

test('rotated() does not wait longer than its patience for the end of a burst', () => unlessDelayed(1000, async () => {
  const { actions, entries } = setup(() => ({ outcome: 'done' }));
  const end = Date.now() + 600;
  while (Date.now() < end) {
    actions.rotated(ID, [FILE]);
    await sleep(10);
  }
  await actions.stop();
  assert.ok(entries.length >= 2 && entries.length <= 4, String(entries.length));
}));

test('a failing action is tried five times, with growing pauses', async () => {
  const times: number[] = [];
  const { actions, entries, idle, text } = setup(() => { times.push(Date.now()); return { outcome: 'failed', exitCode: 1 }; });
  actions.rotated(ID, [FILE]);
  await idle();
  assert.deepEqual(entries.map(({ outcome, exit_code, attempt }) => [outcome, exit_code, attempt]), [1, 2, 3, 4, 5].map((attempt) => ['failed', 1, attempt]));
  const pauses = times.slice(1).map((time, index) => time - (times[index] ?? 0));
  for (const [index, pause] of pauses.entries()) assert.ok(pause >= 20 * 2 ** index - 5, pauses.join());
  assert.match(text(), /failed for the last time/);
  assert.doesNotMatch(text(), /hunter2/);
});

test('a newer rotation starts a failing action over', async () => {
  const { actions, entries, idle } = setup((call) => {
    if (call === 2) setImmediate(() => { actions.rotated(ID, [FILE]); }); // in the pause that follows
    return call < 3 ? { outcome: 'failed', exitCode: 7 } : { outcome: 'done', exitCode: 0 };
  });
  actions.rotated(ID, [FILE]);
  await idle();
  assert.deepEqual(entries.map(({ outcome, attempt }) => [outcome, attempt]), [['failed', 1], ['failed', 2], ['done', 1]]);
});

test('a rotation during an action is followed by another one', async () => {
  const { actions, entries, idle, calls } = setup(async () => { await sleep(60); return { outcome: 'done' }; });
  actions.rotated(ID, [FILE]);
  await eventually('the first try', () => calls() >= 1);
  actions.rotated(ID, [FILE]);
  await idle();
  assert.equal(entries.length, 2);
});

test('recover() does what a predecessor left, and stop() leaves what is not done', async () => {
  const first = setup(() => ({ outcome: 'failed' }));
  first.actions.rotated(ID, [FILE]);
  await eventually('the first try', () => first.calls() >= 1);
  await first.actions.stop();
  const left = first.records.get(ID) as ContainerRecord;
  assert.equal(left.isActionDue, true);
  const second = setup(() => ({ outcome: 'done' }), left);
  second.actions.recover();
  await second.idle();
  assert.equal(second.entries.length, 1);
  assert.equal(second.records.get(ID)?.isActionDue, false);
});

test('rotated() does nothing for a container that wants nothing, or for variables and a signal', async () => {
  for (const [record, file] of [[NOTHING, FILE], [{ ...RECORD, onRotate: { action: { type: 'signal', signal: 'HUP' }, jitterMs: 0 } }, { ...FILE, kind: 'hidden' }]] as const) {
    const { actions, records, entries } = setup(() => ({ outcome: 'done' }), record);
    actions.rotated(ID, [file]);
    await sleep(60);
    assert.deepEqual([entries.length, records.get(ID)?.isActionDue], [0, undefined]);
  }
});

test('an action ends with the run of its container', async () => {
  const { actions, records, entries } = setup(() => {
    setImmediate(() => { records.set(ID, { ...RECORD, grantedAt: 2 }); }); // in the pause that follows
    return { outcome: 'failed' };
  });
  actions.rotated(ID, [FILE]);
  await eventually('the first try', () => entries.length > 0);
  await sleep(100);
  assert.equal(entries.length, 1);
  assert.equal(records.get(ID)?.isActionDue, undefined);
});

test('a container that does not run needs no action', async () => {
  const { actions, entries, records, idle } = setup(() => ({ outcome: 'gone' }));
  actions.rotated(ID, [FILE]);
  await idle();
  assert.deepEqual([entries.length, records.get(ID)?.isActionDue], [0, false]);
});

test('performAction() tells why it failed without the arguments of the command', async () => {
  const refuse = () => Promise.reject(new PurserError('ERR_DOCKER_ACTION', 'cannot run reload hunter2'));
  const result = await performAction({ startExec: refuse, execState: refuse, restart: refuse, info: refuse }, RECORD, { type: 'exec', command: ['reload', 'hunter2'] }, new AbortController().signal);
  assert.deepEqual(result, { outcome: 'failed', message: 'cannot run reload …' });
});
