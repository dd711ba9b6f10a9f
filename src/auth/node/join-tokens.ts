// One-time join tokens. Only HMAC(secret) is stored (FORMAT.md); whoever presents a wrong, used or expired token is told one
// and the same thing, after the same work. Taking a use is a storage operation that the caller puts into its transaction.

import { z } from 'zod';

import type { View, ViewOperation } from '../../core/view.ts';
import { hmacSha256 } from '../../crypto/mac.ts';
import { randomBytes } from '../../crypto/random.ts';
import { bytesFromBase64, constantTimeEqual } from '../../lib/bytes.ts';
import { PurserError } from '../../lib/errors.ts';
import { decodeRecord, encodeRecord } from '../../lib/json-record.ts';
import { randomBase62 } from '../../lib/random-id.ts';

const SECRET_BYTES = 32;
const ID_LENGTH = 20;
/** Domain separation of the HMAC. */
const MAC_LABEL = 'purser-join-1';
const MAX_OUTSTANDING = 10_000;
const MAC_KEY = 'mac-key';

const storedSchema = z.strictObject({
  format: z.literal(1),
  mac: z.base64(),
  driver: z.boolean(),
  uses: z.number().int().min(1),
  /** Milliseconds since the epoch. */
  expires: z.number().int(),
});
type StoredJoinToken = z.infer<typeof storedSchema>;

export interface NewJoinToken {
  readonly ttlSeconds: number;
  readonly uses: number;
  /** The node may also answer Swarm's GetSecret. */
  readonly driver: boolean;
}

/** A token that was found good, and the operation that takes one of its uses. */
export interface GoodJoinToken {
  readonly driver: boolean;
  readonly takeUse: ViewOperation;
}

export class JoinTokens {
  readonly #view: View;
  readonly #macKey: Uint8Array;
  readonly #now: () => number;

  private constructor(view: View, macKey: Uint8Array, now: () => number) {
    this.#view = view;
    this.#macKey = macKey;
    this.#now = now;
  }

  /** @param view the view of the whole node method, so that a use and a node fit into one transaction */
  static async load(view: View, now: () => number): Promise<JoinTokens> {
    let macKey = await view.get(MAC_KEY);
    if (macKey === undefined) await view.put(MAC_KEY, (macKey = randomBytes(SECRET_BYTES)));
    return new JoinTokens(view, macKey, now);
  }

  /** Makes a token; the secret is in the answer and nowhere else. Tokens that expired are removed on the way. */
  async create({ ttlSeconds, uses, driver }: NewJoinToken): Promise<{ id: string; secret: string; expires: number }> {
    if (await this.#removeExpired() >= MAX_OUTSTANDING) throw new PurserError('ERR_REQUEST_INVALID', `${MAX_OUTSTANDING} join tokens are open`, { hint: 'use them, or wait until they expire' });
    const id = randomBase62(ID_LENGTH);
    const secret = Buffer.from(randomBytes(SECRET_BYTES)).toString('base64url');
    const expires = this.#now() + ttlSeconds * 1000;
    const record: StoredJoinToken = { format: 1, mac: Buffer.from(this.#mac(id, secret)).toString('base64'), driver, uses, expires };
    await this.#view.put(keyOf(id), encodeRecord(record));
    return { id, secret, expires };
  }

  /**
   * Checks a token without using it up. The caller holds its lock from here until `takeUse` is durable.
   * @throws ERR_NODE_JOIN: wrong, used or expired, without saying which
   */
  async check(id: string, secret: string): Promise<GoodJoinToken> {
    const record = await this.#find(id);
    const stored = record === undefined ? undefined : bytesFromBase64(record.mac);
    // Without a record the comparison is made all the same: the time must not tell a used token from a wrong one.
    const isRight = constantTimeEqual(this.#mac(id, secret), stored ?? this.#mac('', ''));
    if (record === undefined || !isRight || record.expires <= this.#now()) throw refused();
    const takeUse: ViewOperation = record.uses > 1
      ? { kind: 'put', key: keyOf(id), value: encodeRecord({ ...record, uses: record.uses - 1 }) }
      : { kind: 'delete', key: keyOf(id) };
    return { driver: record.driver, takeUse };
  }

  async #find(id: string): Promise<StoredJoinToken | undefined> {
    if (!/^[0-9A-Za-z]{20}$/.test(id)) return undefined;
    const bytes = await this.#view.get(keyOf(id));
    return bytes === undefined ? undefined : decodeRecord(bytes, storedSchema, 'join token');
  }

  /** @returns how many are left */
  async #removeExpired(): Promise<number> {
    const ids = await this.#view.list('join/');
    const expired: ViewOperation[] = [];
    for (const id of ids) {
      const record = await this.#find(id);
      if (record !== undefined && record.expires <= this.#now()) expired.push({ kind: 'delete', key: keyOf(id) });
    }
    if (expired.length > 0) await this.#view.transaction(expired);
    return ids.length - expired.length;
  }

  #mac(id: string, secret: string): Uint8Array {
    return hmacSha256(this.#macKey, `${MAC_LABEL}${id}\0${secret}`);
  }
}

function keyOf(id: string): string {
  return `join/${id}`;
}

function refused(): PurserError {
  return new PurserError('ERR_NODE_JOIN', 'the join token is wrong, used or expired', { hint: 'make a new one with: purser node token' });
}
