// The ledger's way out (PROTOCOL.md 1.7): who holds which secret in which version, who held it, and what nobody holds. Every
// question is answered from an index and bounded; an answer that was cut short says so.

import { z } from 'zod';

import type { JsonObject, JsonValue } from '../core/logical.ts';
import type { View } from '../core/view.ts';
import { parseDuration } from '../lib/duration.ts';
import { PurserError } from '../lib/errors.ts';
import { decodeRecord } from '../lib/json-record.ts';
import { validate } from '../wire/validate.ts';
import { containerSchema, hash, holdingSchema, keys, parseIndexName, releaseTime, type ContainerRecord, type Holding, type HoldingKey, type ProcessCount, type RotateAction } from './record.ts';

const DEFAULT_LIMIT = 10_000;
/** Of one answer, in characters of JSON; a client takes 32 MiB. */
const MAX_ANSWER = 16 * 1024 * 1024;
const PAGE = 256;
/** `purser usage --container` takes what `docker ps` shows. */
const SHORTEST_CONTAINER_ID = 12;

const text = z.string().min(1).max(4096);
const flag = z.union([z.boolean(), z.enum(['true', 'false']).transform((value) => value === 'true')]);
const querySchema = z.strictObject({
  secret: text.optional(),
  /** Full id, its first 12 or more digits, or a name. */
  container: text.optional(),
  node: text.optional(),
  unused: flag.optional(),
  /** Also what was released. */
  released: flag.optional(),
  /** RFC 3339, or a duration before now: what was held at some time since then. */
  since: text.optional(),
  limit: z.coerce.number().int().min(1).max(DEFAULT_LIMIT).default(DEFAULT_LIMIT),
}).refine((query) => [query.secret, query.container, query.node, query.unused === true ? query.unused : undefined].filter((filter) => filter !== undefined).length <= 1,
  'takes one of secret, container, node and unused');

export interface QueryOptions {
  readonly view: View;
  readonly now: () => number;
  /** All nodes that bear or bore the name, or have it as their id. */
  readonly findNodes: (nameOrId: string) => readonly string[];
  /** Every secret path of every mount that references can name. */
  readonly secretPaths: () => AsyncIterable<string>;
}

interface Found { readonly key: HoldingKey; readonly holding: Holding; readonly container: ContainerRecord }
interface Filter { readonly since: number | undefined; readonly withReleased: boolean }

export class LedgerQuery {
  readonly #options: QueryOptions;

  constructor(options: QueryOptions) {
    this.#options = options;
  }

  /**
   * Answers one question.
   * @param query the parameters of `GET sys/usage`
   * @throws ERR_REQUEST_INVALID
   */
  async answer(query: JsonObject): Promise<JsonObject> {
    const asked = validate(querySchema, query, 'usage query');
    const since = asked.since === undefined ? undefined : this.#time(asked.since);
    if (asked.unused === true) return this.#unused(since, asked.limit);
    const filter = { since, withReleased: asked.released === true || since !== undefined };
    const keysFound = asked.secret !== undefined ? this.#bySecret(asked.secret, filter)
      : asked.container !== undefined ? this.#byContainer(asked.container)
        : asked.node !== undefined ? this.#byNodes(this.#options.findNodes(asked.node), filter) : this.#byNodes(undefined, filter);
    return this.#collect(keysFound, filter, asked.limit);
  }

