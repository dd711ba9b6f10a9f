// The usage of secrets, composed: the ledger and its history, the questions about them, rotations under way, refusals, and the
// live updates. Made when the core is unsealed, closed when it is sealed or stops.

import type { NodeRegistry } from '../../auth/node/registry.ts';
import type { WorkloadRoles } from '../../auth/node/roles.ts';
import type { JsonObject, SecretFacts } from '../../core/logical.ts';
import type { View } from '../../core/view.ts';
import { Activity } from '../../ledger/activity.ts';
import { History, type HistoryLimits, type HistorySize } from '../../ledger/history/history.ts';
import type { HistoryRow } from '../../ledger/history/row.ts';
import { pathsOf } from '../../ledger/history/row.ts';
import { Ledger } from '../../ledger/ledger.ts';
import { activityAnswer, activitySchema } from '../../ledger/query/activity.ts';
import { HoldingsQuery, holdingsSchema } from '../../ledger/query/holdings.ts';
import { matrix, totals, type Totals } from '../../ledger/query/overview.ts';
import { readers } from '../../ledger/query/readers.ts';
import { behindJson, rotationStatus, statusJson, type Behind } from '../../ledger/query/rotation-status.ts';
import { historyJson } from '../../ledger/query/row-json.ts';
import { HoldingSources } from '../../ledger/query/sources.ts';
import { staleHoldings, staleSchema } from '../../ledger/query/stale.ts';
import { Timeline, timelineSchema } from '../../ledger/query/timeline.ts';
import { unusedSchema, unusedSecrets } from '../../ledger/query/unused.ts';
import { RotationRecords } from '../../ledger/rotation-records.ts';
import { Rotations, type Rotation } from '../../ledger/rotations.ts';
import { Counts, Latency, single, type Family } from '../../lib/metrics.ts';
import type { Acl } from '../../policy/acl.ts';
import type { Policy } from '../../policy/policy.ts';
import { validate } from '../../wire/validate.ts';
import { Alarms } from '../notify/alarms.ts';
import type { NewEvent } from '../notify/event.ts';
import { Denials } from './denials.ts';
import { EventStreams } from './event-streams.ts';
import { rationed } from './rationed.ts';
import { roleReport, roleReportSchema } from './role-report.ts';
import { RoleUse } from './role-use.ts';

const DAY_MS = 24 * 3600_000;
export const DEFAULT_HISTORY_LIMITS: HistoryLimits = { maxAgeMs: 90 * DAY_MS, maxBytes: 2 * 1024 ** 3 };
/** How often what changed is told to the page, in milliseconds. */
const GATHER_MS = 1_000;
const MAX_TOLD = 200;
/** How long a size of the history is shown, in milliseconds. */
const SIZE_MS = 5 * 60_000;
/** Containers with an old version that a rotation's status names. */
const MAX_BEHIND = 500;

const refusalsSchema = timelineSchema.omit({ type: true });

export interface UsageOptions {
  readonly view: View;
  readonly now: () => number;
  readonly limits?: HistoryLimits;
  readonly registry: Pick<NodeRegistry, 'all'>;
  readonly roles: Pick<WorkloadRoles, 'names' | 'get'>;
  readonly isConnected: (nodeId: string) => boolean;
  /** Every secret path that a reference can name. */
  readonly secretPaths: () => AsyncIterable<string>;
  readonly describeSecret: (path: string) => Promise<SecretFacts | undefined>;
  readonly policyPath: (secret: string) => string | undefined;
  readonly acl: (policies: readonly string[]) => Acl;
  readonly readPolicy: (name: string) => Policy | undefined;
  readonly isLiveToken: (tokenId: string) => Promise<boolean>;
  /** Tells operators; undefined when nobody is to be told. */
  readonly notify?: ((event: NewEvent) => void) | undefined;
  readonly onHolding: (nodeId: string, containerId: string, isHolding: boolean) => void;
  readonly onFault: (error: unknown) => void;
  /** Told how many blocks of history of a day were indexed: after an upgrade that may be all of them, one day after the other. */
  readonly onIndexed?: ((day: string, blocks: number) => void) | undefined;
}

export class Usage {
  readonly ledger: Ledger;
  readonly denials: Denials;
  readonly roleUse: RoleUse;
  readonly streams: EventStreams;
  readonly rotations: Rotations;
  readonly #activity: Activity;
  readonly #history: History;
  readonly #options: UsageOptions;
  readonly #sources: HoldingSources;
  readonly #holdings: HoldingsQuery;
  readonly #timeline: Timeline;
  readonly #touched = { secrets: new Set<string>(), containers: new Set<string>() };
  readonly #alarms: Alarms | undefined;
  readonly #entries = new Counts('type');
  readonly #rotationTimes = new Latency();
  readonly #totals: () => Promise<Totals>;
  readonly #matrix: () => Promise<JsonObject>;
  #size: HistorySize | undefined;
  #sizeTaken = -Infinity;
  #telling: NodeJS.Timeout | undefined;

