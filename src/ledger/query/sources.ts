// Where holdings are: the indexes of what is live, what ended a moment ago and is not in the history yet, and the history. Each
// source gives items in its own order, one after the other, and can go on behind any of them.

import type { View } from '../../core/view.ts';
import { decodeRecord } from '../../lib/json-record.ts';
import type { History, ScanBudget } from '../history/history.ts';
import { SHORT_ID, type HistoryRow, type Subject } from '../history/row.ts';
import { namesBelow } from '../names.ts';
import { containerSchema, hash, holdingSchema, keys, parseDueName, parseLiveName, type ContainerRecord, type HoldingKey } from '../record.ts';
import { positionOf, positionText } from './parameters.ts';
import type { Found } from './row-json.ts';

/** What a question is about; at most one of them. Nodes are ids; a container is an id, the first digits of one, or a name. */
export interface About {
  readonly secret?: string | undefined;
  readonly container?: string | undefined;
  readonly nodes?: readonly string[] | undefined;
  readonly service?: string | undefined;
}

/** One step of a source: what was found, and how to go on behind it. */
export interface Item { readonly cursor: string; readonly found: readonly Found[] }

/** Containers whose ids begin alike. */
const FEW = 8;

interface Place { readonly node: string; readonly container: string }

export class HoldingSources {
  readonly #view: View;
  readonly #history: History;

  constructor(view: View, history: History) {
    this.#view = view;
    this.#history = history;
  }

