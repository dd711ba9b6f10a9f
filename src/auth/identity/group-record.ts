// The stored form of a group (FORMAT.md): policies for several entities. Members of an internal group are named by operators; of an external
// one they are those whose identity provider said so at their last login.

import { z } from 'zod';

import { decodeRecord } from '../../lib/json-record.ts';

const time = z.int().nonnegative();

const groupSchema = z.strictObject({
  v: z.literal(1),
  id: z.uuid(),
  name: z.string().min(1),
  type: z.enum(['internal', 'external']),
  policies: z.array(z.string()).readonly(),
  metadata: z.record(z.string(), z.string()).readonly(),
  /** Ids of entities; of a merged entity the id it had. */
  members: z.array(z.uuid()).readonly(),
  /** Ids of groups whose members are members of this one, too; internal groups only. Records from before there were any have none. */
  memberGroups: z.array(z.uuid()).readonly().default([]),
  /** What an external group is called at one auth mount. */
  alias: z.strictObject({ id: z.uuid(), mountAccessor: z.string().min(1), name: z.string().min(1) }).readonly().nullable(),
  createdAt: time,
  updatedAt: time,
}).readonly();

export type Group = z.infer<typeof groupSchema>;

/** @throws ERR_RECORD_INVALID */
export function parseGroup(bytes: Uint8Array): Group {
  return decodeRecord(bytes, groupSchema, 'identity group');
}
