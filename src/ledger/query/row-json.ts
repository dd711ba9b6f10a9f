// Rows as answers show them (PROTOCOL.md 1.7).

import type { JsonObject } from '../../core/logical.ts';
import type { HistoryRow } from '../history/row.ts';
import type { ContainerRecord, Holding, HoldingKey, ProcessCount, RotateAction } from '../record.ts';
import { present, timeText } from './parameters.ts';

/** A holding with its place and its container. */
export interface Found { readonly key: HoldingKey; readonly holding: Omit<Holding, 'format'>; readonly container: Omit<ContainerRecord, 'format' | 'unknown' | 'due'> }

export function holdingJson({ key, container, holding }: Found): JsonObject {
  return {
    node: container.node_name, node_id: key.node, container_id: key.container, container: container.name, image: container.image,
    ...present({ service: container.service, stack: container.stack, task_id: container.task_id }),
    path: holding.path, ...present({ field: holding.field }), target: holding.target, version: holding.version,
    granted_time: timeText(holding.granted), rotated_time: timeText(holding.rotated), released_time: timeText(holding.released), released_reason: holding.reason,
    opens: holding.opens, last_opened_time: timeText(holding.last_opened), processes: holding.processes.map(processJson),
    refused: container.refused, refused_processes: container.processes.map(processJson),
    ...(container.action === undefined ? {} : { on_rotate: actionJson(container.action) }),
    ...(holding.pinned ? { pinned: true } : {}), ...(holding.unknown ? { unknown: true } : {}), ...(holding.clock_adjusted ? { clock_adjusted: true } : {}),
  };
}

/** One line of history: what, when, where, and what the entry says beside that. */
export function historyJson({ at, node, node_name, container, entry, unknown, overflow, clock }: HistoryRow): JsonObject {
  const { id, name, image, service, stack, task_id } = container;
  return {
    time: timeText(at), type: entry.type, node: node_name, node_id: node, container: name, image, ...present({ container_id: id, service, stack, task_id }),
    ...detailsOf(entry), ...(unknown === true ? { unknown } : {}), ...(overflow === true ? { overflow } : {}), ...present({ clock }),
  };
}

function detailsOf(entry: HistoryRow['entry']): JsonObject {
  if (entry.type === 'held') return heldSummary(entry);
  // Plain data, which was JSON in the store.
  return { ...entry, ...(entry.type === 'denied' ? { first: timeText(entry.first) } : {}) } as unknown as JsonObject;
}

/** The stay as a whole is asked for by holders; in the history its beginning, end and secrets suffice. */
function heldSummary({ secrets, refused }: Extract<HistoryRow['entry'], { type: 'held' }>): JsonObject {
  return { refused, secrets: secrets.map(({ path, field, version, target, opens, granted, released }) => ({ path, ...present({ field }), version, target, opens, granted_time: timeText(granted), released_time: timeText(released) })) };
}

export function processJson({ executable, name, uid, pid, count, first, last }: ProcessCount): JsonObject {
  return { executable, name, uid, pid, count, first_time: timeText(first), last_time: timeText(last) };
}

function actionJson({ action, outcome, exit_code, attempt, duration_ms, message, time }: RotateAction): JsonObject {
  return { action, outcome, ...present({ exit_code }), attempt, duration_ms, ...present({ message }), time: timeText(time) };
}
