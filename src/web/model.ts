// The answers of `GET sys/usage…` and `GET sys/audit/log` (PROTOCOL.md 1.7) as the page uses them, and what it makes of them: pure functions.

export interface ProcessCount { readonly executable: string; readonly name: string; readonly uid: number; readonly pid: number; readonly count: number; readonly first_time: string; readonly last_time: string }

export interface Holding {
  readonly node: string;
  readonly container_id: string;
  readonly container: string;
  readonly image: string;
  readonly service?: string;
  readonly path: string;
  readonly field?: string;
  readonly target: string;
  readonly version: number;
  readonly granted_time: string | null;
  readonly rotated_time: string | null;
  readonly released_time: string | null;
  readonly released_reason: string | null;
  readonly opens: number;
  readonly last_opened_time: string | null;
  readonly processes: readonly ProcessCount[];
  readonly pinned?: boolean;
  readonly needs_restart?: boolean;
}

export interface Holdings { readonly holdings: readonly Holding[]; readonly truncated?: boolean }

/** How far a rotation has come, counted in containers. */
export interface Rotation { readonly path: string; readonly version: number; readonly total: number; readonly current: number; readonly need_restart: number; readonly started_time?: string; readonly finished_time?: string | null }

/** A line of history. Which fields there are depends on `type`. */
export interface Entry {
  readonly time: string;
  readonly type: string;
  readonly node: string;
  readonly container: string;
  readonly container_id?: string;
  readonly path?: string;
  readonly version?: number;
  readonly count?: number;
  readonly process?: { readonly executable: string; readonly name: string; readonly uid: number };
  readonly reason?: string;
  readonly message?: string;
  readonly action?: string;
  readonly outcome?: string;
  readonly secrets?: readonly { readonly path: string; readonly field?: string; readonly version: number; readonly target: string }[];
}

export interface Reader extends ProcessCount { readonly outcome: 'read' | 'refused'; readonly container_id?: string; readonly container: string; readonly node: string }

export interface Cell { readonly secret: string; readonly service?: string; readonly container?: string; readonly containers: number; readonly versions: readonly number[]; readonly opens: number; readonly last_opened_time: string | null }

export interface SecretInUse { readonly path: string; readonly holders: readonly string[]; readonly containers: number; readonly versions: readonly number[]; readonly lastOpened: string | null }

const holderOf = ({ service, container = '' }: Cell): string => service ?? container;

/** Names of groups, those with the most containers first. */
function byContainers(groups: ReadonlyMap<string, readonly Cell[]>): string[] {
  const count = (name: string): number => (groups.get(name) ?? []).reduce((sum, { containers }) => sum + containers, 0);
  return [...groups.keys()].sort((a, b) => count(b) - count(a) || a.localeCompare(b, undefined, { numeric: true }));
}

/** One line for each secret that is held. */
export function secretsInUse(cells: readonly Cell[]): SecretInUse[] {
  return [...grouped(cells, ({ secret }) => secret)].map(([path, group]) => ({
    path, holders: group.map(holderOf).sort(), containers: group.reduce((sum, { containers }) => sum + containers, 0),
    versions: [...new Set(group.flatMap(({ versions }) => versions))].sort((a, b) => a - b),
    lastOpened: group.map(({ last_opened_time: time }) => time ?? '').sort().at(-1) || null,
  })).sort((a, b) => a.path.localeCompare(b.path));
}

export interface Matrix {
  /** Secrets, the most widely held first. */
  readonly columns: readonly string[];
  /** Services and single containers, the largest first. */
  readonly rows: readonly { readonly name: string; readonly cells: ReadonlyMap<string, Cell> }[];
  /** The newest version held of each secret. */
  readonly newest: ReadonlyMap<string, number>;
}

/** @param search words of which all must be in the name of a secret or of its holder */
export function matrixOf(all: readonly Cell[], search = ''): Matrix {
  const words = search.toLowerCase().split(/\s+/).filter((word) => word !== '');
  const cells = words.length === 0 ? all : all.filter((cell) => words.every((word) => `${cell.secret} ${holderOf(cell)}`.toLowerCase().includes(word)));
  const [bySecret, byHolder] = [grouped(cells, ({ secret }) => secret), grouped(cells, holderOf)];
  return {
    columns: byContainers(bySecret),
    rows: byContainers(byHolder).map((name) => ({ name, cells: new Map(byHolder.get(name)?.map((cell) => [cell.secret, cell])) })),
    newest: new Map([...bySecret].map(([secret, group]) => [secret, Math.max(...group.flatMap(({ versions }) => versions))])),
  };
}

/** One step of activity. */
export interface ActivityStep { readonly time: string; readonly opened: number; readonly refused: number; readonly denied: number }

export interface Series { readonly name: 'reads' | 'refusals'; readonly values: readonly number[]; readonly total: number; readonly most: number }

/** What is plotted, one value a step. */
export function activitySeries(steps: readonly ActivityStep[]): readonly Series[] {
  const series = (name: Series['name'], valueOf: (step: ActivityStep) => number): Series => {
    const values = steps.map(valueOf);
    return { name, values, total: values.reduce((sum, value) => sum + value, 0), most: Math.max(0, ...values) };
  };
  return [series('reads', ({ opened }) => opened), series('refusals', ({ refused, denied }) => refused + denied)];
}

/** What a line of history says beside when, what and where. */
export function detailOf({ path, version, count, process, reason, message, action, outcome, secrets }: Entry): string {
  const held = secrets?.map((secret) => `${secret.path}${secret.field === undefined ? '' : `#${secret.field}`} v${String(secret.version)}`).join(', ');
  const by = process === undefined ? undefined : `by ${process.executable || process.name} (uid ${String(process.uid)})${count === undefined || count === 1 ? '' : ` ${String(count)} times`}`;
  return [path, version === undefined ? undefined : `version ${String(version)}`, held, by, action, outcome, reason, message].filter((part) => part !== undefined && part !== '').join(' · ');
}

/** Groups in order of first appearance. */
export function grouped<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [item]);
    else group.push(item);
  }
  return groups;
}
