// One batch of entries on its way into the ledger: reads what the entries touch, applies them in order in memory, and hands
// out the writes. Nothing is stored here, so a batch that fails half-way leaves no trace.

import type { View, ViewOperation } from '../core/view.ts';
import { decodeRecord, encodeRecord } from '../lib/json-record.ts';
import type { UsageEntry } from '../wire/node-protocol.ts';
import { addCounts, foldProcess } from './fold.ts';
import { containerSchema, holdingId, holdingSchema, keys, type ContainerRecord, type Holding, type ProcessCount } from './record.ts';

/** Who reports. */
export interface LedgerNode {
  readonly id: string;
  readonly name: string;
}

/** What to note beside an entry in the history. */
export interface EntryFlags {
  readonly unknown?: true;
  readonly overflow?: true;
}

interface ContainerDraft {
  record: ContainerRecord;
  readonly holdings: Map<string, Holding>;
}

type Of<T extends UsageEntry['type']> = Extract<UsageEntry, { type: T }>;

const MAX_HOLDINGS = 2_048;
const NOTHING = new Uint8Array(0);

export class Draft {
  readonly #view: View;
  readonly #node: LedgerNode;
  readonly #containers = new Map<string, ContainerDraft>();
  /** Last write per key wins, and a deleted index entry does not come back. */
  readonly #writes = new Map<string, ViewOperation>();
  readonly #isHolding = new Map<string, boolean>();
  #loaded = 0;

  constructor(view: View, node: LedgerNode) {
    this.#view = view;
    this.#node = node;
  }

  /** Per container that was granted or released something, which of both came last. */
  get isHolding(): ReadonlyMap<string, boolean> {
    return this.#isHolding;
  }

  get operations(): ViewOperation[] {
    return [...this.#writes.values()];
  }

  /** Records read and to be written: what the batch costs in memory and in the transaction. */
  get size(): number {
    return this.#loaded + this.#writes.size;
  }

  put(key: string, value: Uint8Array): void {
    this.#writes.set(key, { kind: 'put', key, value });
  }

  /**
   * Applies one entry.
   * @param at its time, as the ledger accepts it
   * @param isAdjusted the node's clock was not believed
   */
  async apply(entry: UsageEntry, at: number, isAdjusted: boolean): Promise<EntryFlags> {
    const id = entry.type === 'granted' ? entry.container.id : entry.container_id;
    const container = await this.#container(id);
    switch (entry.type) {
      case 'granted': return this.#granted(id, container, entry, at, isAdjusted);
      case 'opened': return this.#opened(id, container, entry, at, isAdjusted);
      case 'rotated': return this.#rotated(id, container, entry, at, isAdjusted);
      case 'refused': return this.#refused(id, container, entry, at);
      case 'action': return this.#acted(id, container, entry, at);
      case 'released': return this.#releasedAll(id, container, entry, at);
    }
  }

  #granted(id: string, container: ContainerDraft, entry: Of<'granted'>, at: number, isAdjusted: boolean): EntryFlags {
    const { name, image, service, stack, task_id } = entry.container;
    this.#putContainer(id, container, { ...container.record, name, image, service, stack, task_id, unknown: false });
    this.put(keys.name(name, id, this.#node.id), NOTHING);
    this.put(keys.running(this.#node.id, id), NOTHING);
    this.#isHolding.set(id, true);
    let flags: EntryFlags = {};
    for (const secret of entry.secrets) {
      const old = container.holdings.get(holdingId(secret.target, secret.path, secret.field));
      const isOpen = old !== undefined && old.released === null && old.granted !== null;
      const holding: Holding = {
        ...(old ?? newHolding(secret)), version: secret.version, released: null, reason: null, unknown: false,
        granted: isOpen ? old.granted : at, rotated: isOpen && old.version !== secret.version ? at : old?.rotated ?? null,
        clock_adjusted: isAdjusted || (old?.clock_adjusted ?? false),
      };
      if (!this.#putHolding(id, container, holding, old)) flags = { overflow: true };
    }
    return flags;
  }

  #opened(id: string, container: ContainerDraft, entry: Of<'opened'>, at: number, isAdjusted: boolean): EntryFlags {
    const seen = processCount(entry, at);
    return this.#change(id, container, entry, isAdjusted, (holding) => ({
      ...holding, opens: addCounts(holding.opens, entry.count), last_opened: Math.max(holding.last_opened ?? 0, seen.last), processes: foldProcess(holding.processes, seen),
    }));
  }

  #rotated(id: string, container: ContainerDraft, entry: Of<'rotated'>, at: number, isAdjusted: boolean): EntryFlags {
    return this.#change(id, container, entry, isAdjusted, (holding) => ({ ...holding, version: entry.version, rotated: at }));
  }

