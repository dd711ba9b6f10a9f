// Which secrets no container uses: `GET sys/usage?unused` and `sys/usage/unused` (PROTOCOL.md 1.7).

import { z } from 'zod';

import type { JsonObject } from '../../core/logical.ts';
import type { View } from '../../core/view.ts';
import { decodeRecord } from '../../lib/json-record.ts';
import { keys, usedSchema } from '../record.ts';
import { limit, MAX_ROWS, text, timeOf, timeText } from './parameters.ts';

export const unusedSchema = z.strictObject({
  /** RFC 3339, or a duration before now: held by nobody since then. Without it: held by nobody now. */
  since: text.optional(),
  limit: limit.default(MAX_ROWS),
  /** The last secret of the page before. */
  after: text.optional(),
});
export type UnusedQuestion = z.output<typeof unusedSchema>;

export interface UnusedOptions {
  readonly view: View;
  readonly now: () => number;
  /** Every secret path of every mount that references can name, in the same order every time. */
  readonly secretPaths: () => AsyncIterable<string>;
}

/** @throws ERR_REQUEST_INVALID, ERR_DURATION_SYNTAX */
export async function unusedSecrets({ view, now, secretPaths }: UnusedOptions, asked: UnusedQuestion): Promise<JsonObject> {
  const since = asked.since === undefined ? Infinity : timeOf(asked.since, 'since', now());
  const secrets: { readonly secret: string; readonly last_used_time: string | null }[] = [];
  let isBehind = asked.after === undefined;
  for await (const path of secretPaths()) {
    if (!isBehind) {
      isBehind = path === asked.after;
      continue;
    }
    if ((await view.list(keys.livePrefix(path), { limit: 1 })).length > 0) continue;
    const bytes = await view.get(keys.used(path));
    const last = bytes === undefined ? null : decodeRecord(bytes, usedSchema, 'ledger use of a secret').last;
    if (last !== null && last >= since) continue;
    if (secrets.length >= asked.limit) return { secrets, truncated: true, next: secrets.at(-1)?.secret ?? '' };
    secrets.push({ secret: path, last_used_time: timeText(last) });
  }
  return { secrets };
}
