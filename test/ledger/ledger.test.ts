import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';

import fc from 'fast-check';

import type { JsonObject } from '../../src/core/logical.ts';
import { Activity } from '../../src/ledger/activity.ts';
import { History } from '../../src/ledger/history/history.ts';
import { Ledger, type LedgerOptions } from '../../src/ledger/ledger.ts';
import { HoldingsQuery, holdingsSchema } from '../../src/ledger/query/holdings.ts';
import { HoldingSources } from '../../src/ledger/query/sources.ts';
import { Timeline, timelineSchema } from '../../src/ledger/query/timeline.ts';
import { unusedSchema, unusedSecrets } from '../../src/ledger/query/unused.ts';
import { validate } from '../../src/wire/validate.ts';
import type { UsageBatch } from '../../src/wire/node-protocol.ts';
import type { NewEntry } from './entries.ts';
import { batch, container, granted, opened, refused, released, rotated, SPOOL } from './entries.ts';
import { MemoryView } from '../fakes/memory-view.ts';

const ONE = { id: '11111111-1111-4111-8111-111111111111', name: 'one' };
const TWO = { id: '22222222-2222-4222-8222-222222222222', name: 'two' };
const DAY = 24 * 3600_000;
const START = Date.parse('2026-03-01T12:00:00Z');

let view: MemoryView;
let now: number;
let ledger: Ledger;
let history: History;
let holdings: HoldingsQuery;
let timeline: Timeline;
let held: string[];
let secretPaths: string[];

function open(options: Partial<LedgerOptions> = {}): void {
  history = new History({ view, now: () => now, limits: { maxAgeMs: 90 * DAY, maxBytes: 2 ** 31 } });
  ledger = new Ledger({ view, now: () => now, history, activity: new Activity({ view, now: () => now, maxAgeMs: 90 * 24 * 3600_000 }), onHolding: (node, id, isHolding) => held.push(`${node === ONE.id ? 'one' : 'two'} ${id.slice(0, 2)} ${isHolding}`), ...options });
  const findNodes = (name: string) => [ONE, TWO].filter((node) => node.name === name).map(({ id }) => id);
  holdings = new HoldingsQuery({ sources: new HoldingSources(view, history), now: () => now, findNodes });
  timeline = new Timeline({ history, now: () => now, findNodes });
}

beforeEach(() => {
  view = new MemoryView();
  now = START;
  held = [];
  secretPaths = [];
  open();
});

type Row = { container: string; container_id: string; node: string; path: string; field?: string; version: number; opens: number; granted_time: string | null; rotated_time: string | null; released_time: string | null;
  last_opened_time: string | null; refused: number; processes: { executable: string; name: string; uid: number; pid: number; count: number }[]; unknown?: boolean; clock_adjusted?: boolean; released_reason: string | null };

async function ask(what: JsonObject): Promise<Row[]> {
  return (await holdings.answer(validate(holdingsSchema, what, 'usage query')))['holdings'] as unknown as Row[];
}

async function unused(what: JsonObject = {}): Promise<unknown> {
  const answer = await unusedSecrets({ view, now: () => now, secretPaths: async function* () { yield* secretPaths; } }, validate(unusedSchema, what, 'usage query'));
  return (answer['secrets'] as { secret: string }[]).map(({ secret }) => secret);
}

interface Entry { readonly type: string; readonly time: string; readonly container: string; readonly node: string; readonly unknown?: true; readonly count?: number; readonly path?: string }

async function entries(what: JsonObject = {}): Promise<Entry[]> {
  return (await timeline.answer(validate(timelineSchema, what, 'usage query')))['entries'] as unknown as Entry[];
}

let sequence = 0;
beforeEach(() => { sequence = 0; });
async function add(...entries: NewEntry[]): Promise<number> {
  const first = sequence + 1;
  sequence += entries.length;
  return ledger.append(ONE, batch(first, entries, new Date(now)));
}

