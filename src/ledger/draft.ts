// One batch of entries on its way into the ledger: reads what the entries touch, applies them in order in memory, and hands
// out the writes. Nothing is stored here, so a batch that fails half-way leaves no trace.

import type { View, ViewOperation } from '../core/view.ts';
import { decodeRecord, encodeRecord } from '../lib/json-record.ts';
import type { UsageEntry } from '../wire/node-protocol.ts';
import { addCounts, foldProcess } from './fold.ts';
import type { ContainerFacts } from './history/row.ts';
import { containerSchema, holdingId, holdingSchema, keys, usedSchema, type ContainerRecord, type Holding, type ProcessCount, type Used } from './record.ts';

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
/** A node's late entries about a container that ended still find its live records for so long. */
export const SETTLE_MS = 10 * 60_000;
/** What was never granted anything stays among the live for so long: its grant may be in another spool. */
const UNKNOWN_MS = 24 * 3600_000;
/** `used/` says when a secret was used last to this precision, so that an open costs no write of its own. */
const USED_STEP_MS = 3600_000;
const NOTHING = new Uint8Array(0);

export class Draft {
  readonly #view: View;
  readonly #node: LedgerNode;
  readonly #containers = new Map<string, ContainerDraft>();
  /** Last write per key wins, and a deleted index entry does not come back. Records are encoded once, at the end: a batch changes many of them often. */
  readonly #writes = new Map<string, object | Uint8Array | undefined>();
  readonly #isHolding = new Map<string, boolean>();
  readonly #used = new Map<string, Used>();
  readonly #now: number;
  #loaded = 0;

  /** @param now the core's clock */
  constructor(view: View, node: LedgerNode, now: number) {
    this.#view = view;
    this.#node = node;
    this.#now = now;
  }

  /** Per container that was granted or released something, which of both came last. */
  get isHolding(): ReadonlyMap<string, boolean> {
    return this.#isHolding;
  }

  get operations(): ViewOperation[] {
    return [...this.#writes].map(([key, value]) => value === undefined ? { kind: 'delete', key } : { kind: 'put', key, value: value instanceof Uint8Array ? value : encodeRecord(value) });
  }

  /** Records read and to be written: what the batch costs in memory and in the transaction. */
  get size(): number {
    return this.#loaded + this.#writes.size;
  }

  /** What is known of a container that an entry was applied to. */
  factsOf(id: string): ContainerFacts {
    const { name = '', image = '', service, stack, task_id } = this.#containers.get(id)?.record ?? {};
    return { id, name, image, service, stack, task_id };
  }

  /** @param value bytes, or a record */
  put(key: string, value: object | Uint8Array): void {
    this.#writes.set(key, value);
  }

  /**
   * Applies one entry.
   * @param at its time, as the ledger accepts it
   * @param isAdjusted the node's clock was not believed
   */
  async apply(entry: UsageEntry, at: number, isAdjusted: boolean): Promise<EntryFlags> {
    const id = entry.type === 'granted' ? entry.container.id : entry.container_id;
    const container = await this.#container(id);
    if (entry.type === 'granted') for (const { path } of entry.secrets) await this.#use(path, at);
    if (entry.type === 'opened' || entry.type === 'rotated') await this.#use(entry.path, at);
    if (entry.type === 'released') for (const { path, released } of container.holdings.values()) if (released === null) await this.#use(path, at);
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
    if (container.record.service !== undefined && container.record.service !== service) this.#remove(keys.service(container.record.service, id, this.#node.id));
    this.#putContainer(id, container, { ...container.record, name, image, service, stack, task_id, unknown: false }, null);
    if (service !== undefined) this.put(keys.service(service, id, this.#node.id), NOTHING);
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
        pinned: secret.pinned === true, clock_adjusted: isAdjusted || (old?.clock_adjusted ?? false),
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
    this.#putContainer(id, container, container.record, this.#now + SETTLE_MS);
    this.#remove(keys.running(this.#node.id, id));
    if (container.record.service !== undefined) this.#remove(keys.service(container.record.service, id, this.#node.id));
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

  /** @param due when its records leave the live ones: null for never; by default as before, or for an unknown container in a day */
  #putContainer(id: string, container: ContainerDraft, record: ContainerRecord, due: number | null = record.due ?? (record.unknown ? this.#now + UNKNOWN_MS : null)): void {
    const before = container.record.due;
    if (before !== due && before !== null) this.#remove(keys.due(before, id, this.#node.id));
    if (before !== due && due !== null) this.put(keys.due(due, id, this.#node.id), NOTHING);
    container.record = { ...record, node_name: this.#node.name, due };
    this.put(keys.container(id, this.#node.id), container.record);
  }

  /** Stores a holding and moves it between the indexes. False when the container has too many. */
  #putHolding(id: string, container: ContainerDraft, holding: Holding, old: Holding | undefined): boolean {
    const at = { node: this.#node.id, container: id, holding: holdingId(holding.target, holding.path, holding.field) };
    if (old === undefined && container.holdings.size >= MAX_HOLDINGS) return false;
    container.holdings.set(at.holding, holding);
    this.put(keys.holding(at), holding);
    if (holding.released !== null) this.#remove(keys.live(holding.path, at));
    else if (old === undefined || old.released !== null) this.put(keys.live(holding.path, at), NOTHING);
    return true;
  }

  async #use(path: string, at: number): Promise<void> {
    let used = this.#used.get(path);
    if (used === undefined) {
      const bytes = await this.#view.get(keys.used(path));
      used = bytes === undefined ? { format: 1, path, first: at, last: -USED_STEP_MS } : decodeRecord(bytes, usedSchema, 'ledger use of a secret');
      this.#loaded++;
    }
    const isNews = at - used.last >= USED_STEP_MS || at < used.first;
    if (isNews) {
      used = { ...used, first: Math.min(used.first, at), last: Math.max(used.last, at) };
      this.put(keys.used(path), used);
    }
    this.#used.set(path, used);
  }

  #remove(key: string): void {
    this.#writes.set(key, undefined);
  }

  async #container(id: string): Promise<ContainerDraft> {
    const known = this.#containers.get(id);
    if (known !== undefined) return known;
    const bytes = await this.#view.get(keys.container(id, this.#node.id));
    const record = bytes === undefined
      ? { format: 1 as const, node_name: this.#node.name, name: '', image: '', unknown: true, refused: 0, processes: [], due: null }
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

function newHolding(secret: { path: string; field?: string | undefined; target: string; version: number }): Holding {
  return {
    format: 1, path: secret.path, ...(secret.field === undefined ? {} : { field: secret.field }), target: secret.target, version: secret.version,
    granted: null, rotated: null, released: null, reason: null, opens: 0, last_opened: null, processes: [], pinned: false, unknown: false, clock_adjusted: false,
  };
}

/** First and last time are the node's too: never later than the entry itself as the ledger accepts it. */
function processCount({ process, count, first_time, last_time }: Of<'opened' | 'refused'>, at: number): ProcessCount {
  const bounded = (text: string) => Math.min(at, Math.max(0, Date.parse(text)));
  return { ...process, count, first: bounded(first_time), last: bounded(last_time) };
}
