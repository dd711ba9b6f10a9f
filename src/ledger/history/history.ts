// What happened, in order of time. Guarantees: the blocks of a batch and what finds them are part of the batch's transaction; many
// small blocks of a day are merged into few large ones, in one transaction, so that neither a trickle of entries nor a restart
// costs space or order; a scan gives every row once, newest first, whatever is merged meanwhile; age and size are bounded.

import type { View, ViewOperation } from '../../core/view.ts';
import { KeyedLock } from '../../lib/keyed-lock.ts';
import { namesBelow } from '../names.ts';
import { BlockIndex } from './block-index.ts';
import { dayOf, decodeBlock, encodeBlock, parseBlockName, type BlockName } from './block.ts';
import { wantedOf } from './head.ts';
import { newestFirst, textOf, type HistoryRow, type Position, type Subject } from './row.ts';

const FULL_ROWS = 1_000;
/** Of the rows of one block as JSON: what opening one may cost. */
const FULL_CHARACTERS = 1024 * 1024;
/** What is below both is merged with others like it … */
const SMALL_ROWS = FULL_ROWS / 2;
const SMALL_BYTES = 16 * 1024;
/** … once a day has so many of them. */
const MERGE_AT = 64;
/** Blocks deleted in one transaction. */
const DELETE_CHUNK = 256;
const DAY_MS = 24 * 3600_000;

export interface HistoryOptions {
  readonly view: View;
  readonly now: () => number;
  readonly limits: HistoryLimits;
}

export interface HistoryLimits {
  /** Days older than this are deleted, in milliseconds. */
  readonly maxAgeMs: number;
  /** Of all blocks; past it the oldest are deleted. */
  readonly maxBytes: number;
}

export interface Scan {
  /** Milliseconds since the epoch, both included. */
  readonly from: number;
  readonly to: number;
  /** Only rows about all of them; nearly: the caller still has to look at each row. The rarest first is the fastest. */
  readonly subjects?: readonly Subject[];
  /** Only stays (`stay:` among the subjects) that had begun by then, in milliseconds since the epoch; nearly, too. */
  readonly grantedUntil?: number | undefined;
  /** Only rows behind this one. */
  readonly before?: Position | undefined;
  /** How many blocks may be opened; `stoppedAt` says where the scan ended because of it. */
  readonly budget?: ScanBudget;
}

export interface ScanBudget { blocksLeft: number; stoppedAt?: Position }

export interface HistorySize { readonly rows: number; readonly bytes: number; readonly blocks: number; readonly oldestDay: string | undefined }

export class History {
  readonly #view: View;
  readonly #now: () => number;
  readonly #limits: HistoryLimits;
  readonly #index: BlockIndex;
  readonly #lock = new KeyedLock();
  /** Small blocks by day, as far as they are known. */
  readonly #small = new Map<string, number>();

  constructor({ view, now, limits }: HistoryOptions) {
    this.#view = view;
    this.#index = new BlockIndex(view);
    this.#now = now;
    this.#limits = limits;
  }

  /** The writes that store `rows`, one block a day. Rows older than history is kept leave no trace. */
  async operations(rows: readonly HistoryRow[]): Promise<ViewOperation[]> {
    const oldest = this.#oldest();
    const operations: ViewOperation[] = [];
    for (const [day, ofDay] of groupByDay(rows)) if (day >= oldest) operations.push(...await blockOperations(ofDay));
    return operations;
  }

