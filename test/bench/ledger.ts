// The ledger at scale: writes entries through the real ledger, barrier and store, then asks. Bounds of the issue: 10 million entries
// within 2 GB, "who holds this secret now" below 50 ms, a day's history below 1 s. Alone: node --import tsx test/bench/ledger.ts [ENTRIES]

import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

import { openCore } from '../../src/core/core.ts';
import type { View } from '../../src/core/view.ts';
import { Activity } from '../../src/ledger/activity.ts';
import { History } from '../../src/ledger/history/history.ts';
import type { HistoryRow } from '../../src/ledger/history/row.ts';
import { Ledger } from '../../src/ledger/ledger.ts';
import { HoldingsQuery, holdingsSchema } from '../../src/ledger/query/holdings.ts';
import { HoldingSources } from '../../src/ledger/query/sources.ts';
import { Timeline, timelineSchema } from '../../src/ledger/query/timeline.ts';
import { LmdbStorage } from '../../src/storage/lmdb.ts';
import type { UsageEntry } from '../../src/wire/node-protocol.ts';
import { median, printTable } from './table.ts';

const DEFAULT_ENTRIES = 200_000;
/** Ten million entries in 90 days. */
const PER_DAY = 111_111;
const DAY_MS = 24 * 3600_000;
const NODES = 20;
/** Containers that run at the same time; each holds five secrets. */
const RUNNING = 1_000;
const BATCH = 500;
const START = Date.parse('2026-01-01T00:00:00Z');
let DAYS = 90;

const hex = (text: string) => createHash('sha256').update(text).digest('hex');
const pathOf = (index: number) => `secret/team-${String(index % 10)}/app-${String(index)}/credentials`;
const NODE_IDS = Array.from({ length: NODES }, (_, index) => hex(`node ${String(index)}`).replace(/^(.{8})(.{4}).(.{3}).(.{3})(.{12}).*/, '$1-$2-4$3-8$4-$5'));
const SPOOL = '00000000-0000-4000-8000-000000000000';
const PROGRAMS = ['/usr/local/bin/node', '/usr/bin/python3.11', '/usr/lib/postgresql/16/bin/psql', '/app/server'];

type Unnumbered = UsageEntry extends infer E ? E extends UsageEntry ? Omit<E, 'seq'> : never : never;

/** The life of one container: granted five secrets, each read by two programs and rotated once, then gone. */
function lifeOf(index: number, from: number, to: number): Unnumbered[] {
  const id = hex(`container ${String(index)}`);
  const service = `shop_service-${String(index % 50)}`;
  const secrets = Array.from({ length: 5 }, (_, n) => ({ path: pathOf((index % 50) * 4 + n % 4), field: ['password', 'user', 'token', 'key', 'url'][n] ?? '', version: 1, target: `/run/secrets/${['password', 'user', 'token', 'key', 'url'][n] ?? ''}` }));
  const at = (share: number) => new Date(Math.round(from + (to - from) * share)).toISOString();
  const opened = (n: number, share: number, version: number): Unnumbered => ({
    type: 'opened', time: at(share), container_id: id, ...secrets[n % 5] as typeof secrets[0], version,
    process: { pid: 100 + (index * 7 + n * 13) % 30_000, uid: 1000, executable: PROGRAMS[(index + n) % 4] ?? '', name: 'app' }, count: 1 + n, first_time: at(share), last_time: at(share),
  });
  return [
    { type: 'granted', time: at(0), container: { id, name: `${service}.${String(index)}`, image: `registry.internal/shop/service-${String(index % 50)}:1.${String(index % 9)}`, service, stack: 'shop', task_id: id.slice(0, 25) }, secrets },
    ...Array.from({ length: 5 }, (_, n) => opened(n, 0.1 + n / 100, 1)),
    ...secrets.slice(0, 3).map((secret, n): Unnumbered => ({ type: 'rotated', time: at(0.5 + n / 100), container_id: id, ...secret, version: 2 })),
    ...Array.from({ length: 5 }, (_, n) => opened(n + 1, 0.6 + n / 100, 2)),
    { type: 'released', time: at(1), container_id: id, reason: 'exited' },
  ];
}

/** Entries of all containers, each node's in order of time. */
function* entriesOf(total: number, begin: number): Generator<readonly [number, Unnumbered]> {
  const perLife = lifeOf(0, 0, 1).length;
  const containers = Math.ceil(total / perLife);
  const stay = DAYS * DAY_MS * RUNNING / Math.max(containers, RUNNING);
  const waiting: (readonly [number, Unnumbered])[] = [];
  for (let index = 0; index < containers; index++) {
    const from = START + index / containers * (DAYS * DAY_MS - stay);
    if (from + stay < begin) continue;
    waiting.push(...lifeOf(index, from, from + stay).map((entry) => [index % NODES, entry] as const));
    if (index % RUNNING !== 0) continue;
    waiting.sort(([, a], [, b]) => (a.time < b.time ? -1 : 1));
    const ready = new Date(from).toISOString();
    let count = 0;
    while (count < waiting.length && (waiting[count] as readonly [number, Unnumbered])[1].time < ready) count++;
    yield* waiting.splice(0, count);
  }
  // The last thousand still run: without their end.
  yield* waiting.sort(([, a], [, b]) => (a.time < b.time ? -1 : 1)).filter(([, entry]) => entry.type !== 'released');
}

