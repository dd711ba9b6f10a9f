// The usage ledger's way in (PROTOCOL.md 1.5). Guarantee: every entry of a spool counts exactly once, in order, whatever was
// lost or repeated on the way, because the entries, all they change and the acknowledged number are one transaction.

import type { View } from '../core/view.ts';
import { PurserError } from '../lib/errors.ts';
import { decodeRecord } from '../lib/json-record.ts';
import { KeyedLock } from '../lib/keyed-lock.ts';
import type { UsageBatch, UsageEntry } from '../wire/node-protocol.ts';
import type { Activity } from './activity.ts';
import { archived } from './archive.ts';
import { Draft, type LedgerNode } from './draft.ts';
import { HistoryBudget, type BudgetLimits } from './history-budget.ts';
import type { History } from './history/history.ts';
import { RepeatFold } from './history/repeat-fold.ts';
import type { HistoryRow, ReportedEntry } from './history/row.ts';
import { namesBelow } from './names.ts';
import { keys, parseDueName, spoolSchema, usedSchema } from './record.ts';

/** A clock may run ahead by this much before its time is not believed. */
const MAX_AHEAD_MS = 5 * 60_000;
const MAX_BATCH_BYTES = 1024 * 1024;
/** What is added to each entry in the history does not count against the sender. */
const MAX_HISTORY_BYTES = 2 * MAX_BATCH_BYTES;
/** Records that one transaction touches before the rest of its batch is left for the next one. */
const MAX_TOUCHED = 20_000;
/** A node begins a new spool when its state was lost or restored; more than this is no accident. */
const MAX_SPOOLS = 256;
/** Containers that one transaction moves into the history. */
const ARCHIVE_CHUNK = 128;

export interface LedgerOptions {
  readonly view: View;
  readonly now: () => number;
  readonly history: History;
  readonly activity: Activity;
  /** Told after the commit that a container was granted something (true) or gave up everything it held (false). */
  readonly onHolding: (nodeId: string, containerId: string, isHolding: boolean) => void;
  /** Told after the commit of what happened, also of what was left out of the history. Must not throw. */
  readonly onRows?: (rows: readonly HistoryRow[]) => void;
  /** Told when small blocks could not be merged: nothing is lost, and it is tried again. */
  readonly onFault?: (error: unknown) => void;
  /** How much history one node may write in a day; tests lower it. */
  readonly budget?: BudgetLimits;
}

/** A row, and its length as JSON in bytes. */
interface Sized { readonly row: HistoryRow; readonly length: number }

export class Ledger {
  readonly #options: LedgerOptions;
  readonly #lock = new KeyedLock();
  readonly #budget: HistoryBudget;
  readonly #repeats = new RepeatFold();

  constructor(options: LedgerOptions) {
    this.#options = options;
    this.#budget = new HistoryBudget(options.budget);
  }