  #refused(id: string, container: ContainerDraft, entry: Of<'refused'>, at: number): EntryFlags {
    const { record } = container;
    this.#putContainer(id, container, {
      ...record, refused: addCounts(record.refused, entry.count), processes: foldProcess(record.processes, processCount(entry, at)),
    });
    return record.unknown ? { unknown: true } : {};
  }

  #acted(id: string, container: ContainerDraft, entry: Of<'action'>, at: number): EntryFlags {
    const { action, outcome, exit_code, duration_ms, attempt, message } = entry;
    this.#putContainer(id, container, { ...container.record, action: { action, outcome, exit_code, duration_ms, attempt, message, time: at } });
    return container.record.unknown ? { unknown: true } : {};
  }

  #releasedAll(id: string, container: ContainerDraft, entry: Of<'released'>, at: number): EntryFlags {
    for (const holding of container.holdings.values()) {
      if (holding.released === null) this.#putHolding(id, container, { ...holding, released: at, reason: entry.reason }, holding);
    }
    this.#remove(keys.running(this.#node.id, id));
    this.#isHolding.set(id, false);
    return container.record.unknown ? { unknown: true } : {};
  }

  /** Changes the holding that an entry names, which is made up and marked when it was never granted. */
  #change(id: string, container: ContainerDraft, entry: Of<'opened' | 'rotated'>, isAdjusted: boolean, change: (holding: Holding) => Holding): EntryFlags {
    const old = container.holdings.get(holdingId(entry.target, entry.path, entry.field));
    const changed = change(old ?? { ...newHolding(entry), unknown: true });
    if (container.record.unknown) this.#putContainer(id, container, container.record);
    if (!this.#putHolding(id, container, { ...changed, clock_adjusted: changed.clock_adjusted || isAdjusted }, old)) return { overflow: true };
    return old === undefined || old.unknown ? { unknown: true } : {};
  }

  #putContainer(id: string, container: ContainerDraft, record: ContainerRecord): void {
    container.record = { ...record, node_name: this.#node.name };
    this.put(keys.container(id, this.#node.id), encodeRecord(container.record));
  }

  /** Stores a holding and moves it between the indexes. False when the container has too many. */
  #putHolding(id: string, container: ContainerDraft, holding: Holding, old: Holding | undefined): boolean {
    const at = { node: this.#node.id, container: id, holding: holdingId(holding.target, holding.path, holding.field) };
    if (old === undefined && container.holdings.size >= MAX_HOLDINGS) return false;
    container.holdings.set(at.holding, holding);
    this.put(keys.holding(at), encodeRecord(holding));
    if (old !== undefined && old.released !== holding.released) this.#remove(indexKey(old, at));
    if (old === undefined || old.released !== holding.released) this.put(indexKey(holding, at), NOTHING);
    return true;
  }

  #remove(key: string): void {
    this.#writes.set(key, { kind: 'delete', key });
  }

  async #container(id: string): Promise<ContainerDraft> {
    const known = this.#containers.get(id);
    if (known !== undefined) return known;
    const bytes = await this.#view.get(keys.container(id, this.#node.id));
    const record = bytes === undefined
      ? { format: 1 as const, node_name: this.#node.name, name: '', image: '', unknown: true, refused: 0, processes: [] }
      : decodeRecord(bytes, containerSchema, 'ledger container');
    const container = { record, holdings: await this.#holdings(id) };
    this.#loaded += 1 + container.holdings.size;
    this.#containers.set(id, container);
    return container;
  }

  async #holdings(container: string): Promise<Map<string, Holding>> {
    const holdings = new Map<string, Holding>();
    for (const holding of await this.#view.list(`holding/${this.#node.id}/${container}/`)) {
      const bytes = await this.#view.get(keys.holding({ node: this.#node.id, container, holding }));
      if (bytes !== undefined) holdings.set(holding, decodeRecord(bytes, holdingSchema, 'ledger holding'));
    }
    return holdings;
  }
}

function indexKey(holding: Holding, at: { node: string; container: string; holding: string }): string {
  return holding.released === null ? keys.live(holding.path, at) : keys.past(holding.path, holding.released, at);
}

function newHolding(secret: { path: string; field?: string | undefined; target: string; version: number }): Holding {
  return {
    format: 1, path: secret.path, ...(secret.field === undefined ? {} : { field: secret.field }), target: secret.target, version: secret.version,
    granted: null, rotated: null, released: null, reason: null, opens: 0, last_opened: null, processes: [], unknown: false, clock_adjusted: false,
  };
}

/** First and last time are the node's too: never later than the entry itself as the ledger accepts it. */
function processCount({ process, count, first_time, last_time }: Of<'opened' | 'refused'>, at: number): ProcessCount {
  const bounded = (text: string) => Math.min(at, Math.max(0, Date.parse(text)));
  return { ...process, count, first: bounded(first_time), last: bounded(last_time) };
}
