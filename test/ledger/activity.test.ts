// Activity over time: every entry counts once in its step, whatever is sent again, folded, late, merged or read meanwhile.

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';

import { Activity } from '../../src/ledger/activity.ts';
import { History } from '../../src/ledger/history/history.ts';
import { Ledger } from '../../src/ledger/ledger.ts';
import { activityAnswer, activitySchema } from '../../src/ledger/query/activity.ts';
import { MemoryView } from '../fakes/memory-view.ts';
import { batch, granted, opened, refused, type NewEntry } from './entries.ts';

const [ONE, TWO] = [{ id: '11111111-1111-4111-8111-111111111111', name: 'one' }, { id: '22222222-2222-4222-8222-222222222222', name: 'two' }];
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const START = Date.parse('2026-03-01T12:00:00Z');

let view: MemoryView;
let now: number;
let activity: Activity;
let ledger: Ledger;
let sequence: Map<string, number>;

beforeEach(() => {
  view = new MemoryView();
  now = START;
  sequence = new Map();
  const limits = { maxAgeMs: 90 * DAY, maxBytes: 2 ** 31 };
  activity = new Activity({ view, now: () => now, maxAgeMs: limits.maxAgeMs });
  ledger = new Ledger({ view, now: () => now, history: new History({ view, now: () => now, limits }), activity, onHolding: () => undefined, budget: { opensBytes: 2_000, totalBytes: Infinity } });
});

async function report(node: typeof ONE, at: number, ...entries: NewEntry[]): Promise<void> {
  const first = (sequence.get(node.id) ?? 0) + 1;
  sequence.set(node.id, first + entries.length - 1);
  await ledger.append(node, batch(first, entries, new Date(at)));
}

const denied = (at: number, count: number) => ledger.record({
  at, seq: 1, node: ONE.id, node_name: 'one', container: { name: 'web', image: 'i' }, entry: { type: 'denied', source: 'resolve', path: 'secret/x', code: 'ERR_RESOLVE_DENIED', reason: 'no', count, first: at },
});

interface Step { readonly time: string; readonly opened: number; readonly refused: number; readonly denied: number }
async function ask(question: object = {}): Promise<Step[]> {
  return (await activityAnswer(activity, activitySchema.parse(question), now))['steps'] as unknown as Step[];
}
/** Steps that are not empty: `12:00 opened/refused/denied`. */
const busy = async (question: object = {}) => (await ask(question)).filter((step) => step.opened + step.refused + step.denied > 0).map((step) => `${step.time.slice(11, 16)} ${step.opened}/${step.refused}/${step.denied}`);

test('reads, refused reads and denials are counted in their steps, over all nodes, also those that leave no row', async () => {
  await report(ONE, START - 7 * MINUTE, granted('a', ['secret/x']), opened('a', 'secret/x', 3), opened('a', 'secret/x', 4), refused('a', 2));
  await report(TWO, START - 6 * MINUTE, opened('b', 'secret/x', 5));
  for (let count = 0; count < 20; count++) await report(ONE, START - 2 * MINUTE, opened('a', `secret/${String(count)}`, 1));
  await denied(START, 6);
  assert.deepEqual(await busy({ step: '5m' }), ['11:50 12/2/0', '11:55 20/0/0', '12:00 0/0/6']);
  assert.deepEqual(await busy({ step: '1h' }), ['11:00 32/2/0', '12:00 0/0/6']);
  assert.deepEqual(await busy({ since: '2026-03-01T11:57:00Z', until: '2026-03-01T11:58:00Z', step: '5m' }), ['11:55 20/0/0']);
});

test('a batch that is sent again, or was not stored, counts once', async () => {
  const sent = batch(1, [opened('a', 'secret/x', 3)], new Date(START));
  view.failAfter(0);
  await assert.rejects(ledger.append(ONE, sent));
  view.failAfter(Infinity);
  await Promise.all([ledger.append(ONE, sent), ledger.append(ONE, sent), denied(START, 1), denied(START, 1)]);
  await ledger.append(ONE, sent);
  assert.deepEqual(await busy(), ['12:00 3/0/2']);
});

