// What finds rows in the history without opening all of it: heads, segments made of them, and the text of rows. Whatever the index says, an answer
// has every row that a walk over all rows finds.

import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';

import fc from 'fast-check';

import { decodeBlock, encodeBlock } from '../../src/ledger/history/block.ts';
import { encodeHead, headOf } from '../../src/ledger/history/head.ts';
import { History, type Scan } from '../../src/ledger/history/history.ts';
import { staysOf, subjectHash, subjectsOf, textOf, type HistoryRow, type Subject } from '../../src/ledger/history/row.ts';
import { encodeSegment, lookUp, bucketOf } from '../../src/ledger/history/segment.ts';
import { MemoryView } from '../fakes/memory-view.ts';
import { container } from './entries.ts';

const NODE = '11111111-1111-4111-8111-111111111111';
const DAY = 24 * 3600_000;
const START = Date.parse('2026-03-01T01:00:00Z');
/** As many as a block holds. */
const FULL = 1_000;

let view: MemoryView;
let now: number;
let history: History;

beforeEach(() => {
  view = new MemoryView();
  now = START + DAY;
  history = new History({ view, now: () => now, limits: { maxAgeMs: 90 * DAY, maxBytes: 2 ** 31 } });
});

function rotated(at: number, seq: number, path: string): HistoryRow {
  return { at, seq, node: NODE, node_name: 'one', container: { id: container('a'), name: 'name-a', image: 'image', service: 's' }, entry: { type: 'rotated', path, field: 'f', version: 1, target: '/t' } };
}

function held(at: number, seq: number, path: string, granted: number | null): HistoryRow {
  const secret = { path, target: '/t', version: 1, granted, rotated: null, released: at, reason: 'exited', opens: 0, last_opened: null, processes: [], pinned: false, unknown: false, clock_adjusted: false };
  return { at, seq, node: NODE, node_name: 'one', container: { id: container('b'), name: 'name-b', image: 'image' }, entry: { type: 'held', refused: 0, processes: [], secrets: [secret] } };
}

async function store(rows: readonly HistoryRow[]): Promise<void> {
  await view.transaction(await history.operations(rows));
  await history.settle(rows);
}

async function found(scan: Partial<Scan>): Promise<number[]> {
  const seqs: number[] = [];
  for await (const { seq } of history.scan({ from: 0, to: Number.MAX_SAFE_INTEGER, ...scan })) seqs.push(seq);
  return seqs;
}

/** A day of ten full blocks, in which `secret/rare` is in the third and the eighth. */
async function fillDay(): Promise<void> {
  for (let block = 0; block < 10; block++) {
    const first = block * FULL + 1;
    await store(Array.from({ length: FULL }, (_, index) => rotated(START + first + index, first + index, index === 17 && (block === 2 || block === 7) ? 'secret/rare' : `secret/${String(index % 3)}`)));
  }
}

const keysBelow = (folder: string) => [...view.records.keys()].filter((key) => key.startsWith(folder));

test('tidy() turns the heads of a day that is over into one segment, and a question then reads one bucket and the blocks that answer it', async () => {
  await fillDay();
  const before = await found({ subjects: ['secret:secret/rare'] });
  assert.deepEqual(before, [7 * FULL + 18, 2 * FULL + 18]);
  const indexed: [string, number][] = [];
  await history.tidy((day, blocks) => indexed.push([day, blocks]));
  assert.deepEqual(indexed, [['2026-03-01', 10]]);
  assert.deepEqual([keysBelow('head/').length, keysBelow('index/2026-03-01/').length], [0, 128]);
  const reads = view.gets;
  assert.deepEqual(await found({ subjects: ['secret:secret/rare'] }), before);
  assert.equal(view.gets - reads, 1 + 2, 'a bucket and two blocks');
  assert.deepEqual(await found({ subjects: ['secret:secret/rare', 'service:s', `node:${NODE}`, `container:${container('a').slice(0, 12)}`, 'name:name-a', 'type:rotated'] }), before);
  assert.deepEqual(await found({ subjects: ['secret:secret/rare', 'service:another'] }), []);
  await history.tidy(() => assert.fail('there is nothing left to index'));
});

