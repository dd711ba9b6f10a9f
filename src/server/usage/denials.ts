// Refusals of the core itself on record: a container or a Swarm task that asked for a secret and did not get it, with what it
// said it was and why it was refused. A container that is restarted over and over asks every second, so the first refusal
// leaves a row at once and those behind it are counted together. The text of a reference is not kept: it may hold a default.

import type { ContainerFacts, DeniedEntry, HistoryRow } from '../../ledger/history/row.ts';
import type { LedgerNode } from '../../ledger/draft.ts';

/** Repeats of a refusal are counted together for so long. */
const WINDOW_MS = 10 * 60_000;
/** Refusals told apart; beyond it the oldest is forgotten, with its count. */
const MAX_KNOWN = 10_000;

export interface Denial {
  readonly node: LedgerNode;
  readonly container: ContainerFacts;
  readonly source: DeniedEntry['source'];
  readonly path?: string | undefined;
  readonly swarmSecret?: string | undefined;
  /** An error code. */
  readonly code: string;
  readonly reason: string;
}

interface Known { readonly denial: Denial; since: number; count: number; first: number }

export interface DenialsOptions {
  readonly record: (row: HistoryRow) => Promise<void>;
  readonly now: () => number;
  readonly onFault: (error: unknown) => void;
}

export class Denials {
  readonly #options: DenialsOptions;
  readonly #known = new Map<string, Known>();
  #sequence = 0;
  #pending: Promise<void> = Promise.resolve();

  constructor(options: DenialsOptions) {
    this.#options = options;
  }

  /** Notes a refusal; never throws and never holds the answer up. */
  note(denial: Denial): void {
    const now = this.#options.now();
    const { node, container, source, path, swarmSecret, code } = denial;
    const key = JSON.stringify([node.id, source, container.service ?? container.name, path, swarmSecret, code]);
    const known = this.#known.get(key);
    if (known !== undefined && now < known.since + WINDOW_MS) {
      if (known.count++ === 0) known.first = now;
      return;
    }
    if (known !== undefined) this.#flush(known);
    this.#known.delete(key);
    this.#known.set(key, { denial, since: now, count: 0, first: now });
    if (this.#known.size > MAX_KNOWN) for (const [oldest] of this.#known) { this.#known.delete(oldest); break; }
    this.#write(denial, 1, now);
  }

  /** Writes what was counted and is old enough; called now and then. @param isAll the core closes */
  sweep(isAll = false): Promise<void> {
    const now = this.#options.now();
    for (const [key, known] of this.#known) {
      if (!isAll && now < known.since + WINDOW_MS) continue;
      this.#flush(known);
      this.#known.delete(key);
    }
    return this.#pending;
  }

  #flush({ denial, count, first }: Known): void {
    if (count > 0) this.#write(denial, count, first);
  }

  #write({ node, container, source, path, swarmSecret, code, reason }: Denial, count: number, first: number): void {
    const at = this.#options.now();
    const row: HistoryRow = {
      at, seq: ++this.#sequence, node: node.id, node_name: node.name, container,
      entry: { type: 'denied', source, path, swarm_secret: swarmSecret, code, reason: reason.slice(0, 512), count, first },
    };
    this.#pending = this.#pending.then(() => this.#options.record(row)).catch(this.#options.onFault);
  }
}
