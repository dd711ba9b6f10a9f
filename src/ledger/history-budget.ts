// How much history one node may write in a day, so that neither a container that opens its secrets in a loop nor a stolen node
// key fills the store. Past the first limit opens and refusals are only counted (the counters of holdings stay exact); past the
// second one the node has to wait for the next day. Kept in memory: a restart of the core begins anew.

import { PurserError } from '../lib/errors.ts';
import type { HistoryRow } from './history/row.ts';

const DAY_MS = 24 * 3600_000;
const MEBIBYTE = 1024 * 1024;

export interface BudgetLimits {
  /** Bytes of history per node and day after which opens and refusals leave no entry of their own. */
  readonly opensBytes: number;
  /** Bytes of history per node and day after which nothing is taken. */
  readonly totalBytes: number;
}

export const DEFAULT_BUDGET: BudgetLimits = { opensBytes: 64 * MEBIBYTE, totalBytes: 512 * MEBIBYTE };

export class HistoryBudget {
  readonly #limits: BudgetLimits;
  readonly #used = new Map<string, number>();
  #day = 0;

  constructor(limits: BudgetLimits = DEFAULT_BUDGET) {
    this.#limits = limits;
  }

  /**
   * Asks for room in the history.
   * @param now the core's clock; the times of entries are the node's word
   * @returns false: count the entry, but leave it out of the history
   * @throws ERR_REQUEST_BUSY when the node wrote too much today
   */
  take(nodeId: string, type: HistoryRow['entry']['type'], bytes: number, now: number): boolean {
    const day = Math.floor(now / DAY_MS);
    if (day !== this.#day) this.#used.clear();
    this.#day = day;
    const used = (this.#used.get(nodeId) ?? 0) + bytes;
    if (['opened', 'refused', 'denied'].includes(type) && used > this.#limits.opensBytes) return false;
    if (used > this.#limits.totalBytes) {
      throw new PurserError('ERR_REQUEST_BUSY', 'the node reported more today than the ledger takes of one node', { hint: 'see what starts containers over and over on it, or revoke it: purser node revoke' });
    }
    this.#used.set(nodeId, used);
    return true;
  }
}