  private constructor(options: UsageOptions, roleUse: RoleUse) {
    const { view, now, onFault, onHolding } = options;
    this.#options = options;
    this.roleUse = roleUse;
    const limits = options.limits ?? DEFAULT_HISTORY_LIMITS;
    this.#history = new History({ view, now, limits });
    this.#activity = new Activity({ view, now, maxAgeMs: limits.maxAgeMs });
    this.ledger = new Ledger({ view, now, history: this.#history, activity: this.#activity, onHolding, onFault, onRows: (rows) => this.#noticed(rows) });
    this.denials = new Denials({ record: (row) => this.ledger.record(row), now, onFault });
    this.#sources = new HoldingSources(view, this.#history);
    this.#totals = rationed(() => totals(this.#sources));
    this.#matrix = rationed(() => matrix(this.#sources));
    const findNodes = (wanted: string) => options.registry.all().filter(({ id, name }) => id === wanted || name === wanted).map(({ id }) => id);
    this.#holdings = new HoldingsQuery({ sources: this.#sources, now, findNodes });
    this.#timeline = new Timeline({ history: this.#history, now, findNodes });
    this.rotations = new Rotations({ sources: this.#sources, records: new RotationRecords(view.sub('rotation/')), currentVersion: options.describeSecret, now, onFault, onProgress: (rotation) => this.#progressed(rotation) });
    this.#alarms = options.notify && new Alarms({ ...options, notify: options.notify, nodes: () => options.registry.all(), rotations: () => this.rotations.list() });
    this.streams = new EventStreams({ now, isLive: options.isLiveToken, first: () => this.rotations.list().map((rotation) => ['rotation', rotationJson(rotation)]) });
  }

  /** @throws ERR_RECORD_INVALID, ERR_BARRIER_* */
  static async open(options: UsageOptions): Promise<Usage> {
    const usage = new Usage(options, await RoleUse.load(options.view.sub('role/'), options.now, options.onFault));
    await usage.rotations.resume();
    // In the background: a core answers before it has looked at all that is held.
    void usage.rotations.discover().catch(options.onFault);
    return usage;
  }

  /** `GET sys/usage`: who holds what. `unused` asks the other way round. @throws ERR_REQUEST_INVALID, ERR_DURATION_SYNTAX; so do all below */
  async holdings({ unused, ...query }: JsonObject): Promise<JsonObject> {
    if (unused !== true && unused !== 'true') return this.#holdings.answer(validate(holdingsSchema, unused === undefined || unused === false || unused === 'false' ? query : { ...query, unused }, 'usage query'));
    const { secrets, ...rest } = await this.unused(query);
    return { holdings: [], unused: (secrets as readonly { readonly secret: string }[]).map(({ secret }) => secret), ...rest };
  }

  async history(query: JsonObject): Promise<JsonObject> {
    return this.#timeline.answer(validate(timelineSchema, query, 'usage history query'));
  }

  async denied(query: JsonObject): Promise<JsonObject> {
    return this.#timeline.answer({ ...validate(refusalsSchema, query, 'usage query about refusals'), type: ['denied', 'refused'] });
  }

  /** How much was read and refused, step by step. */
  async activity(query: JsonObject): Promise<JsonObject> {
    return activityAnswer(this.#activity, validate(activitySchema, query, 'usage query about activity'), this.#options.now());
  }

  async processes(query: JsonObject): Promise<JsonObject> {
    return readers(this.#holdings, validate(holdingsSchema, query, 'usage query about processes'));
  }

  async unused(query: JsonObject): Promise<JsonObject> {
    return unusedSecrets(this.#options, validate(unusedSchema, query, 'usage query'));
  }

  async stale(query: JsonObject): Promise<JsonObject> {
    return staleHoldings(this.#holdings, validate(staleSchema, query, 'usage query about rotations'), async (path) => (await this.#options.describeSecret(path))?.version);
  }

  async roles(query: JsonObject): Promise<JsonObject> {
    return roleReport({ ...this.#options, use: this.roleUse }, validate(roleReportSchema, query, 'usage query about roles'));
  }

  /** How far the rotation of one secret has come. */
  async rotation(path: string): Promise<JsonObject | undefined> {
    const facts = await this.#options.describeSecret(path);
    if (facts === undefined) return undefined;
    const behind: Behind[] = [];
    const status = await rotationStatus(this.#sources, path, facts.version, behind, MAX_BEHIND);
    const followed = this.rotations.list().find((rotation) => rotation.path === path);
    return { ...statusJson(status), ...(followed === undefined ? {} : times(followed)), behind: behind.map((one) => behindJson(one, facts.version)) };
  }

  async rotationsUnderWay(): Promise<JsonObject> {
    return { rotations: this.rotations.list().map(rotationJson) };
  }

  async matrix(): Promise<JsonObject> {
    return this.#matrix();
  }

  async overview(): Promise<JsonObject> {
    const { now, registry, isConnected } = this.#options;
    const [held, size, refusals] = await Promise.all([this.#totals(), this.#history.size(), this.denied({ since: '24h' })]);
    return {
      containers: held.containers, secrets: held.secrets, holdings: held.holdings, never_read: held.neverRead, ...(held.isCut ? { truncated: true } : {}),
      nodes: registry.all().map(({ id, name, revoked, last_seen: seen, version }) => ({ id, name, version, is_connected: isConnected(id), is_revoked: revoked !== undefined, last_seen_time: seen === undefined ? null : new Date(seen).toISOString() })),
      rotations: this.rotations.list().map(rotationJson),
      refused_last_day: (refusals['entries'] as readonly JsonObject[]).length, refused_last_day_is_more: refusals['truncated'] === true,
      history: { entries: size.rows, bytes: size.bytes, oldest_day: size.oldestDay ?? null, max_bytes: (this.#options.limits ?? DEFAULT_HISTORY_LIMITS).maxBytes },
      server_time: new Date(now()).toISOString(),
    };
  }

  async families(): Promise<Family[]> {
    const { registry, isConnected, now } = this.#options;
    const states = { connected: 0, lost: 0, revoked: 0 };
    for (const { id, revoked } of registry.all()) states[revoked !== undefined ? 'revoked' : isConnected(id) ? 'connected' : 'lost']++;
    const underWay = this.rotations.list().filter(({ finished }) => finished === undefined);
    const oldest = underWay.map(({ started }) => (now() - started) / 1000).reduce((a, b) => Math.max(a, b), 0);
    // A listing of all blocks: not at every scrape.
    if (now() - this.#sizeTaken > SIZE_MS) [this.#size, this.#sizeTaken] = [await this.#history.size(), now()];
    return [
      { name: 'purser_nodes', help: 'Nodes by state; lost ones have no watch stream', type: 'gauge', values: Object.entries(states).map(([state, value]) => ({ labels: { state }, value })) },
      single('purser_rotations_under_way', 'Rotations that have not reached every container', 'gauge', underWay.length),
      single('purser_rotation_oldest_seconds', 'Age of the oldest rotation that has not reached every container', 'gauge', oldest),
      { name: 'purser_rotation_seconds', help: 'Time until a rotation had reached every container', type: 'histogram', values: this.#rotationTimes.values() },
      { name: 'purser_usage_entries_total', help: 'What the ledger took, by type; denied is what the core refused, refused what an agent did', type: 'counter', values: this.#entries.values() },
      single('purser_usage_history_entries', 'Rows of the history of usage', 'gauge', this.#size?.rows ?? 0),
      single('purser_usage_history_bytes', 'Size of the history of usage', 'gauge', this.#size?.bytes ?? 0),
      single('purser_usage_event_clients', 'Clients of the live updates', 'gauge', this.streams.clients),
    ];
  }

  /** A secret has a new version, which is durable. */
  changed(path: string, version: number): void {
    this.rotations.changed(path, version);
  }

  /** Moves what ended into the history, and what was counted of hours that are over into their days; every minute. */
  async sweep(): Promise<void> {
    await this.ledger.archive();
    await this.denials.sweep();
    this.#alarms?.sweep();
    await this.#activity.merge();
  }

  /** Merges the blocks of days that are over, deletes what is too old or too much; every hour. */
  async prune(): Promise<void> {
    const { now, limits = DEFAULT_HISTORY_LIMITS } = this.#options;
    await this.#history.tidy(this.#options.onIndexed);
    await this.#history.prune();
    await this.#activity.prune();
    await this.ledger.pruneUsed(now() - limits.maxAgeMs);
  }

  async close(): Promise<void> {
    clearTimeout(this.#telling);
    this.rotations.close();
    this.streams.close();
    await this.denials.sweep(true);
  }

  #progressed(rotation: Rotation): void {
    if (rotation.finished !== undefined) this.#rotationTimes.observe((rotation.finished - rotation.started) / 1000);
    this.streams.send('rotation', rotationJson(rotation));
  }

  #noticed(rows: readonly HistoryRow[]): void {
    this.rotations.noticed(rows);
    this.#alarms?.noticed(rows);
    for (const { entry } of rows) this.#entries.add(entry.type);
    if (this.streams.clients === 0) return;
    for (const row of rows) {
      if (row.entry.type === 'refused' || row.entry.type === 'denied') this.streams.send(row.entry.type, historyJson(row));
      for (const path of pathsOf(row.entry)) if (this.#touched.secrets.size < MAX_TOLD) this.#touched.secrets.add(path);
      if (row.container.id !== undefined && this.#touched.containers.size < MAX_TOLD) this.#touched.containers.add(row.container.id);
    }
    this.#telling ??= setTimeout(() => this.#tell(), GATHER_MS).unref();
  }

  /** Names what to look at again; the page asks for what it shows. */
  #tell(): void {
    this.#telling = undefined;
    const { secrets, containers } = this.#touched;
    this.streams.send('holdings', { secrets: [...secrets], containers: [...containers] });
    secrets.clear();
    containers.clear();
  }
}

export function rotationJson(rotation: Rotation): JsonObject {
  return { ...statusJson(rotation), ...times(rotation) };
}

function times({ started, finished }: Rotation): JsonObject {
  return { started_time: new Date(started).toISOString(), finished_time: finished === undefined ? null : new Date(finished).toISOString() };
}
