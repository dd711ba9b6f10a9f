// The history over a fake view: order and pages, whatever is merged meanwhile; what ended moves into it; what is old leaves it.

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';

import { Activity } from '../../src/ledger/activity.ts';
import { History, type Scan } from '../../src/ledger/history/history.ts';
import type { HistoryRow } from '../../src/ledger/history/row.ts';
import { Ledger } from '../../src/ledger/ledger.ts';
import { HoldingsQuery, holdingsSchema } from '../../src/ledger/query/holdings.ts';
import { readers } from '../../src/ledger/query/readers.ts';
import { HoldingSources } from '../../src/ledger/query/sources.ts';
import { Timeline, timelineSchema } from '../../src/ledger/query/timeline.ts';
import { MemoryView } from '../fakes/memory-view.ts';
import { batch, container, granted, opened, refused, released, rotated, type NewEntry } from './entries.ts';

const NODE = { id: '11111111-1111-4111-8111-111111111111', name: 'one' };
const DAY = 24 * 3600_000;
const START = Date.parse('2026-03-01T12:00:00Z');

let view: MemoryView;
let now: number;
let history: History;
let ledger: Ledger;
let holdings: HoldingsQuery;
let timeline: Timeline;
let sequence: number;

function open(limits = { maxAgeMs: 90 * DAY, maxBytes: 2 ** 31 }): void {
  history = new History({ view, now: () => now, limits });
  ledger = new Ledger({ view, now: () => now, history, activity: new Activity({ view, now: () => now, maxAgeMs: limits.maxAgeMs }), onHolding: () => undefined });
  holdings = new HoldingsQuery({ sources: new HoldingSources(view, history), now: () => now, findNodes: (name) => (name === 'one' ? [NODE.id] : []) });
  timeline = new Timeline({ history, now: () => now, findNodes: () => [NODE.id] });
}

beforeEach(() => {
  view = new MemoryView();
  now = START;
  sequence = 0;
  open();
});

async function add(...entries: NewEntry[]): Promise<void> {
  const first = sequence + 1;
  sequence += entries.length;
  await ledger.append(NODE, batch(first, entries, new Date(now)));
}

const row = (at: number, seq: number, path = 'secret/x'): HistoryRow => ({
  at, seq, node: NODE.id, node_name: 'one', container: { id: container('a'), name: 'name-a', image: 'image' }, entry: { type: 'rotated', path, field: 'f', version: seq, target: '/t' },
});

async function store(...rows: HistoryRow[]): Promise<void> {
  await view.transaction(await history.operations(rows));
  await history.settle(rows);
}

async function all(scan: Partial<Scan> = {}): Promise<number[]> {
  const found: number[] = [];
  for await (const { seq } of history.scan({ from: 0, to: Number.MAX_SAFE_INTEGER, ...scan })) found.push(seq);
  return found;
}

type Json = Record<string, unknown>;
const ask = async (what: object): Promise<Json[]> => (await holdings.answer(holdingsSchema.parse(what)))['holdings'] as unknown as Json[];
const entries = async (what: object = {}): Promise<Json[]> => (await timeline.answer(timelineSchema.parse(what)))['entries'] as unknown as Json[];
const downFrom = (count: number) => Array.from({ length: count }, (_, index) => count - index);

test('scan() gives the rows of overlapping blocks and several days newest first, each once', async () => {
  await store(row(START, 3), row(START - 5000, 1), row(START + DAY, 6));
  await store(row(START - 3000, 2), row(START + DAY - 1, 5), row(START + 2 * DAY, 7));
  await store(row(START, 4));
  now = START + 3 * DAY;
  assert.deepEqual(await all(), [7, 6, 5, 4, 3, 2, 1]);
  assert.deepEqual(await all({ from: START - 3000, to: START + DAY - 1 }), [5, 4, 3, 2]);
  assert.deepEqual(await all({ before: { at: START, seq: 4, node: NODE.id } }), [3, 2, 1]);
});

test('settle() merges many small blocks into few, and nothing is lost, doubled or put out of order', async () => {
  for (let seq = 1; seq <= 200; seq++) await store(row(START + seq * 7 % 50 * 1000, seq));
  const { rows, blocks } = await history.size();
  assert.equal(rows, 200);
  assert.ok(blocks < 64 + 4, `${String(blocks)} blocks`);
  const found: HistoryRow[] = [];
  for await (const one of history.scan({ from: 0, to: Number.MAX_SAFE_INTEGER })) found.push(one);
  assert.equal(new Set(found.map(({ seq }) => seq)).size, 200);
  assert.deepEqual(found.map(({ at }) => at), found.map(({ at }) => at).sort((a, b) => b - a));
  now = START + DAY;
  await history.tidy();
  assert.equal((await history.size()).blocks, 1);
  assert.equal((await all()).length, 200);
});

