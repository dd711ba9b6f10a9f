// The ledger's records and the keys they live under (FORMAT.md). Times are milliseconds since the epoch.

import { createHash } from 'node:crypto';

import { z } from 'zod';

const time = z.number().int().min(0);
const count = z.number().int().min(0);
const format = z.literal(1);

const processSchema = z.strictObject({
  executable: z.string(), name: z.string(), uid: z.number().int(),
  /** The latest of the processes that were folded into this counter. */
  pid: z.number().int(),
  count, first: time, last: time,
});
export type ProcessCount = z.infer<typeof processSchema>;

export const spoolSchema = z.strictObject({ format, acknowledged: count, time });

const actionSchema = z.strictObject({
  action: z.string(), outcome: z.enum(['done', 'failed']), exit_code: z.number().int().optional(), duration_ms: count, attempt: count, message: z.string().optional(), time,
});
export type RotateAction = z.infer<typeof actionSchema>;

export const containerSchema = z.strictObject({
  format, node_name: z.string(),
  name: z.string(), image: z.string(), service: z.string().optional(), stack: z.string().optional(), task_id: z.string().optional(),
  /** Set while nothing but refused or unknown entries named it. */
  unknown: z.boolean(),
  /** Opens that were turned away, and by whom they were tried. */
  refused: count, processes: z.array(processSchema),
  /** What was last done after a rotation. */
  action: actionSchema.optional(),
});
export type ContainerRecord = z.infer<typeof containerSchema>;

export const holdingSchema = z.strictObject({
  format, path: z.string(), field: z.string().optional(), target: z.string(), version: count,
  granted: time.nullable(), rotated: time.nullable(), released: time.nullable(), reason: z.string().nullable(),
  opens: count, last_opened: time.nullable(), processes: z.array(processSchema),
  unknown: z.boolean(), clock_adjusted: z.boolean(),
});
export type Holding = z.infer<typeof holdingSchema>;

/** Where a holding is. */
export interface HoldingKey {
  readonly node: string;
  readonly container: string;
  readonly holding: string;
}

const LAST_TIME = 9_999_999_999_999;

export function hash(text: string): string {
  return createHash('sha256').update(text, 'utf8').digest('base64url');
}

export function holdingId(target: string, path: string, field: string | undefined): string {
  return hash(`${target}\0${path}\0${field ?? ''}`).slice(0, 22);
}

export const keys = {
  spool: (node: string, spool: string) => `spool/${node}/${spool}`,
  history: (at: number, node: string, spool: string, sequence: number) =>
    `history/${new Date(at).toISOString().slice(0, 10)}/${digits(at, 13)}.${node}.${spool}.${digits(sequence, 16)}`,
  container: (container: string, node: string) => `container/${container}/${node}`,
  name: (name: string, container: string, node: string) => `name/${hash(name)}/${container}.${node}`,
  holding: ({ node, container, holding }: HoldingKey) => `holding/${node}/${container}/${holding}`,
  live: (path: string, { node, container, holding }: HoldingKey) => `live/${hash(path)}/${node}.${container}.${holding}`,
  past: (path: string, released: number, { node, container, holding }: HoldingKey) =>
    `past/${hash(path)}/${digits(LAST_TIME - released, 13)}.${node}.${container}.${holding}`,
  running: (node: string, container: string) => `running/${node}/${container}`,
};

/** The holding behind a name below `live/…/` (three parts) or `past/…/` (four). */
export function parseIndexName(name: string): HoldingKey {
  const [node = '', container = '', holding = ''] = name.split('.').slice(-3);
  return { node, container, holding };
}

/** The time of release in a name below `past/…/`. */
export function releaseTime(pastName: string): number {
  return LAST_TIME - Number(pastName.slice(0, 13));
}

function digits(number: number, width: number): string {
  return String(number).padStart(width, '0');
}