  async #collect(found: AsyncIterable<HoldingKey>, { since, withReleased }: Filter, limit: number): Promise<JsonObject> {
    const holdings: JsonObject[] = [];
    const containers = new Map<string, ContainerRecord>();
    let length = 0;
    for await (const key of found) {
      const one = await this.#load(key, containers);
      if (one === undefined) continue;
      const { released } = one.holding;
      if (released !== null && (!withReleased || released < (since ?? 0))) continue;
      const data = holdingData(one);
      length += JSON.stringify(data).length;
      if (holdings.length >= limit || length > MAX_ANSWER) return { holdings, truncated: true };
      holdings.push(data);
    }
    return { holdings };
  }

  async #load(key: HoldingKey, containers: Map<string, ContainerRecord>): Promise<Found | undefined> {
    const bytes = await this.#options.view.get(keys.holding(key));
    if (bytes === undefined) return undefined;
    const containerKey = keys.container(key.container, key.node);
    let container = containers.get(containerKey);
    if (container === undefined) {
      const stored = await this.#options.view.get(containerKey);
      if (stored === undefined) return undefined;
      containers.set(containerKey, (container = decodeRecord(stored, containerSchema, 'ledger container')));
    }
    return { key, container, holding: decodeRecord(bytes, holdingSchema, 'ledger holding') };
  }

  async *#bySecret(path: string, { withReleased }: Filter): AsyncGenerator<HoldingKey> {
    for await (const name of this.#names(`live/${hash(path)}/`)) yield parseIndexName(name);
    if (withReleased) for await (const name of this.#names(`past/${hash(path)}/`)) yield parseIndexName(name);
  }

  async *#byContainer(wanted: string): AsyncGenerator<HoldingKey> {
    const isId = /^[0-9a-f]+$/.test(wanted) && wanted.length >= SHORTEST_CONTAINER_ID;
    const byId = isId ? await this.#containersById(wanted) : [];
    for (const { container, node } of byId.length > 0 ? byId : await this.#containersByName(wanted)) yield* this.#ofContainer(node, container);
  }

  async *#byNodes(nodes: readonly string[] | undefined, { withReleased }: Filter): AsyncGenerator<HoldingKey> {
    const root = withReleased ? 'holding/' : 'running/';
    for await (const node of nodes ?? this.#names(root)) {
      const id = node.replace(/\/$/, '');
      for await (const container of this.#names(`${root}${id}/`)) yield* this.#ofContainer(id, container.replace(/\/$/, ''));
    }
  }

  async *#ofContainer(node: string, container: string): AsyncGenerator<HoldingKey> {
    for await (const holding of this.#names(`holding/${node}/${container}/`)) yield { node, container, holding };
  }

  async #containersById(prefix: string): Promise<{ container: string; node: string }[]> {
    const found: { container: string; node: string }[] = [];
    for await (const name of this.#names('container/', prefix)) {
      const container = name.replace(/\/$/, '');
      if (!container.startsWith(prefix)) break;
      for await (const node of this.#names(`container/${container}/`)) found.push({ container, node });
    }
    return found;
  }

  async #containersByName(name: string): Promise<{ container: string; node: string }[]> {
    const found: { container: string; node: string }[] = [];
    for await (const entry of this.#names(`name/${hash(name)}/`)) {
      const [container = '', node = ''] = entry.split('.');
      found.push({ container, node });
    }
    return found;
  }

  async #unused(since: number | undefined, limit: number): Promise<JsonObject> {
    const unused: string[] = [];
    for await (const path of this.#options.secretPaths()) {
      if (await this.#isUsed(path, since)) continue;
      if (unused.length >= limit) return { holdings: [], unused, truncated: true };
      unused.push(path);
    }
    return { holdings: [], unused };
  }

  /** Held now or, when a time is given, at some time since. */
  async #isUsed(path: string, since: number | undefined): Promise<boolean> {
    const { view } = this.#options;
    if ((await view.list(`live/${hash(path)}/`, { limit: 1 })).length > 0) return true;
    if (since === undefined) return false;
    const [latest] = await view.list(`past/${hash(path)}/`, { limit: 1 });
    return latest !== undefined && releaseTime(latest) >= since;
  }

  /** Names below `prefix`, page by page. @param after begin past this name */
  async *#names(prefix: string, after?: string): AsyncGenerator<string> {
    for (let last = after; ;) {
      const page = await this.#options.view.list(prefix, last === undefined ? { limit: PAGE } : { after: last, limit: PAGE });
      yield* page;
      if (page.length < PAGE) return;
      last = page.at(-1);
    }
  }

  #time(text: string): number {
    const time = z.iso.datetime({ offset: true }).safeParse(text).success ? Date.parse(text) : this.#options.now() - parseDuration(text);
    if (Number.isNaN(time)) throw new PurserError('ERR_REQUEST_INVALID', 'since is a time (2026-01-31T00:00:00Z) or a duration (720h)');
    return time;
  }
}

function holdingData({ key, container, holding }: Found): JsonObject {
  return {
    node: container.node_name, node_id: key.node, container_id: key.container, container: container.name, image: container.image,
    ...present({ service: container.service, stack: container.stack, task_id: container.task_id }),
    path: holding.path, ...present({ field: holding.field }), target: holding.target, version: holding.version,
    granted_time: timeText(holding.granted), rotated_time: timeText(holding.rotated), released_time: timeText(holding.released), released_reason: holding.reason,
    opens: holding.opens, last_opened_time: timeText(holding.last_opened), processes: holding.processes.map(processData),
    refused: container.refused, refused_processes: container.processes.map(processData),
    ...(container.action === undefined ? {} : { on_rotate: actionData(container.action) }),
    ...(holding.unknown ? { unknown: true } : {}), ...(holding.clock_adjusted ? { clock_adjusted: true } : {}),
  };
}

function actionData({ action, outcome, exit_code, attempt, duration_ms, message, time }: RotateAction): JsonObject {
  return { action, outcome, ...present({ exit_code }), attempt, duration_ms, ...present({ message }), time: timeText(time) };
}

function processData({ executable, name, uid, pid, count, first, last }: ProcessCount): JsonObject {
  return { executable, name, uid, pid, count, first_time: timeText(first), last_time: timeText(last) };
}

function present(fields: Readonly<Record<string, JsonValue | undefined>>): JsonObject {
  return Object.fromEntries(Object.entries(fields).filter((entry): entry is [string, JsonValue] => entry[1] !== undefined));
}

function timeText(milliseconds: number | null): string | null {
  return milliseconds === null ? null : new Date(milliseconds).toISOString();
}
