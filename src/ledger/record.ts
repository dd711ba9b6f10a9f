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
  /** When the live records are to become a row of history; null while the container holds something. */
  due: time.nullable(),
});
export type ContainerRecord = z.infer<typeof containerSchema>;

export const holdingSchema = z.strictObject({
  format, path: z.string(), field: z.string().optional(), target: z.string(), version: count,
  granted: time.nullable(), rotated: time.nullable(), released: time.nullable(), reason: z.string().nullable(),
  opens: count, last_opened: time.nullable(), processes: z.array(processSchema),
  /** The reference names this version; rotations pass it by. */
  pinned: z.boolean(), unknown: z.boolean(), clock_adjusted: z.boolean(),
});
export type Holding = z.infer<typeof holdingSchema>;

/** Of a secret that some container ever held: when that was for the first and the last time, to the hour. */
export const usedSchema = z.strictObject({ format, path: z.string(), first: time, last: time });
export type Used = z.infer<typeof usedSchema>;

/** Where a holding is. */
export interface HoldingKey {
  readonly node: string;
  readonly container: string;
  readonly holding: string;
}

export function hash(text: string): string {
  return createHash('sha256').update(text, 'utf8').digest('base64url');
}

export function holdingId(target: string, path: string, field: string | undefined): string {
  return hash(`${target}\0${path}\0${field ?? ''}`).slice(0, 22);
}

export const keys = {
  spool: (node: string, spool: string) => `spool/${node}/${spool}`,
  container: (container: string, node: string) => `container/${container}/${node}`,
  name: (name: string, container: string, node: string) => `name/${hash(name)}/${container}.${node}`,
  holding: ({ node, container, holding }: HoldingKey) => `holding/${node}/${container}/${holding}`,
  livePrefix: (path: string) => `live/${hash(path)}/`,
  live: (path: string, { node, container, holding }: HoldingKey) => `live/${hash(path)}/${node}.${container}.${holding}`,
  service: (service: string, container: string, node: string) => `service/${hash(service)}/${container}.${node}`,
  due: (at: number, container: string, node: string) => `due/${digits(at, 13)}.${container}.${node}`,
  used: (path: string) => `used/${hash(path)}`,
  running: (node: string, container: string) => `running/${node}/${container}`,
};

/** The holding behind a name below `live/…/`. */
export function parseLiveName(name: string): HoldingKey {
  const [node = '', container = '', holding = ''] = name.split('.');
  return { node, container, holding };
}

/** The container behind a name below `due/`. */
export function parseDueName(name: string): { readonly at: number; readonly container: string; readonly node: string } {
  const [at = '', container = '', node = ''] = name.split('.');
  return { at: Number(at), container, node };
}

export function digits(number: number, width: number): string {
  return String(number).padStart(width, '0');
}
