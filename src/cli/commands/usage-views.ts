// What `purser usage` shows: for each question the path of the API, the list in its answer, and the columns of its table.

import type { Row } from '../output.ts';

interface Process { readonly executable: string; readonly name: string; readonly uid: number; readonly pid: number; readonly count: number; readonly first_time: string; readonly last_time: string }
interface Holding {
  readonly node: string; readonly container_id: string; readonly container: string; readonly image: string; readonly service?: string; readonly path: string; readonly field?: string; readonly target: string;
  readonly version: number; readonly granted_time: string | null; readonly rotated_time: string | null; readonly released_time: string | null; readonly opens: number; readonly last_opened_time: string | null; readonly refused: number;
  readonly on_rotate?: { readonly action: string; readonly outcome: 'done' | 'failed'; readonly exit_code?: number; readonly attempt: number; readonly message?: string };
  readonly processes: readonly Process[]; readonly current_version?: number; readonly needs_restart?: boolean;
}
interface Entry {
  readonly time: string; readonly type: string; readonly node: string; readonly container: string; readonly container_id?: string; readonly image: string; readonly service?: string; readonly path?: string; readonly field?: string;
  readonly version?: number; readonly count?: number; readonly process?: Process; readonly secrets?: readonly { readonly path: string; readonly field?: string }[]; readonly swarm_secret?: string;
  readonly action?: string; readonly outcome?: string; readonly reason?: string;
}
interface Reader extends Process { readonly outcome: string; readonly node: string; readonly container: string; readonly container_id: string; readonly image: string; readonly service?: string; readonly secrets?: readonly string[] }
interface Rotation { readonly path: string; readonly version: number; readonly current: number; readonly total: number; readonly need_restart: number; readonly started_time: string; readonly finished_time: string | null }
interface Cell { readonly secret: string; readonly service?: string; readonly container?: string; readonly containers: number; readonly versions: readonly number[]; readonly opens: number; readonly last_opened_time: string | null }
interface Role { readonly role: string; readonly policies: readonly string[]; readonly granted: number; readonly used: readonly string[]; readonly unused: readonly string[]; readonly unused_count: number; readonly more_than_read: boolean }

export interface View {
  /** Below `sys/usage`; empty for itself. */
  readonly path: string;
  /** The member of the answer that is the list. */
  readonly list: string;
  readonly columns: readonly string[];
  readonly row: (item: never) => Row;
}

const secretOf = ({ path, field }: { readonly path: string; readonly field?: string }) => field === undefined ? path : `${path}#${field}`;
const containerOf = ({ container, container_id: id }: { readonly container: string; readonly container_id?: string }) => id === undefined ? container : `${container} (${id.slice(0, 12)})`;
const programOf = ({ executable, name, uid }: Process) => `${executable || name} (uid ${String(uid)})`;