  /**
   * Takes the entries of a batch that are new, or as many of them as one transaction should touch.
   * @returns the last sequence number of the spool that is stored; the sender goes on behind it
   * @throws ERR_NODE_LEDGER when entries before the batch are missing; ERR_REQUEST_INVALID, ERR_REQUEST_TOO_LARGE, ERR_REQUEST_BUSY
   */
  async append(node: LedgerNode, batch: UsageBatch): Promise<number> {
    const [first, last] = [batch.entries[0]?.seq ?? 0, batch.entries.at(-1)?.seq ?? 0];
    if (batch.entries.some(({ seq }, index) => seq !== first + index)) throw new PurserError('ERR_REQUEST_INVALID', 'the sequence numbers of the batch have a gap');
    return this.#lock.run(node.id, async () => {
      const acknowledged = await this.#acknowledged(node.id, batch.spool);
      if (first > acknowledged + 1) {
        throw new PurserError('ERR_NODE_LEDGER', `the batch begins with entry ${first}, expected is ${acknowledged + 1}`, { hint: 'begin a new spool' });
      }
      return last > acknowledged ? this.#commit(node, batch.spool, batch.entries.slice(acknowledged + 1 - first)) : acknowledged;
    });
  }

  /** Stores a row that the core itself made about what a node asked for; like the node's own ones when it asks for too much. @throws ERR_REQUEST_BUSY */
  async record(row: HistoryRow): Promise<void> {
    const { view, history, activity, now } = this.#options;
    const kept = this.#budget.take(row.node, row.entry.type, Buffer.byteLength(JSON.stringify(row)), now()) ? [row] : [];
    await activity.count(row.node, [row], async (counted) => view.transaction([...await history.operations(kept), ...counted]));
    await this.#committed([row], kept);
  }

  /** Moves the live records of containers that ended a while ago into the history. @returns how many */
  async archive(): Promise<number> {
    const { view, history, now } = this.#options;
    const byNode = new Map<string, { readonly container: string; readonly at: number }[]>();
    for await (const name of namesBelow(view, 'due/')) {
      const { at, container, node } = parseDueName(name);
      if (at > now()) break;
      byNode.set(node, [...byNode.get(node) ?? [], { container, at }]);
    }
    let moved = 0;
    for (const [node, due] of byNode) {
      for (let start = 0; start < due.length; start += ARCHIVE_CHUNK) {
        await this.#lock.run(node, async () => {
          const found = (await Promise.all(due.slice(start, start + ARCHIVE_CHUNK).map(({ container, at }) => archived(view, node, container, at)))).filter((one) => one !== undefined);
          const rows = found.map(({ row }) => row).filter(({ entry }) => 'secrets' in entry && entry.secrets.length > 0);
          await view.transaction([...found.flatMap(({ operations }) => operations), ...await history.operations(rows)]);
          await this.#settle(rows);
          moved += found.length;
        });
      }
    }
    return moved;
  }

  /** Forgets secrets that nobody has held since `before`. */
  async pruneUsed(before: number): Promise<void> {
    const { view } = this.#options;
    for await (const name of namesBelow(view, 'used/')) {
      const bytes = await view.get(`used/${name}`);
      if (bytes === undefined) continue;
      const { path, last } = decodeRecord(bytes, usedSchema, 'ledger use of a secret');
      const isHeld = last >= before || (await view.list(keys.livePrefix(path), { limit: 1 })).length > 0;
      if (!isHeld) await view.delete(`used/${name}`);
    }
  }

  async #commit(node: LedgerNode, spool: string, entries: readonly UsageEntry[]): Promise<number> {
    const { view, now, history, activity, onHolding } = this.#options;
    const draft = new Draft(view, node, now());
    const all: Sized[] = [];
    let bytes = 0;
    let acknowledged = 0;
    for (const entry of entries) {
      if (draft.size > MAX_TOUCHED) break;
      const { at, clock } = this.#timeOf(entry);
      const flags = await draft.apply(entry, at, clock !== undefined);
      const row: HistoryRow = {
        at, seq: entry.seq, node: node.id, node_name: node.name, container: draft.factsOf(containerOf(entry)), entry: reported(entry), ...flags, ...(clock === undefined ? {} : { clock }),
      };
      const length = Buffer.byteLength(JSON.stringify(row));
      bytes += length;
      if (bytes > MAX_HISTORY_BYTES) throw new PurserError('ERR_REQUEST_TOO_LARGE', `the batch is larger than ${MAX_BATCH_BYTES} bytes`);
      all.push({ row, length });
      acknowledged = entry.seq;
    }
    const rows = all.map(({ row }) => row);
    const kept = this.#worthKeeping(node.id, all);
    draft.put(keys.spool(node.id, spool), { format: 1, acknowledged, time: now() });
    try {
      await activity.count(node.id, rows, async (counted) => view.transaction([...draft.operations, ...await history.operations(kept), ...counted]));
    } catch (error) {
      this.#repeats.clear();
      throw error;
    }
    for (const [container, isHolding] of draft.isHolding) onHolding(node.id, container, isHolding);
    await this.#committed(rows, kept);
    return acknowledged;
  }

  /** Without repeated reads, and without reads when the node wrote too much today. @throws ERR_REQUEST_BUSY */
  #worthKeeping(nodeId: string, rows: readonly Sized[]): HistoryRow[] {
    const now = this.#options.now();
    return rows.flatMap(({ row, length }) => {
      const kept = this.#repeats.take(row);
      return kept !== undefined && this.#budget.take(nodeId, kept.entry.type, length, now) ? [kept] : [];
    });
  }

  async #committed(all: readonly HistoryRow[], kept: readonly HistoryRow[]): Promise<void> {
    this.#options.onRows?.(all);
    await this.#settle(kept);
  }

  /** What is committed stays so, whatever becomes of the merging. */
  async #settle(rows: readonly HistoryRow[]): Promise<void> {
    await this.#options.history.settle(rows).catch((error: unknown) => this.#options.onFault?.(error));
  }

  async #acknowledged(node: string, spool: string): Promise<number> {
    const bytes = await this.#options.view.get(keys.spool(node, spool));
    if (bytes !== undefined) return decodeRecord(bytes, spoolSchema, 'ledger spool').acknowledged;
    if ((await this.#options.view.list(`spool/${node}/`, { limit: MAX_SPOOLS })).length >= MAX_SPOOLS) {
      throw new PurserError('ERR_REQUEST_INVALID', `the node began ${MAX_SPOOLS} spools`, { hint: 'find out why its state is lost, revoke it and join it anew' });
    }
    return 0;
  }

  /** `clock` is what the node gave, when it is not believed. */
  #timeOf(entry: UsageEntry): { readonly at: number; readonly clock?: string } {
    const now = this.#options.now();
    const given = Date.parse(entry.time);
    // The negated comparison also catches what is no time at all.
    if (!(given <= now + MAX_AHEAD_MS)) return { at: now, clock: entry.time };
    return { at: Math.max(0, given) };
  }
}

function containerOf(entry: UsageEntry): string {
  return entry.type === 'granted' ? entry.container.id : entry.container_id;
}

/** The entry without what the row says already. */
function reported(entry: UsageEntry): ReportedEntry {
  const said = new Set(['seq', 'time', 'container', 'container_id']);
  return Object.fromEntries(Object.entries(entry).filter(([name]) => !said.has(name))) as ReportedEntry;
}
