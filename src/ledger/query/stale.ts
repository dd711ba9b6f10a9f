// Which containers still hold an old version after a rotation: `GET sys/usage/stale` (PROTOCOL.md 1.7). For one secret from its
// index, else walking what is held now, each secret's current version asked for once.

import { z } from 'zod';

import type { JsonObject } from '../../core/logical.ts';
import type { HoldingsQuery } from './holdings.ts';
import { aboutShape, cursor, limit, MAX_ROWS } from './parameters.ts';
import { behindJson } from './rotation-status.ts';

export const staleSchema = z.strictObject({ ...aboutShape, limit: limit.default(MAX_ROWS), after: cursor.optional() });
export type StaleQuestion = z.output<typeof staleSchema>;

/** Holdings looked at for one answer. */
const MAX_LOOKED_AT = 5_000;

/** @param currentVersion of a secret by its full logical path; undefined or 0 when there is none */
export async function staleHoldings(query: HoldingsQuery, asked: StaleQuestion, currentVersion: (path: string) => Promise<number | undefined>): Promise<JsonObject> {
  const candidates: Parameters<Parameters<HoldingsQuery['collect']>[1]>[0][] = [];
  const next = await query.collect({ ...asked, limit: MAX_ROWS }, (found) => {
    if (!found.holding.pinned && found.holding.granted !== null) candidates.push(found);
    return candidates.length < Math.min(MAX_LOOKED_AT, Math.max(asked.limit, 500));
  });
  const versions = new Map<string, number | undefined>();
  const holdings: JsonObject[] = [];
  for (const found of candidates) {
    const { path, version, target } = found.holding;
    if (!versions.has(path)) versions.set(path, await currentVersion(path));
    const current = versions.get(path) ?? 0;
    if (current !== 0 && current !== version) holdings.push(behindJson({ found, needsRestart: target.startsWith('env:') }, current));
  }
  return next === undefined ? { holdings } : { holdings, truncated: true, next };
}