test('append() counts a batch that is sent again once, also a part of it, also after a restart', async () => {
  const entries = [granted('a', ['secret/x']), opened('a', 'secret/x', 3), opened('a', 'secret/x', 4)];
  assert.equal(await ledger.append(ONE, batch(1, entries, new Date(now))), 3);
  open();
  assert.equal(await ledger.append(ONE, batch(1, entries, new Date(now))), 3);
  assert.equal(await ledger.append(ONE, batch(2, entries.slice(1), new Date(now))), 3);
  assert.equal(await ledger.append(ONE, batch(3, [opened('a', 'secret/x', 4), opened('a', 'secret/x', 10)], new Date(now))), 4);
  const [row] = await ask({ secret: 'secret/x' });
  assert.equal(row?.opens, 17);
});

test('append() refuses a gap with the number it expects, and a batch that is not in order', async () => {
  await assert.rejects(ledger.append(ONE, batch(2, [opened('a', 'secret/x')])), { code: 'ERR_NODE_LEDGER', message: 'the batch begins with entry 2, expected is 1' });
  await add(granted('a', ['secret/x']));
  await assert.rejects(ledger.append(ONE, batch(3, [opened('a', 'secret/x')])), { code: 'ERR_NODE_LEDGER', message: /expected is 2/ });
  const broken = batch(2, [opened('a', 'secret/x'), opened('a', 'secret/x')]);
  broken.entries[1]!.seq = 4;
  await assert.rejects(ledger.append(ONE, broken), { code: 'ERR_REQUEST_INVALID' });
  assert.equal((await ask({ secret: 'secret/x' }))[0]?.opens, 0);
});

test('append() stores all of a batch or nothing, and parallel copies of a batch count once', async () => {
  await add(granted('a', ['secret/x']));
  view.failAfter(0);
  await assert.rejects(ledger.append(ONE, batch(2, [opened('a', 'secret/x'), released('a')])));
  view.failAfter(Infinity);
  const [row] = await ask({ secret: 'secret/x' });
  assert.deepEqual([row?.opens, row?.released_time], [0, null]);
  const copies = await Promise.all(Array.from({ length: 8 }, () => ledger.append(ONE, batch(2, [opened('a', 'secret/x')]))));
  assert.deepEqual(new Set(copies), new Set([2]));
  assert.equal((await ask({ secret: 'secret/x' }))[0]?.opens, 1);
});

test('append() keeps spools and nodes apart', async () => {
  await ledger.append(ONE, batch(1, [granted('a', ['secret/x'])]));
  await ledger.append(TWO, batch(1, [granted('a', ['secret/x'])]));
  await ledger.append(TWO, batch(2, [released('a')]));
  const other = { ...batch(1, [opened('a', 'secret/x')]), spool: '99999999-9999-4999-8999-999999999999' };
  await ledger.append(ONE, other);
  const rows = await ask({ secret: 'secret/x' });
  assert.deepEqual(rows.map(({ node, opens }) => [node, opens]), [['one', 1]]);
});

test('append() counts exactly once whatever batches a node sends again, in any cut (property)', async () => {
  const entries = [granted('a', ['secret/x']), ...Array.from({ length: 11 }, () => opened('a', 'secret/x'))];
  await fc.assert(fc.asyncProperty(fc.array(fc.tuple(fc.nat(11), fc.integer({ min: 1, max: 12 })), { maxLength: 12 }), async (cuts) => {
    view = new MemoryView();
    open();
    let acknowledged = 0;
    for (const [from, length] of [...cuts, [0, 12] as const]) {
      const part = entries.slice(from, from + length);
      if (from > acknowledged) await assert.rejects(ledger.append(ONE, batch(from + 1, part)), { code: 'ERR_NODE_LEDGER' });
      else acknowledged = await ledger.append(ONE, batch(from + 1, part));
    }
    assert.equal(acknowledged, 12);
    assert.equal((await ask({ secret: 'secret/x' }))[0]?.opens, 11);
  }), { numRuns: 40 });
});

