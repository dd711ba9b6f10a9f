// What ended becomes history: the live records of a container that released everything a while ago are replaced by one row, in
// one transaction. So the live records, and the time that questions about now take, do not grow with the past.

import type { View, ViewOperation } from '../core/view.ts';
import { decodeRecord } from '../lib/json-record.ts';
import { MAX_PROCESSES, foldProcess } from './fold.ts';
import { SHORT_ID, type HeldEntry, type HistoryRow } from './history/row.ts';
import { containerSchema, holdingSchema, keys, type ContainerRecord, type Holding, type ProcessCount } from './record.ts';

/** Of a row as JSON; a container with very many readers of very many secrets keeps fewer of them. */
const MAX_ROW_CHARACTERS = 256 * 1024;
const FEW_PROCESSES = 4;

export interface Archived {
  readonly row: HistoryRow;
  /** Deletions of the live records. */
  readonly operations: readonly ViewOperation[];
}

/** @returns undefined when the container came back, or is gone already */
export async function archived(view: View, node: string, container: string, due: number): Promise<Archived | undefined> {
  const containerKey = keys.container(container, node);
  const bytes = await view.get(containerKey);
  const record = bytes && decodeRecord(bytes, containerSchema, 'ledger container');
  if (record?.due !== due) return undefined;
  const remove: string[] = [containerKey, keys.due(due, container, node), keys.name(record.name, container, node), keys.running(node, container)];
  if (record.service !== undefined) remove.push(keys.service(record.service, container, node));
  const holdings: Holding[] = [];
  for (const holding of await view.list(`holding/${node}/${container}/`)) {
    const at = { node, container, holding };
    const stored = await view.get(keys.holding(at));
    if (stored === undefined) continue;
    const held = decodeRecord(stored, holdingSchema, 'ledger holding');
    holdings.push(held);
    remove.push(keys.holding(at), keys.live(held.path, at));
  }
  return { row: rowOf(record, holdings, node, container, due), operations: remove.map((key) => ({ kind: 'delete', key })) };
}

function rowOf(record: ContainerRecord, holdings: readonly Holding[], node: string, container: string, due: number): HistoryRow {
  const { name, image, service, stack, task_id, node_name, refused, processes, action } = record;
  // What was never released was never granted either: it ends when it was last heard of.
  const endOf = (holding: Holding) => holding.released ?? holding.last_opened ?? holding.rotated ?? due;
  const at = holdings.length === 0 ? due : holdings.map(endOf).reduce((a, b) => Math.max(a, b));
  const entry = (most: number): HeldEntry => ({
    type: 'held', refused, processes: fewest(processes, most), action,
    secrets: holdings.map(({ path, field, target, version, granted, rotated, opens, last_opened, pinned, unknown, clock_adjusted, ...holding }) => ({
      path, field, target, version, granted, rotated, opens, last_opened, pinned, unknown, clock_adjusted, released: holding.released ?? last_opened ?? rotated ?? due, reason: holding.reason ?? 'unknown', processes: fewest(holding.processes, most),
    })),
  });
  // Many containers end in one millisecond: their ids keep the order total.
  const seq = Number.parseInt(container.slice(0, SHORT_ID), 16);
  const row = (most: number): HistoryRow => ({ at, seq, node, node_name, container: { id: container, name, image, service, stack, task_id }, entry: entry(most) });
  const whole = row(MAX_PROCESSES);
  return JSON.stringify(whole).length > MAX_ROW_CHARACTERS ? row(FEW_PROCESSES) : whole;
}

/** The busiest processes; the others as one counter. */
function fewest(processes: readonly ProcessCount[], most: number): readonly ProcessCount[] {
  if (processes.length <= most) return processes;
  return [...processes].sort((a, b) => b.count - a.count).reduce((kept: readonly ProcessCount[], process) => foldProcess(kept, process, most), []);
}