test('rows that come late to an indexed day are found, also after they are merged, and indexed again once they are many', async () => {
  await fillDay();
  await history.tidy();
  await store([rotated(START + 2, 90_001, 'secret/rare')]);
  await store([rotated(START + 3, 90_002, 'secret/rare'), rotated(START + 4, 90_003, 'secret/late')]);
  const all = [7 * FULL + 18, 2 * FULL + 18, 90_002, 90_001];
  assert.deepEqual(await found({ subjects: ['secret:secret/rare'] }), all);
  await history.tidy();
  assert.equal(keysBelow('head/').length, 1, 'the late ones are one block, which has a head');
  assert.deepEqual(await found({ subjects: ['secret:secret/rare'] }), all);
  assert.deepEqual(await found({ subjects: ['secret:secret/late'] }), [90_003]);
});

test('a question about stays that had begun by a time opens no block in which none had, before and after they are indexed', async () => {
  for (let block = 0; block < 8; block++) {
    const rows = Array.from({ length: FULL - 1 }, (_, index) => rotated(START + block * FULL + index, block * FULL + index, 'secret/x'));
    await store([...rows, held(START + block * FULL + FULL - 1, 50_000 + block, 'secret/x', block === 5 ? null : START + block * FULL)]);
  }
  const scan = { subjects: ['stay:secret:secret/x', 'stay:any'] as const, grantedUntil: START + FULL };
  for (const isIndexed of [false, true]) {
    if (isIndexed) await history.tidy();
    const reads = view.gets;
    assert.deepEqual(await found(scan), [50_005, 50_001, 50_000], 'the grant that is not known counts as the earliest');
    assert.equal(view.gets - reads, (isIndexed ? 2 : 8) + 3, 'heads or buckets, and three blocks');
  }
  assert.deepEqual(await found({ ...scan, subjects: ['stay:secret:secret/y'] }), []);
});

test('heads of the form without stays exclude no stay, and tidy() makes them anew from their blocks', async () => {
  await fillDay();
  await store([held(START + 5, 80_000, 'secret/x', START)]);
  for (const key of keysBelow('head/')) {
    const hashes = (await decodeBlock(view.records.get(key.replace('head/', 'block/')) ?? Buffer.alloc(0))).flatMap((row) => [...subjectsOf(row)].map(subjectHash));
    const old = Buffer.alloc(1 + 6 * new Set(hashes).size, 1);
    let at = 1;
    for (const hash of new Set(hashes)) at = old.writeUIntBE(hash, at, 6);
    await view.put(key, old);
  }
  assert.deepEqual(await found({ subjects: ['stay:secret:secret/x', 'stay:any'], grantedUntil: now }), [80_000]);
  await store(Array.from({ length: FULL }, (_, index) => rotated(START + 6, 81_000 + index, 'secret/y')));
  await history.tidy();
  assert.deepEqual(await found({ subjects: ['stay:secret:secret/x', 'stay:any'], grantedUntil: now }), [80_000]);
  assert.deepEqual(await found({ subjects: ['stay:secret:secret/x'], grantedUntil: START - 1 }), []);
  assert.equal((await found({ subjects: ['secret:secret/rare'] })).length, 2);
});

test('an index that could not be stored leaves everything found by its heads', async () => {
  await fillDay();
  view.failAfter(0);
  await assert.rejects(history.tidy());
  view.failAfter(Infinity);
  assert.equal(keysBelow('index/').length, 0);
  assert.equal((await found({ subjects: ['secret:secret/rare'] })).length, 2);
});

test('a bucket or a head that is missing costs time and hides nothing', async () => {
  await fillDay();
  await history.tidy();
  const bucket = keysBelow('index/').find((key) => key.endsWith(`/${bucketOf(subjectHash('secret:secret/rare'))}`)) ?? '';
  await view.delete(bucket);
  assert.equal((await found({ subjects: ['secret:secret/rare'] })).length, 2);
  await store([rotated(START, 70_000, 'secret/rare')]);
  await view.delete(keysBelow('head/')[0] ?? '');
  assert.equal((await found({ subjects: ['secret:secret/rare'] })).length, 3);
});

test('prune() deletes the index with the last block of its day', async () => {
  await fillDay();
  await history.tidy();
  now = START + 200 * DAY;
  assert.equal(await history.prune(), 10);
  assert.deepEqual([...view.records.keys()], []);
});