test('a holding follows grant, rotation, opens and release, and comes back with a restart of the container', async () => {
  await add(granted('a', ['secret/x', 'secret/y']));
  now += 1000;
  await add(rotated('a', 'secret/x', 2), opened('a', 'secret/x', 2));
  const [x] = await ask({ secret: 'secret/x' });
  assert.deepEqual([x?.container, x?.version, x?.opens, x?.granted_time, x?.rotated_time, x?.released_time],
    ['name-a', 2, 2, new Date(START).toISOString(), new Date(START + 1000).toISOString(), null]);
  now += 1000;
  await add(released('a', 'exited'));
  assert.deepEqual(await ask({ secret: 'secret/x' }), []);
  const [past] = await ask({ secret: 'secret/x', released: 'true' });
  assert.deepEqual([past?.released_time, past?.released_reason, past?.opens], [new Date(START + 2000).toISOString(), 'exited', 2]);
  now += 1000;
  await add(granted('a', ['secret/x']));
  const rows = await ask({ secret: 'secret/x', released: 'true' });
  assert.equal(rows.length, 1);
  assert.deepEqual([rows[0]?.released_time, rows[0]?.granted_time, rows[0]?.opens], [null, new Date(START + 3000).toISOString(), 2]);
  assert.deepEqual(held, ['one aa true', 'one aa false', 'one aa true']);
});

test('release and grant in one batch leave the container holding, and grant and release leave it released', async () => {
  await add(granted('a', ['secret/x']), released('a'), granted('a', ['secret/x']));
  assert.equal((await ask({ secret: 'secret/x' })).length, 1);
  await add(granted('b', ['secret/x']), released('b', 'start-failed'));
  assert.deepEqual((await ask({ secret: 'secret/x', released: 'true' })).map(({ container_id: id, released_time: end }) => [id[0], end === null]), [['a', true], ['b', false]]);
  assert.deepEqual(held, ['one aa true', 'one bb false']);
});

test('opens fold into at most 64 counters, and no count is lost', async () => {
  await add(granted('a', ['secret/x']));
  for (let round = 0; round < 3; round++) {
    await add(...Array.from({ length: 100 }, (_, i) => opened('a', 'secret/x', 1, { executable: `/bin/p${i}`, pid: round * 100 + i })));
  }
  const [row] = await ask({ secret: 'secret/x' });
  assert.equal(row?.opens, 300);
  assert.equal(row.processes.length, 64);
  assert.equal(row.processes.reduce((sum, { count }) => sum + count, 0), 300);
  assert.equal(row.processes.find(({ name }) => name === 'other')?.count, 3 * 37);
  assert.deepEqual(row.processes[0] && [row.processes[0].count, row.processes[0].pid], [3, 200]);
});

test('what names a container that was never granted anything is kept and marked', async () => {
  await add(opened('a', 'secret/x'), refused('b', 5), released('c'));
  const [row] = await ask({ secret: 'secret/x' });
  assert.deepEqual([row?.unknown, row?.granted_time, row?.opens, row?.container], [true, null, 1, '']);
  assert.deepEqual((await entries()).map(({ type, unknown }) => [type, unknown]), [['released', true], ['refused', true], ['opened', true]]);
});

test('refused opens are counted at the container whose directory it was', async () => {
  await add(granted('a', ['secret/x']), refused('a', 2), refused('a', 3));
  const [row] = await ask({ container: container('a') });
  assert.equal(row?.refused, 5);
});

test('a time far ahead is not believed, and said so', async () => {
  const ahead = new Date(now + 3600_000);
  await ledger.append(ONE, batch(1, [granted('a', ['secret/x'])], ahead));
  const [row] = await ask({ secret: 'secret/x' });
  assert.deepEqual([row?.granted_time, row?.clock_adjusted], [new Date(now).toISOString(), true]);
  await ledger.append(ONE, batch(2, [granted('b', ['secret/x'])], new Date(now + 60_000)));
  assert.equal((await ask({ container: container('b') }))[0]?.granted_time, new Date(now + 60_000).toISOString());
  await ledger.append(ONE, batch(3, [opened('b', 'secret/x')], new Date(-1e12)));
  assert.equal((await ask({ container: container('b') }))[0]?.opens, 1);
});

