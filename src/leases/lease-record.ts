// The stored form of a lease (FORMAT.md), and when something has to happen to it.

import { z } from 'zod';
import type { JsonObject } from '../core/logical.ts';
import { decodeRecord } from '../lib/json-record.ts';

const time = z.int().nonnegative();

const leaseSchema = z.strictObject({
  v: z.literal(1),
  id: z.string().regex(/.\/[0-9A-Za-z]{24}$/),
  /** Accessor of the mount whose engine renews and revokes it. */
  mount: z.string(),
  /** Key of the token it ends with; empty: it ends by itself only. */
  owner: z.string(),
  state: z.custom<JsonObject>((value) => typeof value === 'object' && value !== null && !Array.isArray(value)),
  /** Milliseconds since the epoch, as all times here. */
  issuedAt: time,
  expiresAt: time,
  /** No renewal goes beyond it. */
  limitAt: time,
  /** What it got at first, in seconds; the increment of a renewal that names none. */
  ttlSeconds: time,
  renewable: z.boolean(),
  renewedAt: time.nullable(),
  /** Of revocations that the engine refused. */
  failure: z.strictObject({ attempts: z.int().positive(), reason: z.string(), retryAt: time }).readonly().nullable(),
}).readonly();

/** A secret that the core has to take back. */
export type Lease = z.infer<typeof leaseSchema>;

/** Failed revocations from which on an operator should look. */
const IRREVOCABLE_ATTEMPTS = 6;
const FIRST_RETRY_MILLISECONDS = 10_000;
const LONGEST_RETRY_MILLISECONDS = 3_600_000;
const MAX_REASON = 240;

/** @throws ERR_RECORD_INVALID */
export function parseLease(bytes: Uint8Array): Lease {
  return decodeRecord(bytes, leaseSchema, 'lease');
}

/** The last segment of a lease id: unique, and a name for indexes. */
export function suffixOf(id: string): string {
  return id.slice(id.lastIndexOf('/') + 1);
}

/** When the lease is to be revoked, or next tried to be. */
export function dueAt({ expiresAt, failure }: Lease): number {
  return failure?.retryAt ?? expiresAt;
}

export function isIrrevocable({ failure }: Lease): boolean {
  return failure !== null && failure.attempts >= IRREVOCABLE_ATTEMPTS;
}

/** The lease after one more refused revocation. @param reason no secret */
export function withFailure(lease: Lease, reason: string, now: number): Lease {
  const attempts = (lease.failure?.attempts ?? 0) + 1;
  const delay = Math.min(LONGEST_RETRY_MILLISECONDS, FIRST_RETRY_MILLISECONDS * 2 ** Math.min(attempts - 1, 16));
  return { ...lease, failure: { attempts, reason: reason.slice(0, MAX_REASON), retryAt: now + delay } };
}