  /** What is held now; of a named container also what it let go of a moment ago. */
  async *live(about: About, after: string | undefined): AsyncGenerator<Item> {
    if (about.secret !== undefined) {
      const containers = new Map<string, ContainerRecord>();
      for await (const name of namesBelow(this.#view, keys.livePrefix(about.secret), after)) {
        const key = parseLiveName(name);
        yield { cursor: name, found: await this.#load(key, containers) };
      }
      return;
    }
    for await (const [cursor, place] of this.#places(about, after)) yield { cursor, found: await this.#ofContainer(place) };
  }

  /** The holdings of a secret now, without what is known of their containers: half the reads of live(). */
  async *ofSecret(path: string): AsyncGenerator<Omit<Found, 'container'>> {
    for await (const name of namesBelow(this.#view, keys.livePrefix(path))) {
      const key = parseLiveName(name);
      const bytes = await this.#view.get(keys.holding(key));
      if (bytes !== undefined) yield { key, holding: decodeRecord(bytes, holdingSchema, 'ledger holding') };
    }
  }

  /** One of them with its container; undefined when it is gone. */
  async find(key: HoldingKey): Promise<Found | undefined> {
    return (await this.#load(key, new Map()))[0];
  }

  /** What ended a moment ago and is not in the history yet. */
  async *ended(about: About, after: string | undefined): AsyncGenerator<Item> {
    // A named container is found by live() as a whole.
    if (about.container !== undefined) return;
    for await (const name of namesBelow(this.#view, 'due/', after)) {
      const place = parseDueName(name);
      if (about.nodes !== undefined && !about.nodes.includes(place.node)) continue;
      const found = (await this.#ofContainer(place)).filter(({ holding, container }) => holding.released !== null
        && (about.secret === undefined || holding.path === about.secret) && (about.service === undefined || container.service === about.service));
      yield { cursor: name, found };
    }
  }

  /** What is in the history. @param span nothing that was released before, or granted after it, is wanted, in milliseconds since the epoch */
  async *past(about: About, { since, until }: { readonly since: number; readonly until: number }, after: string | undefined, budget: ScanBudget): AsyncGenerator<Item> {
    const before = after === undefined ? undefined : positionOf(after);
    const nodes = about.nodes?.length === 1 ? about.nodes : undefined;
    const subjects: Subject[] = [];
    if (about.secret !== undefined) subjects.push(`stay:secret:${about.secret}`);
    if (about.service !== undefined) subjects.push(`stay:service:${about.service}`);
    if (about.container !== undefined) subjects.push(isContainerId(about.container) ? `container:${about.container.slice(0, SHORT_ID)}` : `name:${about.container}`);
    for (const node of nodes ?? []) subjects.push(`stay:node:${node}`);
    subjects.push('stay:any');
    for await (const row of this.#history.scan({ from: since, to: Number.MAX_SAFE_INTEGER, subjects, grantedUntil: until, before, budget })) {
      yield { cursor: positionText(row), found: foundIn(row, about) };
    }
  }

  async *#places(about: About, after: string | undefined): AsyncGenerator<readonly [string, Place]> {
    if (about.container !== undefined) yield* cursored(this.#named(about.container), after);
    else if (about.service !== undefined) yield* this.#ofService(about.service, after);
    else yield* this.#running(about.nodes, after);
  }

  async *#ofService(service: string, after: string | undefined): AsyncGenerator<readonly [string, Place]> {
    for await (const name of namesBelow(this.#view, `service/${hash(service)}/`, after)) yield [name, placeOf(name)];
  }

  async *#running(nodes: readonly string[] | undefined, after: string | undefined): AsyncGenerator<readonly [string, Place]> {
    const [afterNode = '', afterContainer] = after?.split('.') ?? [];
    for (const node of nodes === undefined ? (await this.#view.list('running/')).map((name) => name.replace(/\/$/, '')) : [...nodes].sort()) {
      if (node < afterNode) continue;
      for await (const container of namesBelow(this.#view, `running/${node}/`, node === afterNode ? afterContainer : undefined)) yield [`${node}.${container}`, { node, container }];
    }
  }

  async *#named(wanted: string): AsyncGenerator<readonly [string, Place]> {
    let isFound = false;
    for await (const one of isContainerId(wanted) ? this.#byId(wanted) : []) {
      isFound = true;
      yield one;
    }
    if (isFound) return;
    for await (const name of namesBelow(this.#view, `name/${hash(wanted)}/`)) yield [name, placeOf(name)];
  }

  async *#byId(prefix: string): AsyncGenerator<readonly [string, Place]> {
    for await (const name of namesBelow(this.#view, 'container/', prefix.slice(0, -1), FEW)) {
      const container = name.replace(/\/$/, '');
      if (container > `${prefix}g`) return;
      if (!container.startsWith(prefix)) continue;
      for (const node of await this.#view.list(`container/${container}/`)) yield [`${container}.${node}`, { container, node }];
    }
  }

  async #ofContainer({ node, container }: Place): Promise<Found[]> {
    const containers = new Map<string, ContainerRecord>();
    const found: Found[] = [];
    for (const holding of await this.#view.list(`holding/${node}/${container}/`)) found.push(...await this.#load({ node, container, holding }, containers));
    return found;
  }

  async #load(key: HoldingKey, containers: Map<string, ContainerRecord>): Promise<Found[]> {
    const bytes = await this.#view.get(keys.holding(key));
    if (bytes === undefined) return [];
    const containerKey = keys.container(key.container, key.node);
    let container = containers.get(containerKey);
    if (container === undefined) {
      const stored = await this.#view.get(containerKey);
      if (stored === undefined) return [];
      containers.set(containerKey, (container = decodeRecord(stored, containerSchema, 'ledger container')));
    }
    return [{ key, container, holding: decodeRecord(bytes, holdingSchema, 'ledger holding') }];
  }
}

/** `purser usage --container` takes what `docker ps` shows. */
export function isContainerId(text: string): boolean {
  return text.length >= SHORT_ID && text.length <= 64 && /^[0-9a-f]+$/.test(text);
}

/** The holdings of a stay that a question is about. */
function foundIn({ node, node_name, container: facts, entry }: HistoryRow, about: About): Found[] {
  if (entry.type !== 'held') return [];
  const { id = '', name, image, service, stack, task_id } = facts;
  if (about.container !== undefined && !id.startsWith(about.container) && name !== about.container) return [];
  if (about.service !== undefined && service !== about.service) return [];
  if (about.nodes !== undefined && !about.nodes.includes(node)) return [];
  const container = { node_name, name, image, service, stack, task_id, refused: entry.refused, processes: [...entry.processes], action: entry.action };
  return entry.secrets.filter(({ path }) => about.secret === undefined || path === about.secret)
    .map((holding) => ({ key: { node, container: id, holding: '' }, container, holding: { ...holding, processes: [...holding.processes] } }));
}

/** A name below `name/…/` or `service/…/`. */
function placeOf(name: string): Place {
  const [container = '', node = ''] = name.split('.');
  return { container, node };
}

async function* cursored(found: AsyncIterable<readonly [string, Place]>, after: string | undefined): AsyncGenerator<readonly [string, Place]> {
  let isBehind = after === undefined;
  for await (const one of found) {
    if (isBehind) yield one;
    else isBehind = one[0] === after;
  }
}
