// What the answers of the core mean on the page: pure functions over the rows of `GET sys/usage` (PROTOCOL.md 1.7).

export interface ProcessCount { readonly executable: string; readonly name: string; readonly uid: number; readonly pid: number; readonly count: number; readonly first_time: string; readonly last_time: string }

export interface Holding {
  readonly node: string;
  readonly container_id: string;
  readonly container: string;
  readonly image: string;
  readonly service?: string;
  readonly stack?: string;
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
  readonly refused: number;
  readonly refused_processes: readonly ProcessCount[];
  readonly on_rotate?: { readonly action: string; readonly outcome: string; readonly message?: string };
}

export interface Usage { readonly holdings: readonly Holding[]; readonly truncated?: boolean }

/** One secret as all its holders together have it. */
export interface SecretInUse {
  readonly path: string;
  /** Distinct containers that hold it. */
  readonly containers: number;
  /** The newest version that anyone holds. */
  readonly newest: number;
  /** Containers that hold the newest version. */
  readonly onNewest: number;
  readonly services: readonly string[];
}

const isHeld = ({ released_time: released }: Holding): boolean => released === null;

/** True for a value that does not follow rotations by itself: a variable of the main process keeps its version until a restart. */
export function isVariable({ target }: Holding): boolean {
  return target.startsWith('env:');
}

export function secretsInUse(holdings: readonly Holding[]): SecretInUse[] {
  return [...grouped(holdings.filter(isHeld), ({ path }) => path)].map(([path, rows]) => {
    const newest = Math.max(...rows.map(({ version }) => version));
    const behind = new Set(rows.filter(({ version }) => version < newest).map(({ container_id: id }) => id));
    const all = new Set(rows.map(({ container_id: id }) => id));
    return { path, containers: all.size, newest, onNewest: all.size - behind.size, services: [...new Set(rows.flatMap(({ service }) => service ?? []))].sort() };
  }).sort((a, b) => a.path.localeCompare(b.path));
}

/** Containers by how far a rotation to `version` has come. */
export function rotationProgress(holdings: readonly Holding[], version: number): { readonly done: number; readonly all: number } {
  const held = holdings.filter(isHeld);
  const behind = new Set(held.filter((row) => row.version < version).map(({ container_id: id }) => id));
  const all = new Set(held.map(({ container_id: id }) => id));
  return { done: all.size - behind.size, all: all.size };
}

/** Services (or, outside of Swarm, containers) × secrets, with the versions held. */
export interface Matrix {
  readonly columns: readonly string[];
  readonly rows: readonly { readonly name: string; readonly cells: ReadonlyMap<string, readonly number[]> }[];
}

export function matrixOf(holdings: readonly Holding[]): Matrix {
  const held = holdings.filter(isHeld);
  const rows = [...grouped(held, ({ service, container }) => service ?? container)].map(([name, group]) => ({
    name, cells: new Map([...grouped(group, ({ path }) => path)].map(([path, cell]) => [path, [...new Set(cell.map(({ version }) => version))].sort((a, b) => a - b)])),
  }));
  return { columns: [...new Set(held.map(({ path }) => path))].sort(), rows: rows.sort((a, b) => a.name.localeCompare(b.name)) };
}

export interface Moment { readonly time: string; readonly what: 'granted' | 'rotated' | 'opened' | 'released'; readonly who: string; readonly detail: string }

/** What happened around a secret or a container, newest first. */
export function momentsOf(holdings: readonly Holding[]): Moment[] {
  const moments: Moment[] = [];
  for (const row of holdings) {
    const who = row.container;
    if (row.granted_time !== null) moments.push({ time: row.granted_time, what: 'granted', who, detail: `${row.path} at ${row.target}` });
    if (row.rotated_time !== null) moments.push({ time: row.rotated_time, what: 'rotated', who, detail: `${row.path} to version ${String(row.version)}` });
    if (row.last_opened_time !== null) moments.push({ time: row.last_opened_time, what: 'opened', who, detail: `${String(row.opens)} times, last by ${row.processes.at(-1)?.executable ?? 'unknown'}` });
    if (row.released_time !== null) moments.push({ time: row.released_time, what: 'released', who, detail: row.released_reason ?? '' });
  }
  return moments.sort((a, b) => b.time.localeCompare(a.time));
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
