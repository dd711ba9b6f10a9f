// Who holds which secret now, who held it, in which version, since when: `GET sys/usage` (PROTOCOL.md 1.7). Every answer is
// bounded in rows, in size and in the blocks of history it opens; one that was cut short says where it goes on.

import { z } from 'zod';

import type { JsonObject } from '../../core/logical.ts';
import { PurserError } from '../../lib/errors.ts';
import type { ScanBudget } from '../history/history.ts';
import { aboutShape, cursor, flag, limit, MAX_ANSWER, MAX_ROWS, positionText, text, timeOf } from './parameters.ts';
import { isNeverRead } from './overview.ts';
import { holdingJson, type Found } from './row-json.ts';
import type { About, HoldingSources, Item } from './sources.ts';

/** Blocks of history opened for one answer: about a second. */
const MAX_BLOCKS = 256;

export const holdingsSchema = z.strictObject({
  ...aboutShape,
  /** Also what was released. */
  released: flag.optional(),
  /** RFC 3339, or a duration before now: what was held at some time between the two. */
  since: text.optional(), until: text.optional(),
  /** Only what was granted as a file and never read. */
  unread: flag.optional(),
  limit: limit.default(MAX_ROWS), after: cursor.optional(),
}).refine(({ secret, container, node, service }) => [secret, container, node, service].filter((one) => one !== undefined).length <= 1, 'takes one of secret, container, node and service');
export type HoldingsQuestion = z.output<typeof holdingsSchema>;

export interface HoldingsOptions {
  readonly sources: HoldingSources;
  readonly now: () => number;
  /** All nodes that bear or bore the name, or have it as their id. */
  readonly findNodes: (nameOrId: string) => readonly string[];
}

const STAGES = ['live', 'ended', 'past'] as const;
type Stage = (typeof STAGES)[number];

export class HoldingsQuery {
  readonly #options: HoldingsOptions;

  constructor(options: HoldingsOptions) {
    this.#options = options;
  }

  /** @throws ERR_REQUEST_INVALID, ERR_DURATION_SYNTAX */
  async answer(asked: HoldingsQuestion): Promise<JsonObject> {
    const holdings: JsonObject[] = [];
    let length = 0;
    const next = await this.collect(asked, (found) => {
      const data = holdingJson(found);
      length += JSON.stringify(data).length;
      holdings.push(data);
      return holdings.length < asked.limit && length < MAX_ANSWER;
    });
    return next === undefined ? { holdings } : { holdings, truncated: true, next };
  }

  /**
   * Hands out what the question is about until `take` has enough.
   * @param take false: no more; what belongs to the same item is still given
   * @returns where to go on, or undefined at the end
   */
  async collect(asked: HoldingsQuestion, take: (found: Found) => boolean): Promise<string | undefined> {
    const now = this.#options.now();
    const since = asked.since === undefined ? undefined : timeOf(asked.since, 'since', now);
    const until = asked.until === undefined ? Infinity : timeOf(asked.until, 'until', now);
    const withReleased = asked.released === true || since !== undefined || asked.until !== undefined;
    const isWanted = ({ holding, holding: { released, granted } }: Found) =>
      (released === null || (withReleased && released >= (since ?? 0))) && (granted === null || granted <= until) && (asked.unread !== true || isNeverRead(holding));
    const budget: ScanBudget = { blocksLeft: MAX_BLOCKS };
    const [begin, after] = placeIn(asked.after);
    for (const stage of STAGES.slice(STAGES.indexOf(begin), withReleased ? undefined : 1)) {
      for await (const { cursor: at, found } of this.#items(stage, asked, { since: since ?? 0, until }, stage === begin ? after : undefined, budget)) {
        const isEnough = found.filter(isWanted).map(take).includes(false);
        if (isEnough) return `${stage}:${at}`;
      }
      if (budget.stoppedAt !== undefined) return `${stage}:${positionText(budget.stoppedAt)}`;
    }
    return undefined;
  }

  #items(stage: Stage, { secret, container, node, service }: HoldingsQuestion, span: { readonly since: number; readonly until: number }, after: string | undefined, budget: ScanBudget): AsyncIterable<Item> {
    const { sources, findNodes } = this.#options;
    const about: About = { secret, container, service, nodes: node === undefined ? undefined : findNodes(node) };
    if (stage === 'live') return sources.live(about, after);
    return stage === 'ended' ? sources.ended(about, after) : sources.past(about, span, after, budget);
  }
}

function placeIn(after: string | undefined): readonly [Stage, string | undefined] {
  if (after === undefined) return ['live', undefined];
  const [name = '', ...rest] = after.split(':');
  const stage = STAGES.find((known) => known === name);
  if (stage === undefined) throw new PurserError('ERR_REQUEST_INVALID', 'after is not what a page before gave as next');
  return [stage, rest.join(':')];
}
