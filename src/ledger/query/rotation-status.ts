// How far a rotation has come: which of the containers that hold a secret have its current version, and which still hold an old
// one and why. References that name a version do not count: a rotation is not for them.

import type { JsonObject } from '../../core/logical.ts';
import type { Found } from './row-json.ts';
import { holdingJson } from './row-json.ts';
import type { HoldingSources } from './sources.ts';

/** A variable keeps the version that the main process started with. */
const VARIABLE_TARGET = 'env:';

export interface RotationStatus {
  readonly path: string;
  /** The current version. */
  readonly version: number;
  /** Containers that hold the secret by a reference that follows it. */
  readonly total: number;
  /** Of them, those that hold only the current version. */
  readonly current: number;
  /** Of the others, those that need a restart, because the old value is in a variable of their main process. */
  readonly needRestart: number;
}

export interface Behind { readonly found: Found; readonly needsRestart: boolean }

type State = 'current' | 'behind' | 'restart';

/** How a holding stands to the current version; undefined when a rotation is not for it. */
export function stateOf({ pinned, granted, version, target }: Pick<Found['holding'], 'pinned' | 'granted' | 'version' | 'target'>, current: number): State | undefined {
  if (pinned || granted === null) return undefined;
  if (version === current) return 'current';
  return target.startsWith(VARIABLE_TARGET) ? 'restart' : 'behind';
}

/** @param behind gets the holdings with an old version, `most` at most */
export async function rotationStatus(sources: HoldingSources, path: string, version: number, behind: Behind[] = [], most = 0): Promise<RotationStatus> {
  const containers = new Map<string, State>();
  for await (const { key, holding } of sources.ofSecret(path)) {
    const state = stateOf(holding, version);
    if (state === undefined) continue;
    const id = `${key.node}.${key.container}`;
    const before = containers.get(id) ?? 'current';
    // A file that is still to change weighs more than a variable that only a restart changes.
    containers.set(id, state === 'behind' || before === 'current' ? state : before);
    const found = state !== 'current' && behind.length < most ? await sources.find(key) : undefined;
    if (found !== undefined) behind.push({ found, needsRestart: state === 'restart' });
  }
  const states = [...containers.values()];
  const count = (state: string) => states.filter((one) => one === state).length;
  return { path, version, total: states.length, current: count('current'), needRestart: count('restart') };
}

export function statusJson({ path, version, total, current, needRestart }: RotationStatus): JsonObject {
  return { path, version, total, current, need_restart: needRestart };
}

export function behindJson({ found, needsRestart }: Behind, version: number): JsonObject {
  return { ...holdingJson(found), current_version: version, needs_restart: needsRestart };
}
