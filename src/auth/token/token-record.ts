// The stored form of a token and of its accessor (FORMAT.md). The id itself is never stored. What is read back is checked
// whole: an entry that could mean "no end" or "no policy check" by a missing field must not load.

import * as z from 'zod';

import { decodeRecord } from '../../lib/json-record.ts';
import { isRoot } from './policy-names.ts';

const count = z.int().nonnegative();
const key = z.string().regex(/^[0-9a-f]{64}$/);

/** The parent's key, and its accessor so that another token made under the same custom id is not taken for it. */
export const parentSchema = z.strictObject({ key, accessor: z.string() }).readonly().nullable();

const tokenSchema = z.strictObject({
  v: z.literal(1),
  /** The name of this entry: what belongs to the token, its cubbyhole and its leases, is kept under it. */
  key,
  type: z.literal('service'),
  accessor: z.string().min(1),
  policies: z.array(z.string()).readonly(),
  path: z.string(),
  displayName: z.string(),
  metadata: z.record(z.string(), z.string()).readonly(),
  createdAt: count,
  /** Milliseconds since the epoch; null for a root token without end. */
  expiresAt: count.nullable(),
  /** The TTL it was made with. */
  ttlSeconds: count,
  explicitMaxTtlSeconds: count,
  periodSeconds: count,
  renewedAt: count.nullable(),
  renewable: z.boolean(),
  /** Null: any number of uses. */
  usesLeft: count.nullable(),
  parent: parentSchema,
  /** Name of the token role that made it; empty for none. */
  role: z.string(),
  /** Ranges of addresses from which it can be used; empty: from everywhere. */
  boundCidrs: z.array(z.string()).readonly(),
  /** The login that made it: the accessor of the method's mount, and what the method is asked with at a renewal; null for others. */
  login: z.strictObject({ mount: z.string(), state: z.record(z.string(), z.string()).readonly() }).readonly().nullable(),
  /** The identity it belongs to; empty for none. */
  entityId: z.string(),
  /** Spent or being revoked: not usable any more, by it or by its children. */
  condemned: z.boolean(),
}).readonly().refine((entry) => entry.expiresAt !== null || isRoot(entry.policies));

const accessorSchema = z.strictObject({ v: z.literal(1), accessor: z.string(), token: key }).readonly();

/** A stored token, or what the id of a batch token says; a batch token has neither key nor accessor (both empty). */
export type TokenEntry = Omit<z.infer<typeof tokenSchema>, 'type'> & { readonly type: 'service' | 'batch' };
type AccessorEntry = z.infer<typeof accessorSchema>;

/** @throws ERR_RECORD_INVALID */
export function parseToken(bytes: Uint8Array): TokenEntry {
  return decodeRecord(bytes, tokenSchema, 'token');
}

/** @throws ERR_RECORD_INVALID */
export function parseAccessor(bytes: Uint8Array): AccessorEntry {
  return decodeRecord(bytes, accessorSchema, 'token accessor');
}