test('a question about anything finds what a walk over all rows finds, whatever was merged, indexed or deleted (property)', { timeout: 60_000 }, async () => {
  const path = fc.constantFrom('secret/a', 'secret/"b"', 'secret/,{"at":1', 'secret/ü€');
  const anyRow = fc.record({ at: fc.integer({ min: START, max: START + 3 * DAY }), path, isStay: fc.boolean(), granted: fc.option(fc.integer({ min: START - DAY, max: START + DAY })) });
  const step = fc.oneof({ weight: 6, arbitrary: fc.array(anyRow, { minLength: 1, maxLength: 12 }) }, { weight: 1, arbitrary: fc.constantFrom('tidy' as const, 'prune' as const) });
  await fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 30 }), fc.integer({ min: START - DAY, max: START + DAY }), async (steps, grantedUntil) => {
    view = new MemoryView();
    now = START + 3 * DAY;
    history = new History({ view, now: () => now, limits: { maxAgeMs: 2 * DAY, maxBytes: 4_000 } });
    let seq = 0;
    for (const one of steps) {
      if (one === 'tidy') await history.tidy();
      else if (one === 'prune') await history.prune();
      else await store(one.map((row) => (row.isStay ? held(row.at, ++seq, row.path, row.granted) : rotated(row.at, ++seq, row.path))));
    }
    const all: HistoryRow[] = [];
    for await (const row of history.scan({ from: 0, to: Number.MAX_SAFE_INTEGER })) all.push(row);
    for (const secret of ['secret/a', 'secret/"b"', 'secret/,{"at":1', 'secret/ü€']) {
      const plain: Subject = `secret:${secret}`;
      assert.deepEqual(await found({ subjects: [plain] }), all.filter((row) => [...subjectsOf(row)].includes(plain)).map((row) => row.seq));
      const exact = all.filter((row) => [...staysOf(row)].some(([subject, granted]) => subject === `stay:${plain}` && granted <= grantedUntil)).map((row) => row.seq);
      const given = await found({ subjects: [`stay:${plain}`, 'stay:any'], grantedUntil });
      assert.deepEqual(exact.filter((one) => !given.includes(one)), []);
      assert.ok(given.every((one) => all.some((row) => row.seq === one && row.entry.type === 'held')));
    }
  }), { numRuns: 60 });
});

test('every row is found by the text of each of its subjects, alone among others', async () => {
  const rows = [
    rotated(START, 1, 'secret/"quoted"'), rotated(START + 1, 2, 'secret/,{"at":1700000000000,"seq":3'), rotated(START + 2, 3, '\ud800 alone'), held(START + 3, 4, 'secret/ü', START),
    { ...rotated(START + 4, 5, 'secret/plain'), container: { name: '{"at":', image: 'i', service: '"service":' } },
  ];
  const { body } = await encodeBlock(rows);
  assert.deepEqual(await decodeBlock(body), JSON.parse(JSON.stringify(rows)));
  for (const row of rows) {
    for (const subject of [...subjectsOf(row), ...[...staysOf(row)].map(([stay]) => stay)]) {
      const seqs = (await decodeBlock(body, [textOf(subject)])).map(({ seq }) => seq);
      assert.ok(seqs.includes(row.seq), subject);
      if (subject.startsWith('secret:')) assert.deepEqual(seqs, [row.seq], subject);
    }
  }
  assert.deepEqual(await decodeBlock(body, [textOf('secret:secret/none')]), []);
});

test('a segment answers for every subject of its heads as the heads do', () => {
  const blocks = Array.from({ length: 128 }, (_, index) => ({
    id: index.toString(16).padStart(12, '0'),
    head: headOf([rotated(START, 1, `secret/${String(index % 7)}`), held(START, 2, `secret/${String(index % 5)}`, START + index)]),
  }));
  const buckets = encodeSegment(blocks);
  for (const hash of new Set(blocks.flatMap(({ head }) => [...head.subjects]))) {
    const { covered, found: ids } = lookUp(buckets.get(bucketOf(hash)) ?? Buffer.alloc(0), { hash });
    assert.equal(covered.length, 128);
    assert.deepEqual([...ids], blocks.filter(({ head }) => head.subjects.has(hash)).map(({ id }) => id));
  }
  const stay = subjectHash('stay:secret:secret/3');
  const { found: begun } = lookUp(buckets.get(bucketOf(stay)) ?? Buffer.alloc(0), { hash: stay, grantedUntil: START + 50 });
  assert.deepEqual([...begun], blocks.filter((_, index) => index % 5 === 3 && index <= 50).map(({ id }) => id));
  assert.throws(() => lookUp(Buffer.from([9, 0]), { hash: 1 }), { code: 'ERR_RECORD_INVALID' });
  assert.ok(encodeHead(headOf([])).length > 0);
});
