// A health check that reads its secret every second must not fill the history: of reads and refusals by the same program of the
// same file, one an hour leaves a row, which counts those since the row before. The counters of holdings count every one at
// once, so what is waiting here may be lost with the process.

import { addCounts } from '../fold.ts';
import type { HistoryRow } from './row.ts';

const WINDOW_MS = 3600_000;
/** Beyond it the oldest are forgotten: they cost a row too many. */
const MAX_KNOWN = 100_000;

interface Waiting { readonly since: number; count: number; first: string | undefined }

export class RepeatFold {
  readonly #known = new Map<string, Waiting>();

  /** The row to store, or undefined when it is only counted. */
  take(row: HistoryRow): HistoryRow | undefined {
    const { entry, at } = row;
    if (entry.type !== 'opened' && entry.type !== 'refused') return row;
    const key = keyOf(row, entry);
    const known = this.#known.get(key);
    if (known !== undefined && at >= known.since && at < known.since + WINDOW_MS) {
      known.count = addCounts(known.count, entry.count);
      known.first ??= entry.first_time;
      return undefined;
    }
    this.#known.delete(key);
    this.#known.set(key, { since: at, count: 0, first: undefined });
    if (this.#known.size > MAX_KNOWN) for (const [oldest] of this.#known) { this.#known.delete(oldest); break; }
    if (known === undefined || known.count === 0) return row;
    return { ...row, entry: { ...entry, count: addCounts(known.count, entry.count), first_time: known.first ?? entry.first_time } };
  }

  /** What was taken was not stored: the next ones leave rows again. */
  clear(): void {
    this.#known.clear();
  }
}

function keyOf({ node, container }: HistoryRow, entry: Extract<HistoryRow['entry'], { type: 'opened' | 'refused' }>): string {
  const file = entry.type === 'opened' ? [entry.target, entry.path, entry.field, entry.version] : [entry.target];
  return JSON.stringify([entry.type, node, container.id, ...file, entry.process.executable, entry.process.name, entry.process.uid]);
}
