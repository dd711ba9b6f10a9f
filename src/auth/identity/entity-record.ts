// The stored form of an entity (FORMAT.md): one identity, with the names under which it logs in. It is what templates of
// policies speak of, so a record that was read is never changed: a change is a new object.

import { z } from 'zod';

import { decodeRecord } from '../../lib/json-record.ts';

const text = z.record(z.string(), z.string()).readonly();
const time = z.int().nonnegative();

const aliasSchema = z.strictObject({
  id: z.uuid(),
  mountAccessor: z.string().min(1),
  name: z.string().min(1),
  /** What the auth method said at the last login. */
  metadata: text,
  /** What operators said. */
  customMetadata: text,
  createdAt: time,
  updatedAt: time,
}).readonly();

const entitySchema = z.strictObject({
  v: z.literal(1),
  id: z.uuid(),
  name: z.string().min(1),
  metadata: text,
  policies: z.array(z.string()).readonly(),
  /** Its tokens are refused, and so are its logins. */
  disabled: z.boolean(),
  createdAt: time,
  updatedAt: time,
  aliases: z.array(aliasSchema).readonly(),
  /** Entities that were merged into this one. */
  mergedIds: z.array(z.uuid()).readonly(),
}).readonly();

const pointerSchema = z.strictObject({ v: z.literal(1), entity: z.uuid() });

export type Alias = z.infer<typeof aliasSchema>;
export type Entity = z.infer<typeof entitySchema>;

/** @throws ERR_RECORD_INVALID */
export function parseEntity(bytes: Uint8Array): Entity {
  return decodeRecord(bytes, entitySchema, 'entity');
}

/** The entity's id in an index record. @throws ERR_RECORD_INVALID */
export function parsePointer(bytes: Uint8Array): string {
  return decodeRecord(bytes, pointerSchema, 'identity index').entity;
}