test('a query finds by secret, by container id, short id and name, by node, and all', async () => {
  await add(granted('a', ['secret/x', 'secret/y']), granted('b', ['secret/x']));
  await ledger.append(TWO, batch(1, [granted('c', ['secret/x'])]));
  const names = async (what: JsonObject) => (await ask(what)).map(({ container: name, path }) => `${name} ${path}`).sort();
  const ofA = ['name-a secret/x', 'name-a secret/y'];
  assert.deepEqual(await names({ secret: 'secret/x' }), ['name-a secret/x', 'name-b secret/x', 'name-c secret/x']);
  assert.deepEqual(await names({ secret: 'secret/z' }), []);
  for (const wanted of [container('a'), container('a').slice(0, 12), 'name-a']) assert.deepEqual(await names({ container: wanted }), ofA, wanted);
  assert.deepEqual(await names({ container: 'a' }), []);
  assert.deepEqual(await names({ node: 'two' }), ['name-c secret/x']);
  assert.deepEqual(await names({ node: 'three' }), []);
  assert.equal((await names({})).length, 4);
  await add(released('a'));
  assert.deepEqual(await names({ container: 'name-a' }), []);
  assert.deepEqual(await names({ container: 'name-a', released: 'true' }), ofA);
  assert.deepEqual((await names({ node: 'one', released: 'true' })).length, 3);
  const cut = await holdings.answer(validate(holdingsSchema, { limit: '1' }, 'usage query'));
  assert.equal(cut['truncated'], true);
});

test('unused means held by nobody now, and with since held by nobody since then', async () => {
  secretPaths = ['secret/x', 'secret/y', 'secret/z'];
  await add(granted('a', ['secret/x', 'secret/y']));
  assert.deepEqual(await unused(), ['secret/z']);
  now += 3600_000;
  await add(released('a'), granted('b', ['secret/x']));
  assert.deepEqual(await unused(), ['secret/y', 'secret/z']);
  now += 3600_000;
  assert.deepEqual(await unused({ since: '2h' }), ['secret/z']);
  assert.deepEqual(await unused({ since: '30m' }), ['secret/y', 'secret/z']);
  assert.deepEqual(await unused({ since: new Date(START).toISOString() }), ['secret/z']);
  assert.deepEqual((await ask({ secret: 'secret/y', since: '2h' })).length, 1);
  assert.deepEqual((await ask({ secret: 'secret/y', since: '30m' })).length, 0);
});

test('a query refuses what it does not know', async () => {
  for (const what of [{ secret: 'a', node: 'b' }, { sekret: 'a' }, { secret: '' }, { limit: '0' }, { limit: '1e9' }, { released: 'maybe' }, { after: 'live' }, { after: 'never:x' }, { released: 'true', after: 'past:x' }]) {
    await assert.rejects(ask(what), { code: 'ERR_REQUEST_INVALID' }, JSON.stringify(what));
  }
  for (const what of [{ type: 'nothing' }, { after: 'at:x' }, { after: 'live:1' }, { limit: '-1' }]) await assert.rejects(entries(what), { code: 'ERR_REQUEST_INVALID' }, JSON.stringify(what));
  await assert.rejects(unused({ since: 'yesterday' }), { code: 'ERR_DURATION_SYNTAX' });
});

test('keys hold no path, name or value that could break out of the layout', async () => {
  const path = `secret/${'../'.repeat(100)}${'é'.repeat(1000)}`;
  const entry = granted('a', [path]);
  await ledger.append(ONE, batch(1, [{ ...entry, container: { ...entry.container, name: '../../x' } }]));
  for (const key of view.records.keys()) assert.ok(!key.includes('..') && Buffer.byteLength(key) < 400, key);
  assert.equal((await ask({ secret: path })).length, 1);
  assert.equal((await ask({ container: '../../x' })).length, 1);
});

