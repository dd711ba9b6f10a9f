// What happened, newest first: `GET sys/usage/history`, and its part about refusals, `GET sys/usage/denied` (PROTOCOL.md 1.7).

import { z } from 'zod';

import type { JsonObject } from '../../core/logical.ts';
import type { History, ScanBudget } from '../history/history.ts';
import { pathsOf, SHORT_ID, type HistoryRow, type Subject } from '../history/row.ts';
import { aboutShape, cursor, limit, MAX_ANSWER, positionOf, positionText, text, timeOf } from './parameters.ts';
import { historyJson } from './row-json.ts';
import { isContainerId } from './sources.ts';

const DEFAULT_ROWS = 1_000;
/** Blocks of history opened for one answer: about a second. */
const MAX_BLOCKS = 256;
const TYPES = ['granted', 'opened', 'refused', 'rotated', 'action', 'released', 'denied', 'held'] as const;

export const timelineSchema = z.strictObject({
  ...aboutShape,
  /** One of the types, or several with commas. */
  type: text.transform((list) => list.split(',')).pipe(z.array(z.enum(TYPES)).max(TYPES.length)).optional(),
  since: text.optional(), until: text.optional(), limit: limit.default(DEFAULT_ROWS), after: cursor.optional(),
});
export type TimelineQuestion = z.output<typeof timelineSchema>;

export interface TimelineOptions {
  readonly history: History;
  readonly now: () => number;
  readonly findNodes: (nameOrId: string) => readonly string[];
}

export class Timeline {
  readonly #options: TimelineOptions;

  constructor(options: TimelineOptions) {
    this.#options = options;
  }

  /** @throws ERR_REQUEST_INVALID, ERR_DURATION_SYNTAX */
  async answer(asked: TimelineQuestion): Promise<JsonObject> {
    const { history, now } = this.#options;
    const [from, to] = [asked.since === undefined ? 0 : timeOf(asked.since, 'since', now()), asked.until === undefined ? Number.MAX_SAFE_INTEGER : timeOf(asked.until, 'until', now())];
    const nodes = asked.node === undefined ? undefined : this.#options.findNodes(asked.node);
    const budget: ScanBudget = { blocksLeft: MAX_BLOCKS };
    const before = asked.after === undefined ? undefined : positionOf(asked.after.replace(/^at:/, ''));
    const entries: JsonObject[] = [];
    let length = 0;
    for await (const row of history.scan({ from, to, subjects: subjectsOf(asked, nodes), before, budget })) {
      if (!isAbout(row, asked, nodes)) continue;
      const data = historyJson(row);
      length += JSON.stringify(data).length;
      entries.push(data);
      if (entries.length >= asked.limit || length > MAX_ANSWER) return { entries, truncated: true, next: `at:${positionText(row)}` };
    }
    return budget.stoppedAt === undefined ? { entries } : { entries, truncated: true, next: `at:${positionText(budget.stoppedAt)}` };
  }
}

function subjectsOf({ secret, container, service, type }: TimelineQuestion, nodes: readonly string[] | undefined): Subject[] {
  const subjects: (Subject | undefined)[] = [
    secret === undefined ? undefined : `secret:${secret}`, service === undefined ? undefined : `service:${service}`,
    container === undefined ? undefined : isContainerId(container) ? `container:${container.slice(0, SHORT_ID)}` : `name:${container}`,
    nodes?.length === 1 ? `node:${nodes[0] ?? ''}` : undefined, type?.length === 1 ? `type:${type[0] ?? ''}` : undefined,
  ];
  return subjects.filter((subject) => subject !== undefined);
}

function isAbout({ node, container, entry }: HistoryRow, asked: TimelineQuestion, nodes: readonly string[] | undefined): boolean {
  if (asked.type === undefined ? entry.type === 'held' : !asked.type.includes(entry.type)) return false;
  if (nodes !== undefined && !nodes.includes(node)) return false;
  if (asked.service !== undefined && container.service !== asked.service) return false;
  if (asked.container !== undefined && container.name !== asked.container && container.id?.startsWith(asked.container) !== true) return false;
  return asked.secret === undefined || pathsOf(entry).includes(asked.secret);
}