  /** After a commit of operations(): merges the small blocks of the days, where there are many. */
  async settle(rows: readonly HistoryRow[]): Promise<void> {
    for (const day of groupByDay(rows).keys()) {
      await this.#lock.run(day, async () => {
        const small = (this.#small.get(day) ?? (await this.#blocks(day)).filter(isSmall).length - 1) + 1;
        this.#small.set(day, small < MERGE_AT ? small : await this.#merge(day));
      });
    }
  }

  /** Rows of a span of time, newest first. */
  async *scan(asked: Scan): AsyncGenerator<HistoryRow> {
    const days = (await this.#days()).filter((day) => day >= dayOf(Math.max(0, asked.from)) && day <= dayOf(Math.min(asked.to, asked.before?.at ?? Infinity, this.#now() + DAY_MS)));
    for (const day of days.reverse()) {
      let before = asked.before;
      for (let isWhole = false; !isWhole;) {
        isWhole = true;
        for await (const row of this.#scanDay(day, { ...asked, before })) {
          // A block that was merged into another one meanwhile: again, behind the last row given.
          if (row === 'gone') { isWhole = false; break; }
          before = row;
          yield row;
        }
        if (asked.budget?.stoppedAt !== undefined) return;
      }
    }
  }

  /** Merges what is left in small blocks of days that are over, and indexes them. @param onIndexed told how many blocks of a day were */
  async tidy(onIndexed: (day: string, blocks: number) => void = () => undefined): Promise<void> {
    const today = dayOf(this.#now());
    for (const day of await this.#days()) {
      if (day >= today) return;
      await this.#lock.run(day, async () => {
        this.#small.set(day, await this.#merge(day, 2));
        const indexed = await this.#index.build(day, await this.#blocks(day), true);
        if (indexed > 0) onIndexed(day, indexed);
      });
    }
  }

  /** Deletes what is too old, then the oldest while there is too much. @returns the number of blocks deleted */
  async prune(): Promise<number> {
    const days = await this.#days();
    const oldest = this.#oldest();
    let { bytes } = await this.size();
    let deleted = 0;
    for (const day of days) {
      if (day >= oldest && bytes <= this.#limits.maxBytes) break;
      await this.#lock.run(day, async () => {
        const doomed: BlockName[] = [];
        for (const block of await this.#blocks(day)) {
          if (day >= oldest && bytes <= this.#limits.maxBytes) break;
          bytes -= block.bytes;
          doomed.push(block);
        }
        for (let at = 0; at < doomed.length; at += DELETE_CHUNK) await this.#view.transaction(doomed.slice(at, at + DELETE_CHUNK).flatMap((block) => deletions(day, block)));
        deleted += doomed.length;
        this.#small.delete(day);
      });
    }
    const left = new Set(await this.#days());
    for (const day of await this.#index.days()) if (!left.has(day)) await this.#view.transaction(await this.#index.deletions(day));
    return deleted;
  }

  /** What there is, from the names alone. */
  async size(): Promise<HistorySize> {
    const days = await this.#days();
    let [rows, bytes, blocks] = [0, 0, 0];
    for (const day of days) {
      for (const block of await this.#blocks(day)) {
        rows += block.count;
        bytes += block.bytes;
        blocks++;
      }
    }
    return { rows, bytes, blocks, oldestDay: days[0] };
  }

  #oldest(): string {
    return dayOf(Math.max(0, this.#now() - this.#limits.maxAgeMs));
  }

  async #days(): Promise<string[]> {
    return (await this.#view.list('block/')).map((day) => day.replace(/\/$/, ''));
  }

  /** In order of their newest row. */
  async #blocks(day: string): Promise<BlockName[]> {
    const blocks: BlockName[] = [];
    for await (const name of namesBelow(this.#view, `block/${day}/`)) {
      const block = parseBlockName(name);
      if (block !== undefined) blocks.push(block);
    }
    return blocks;
  }

  async *#scanDay(day: string, { from, to, subjects = [], grantedUntil, before, budget }: Scan): AsyncGenerator<HistoryRow | 'gone'> {
    const latest = Math.min(to, before?.at ?? Infinity);
    const isWanted = (row: HistoryRow) => row.at >= from && row.at <= to && (before === undefined || newestFirst(before, row) < 0);
    const named = subjects.map(textOf);
    let waiting: HistoryRow[] = [];
    const blocks = await this.#blocks(day);
    const mayConcern = subjects.length > 0 ? await this.#index.finder(day, wantedOf(subjects, grantedUntil)) : async () => true;
    for (const block of blocks.reverse()) {
      if (block.last < from || block.first > latest) continue;
      // Blocks overlap: a row goes out once no block behind it can hold a newer one.
      const ready = firstNotAfter(waiting, block.last);
      yield* waiting.slice(0, ready);
      waiting = waiting.slice(ready);
      if (!await mayConcern(block)) continue;
      if (budget !== undefined && budget.blocksLeft-- <= 0) {
        const place = { at: block.last + 1, seq: -1, node: '' };
        budget.stoppedAt = before !== undefined && newestFirst(place, before) < 0 ? before : place;
        return;
      }
      const body = await this.#view.get(`block/${day}/${block.text}`);
      if (body === undefined) {
        yield 'gone';
        return;
      }
      const rows = (await decodeBlock(body, named)).filter(isWanted);
      waiting = [...waiting, ...rows].sort(newestFirst);
    }
    yield* waiting;
  }

  /** @returns how many small blocks are left */
  async #merge(day: string, atLeast = MERGE_AT): Promise<number> {
    const small = (await this.#blocks(day)).filter(isSmall);
    if (small.length < atLeast) return small.length;
    const rows: HistoryRow[] = [];
    for (const block of small) {
      const body = await this.#view.get(`block/${day}/${block.text}`);
      if (body !== undefined) rows.push(...await decodeBlock(body));
    }
    rows.sort((a, b) => newestFirst(b, a));
    const merged = (await Promise.all(cut(rows).map(blockOperations))).flat();
    await this.#view.transaction([...merged, ...small.flatMap((block) => deletions(day, block))]);
    const blocks = await this.#blocks(day);
    await this.#index.build(day, blocks.filter((block) => !isSmall(block)), false);
    return blocks.filter(isSmall).length;
  }
}

async function blockOperations(rows: readonly HistoryRow[]): Promise<ViewOperation[]> {
  const { day, name, body, head } = await encodeBlock(rows);
  return [{ kind: 'put', key: `block/${day}/${name.text}`, value: body }, { kind: 'put', key: `head/${day}/${name.text}`, value: head }];
}

function deletions(day: string, { text }: BlockName): ViewOperation[] {
  return [{ kind: 'delete', key: `block/${day}/${text}` }, { kind: 'delete', key: `head/${day}/${text}` }];
}

function isSmall({ count, bytes }: BlockName): boolean {
  return count < SMALL_ROWS && bytes < SMALL_BYTES;
}

function groupByDay(rows: readonly HistoryRow[]): Map<string, HistoryRow[]> {
  const days = new Map<string, HistoryRow[]>();
  for (const row of rows) {
    const day = dayOf(row.at);
    const known = days.get(day);
    if (known === undefined) days.set(day, [row]);
    else known.push(row);
  }
  return days;
}

/** Pieces of at most so many rows and characters, in the order given. */
function cut(rows: readonly HistoryRow[]): HistoryRow[][] {
  const pieces: HistoryRow[][] = [];
  let piece: HistoryRow[] = [];
  let characters = 0;
  for (const row of rows) {
    const length = JSON.stringify(row).length;
    if (piece.length >= FULL_ROWS || (piece.length > 0 && characters + length > FULL_CHARACTERS)) {
      pieces.push(piece);
      [piece, characters] = [[], 0];
    }
    piece.push(row);
    characters += length;
  }
  return piece.length > 0 ? [...pieces, piece] : pieces;
}

/** In rows that are sorted newest first: how many are newer than `at`. */
function firstNotAfter(rows: readonly HistoryRow[], at: number): number {
  let index = 0;
  while (index < rows.length && (rows[index] as HistoryRow).at > at) index++;
  return index;
}
