// sys/remount: a mount answers at another path. Its records do not move, they are kept by its uuid, so this is one write of the mount table
// and done when it is answered; Vault's clients ask for the state of the "migration" all the same.

import { randomUUID } from 'node:crypto';
import type { JsonObject, LogicalResponse } from '../../core/logical.ts';
import { PurserError } from '../../lib/errors.ts';
import { stringField } from '../../lib/fields.ts';
import type { MountTable } from '../mount-table.ts';
import type { SysRoute } from './sys-engine.ts';

/** Moves whose state can still be asked for. */
const REMEMBERED = 1_000;

interface Move { readonly from: string; readonly to: string }

export function remountRoutes(mounts: MountTable): SysRoute[] {
  const moves = new Map<string, Move>();
  return [
    { path: 'remount', needsSudo: true, operations: { update: ({ data }) => remount(mounts, moves, data) } },
    { path: 'remount/status/*', operations: { read: async (_request, id) => status(moves, id) } },
  ];
}

async function remount(mounts: MountTable, moves: Map<string, Move>, data: JsonObject): Promise<LogicalResponse> {
  const move = { from: pathField(data, 'from'), to: pathField(data, 'to') };
  await mounts.move(move.from, move.to);
  const id = randomUUID();
  moves.set(id, move);
  const [oldest] = moves.keys();
  if (moves.size > REMEMBERED && oldest !== undefined) moves.delete(oldest);
  return { data: { migration_id: id }, copyDataToTop: true };
}

function status(moves: ReadonlyMap<string, Move>, id: string): LogicalResponse {
  const move = moves.get(id);
  if (move === undefined) throw new PurserError('ERR_REQUEST_INVALID', 'there is no migration of this id', { hint: 'a move is done when sys/remount answers; see purser secrets list' });
  return { data: { migration_id: id, migration_info: { source_mount: move.from, target_mount: move.to, status: 'success' } }, copyDataToTop: true };
}

/** A mount path, with or without its slashes at the ends. */
function pathField(data: JsonObject, name: string): string {
  const path = (stringField(data, name) ?? '').replace(/^\/+|\/+$/g, '');
  if (path === '') throw new PurserError('ERR_REQUEST_INVALID', "both 'from' and 'to' path must be specified as a string");
  return `${path}/`;
}
