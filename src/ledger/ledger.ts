// The usage ledger's way in (PROTOCOL.md 1.5). Guarantee: every entry of a spool counts exactly once, in order, whatever was
// lost or repeated on the way, because the entries, all they change and the acknowledged number are one transaction.

import type { View } from '../core/view.ts';
import { PurserError } from '../lib/errors.ts';
import { decodeRecord, encodeRecord } from '../lib/json-record.ts';
import { KeyedLock } from '../lib/keyed-lock.ts';
import type { UsageBatch, UsageEntry } from '../wire/node-protocol.ts';
import { Draft, type LedgerNode } from './draft.ts';
import { HistoryBudget, type BudgetLimits } from './history-budget.ts';
import { keys, spoolSchema } from './record.ts';

/** A clock may run ahead by this much before its time is not believed. */
const MAX_AHEAD_MS = 5 * 60_000;
const MAX_BATCH_BYTES = 1024 * 1024;
/** What is added to each entry in the history does not count against the sender. */
const MAX_HISTORY_BYTES = 2 * MAX_BATCH_BYTES;
/** Records that one transaction touches before the rest of its batch is left for the next one. */
const MAX_TOUCHED = 20_000;
/** A node begins a new spool when its state was lost or restored; more than this is no accident. */
const MAX_SPOOLS = 256;

export interface LedgerOptions {
  readonly view: View;
  readonly now: () => number;
  /** Told after the commit that a container was granted something (true) or gave up everything it held (false). */
  readonly onHolding: (nodeId: string, containerId: string, isHolding: boolean) => void;
  /** How much history one node may write in a day; tests lower it. */
  readonly budget?: BudgetLimits;
}

export class Ledger {
  readonly #options: LedgerOptions;
  readonly #lock = new KeyedLock();
  readonly #budget: HistoryBudget;

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

  async #commit(node: LedgerNode, spool: string, entries: readonly UsageEntry[]): Promise<number> {
    const { view, now, onHolding } = this.#options;
    const draft = new Draft(view, node);
    let bytes = 0;
    let acknowledged = 0;
    for (const entry of entries) {
      if (draft.size > MAX_TOUCHED) break;
      const { at, clock } = this.#timeOf(entry);
      const flags = await draft.apply(entry, at, clock !== undefined);
      const record = encodeRecord({ format: 1, node: node.id, node_name: node.name, ...flags, ...(clock === undefined ? {} : { clock }), entry });
      bytes += record.length;
      if (bytes > MAX_HISTORY_BYTES) throw new PurserError('ERR_REQUEST_TOO_LARGE', `the batch is larger than ${MAX_BATCH_BYTES} bytes`);
      if (this.#budget.take(node.id, entry.type, record.length, now())) draft.put(keys.history(at, node.id, spool, entry.seq), record);
      acknowledged = entry.seq;
    }
    draft.put(keys.spool(node.id, spool), encodeRecord({ format: 1, acknowledged, time: now() }));
    await view.transaction(draft.operations);
    for (const [container, isHolding] of draft.isHolding) onHolding(node.id, container, isHolding);
    return acknowledged;
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