export const VIEWS = {
  holdings: {
    path: '', list: 'holdings', columns: ['secret', 'version', 'container', 'target', 'image', 'node', 'service', 'state', 'since', 'opens', 'last_opened', 'read_by', 'on_rotate'],
    row: (holding: Holding) => ({
      secret: secretOf(holding), version: holding.version, container: containerOf(holding), target: holding.target, image: holding.image, node: holding.node, service: holding.service,
      state: holding.released_time === null ? 'held' : `released ${holding.released_time}`, since: holding.granted_time,
      opens: holding.opens, last_opened: holding.last_opened_time ?? (holding.target.startsWith('env:') ? 'variable' : 'never'),
      read_by: [...new Set(holding.processes.map(programOf))].join(' '),
      on_rotate: holding.on_rotate === undefined ? undefined : describeAction(holding.on_rotate),
    }),
  },
  history: {
    path: 'history', list: 'entries', columns: ['time', 'event', 'secret', 'version', 'container', 'node', 'service', 'count', 'details'],
    row: (entry: Entry) => ({
      time: entry.time, event: entry.type, secret: secretsOf(entry), version: entry.version, container: containerOf(entry), node: entry.node, service: entry.service, count: entry.count, details: detailsOf(entry),
    }),
  },
  activity: {
    path: 'activity', list: 'steps', columns: ['time', 'opened', 'refused', 'denied'],
    row: ({ time, opened, refused, denied }: { readonly time: string; readonly opened: number; readonly refused: number; readonly denied: number }) => ({ time, opened, refused, denied }),
  },
  processes: {
    path: 'processes', list: 'processes', columns: ['outcome', 'executable', 'uid', 'pid', 'count', 'first', 'last', 'container', 'image', 'node', 'service', 'secrets'],
    row: (reader: Reader) => ({
      outcome: reader.outcome, executable: reader.executable || reader.name, uid: reader.uid, pid: reader.pid, count: reader.count, first: reader.first_time, last: reader.last_time,
      container: containerOf(reader), image: reader.image, node: reader.node, service: reader.service, secrets: reader.secrets?.join(' '),
    }),
  },
  stale: {
    path: 'stale', list: 'holdings', columns: ['secret', 'version', 'current', 'container', 'image', 'node', 'service', 'since', 'why', 'on_rotate'],
    row: (holding: Holding) => ({
      secret: secretOf(holding), version: holding.version, current: holding.current_version, container: containerOf(holding), image: holding.image, node: holding.node, service: holding.service,
      since: holding.rotated_time ?? holding.granted_time, why: holding.needs_restart === true ? 'a variable: restart it' : 'not told yet',
      on_rotate: holding.on_rotate === undefined ? undefined : describeAction(holding.on_rotate),
    }),
  },
  unused: { path: 'unused', list: 'secrets', columns: ['secret', 'last_used'], row: ({ secret, last_used_time: last }: { readonly secret: string; readonly last_used_time: string | null }) => ({ secret, last_used: last ?? 'never' }) },
  rotations: {
    path: 'rotations', list: 'rotations', columns: ['secret', 'version', 'progress', 'need_restart', 'started', 'finished'],
    row: (rotation: Rotation) => ({ secret: rotation.path, version: rotation.version, progress: `${String(rotation.current)}/${String(rotation.total)}`, need_restart: rotation.need_restart, started: rotation.started_time, finished: rotation.finished_time }),
  },
  matrix: {
    path: 'matrix', list: 'cells', columns: ['secret', 'service', 'containers', 'versions', 'opens', 'last_opened'],
    row: (cell: Cell) => ({ secret: cell.secret, service: cell.service ?? `container ${cell.container ?? ''}`, containers: cell.containers, versions: cell.versions.join(' '), opens: cell.opens, last_opened: cell.last_opened_time ?? 'never' }),
  },
  roles: {
    path: 'roles', list: 'roles', columns: ['role', 'policies', 'granted', 'used', 'unused', 'more_than_read', 'never_used'],
    row: (role: Role) => ({ role: role.role, policies: role.policies.join(' '), granted: role.granted, used: role.used.length, unused: role.unused_count, more_than_read: role.more_than_read ? 'yes' : 'no', never_used: role.unused.slice(0, 5).join(' ') }),
  },
} as const satisfies Record<string, View>;

function secretsOf({ path, field, secrets, swarm_secret: swarm }: Entry): string | undefined {
  if (path !== undefined) return secretOf({ path, ...(field === undefined ? {} : { field }) });
  return secrets === undefined ? swarm : [...new Set(secrets.map(secretOf))].join(' ');
}

function detailsOf({ process, action, outcome, reason }: Entry): string | undefined {
  if (process !== undefined) return programOf(process);
  return action === undefined ? reason : `${action} ${outcome ?? ''}`;
}

/** `exec:nginx: exit 1 (attempt 3)`, `signal:HUP: done`. */
function describeAction({ action, outcome, exit_code: code, attempt, message }: NonNullable<Holding['on_rotate']>): string {
  const result = outcome === 'done' ? 'done' : code === undefined ? message ?? 'failed' : `exit ${String(code)}`;
  return `${action}: ${result}${attempt === 1 ? '' : ` (attempt ${String(attempt)})`}`;
}
