// What is going on: totals of what is held now, and secrets × services. Both walk what is held, up to a bound that the answer
// names when it was reached.

import type { JsonObject } from '../../core/logical.ts';
import type { Found } from './row-json.ts';
import type { HoldingSources } from './sources.ts';

/** Holdings looked at for one answer: below a second. */
const MAX_LOOKED_AT = 20_000;

interface Cell { readonly secret: string; readonly service: string | undefined; readonly container: string | undefined; readonly containers: Set<string>; readonly versions: Set<number>; opens: number; lastOpened: number }

/** Each secret with each service that holds it; a container without a service stands for itself. */
export async function matrix(sources: HoldingSources): Promise<JsonObject> {
  const cells = new Map<string, Cell>();
  const isCut = await eachLive(sources, ({ key, holding, container }) => {
    const { service } = container;
    const id = JSON.stringify([holding.path, service ?? null, service === undefined ? container.name : null]);
    let cell = cells.get(id);
    if (cell === undefined) cells.set(id, (cell = { secret: holding.path, service, container: service === undefined ? container.name : undefined, containers: new Set(), versions: new Set(), opens: 0, lastOpened: 0 }));
    cell.containers.add(`${key.node}.${key.container}`);
    cell.versions.add(holding.version);
    cell.opens += holding.opens;
    cell.lastOpened = Math.max(cell.lastOpened, holding.last_opened ?? 0);
  });
  return {
    cells: [...cells.values()].map(({ secret, service, container, containers, versions, opens, lastOpened }) => ({
      secret, ...(service === undefined ? { container: container ?? '' } : { service }), containers: containers.size,
      versions: [...versions].sort((a, b) => a - b), opens, last_opened_time: lastOpened === 0 ? null : new Date(lastOpened).toISOString(),
    })),
    ...(isCut ? { truncated: true } : {}),
  };
}

export interface Totals { readonly containers: number; readonly secrets: number; readonly holdings: number; readonly neverRead: number; readonly isCut: boolean }

/** Of what is held now. */
export async function totals(sources: HoldingSources): Promise<Totals> {
  const [containers, secrets] = [new Set<string>(), new Set<string>()];
  let [holdings, neverRead] = [0, 0];
  const isCut = await eachLive(sources, ({ key, holding }) => {
    containers.add(`${key.node}.${key.container}`);
    secrets.add(holding.path);
    holdings++;
    if (isNeverRead(holding)) neverRead++;
  });
  return { containers: containers.size, secrets: secrets.size, holdings, neverRead, isCut };
}

/** Granted as a file and never opened. A variable is handed over at the start; nobody sees who looks at it. */
export function isNeverRead({ opens, target }: Pick<Found['holding'], 'opens' | 'target'>): boolean {
  return opens === 0 && !target.startsWith('env:');
}

async function eachLive(sources: HoldingSources, look: (found: Found) => void): Promise<boolean> {
  let looked = 0;
  for await (const { found } of sources.live({}, undefined)) {
    for (const one of found) if (one.holding.released === null) look(one);
    looked += found.length;
    if (looked >= MAX_LOOKED_AT) return true;
  }
  return false;
}