test('scan() goes on behind the last row given when its block is merged away meanwhile', async () => {
  for (let seq = 1; seq <= 40; seq++) await store(row(START + seq, seq));
  now = START + DAY;
  const found: number[] = [];
  for await (const { seq } of history.scan({ from: 0, to: Number.MAX_SAFE_INTEGER })) {
    found.push(seq);
    if (seq === 30) await history.tidy();
  }
  assert.deepEqual(found, downFrom(40));
});

test('scan() opens only blocks that can concern the subjects, and stops at its budget with the place to go on', async () => {
  for (let seq = 1; seq <= 30; seq++) await store(row(START + seq, seq, `secret/${String(seq % 3)}`));
  const before = view.gets;
  const found = await all({ subjects: ['secret:secret/0'] });
  assert.deepEqual(found, [30, 27, 24, 21, 18, 15, 12, 9, 6, 3]);
  assert.equal(view.gets - before, 30 + 10, 'thirty heads, ten blocks');
  const pages: number[][] = [];
  let place: Scan['before'];
  do {
    const budget: NonNullable<Scan['budget']> = { blocksLeft: 4 };
    pages.push(await all({ budget, before: place }));
    place = budget.stoppedAt;
  } while (place !== undefined);
  assert.deepEqual(pages.flat(), downFrom(30));
  assert.ok(pages.length >= 7);
});

test('a merge that fails leaves everything as it was, and the batch before it stays acknowledged', async () => {
  for (let seq = 1; seq <= 63; seq++) await store(row(START + seq, seq));
  await view.transaction(await history.operations([row(START + 64, 64)]));
  view.failAfter(0);
  await assert.rejects(history.settle([row(START + 64, 64)]));
  view.failAfter(Infinity);
  assert.deepEqual(await all(), downFrom(64));
});

