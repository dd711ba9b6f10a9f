// What is worth telling: refusals and reads of canaries among the rows of the ledger, nodes that are gone, rotations that stand still.

import type { JsonObject, SecretFacts } from '../../core/logical.ts';
import { pathsOf, type HistoryRow } from '../../ledger/history/row.ts';
import { historyJson } from '../../ledger/query/row-json.ts';
import type { Rotation } from '../../ledger/rotations.ts';
import type { NewEvent } from './event.ts';

/** A rotation that has not reached every container for so long stands still. */
const STUCK_MS = 5 * 60_000;
/** A node without a stream for so long is lost: longer than an agent's restart. */
const LOST_MS = 2 * 60_000;

export interface AlarmsOptions {
  readonly notify: (event: NewEvent) => void;
  readonly now: () => number;
  readonly describeSecret: (path: string) => Promise<SecretFacts | undefined>;
  readonly nodes: () => readonly { readonly id: string; readonly name: string; readonly revoked?: number | undefined; readonly last_seen?: number | undefined }[];
  readonly isConnected: (nodeId: string) => boolean;
  readonly rotations: () => readonly Rotation[];
  readonly onFault: (error: unknown) => void;
}

export class Alarms {
  readonly #options: AlarmsOptions;
  /** Nodes that are not connected, with the time since when, and those of them that were told of. */
  readonly #away = new Map<string, number>();
  readonly #told = new Set<string>();

  constructor(options: AlarmsOptions) {
    this.#options = options;
  }

  /** The ledger took rows. */
  noticed(rows: readonly HistoryRow[]): void {
    for (const row of rows) {
      const { entry, node, container } = row;
      if (entry.type === 'refused') this.#tell('refused-read', [node, container.id, entry.process.executable, entry.process.uid], row);
      if (entry.type === 'denied') this.#tell('denied', [node, container.service ?? container.name, entry.path, entry.code], row);
      // A variable is read where it is granted; nobody sees a later look at it.
      if (entry.type === 'opened' || entry.type === 'granted') this.#lookForCanaries(row).catch(this.#options.onFault);
    }
  }

  /** Every minute. */
  sweep(): void {
    const { nodes, isConnected, now, rotations, notify } = this.#options;
    for (const { id, name, revoked, last_seen: seen } of nodes()) {
      if (revoked !== undefined || seen === undefined || isConnected(id)) {
        this.#away.delete(id);
        this.#told.delete(id);
        continue;
      }
      const since = this.#away.get(id) ?? now();
      this.#away.set(id, since);
      if (now() - since < LOST_MS || this.#told.has(id)) continue;
      this.#told.add(id);
      notify({ type: 'node-lost', subject: id, details: { node: name, node_id: id, last_seen_time: new Date(seen).toISOString() } });
    }
    for (const { path, version, total, current, needRestart, started, finished } of rotations()) {
      if (finished !== undefined || now() - started < STUCK_MS) continue;
      notify({ type: 'rotation-stuck', subject: `${path} ${String(version)}`, details: { path, version, total, current, need_restart: needRestart, started_time: new Date(started).toISOString() } });
    }
  }

  async #lookForCanaries(row: HistoryRow): Promise<void> {
    for (const path of new Set(pathsOf(row.entry))) {
      if ((await this.#options.describeSecret(path))?.custom['canary'] !== 'true') continue;
      const who = row.entry.type === 'opened' ? [row.entry.process.executable, row.entry.process.uid] : [];
      this.#tell('canary-read', [path, row.node, row.container.id, ...who], row, { path });
    }
  }

  #tell(type: NewEvent['type'], subject: readonly unknown[], row: HistoryRow, more: JsonObject = {}): void {
    this.#options.notify({ type, subject: JSON.stringify(subject), details: { ...historyJson(row), ...more } });
  }
}