/** Fills a new store, asks, and prints what it took. */
export async function benchLedger(total: number = DEFAULT_ENTRIES): Promise<void> {
  DAYS = Math.max(1, Math.ceil(total / PER_DAY));
  const directory = mkdtempSync(join(tmpdir(), 'purser-ledger-bench-'));
  const storage = await LmdbStorage.open({ directory });
  try {
    const { barrier, seal } = openCore(storage);
    for (const share of await seal.initialize({ shares: 1, threshold: 1 })) await seal.provide(share);
    const view = barrier.view('ledger/');
    let now = START;
    const history = new History({ view, now: () => now, limits: { maxAgeMs: 2 * DAYS * DAY_MS, maxBytes: 2 ** 40 } });
    const activity = new Activity({ view, now: () => now, maxAgeMs: 2 * DAYS * DAY_MS });
    const ledger = new Ledger({ view, now: () => now, history, activity, onHolding: () => undefined, budget: { opensBytes: Infinity, totalBytes: Infinity } });
    const begin = total <= THROUGH_LEDGER ? START : START + (1 - THROUGH_LEDGER / total) * DAYS * DAY_MS;
    now = START + DAYS * DAY_MS;
    const past = begin === START ? 0 : await fillPast(view, history, total, begin);
    const began = performance.now();
    const recent = await fill(ledger, total, (time) => { now = time; }, begin);
    const seconds = (performance.now() - began) / 1000;
    const tidied = performance.now();
    await history.tidy();
    const tidySeconds = (performance.now() - tidied) / 1000;
    const written = past + recent;
    const bytes = statSync(join(directory, 'data.mdb')).size;
    const { rows, bytes: blockBytes, blocks } = await history.size();
    printTable('Ledger, size', ['entries', 'store, MB', 'per million, MB', 'of it blocks, MB', 'blocks', 'rows', 'entries/s through the ledger', 'merged and indexed in, s'], [
      [written, bytes / 1e6, bytes / written, blockBytes / 1e6, blocks, rows, recent / seconds, tidySeconds]]);
    await ask(view, history, now);
  } finally {
    await storage.close();
    rmSync(directory, { recursive: true });
  }
}

/** Past so many entries the older days are written as the full blocks that merging leaves, without the live records in between. */
const THROUGH_LEDGER = 200_000;

/** The days before `until`, as blocks. @returns the number of entries */
async function fillPast(view: View, history: History, total: number, until: number): Promise<number> {
  const perLife = lifeOf(0, 0, 1).length;
  const containers = Math.ceil(total / perLife);
  const stay = DAYS * DAY_MS * RUNNING / Math.max(containers, RUNNING);
  const days = new Map<string, HistoryRow[]>();
  let written = 0;
  const store = async (rows: HistoryRow[]) => {
    await view.transaction(await history.operations(rows.sort((a, b) => a.at - b.at)));
    written += rows.filter(({ entry }) => entry.type !== 'held').length;
  };
  // In the order in which nodes report, as far as batches have one: by time.
  const waiting: HistoryRow[] = [];
  const flush = async (before: number) => {
    waiting.sort((a, b) => b.at - a.at);
    for (let row = waiting.at(-1); row !== undefined && row.at < before; row = waiting.at(-1)) { waiting.pop(); await add(row); }
  };
  const add = async (row: HistoryRow) => {
    const day = new Date(row.at).toISOString().slice(0, 10);
    const rows = days.get(day) ?? [];
    days.set(day, rows);
    if (rows.push(row) < 1_000) return;
    days.delete(day);
    await store(rows);
  };
  for (let index = 0; index < containers; index++) {
    const from = START + index / containers * (DAYS * DAY_MS - stay);
    if (from + stay >= until) break;
    if (index % RUNNING === 0) await flush(from);
    const [granted, ...others] = lifeOf(index, from, from + stay);
    if (granted?.type !== 'granted') throw new Error('a life begins with a grant');
    const about = { node: NODE_IDS[index % NODES] ?? '', node_name: `node-${String(index % NODES)}`, container: granted.container };
    for (const [seq, entry] of [granted, ...others].entries()) {
      const said = Object.entries(entry).filter(([name]) => !['time', 'container', 'container_id'].includes(name));
      waiting.push({ at: Date.parse(entry.time), seq: index * perLife + seq, ...about, entry: Object.fromEntries(said) as unknown as HistoryRow['entry'] });
    }
    const end = Math.round(from + stay);
    const reads = (n: number) => others.filter((entry) => entry.type === 'opened' && entry.target === granted.secrets[n]?.target).flatMap((entry) => entry.type === 'opened' ? [{ ...entry.process, count: entry.count, first: Date.parse(entry.first_time), last: Date.parse(entry.last_time) }] : []);
    waiting.push({
      at: end, seq: index, ...about, entry: {
        type: 'held', refused: 0, processes: [],
        secrets: granted.secrets.map((secret, n) => ({ ...secret, granted: Date.parse(granted.time), rotated: null, released: end, reason: 'exited', opens: 3, last_opened: end, processes: reads(n), pinned: false, unknown: false, clock_adjusted: false })),
      },
    });
  }
  await flush(Infinity);
  for (const rows of days.values()) await store(rows);
  return written;
}