test('a container that ended moves into the history, is found by every question, and leaves nothing among the live', async () => {
  await add(granted('a', ['secret/x', 'secret/y']), opened('a', 'secret/x', 3), refused('a', 2));
  now += 1000;
  await add(rotated('a', 'secret/x', 2), released('a', 'exited'));
  const before = await ask({ secret: 'secret/x', released: 'true' });
  assert.equal(await ledger.archive(), 0, 'its late entries may be on the way');
  now += 11 * 60_000;
  assert.equal(await ledger.archive(), 1);
  const live = [...view.records.keys()].filter((key) => /^(?:container|holding|live|name|running|due|service)\//.test(key));
  assert.deepEqual(live, []);
  assert.deepEqual(await ask({ secret: 'secret/x', released: 'true' }), before, 'the answer is the same as before');
  for (const about of [{ container: 'name-a' }, { container: container('a') }, { container: container('a').slice(0, 12) }, { node: 'one' }, {}]) {
    assert.deepEqual((await ask({ ...about, released: 'true' })).map(({ path }) => path).sort(), ['secret/x', 'secret/y'], JSON.stringify(about));
  }
  assert.deepEqual(await ask({ secret: 'secret/x' }), []);
  assert.deepEqual(await ask({ secret: 'secret/x', since: '5m' }), [], 'released before');
  assert.equal((await ask({ secret: 'secret/x', since: '30m' })).length, 1);
  assert.deepEqual(await ask({ secret: 'secret/x', until: new Date(START - 1).toISOString() }), [], 'granted later');
  const { processes } = await readers(holdings, holdingsSchema.parse({ container: 'name-a', released: 'true' }));
  assert.deepEqual((processes as unknown as Json[]).map(({ outcome, executable, count }) => [outcome, executable, count]), [['read', '/bin/cat', 3], ['refused', '/bin/ls', 2]]);
});

test('a container that comes back before it moved stays live, and one that comes back later is two stays', async () => {
  await add(granted('a', ['secret/x']), released('a'));
  now += 9 * 60_000;
  await add(granted('a', ['secret/x']));
  now += 3600_000;
  assert.equal(await ledger.archive(), 0);
  await add(released('a'));
  now += 3600_000;
  assert.equal(await ledger.archive(), 1);
  await add(granted('a', ['secret/x']));
  assert.deepEqual((await ask({ secret: 'secret/x', released: 'true' })).map(({ released_time: end }) => end === null), [true, false]);
});

test('what was never granted anything leaves the live after a day', async () => {
  await add(opened('a', 'secret/x'));
  assert.equal((await ask({ secret: 'secret/x' })).length, 1);
  now += DAY + 1;
  assert.equal(await ledger.archive(), 1);
  assert.deepEqual(await ask({ secret: 'secret/x' }), []);
  const [held] = await ask({ secret: 'secret/x', released: 'true' });
  assert.deepEqual([held?.['unknown'], held?.['released_reason']], [true, 'unknown']);
});

test('an archive that fails stores nothing and deletes nothing', async () => {
  await add(granted('a', ['secret/x']), released('a'));
  now += 3600_000;
  const records = new Map(view.records);
  view.failAfter(0);
  await assert.rejects(ledger.archive());
  view.failAfter(Infinity);
  assert.deepEqual(view.records, records);
  assert.equal(await ledger.archive(), 1);
});

test('repeated reads by one program leave a row an hour, and no count is lost', async () => {
  await add(granted('a', ['secret/x']));
  for (let minute = 0; minute < 130; minute++) {
    now = START + minute * 60_000;
    await add(opened('a', 'secret/x', 1, { pid: minute + 1 }));
  }
  const rows = await entries({ type: 'opened' });
  assert.deepEqual(rows.map(({ count }) => count), [60, 60, 1]);
  assert.equal((await ask({ secret: 'secret/x' }))[0]?.['opens'], 130);
  await add(opened('a', 'secret/x', 1, { executable: '/bin/other' }));
  assert.equal((await entries({ type: 'opened' })).length, 4, 'another program is news at once');
});

test('a batch that could not be stored does not swallow its reads when it is sent again', async () => {
  await add(granted('a', ['secret/x']));
  const reading = batch(2, [opened('a', 'secret/x', 5)], new Date(now));
  view.failAfter(0);
  await assert.rejects(ledger.append(NODE, reading));
  view.failAfter(Infinity);
  await ledger.append(NODE, reading);
  assert.deepEqual((await entries({ type: 'opened' })).map(({ count }) => count), [5]);
});

test('the history pages through every row once, also of one millisecond', async () => {
  await store(...Array.from({ length: 25 }, (_, index) => row(START + Math.floor(index / 10), index + 1)));
  const seen: unknown[] = [];
  for (let after: string | undefined, pages = 0; pages === 0 || after !== undefined; pages++) {
    const page: Json = await timeline.answer(timelineSchema.parse({ limit: 7, ...(after === undefined ? {} : { after }) }));
    seen.push(...(page['entries'] as Json[]).map(({ version }) => version));
    after = page['next'] as string | undefined;
  }
  assert.deepEqual(seen, downFrom(25));
});

test('holdings page through live, just ended and past ones once, for every kind of question', async () => {
  for (const digit of '0123456789') await add(granted(digit, ['secret/x', 'secret/y']));
  for (const digit of '012') await add(released(digit));
  now += 3600_000;
  await ledger.archive();
  for (const digit of '345') await add(released(digit));
  for (const about of [{ secret: 'secret/x' }, { node: 'one' }, {}]) {
    const seen: unknown[] = [];
    for (let after: string | undefined, pages = 0; pages === 0 || after !== undefined; pages++) {
      const page: Json = await holdings.answer(holdingsSchema.parse({ ...about, released: 'true', limit: 3, ...(after === undefined ? {} : { after }) }));
      seen.push(...(page['holdings'] as Json[]).map(({ container: name, path }) => `${String(name)} ${String(path)}`));
      after = page['next'] as string | undefined;
    }
    const paths = 'secret' in about ? ['secret/x'] : ['secret/x', 'secret/y'];
    assert.deepEqual([...seen].sort(), [...'0123456789'].flatMap((digit) => paths.map((path) => `name-${digit} ${path}`)), JSON.stringify(about));
  }
});

test('prune() deletes the days that are too old, then the oldest blocks while there is too much', async () => {
  for (let day = 0; day < 5; day++) await store(row(START + day * DAY, day + 1), row(START + day * DAY + 1, 100 + day));
  now = START + 4 * DAY + 1000;
  open({ maxAgeMs: 2 * DAY, maxBytes: 2 ** 31 });
  assert.equal(await history.prune(), 2);
  assert.deepEqual(await all(), [104, 5, 103, 4, 102, 3]);
  const { bytes } = await history.size();
  open({ maxAgeMs: 90 * DAY, maxBytes: bytes - 1 });
  await history.prune();
  assert.deepEqual(await all(), [104, 5, 103, 4]);
  assert.ok(![...view.records.keys()].some((key) => key.startsWith('head/2026-03-03')), 'heads go with their blocks');
});

test('entries older than the history is kept are counted and leave no rows', async () => {
  await ledger.append(NODE, batch(1, [granted('a', ['secret/x']), opened('a', 'secret/x', 4)], new Date(START - 100 * DAY)));
  assert.deepEqual(await entries(), []);
  assert.equal((await ask({ secret: 'secret/x' }))[0]?.['opens'], 4);
});

test('a block or head of another format is refused, not guessed', async () => {
  await store(row(START, 1));
  for (const kind of ['block', 'head']) {
    const [key = '', value = Buffer.alloc(0)] = [...view.records].find(([name]) => name.startsWith(`${kind}/`)) ?? [];
    await view.put(key, Buffer.concat([Uint8Array.of(9), value.subarray(1)]));
    await assert.rejects(all({ subjects: ['secret:secret/x'] }), { code: 'ERR_RECORD_INVALID' });
    await view.put(key, value);
  }
});
