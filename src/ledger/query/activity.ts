// How much was read and refused over a span of time, step by step: `GET sys/usage/activity` (PROTOCOL.md 1.7). It reads a record or two
// a day, whatever happened in it.

import { z } from 'zod';

import type { JsonObject } from '../../core/logical.ts';
import { parseDuration } from '../../lib/duration.ts';
import { PurserError } from '../../lib/errors.ts';
import { addActivity, DAY_MS, STEP_MS, type Activity, type ActivityCounts } from '../activity.ts';
import { dayOf } from '../history/block.ts';
import { text, timeOf } from './parameters.ts';

export const activitySchema = z.strictObject({
  /** RFC 3339, or a duration before now. */
  since: text.default('24h'), until: text.optional(),
  /** A duration; by default one that gives about a hundred steps. */
  step: text.optional(),
});
export type ActivityQuestion = z.output<typeof activitySchema>;

const MINUTE_MS = 60_000;
const USUAL_STEPS = [5, 15, 60, 180, 720, 1440].map((minutes) => minutes * MINUTE_MS);
const FEW_STEPS = 100;
const MAX_STEPS = 1_000;
const NOTHING: ActivityCounts = { opened: 0, refused: 0, denied: 0 };

/** @throws ERR_REQUEST_INVALID, ERR_DURATION_SYNTAX, ERR_RECORD_INVALID */
export async function activityAnswer(activity: Activity, { since, until, step: asked }: ActivityQuestion, now: number): Promise<JsonObject> {
  const to = Math.min(now, until === undefined ? now : timeOf(until, 'until', now));
  const from = timeOf(since, 'since', now);
  if (from > to) throw new PurserError('ERR_REQUEST_INVALID', 'since is later than until, or than now');
  const step = asked === undefined ? usualStep(to - from) : stepOf(asked);
  // Steps begin at multiples of their length; UTC days do, too.
  const begin = Math.floor(Math.max(0, from) / step) * step;
  const steps = Math.floor((to - begin) / step) + 1;
  if (steps > MAX_STEPS) throw new PurserError('ERR_REQUEST_INVALID', `an answer has at most ${String(MAX_STEPS)} steps`, { hint: 'ask for a shorter span of time, or longer steps' });
  const counts = Array.from({ length: steps }, () => NOTHING);
  for (const day of await activity.days()) {
    if (day < dayOf(begin) || day > dayOf(to)) continue;
    for (const [at, counted] of await activity.ofDay(day)) {
      const index = Math.floor((at - begin) / step);
      const before = counts[index];
      if (before !== undefined) counts[index] = addActivity(before, counted);
    }
  }
  return { step_seconds: step / 1000, steps: counts.map((counted, index) => ({ time: new Date(begin + index * step).toISOString(), ...counted })) };
}

function usualStep(span: number): number {
  return USUAL_STEPS.find((step) => span / step <= FEW_STEPS) ?? DAY_MS;
}

/** @throws ERR_REQUEST_INVALID, ERR_DURATION_SYNTAX */
function stepOf(value: string): number {
  const step = parseDuration(value);
  if (step < STEP_MS || step % STEP_MS !== 0 || DAY_MS % step !== 0) {
    throw new PurserError('ERR_REQUEST_INVALID', 'step is a multiple of 5 minutes of which a day is a multiple', { hint: 'such as 5m, 15m, 1h, 6h or 24h' });
  }
  return step;
}