test('a node cannot begin spools without end', async () => {
  for (let i = 0; i < 256; i++) await ledger.append(ONE, { ...batch(1, [released('a')]), spool: SPOOL.replace(/^.{8}/, String(i + 1).padStart(8, '0')) });
  await assert.rejects(ledger.append(ONE, batch(1, [released('a')])), { code: 'ERR_REQUEST_INVALID', message: /256 spools/ });
});

test('append() takes a batch in parts when it touches very much, and loses nothing', async () => {
  const paths = Array.from({ length: 500 }, (_, i) => `secret/${i}`);
  const digits = [...'0123456789abcdef'];
  const others = paths.map((path) => `${path}/other`);
  const entries = [...digits.map((digit) => granted(digit, paths)), ...digits.map((digit) => granted(digit, others)), ...digits.map((digit) => released(digit))];
  let acknowledged = 0;
  let rounds = 0;
  for (; acknowledged < entries.length; rounds++) acknowledged = await ledger.append(ONE, batch(acknowledged + 1, entries.slice(acknowledged)));
  assert.ok(rounds > 1 && rounds < 10, `${rounds} rounds`);
  assert.equal((await ask({ secret: 'secret/7' })).length, 0);
  assert.equal((await ask({ secret: 'secret/7', released: 'true' })).length, 16);
});

test('append() leaves opens out of a history that grows too fast, and goes on counting them', async () => {
  open({ budget: { opensBytes: 10_000, totalBytes: 100_000 } });
  await add(granted('a', ['secret/a']));
  for (let round = 0; round < 10; round++) await add(...Array.from({ length: 20 }, (_, pid) => opened('a', 'secret/a', 1, { executable: `/bin/${String(round)}-${String(pid)}` })));
  const count = async () => (await entries()).length;
  const kept = await count();
  assert.ok(kept > 10 && kept < 40, String(kept));
  assert.equal((await ask({ container: 'name-a' }))[0]?.opens, 200);
  await add(granted('b', ['secret/b']), refused('b', 1), released('b'));
  assert.equal(await count(), kept + 2, 'grants and releases are recorded all the same');
  now += 24 * 3600_000;
  await add(opened('a', 'secret/a'));
  assert.equal((await entries({ since: '2026-03-02T00:00:00Z' })).length, 1, 'the next day begins anew');
});

test('append() refuses a node that writes without end, and nothing of the batch is stored', async () => {
  open({ budget: { opensBytes: 10_000, totalBytes: 20_000 } });
  const flood = (): UsageBatch => batch(1, Array.from({ length: 100 }, (_, index) => granted('a', [`secret/${String(index)}`])), new Date(now));
  await assert.rejects(ledger.append(ONE, flood()), { code: 'ERR_REQUEST_BUSY' });
  assert.deepEqual(await ask({ container: 'name-a' }), []);
  assert.equal(await ledger.append(TWO, batch(1, [granted('a', ['secret/a'])], new Date(now))), 1, 'another node is not hindered');
});

test('append() keeps the last action of a container, and shows it with each of its holdings', async () => {
  const failed = { type: 'action', container_id: container('a'), action: 'exec:reload', outcome: 'failed', exit_code: 1, duration_ms: 12, attempt: 3 } as const;
  await add(granted('a', ['x', 'y']), granted('b', ['x']), failed);
  const actionsOf = async () => ((await holdings.answer(validate(holdingsSchema, {}, 'usage query')))['holdings'] as JsonObject[]).map(({ container: name, on_rotate: action }) => [name, action]);
  const shown = { action: 'exec:reload', outcome: 'failed', exit_code: 1, attempt: 3, duration_ms: 12, time: new Date(now).toISOString() };
  assert.deepEqual(await actionsOf(), [['name-a', shown], ['name-a', shown], ['name-b', undefined]]);
  await add({ type: 'action', container_id: container('a'), action: 'exec:reload', outcome: 'done', exit_code: 0, duration_ms: 5, attempt: 4 }, granted('a', ['x', 'y'], 2));
  assert.deepEqual((await actionsOf())[0], ['name-a', { ...shown, outcome: 'done', exit_code: 0, attempt: 4, duration_ms: 5 }]);
  assert.equal((await entries()).length, sequence);
});