async function fill(ledger: Ledger, total: number, setNow: (time: number) => void, from: number): Promise<number> {
  const batches = NODE_IDS.map(() => ({ next: 1, entries: [] as UsageEntry[] }));
  let written = 0;
  let archived = 0;
  const send = async (index: number): Promise<void> => {
    const batch = batches[index] as (typeof batches)[0];
    const last = Date.parse(batch.entries.at(-1)?.time ?? '');
    setNow(last);
    for (let done = 0; done < batch.entries.length;) {
      const acknowledged = await ledger.append({ id: NODE_IDS[index] ?? '', name: `node-${String(index)}` }, { spool: SPOOL, entries: batch.entries.slice(done) });
      done = batch.entries.length - (batch.next - 1 - acknowledged);
    }
    written += batch.entries.length;
    batch.entries = [];
    if (written - archived > 20_000) {
      await ledger.archive();
      archived = written;
    }
  };
  for (const [node, entry] of entriesOf(total, from)) {
    const batch = batches[node] as (typeof batches)[0];
    batch.entries.push({ ...entry, seq: batch.next++ });
    if (batch.entries.length === BATCH) await send(node);
  }
  for (const [index, batch] of batches.entries()) if (batch.entries.length > 0) await send(index);
  setNow(START + DAYS * DAY_MS + 3600_000);
  await ledger.archive();
  return written;
}

async function ask(view: View, history: History, now: number): Promise<void> {
  const query = new HoldingsQuery({ sources: new HoldingSources(view, history), now: () => now, findNodes: (name) => [NODE_IDS[Number(name.slice(5))] ?? ''] });
  const timeline = new Timeline({ history, now: () => now, findNodes: () => [] });
  const holdings = async (asked: object) => ((await query.answer(holdingsSchema.parse(asked)))['holdings'] as unknown[]).length;
  const entries = async (asked: object) => ((await timeline.answer(timelineSchema.parse(asked)))['entries'] as unknown[]).length;
  const day = (n: number) => new Date(START + n * DAY_MS).toISOString();
  const oldContainer = hex('container 17');
  const rows: (string | number)[][] = [];
  for (const [question, answer] of [
    ['who holds this secret now', () => holdings({ secret: pathOf(8) })],
    ['who held it in one week, first 1,000', () => holdings({ secret: pathOf(8), since: day(DAYS / 2 - 3), until: day(DAYS / 2 + 4), limit: 1_000 })],
    ['what did this container use that is gone', () => holdings({ container: oldContainer, released: true })],
    ['who held it long ago, without a beginning', () => holdings({ secret: pathOf(8), until: day(1), limit: 1_000 })],
    ['a day of history, first 1,000', () => entries({ since: day(Math.floor(DAYS / 2)), until: day(Math.floor(DAYS / 2) + 1) })],
    ['a day of history, 10,000', () => entries({ since: day(Math.floor(DAYS / 2)), until: day(Math.floor(DAYS / 2) + 1), limit: 10_000 })],
    ['a day of history of one secret', () => entries({ since: day(Math.floor(DAYS / 2)), until: day(Math.floor(DAYS / 2) + 1), secret: pathOf(8), limit: 10_000 })],
    ['everything about one container, all days', () => entries({ container: oldContainer })],
  ] as const) {
    let count = 0;
    const times: number[] = [];
    const processor: number[] = [];
    for (let round = 0; round < 5; round++) {
      const [began, cpu] = [performance.now(), process.cpuUsage()];
      count = await answer();
      times.push(performance.now() - began);
      processor.push((process.cpuUsage(cpu).user + process.cpuUsage(cpu).system) / 1000);
    }
    const sorted = [...times].sort((a, b) => a - b);
    rows.push([question, count, sorted[2] ?? 0, sorted[4] ?? 0, median(processor)]);
  }
  // All of a day, page by page.
  const [began, cpu] = [performance.now(), process.cpuUsage()];
  let [count, pages] = [0, 0];
  for (let after: string | undefined; pages === 0 || after !== undefined; pages++) {
    const page = await timeline.answer(timelineSchema.parse({ since: day(Math.floor(DAYS / 2)), until: day(Math.floor(DAYS / 2) + 1), limit: 10_000, ...(after === undefined ? {} : { after }) }));
    count += (page['entries'] as unknown[]).length;
    after = page['next'] as string | undefined;
  }
  rows.push([`a whole day of history, ${String(pages)} pages`, count, performance.now() - began, '', (process.cpuUsage(cpu).user + process.cpuUsage(cpu).system) / 1000]);
  printTable('Ledger, answers', ['question', 'rows', 'ms, median of 5', 'ms, worst', 'ms of processor, all threads'], rows);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await benchLedger(process.argv[2] === undefined ? undefined : Number(process.argv[2]));