test('merge() makes one record of a day that is over, loses nothing that comes late, and shows nothing twice meanwhile', async () => {
  for (const node of [ONE, TWO]) for (let hour = 0; hour < 12; hour++) await report(node, START - hour * HOUR, opened('a', 'secret/x', 1 + hour));
  const before = await busy({ step: '1h' });
  now += 30 * MINUTE;
  const sums: number[] = [];
  const reading = (async () => { for (let count = 0; count < 50; count++) sums.push((await ask()).reduce((sum, step) => sum + step.opened, 0)); })();
  await Promise.all([activity.merge(), report(ONE, START - 5 * HOUR, opened('c', 'secret/x', 1_000)), reading]);
  assert.ok(sums.every((sum) => sum === 156 || sum === 1_156), `a sum was neither that before nor after: ${sums.join(' ')}`);
  await activity.merge();
  const keys = () => [...view.records.keys()].filter((key) => key.startsWith('activity/'));
  assert.deepEqual(keys().sort(), ['activity/2026-03-01/11111111-1111-4111-8111-111111111111.12', 'activity/2026-03-01/22222222-2222-4222-8222-222222222222.12', 'activity/2026-03-01/day']);
  assert.deepEqual(await busy({ step: '1h' }), before.map((line) => (line.startsWith('07') ? '07:00 1012/0/0' : line)));
  now += 2 * HOUR;
  await activity.merge();
  assert.deepEqual(keys(), ['activity/2026-03-01/day']);
});

test('an answer costs two reads a day, however much happened', async () => {
  for (let hour = 0; hour < 48; hour++) for (let count = 0; count < 10; count++) await report(ONE, START - hour * HOUR - count * 6 * MINUTE, opened('a', `secret/${String(count)}`, 1));
  now += HOUR + 6 * MINUTE;
  await activity.merge();
  const gets = view.gets;
  assert.equal((await ask({ since: '3d' })).reduce((sum, step) => sum + step.opened, 0), 480);
  assert.ok(view.gets - gets <= 6, String(view.gets - gets));
});

test('days that are too old are deleted, and not counted any more', async () => {
  await report(ONE, START, opened('a', 'secret/x', 1));
  now += 91 * DAY;
  await report(ONE, now, opened('a', 'secret/x', 2));
  await report(ONE, START, opened('a', 'secret/x', 4));
  await activity.merge();
  await activity.prune();
  assert.deepEqual(await activity.days(), ['2026-05-31']);
});

test('the answer has every step of the span, about a hundred unless asked, and refuses what it cannot give', async () => {
  for (const [question, steps, seconds] of [[{}, 97, 900], [{ since: '1h' }, 13, 300], [{ since: '7d' }, 57, 10_800], [{ since: '90d' }, 91, 86_400], [{ since: '7d', step: '30m' }, 337, 1_800]] as const) {
    const answer = await activityAnswer(activity, activitySchema.parse(question), now);
    assert.deepEqual([(answer['steps'] as unknown as Step[]).length, answer['step_seconds']], [steps, seconds]);
  }
  assert.deepEqual((await ask({ since: '10m' })).map(({ time }) => time), ['2026-03-01T11:50:00.000Z', '2026-03-01T11:55:00.000Z', '2026-03-01T12:00:00.000Z']);
  for (const question of [{ step: '7m' }, { step: '0s' }, { step: '25h' }, { step: '1m' }, { since: '90d', step: '5m' }, { since: '2027-01-01T00:00:00Z' }, { since: '4000d' }]) {
    await assert.rejects(ask(question), { code: 'ERR_REQUEST_INVALID' }, JSON.stringify(question));
  }
  await assert.rejects(ask({ step: 'often' }), { code: 'ERR_DURATION_SYNTAX' });
});
