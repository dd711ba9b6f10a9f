// Which processes read a secret, or tried to: `GET sys/usage/processes` (PROTOCOL.md 1.7). One line for each program and user in
// a container, over all of the files that hold the secret; refused tries stand beside the reads.

import type { JsonObject } from '../../core/logical.ts';
import { addCounts } from '../fold.ts';
import type { ProcessCount } from '../record.ts';
import type { HoldingsQuery, HoldingsQuestion } from './holdings.ts';
import { processJson } from './row-json.ts';
import type { Found } from './row-json.ts';

interface Line { readonly outcome: 'read' | 'refused'; readonly found: Found; readonly secrets: Set<string>; process: ProcessCount }

/** @throws as HoldingsQuery */
export async function readers(query: HoldingsQuery, asked: HoldingsQuestion): Promise<JsonObject> {
  const lines = new Map<string, Line>();
  const refusedSeen = new Set<string>();
  const note = (found: Found, outcome: Line['outcome'], process: ProcessCount): void => {
    const { key, holding } = found;
    const id = JSON.stringify([key.node, key.container, outcome, process.executable, process.name, process.uid]);
    const known = lines.get(id);
    if (known === undefined) lines.set(id, { outcome, found, secrets: new Set([holding.path]), process });
    else {
      known.process = together(known.process, process);
      known.secrets.add(holding.path);
    }
  };
  const next = await query.collect(asked, (found) => {
    for (const process of found.holding.processes) note(found, 'read', process);
    // Refusals are counted for the container, not for each of its secrets.
    const container = `${found.key.node}.${found.key.container}.${String(found.holding.released)}`;
    if (!refusedSeen.has(container)) for (const process of found.container.processes) note(found, 'refused', process);
    refusedSeen.add(container);
    return lines.size < asked.limit;
  });
  const processes = [...lines.values()].sort((a, b) => b.process.last - a.process.last).map(({ outcome, found: { key, container }, secrets, process }) => ({
    outcome, ...processJson(process), node: container.node_name, container_id: key.container, container: container.name, image: container.image,
    ...(container.service === undefined ? {} : { service: container.service }), ...(outcome === 'read' ? { secrets: [...secrets].sort() } : {}),
  }));
  return next === undefined ? { processes } : { processes, truncated: true, next };
}

function together(a: ProcessCount, b: ProcessCount): ProcessCount {
  const latest = a.last > b.last ? a : b;
  return { ...latest, count: addCounts(a.count, b.count), first: Math.min(a.first, b.first), last: latest.last };
}
