// What questions have in common: times, limits, and the place where the next page begins.

import { z } from 'zod';

import type { JsonObject, JsonValue } from '../../core/logical.ts';
import { parseDuration } from '../../lib/duration.ts';
import { PurserError } from '../../lib/errors.ts';
import type { Position } from '../history/row.ts';

/** Rows of one answer. */
export const MAX_ROWS = 10_000;
/** Of one answer, in characters of JSON; a client takes 32 MiB. */
export const MAX_ANSWER = 16 * 1024 * 1024;

export const text = z.string().min(1).max(4096);
export const flag = z.union([z.boolean(), z.enum(['true', 'false']).transform((value) => value === 'true')]);
export const limit = z.coerce.number().int().min(1).max(MAX_ROWS);
/** Where a page begins: what `next` of the page before it said. */
export const cursor = z.string().regex(/^[a-z]+:[\x21-\x7e]{0,400}$/);

/** The parameters that name one thing to ask about. */
export const aboutShape = { secret: text.optional(), container: text.optional(), node: text.optional(), service: text.optional() };

/** A time, or so long before now. @throws ERR_DURATION_SYNTAX */
export function timeOf(value: string, name: string, now: number): number {
  if (z.iso.datetime({ offset: true }).safeParse(value).success) return Date.parse(value);
  try {
    return now - parseDuration(value);
  } catch (error) {
    throw new PurserError('ERR_DURATION_SYNTAX', `${name} is neither a time nor a duration`, { hint: 'write 2026-01-31T00:00:00Z, or so long ago: 90m, 24h, 30d', cause: error });
  }
}

/** @throws ERR_REQUEST_INVALID */
export function positionOf(value: string): Position {
  const match = /^(\d{1,16})\.(-?\d{1,16})\.([0-9A-Za-z-]{0,64})$/.exec(value);
  if (match === null) throw new PurserError('ERR_REQUEST_INVALID', 'after is not what a page before gave as next');
  return { at: Number(match[1]), seq: Number(match[2]), node: match[3] ?? '' };
}

export function positionText({ at, seq, node }: Position): string {
  return `${String(at)}.${String(seq)}.${node}`;
}

/** The fields that are there. */
export function present(fields: Readonly<Record<string, JsonValue | undefined>>): JsonObject {
  return Object.fromEntries(Object.entries(fields).filter((entry): entry is [string, JsonValue] => entry[1] !== undefined));
}

export function timeText(milliseconds: number | null): string | null {
  return milliseconds === null ? null : new Date(milliseconds).toISOString();
}
