// Batch tokens: everything about them is in their id, encrypted, so they cost no storage. What follows: they can be neither renewed
// nor revoked, and end at their time, with their parent, or when the batch key is gone. The id is `hvb.` and base64url of
// nonce ‖ XChaCha20-Poly1305 of a JSON record (FORMAT.md).

import { z } from 'zod';

import type { View } from '../../core/view.ts';
import { decrypt, encrypt, KEY_BYTES, NONCE_BYTES } from '../../crypto/aead.ts';
import { randomBytes } from '../../crypto/random.ts';
import { PurserError } from '../../lib/errors.ts';
import { decodeRecord, encodeRecord } from '../../lib/json-record.ts';
import { parentSchema } from './token-record.ts';
import type { TokenEntry } from './token-record.ts';

const PREFIX = 'hvb.';
const KEY = 'batch-key';
const ASSOCIATED_DATA = Buffer.from('purser.token.batch.v1', 'utf8');
/** Clients and servers limit the headers of a request, and the token is one of them. */
const MAX_LENGTH = 4_096;

const contentSchema = z.strictObject({
  v: z.literal(1),
  policies: z.array(z.string()).readonly(),
  path: z.string(),
  displayName: z.string(),
  metadata: z.record(z.string(), z.string()).readonly(),
  createdAt: z.int().nonnegative(),
  expiresAt: z.int().nonnegative(),
  parent: parentSchema,
  role: z.string(),
  boundCidrs: z.array(z.string()).readonly(),
  entityId: z.string(),
});

export class BatchTokens {
  readonly #key: Uint8Array;

  private constructor(key: Uint8Array) {
    this.#key = key;
  }

  /** Reads the batch key, or makes it. @throws ERR_RECORD_INVALID when it is damaged */
  static async open(view: View): Promise<BatchTokens> {
    let key = await view.get(KEY);
    if (key === undefined) await view.put(KEY, key = randomBytes(KEY_BYTES));
    if (key.length !== KEY_BYTES) throw new PurserError('ERR_RECORD_INVALID', 'the key of the batch tokens has the wrong length');
    return new BatchTokens(key);
  }

  static isBatch(id: string): boolean {
    return id.startsWith(PREFIX);
  }

  /** The id of a batch token. @throws ERR_REQUEST_INVALID when it would be too long for a header */
  idOf({ policies, path, displayName, metadata, createdAt, expiresAt, parent, role, boundCidrs, entityId }: TokenEntry): string {
    const nonce = randomBytes(NONCE_BYTES);
    const content = encodeRecord({ v: 1, policies, path, displayName, metadata, createdAt, expiresAt, parent, role, boundCidrs, entityId });
    const id = PREFIX + Buffer.concat([nonce, encrypt(this.#key, nonce, ASSOCIATED_DATA, content)]).toString('base64url');
    if (id.length <= MAX_LENGTH) return id;
    throw new PurserError('ERR_REQUEST_INVALID', 'a batch token cannot hold that much', { hint: 'give it fewer policies and less metadata, or make it a service token' });
  }

  /** What a batch token says; undefined when it is not one of ours. Whether it is still good is for the caller to check. */
  read(id: string): TokenEntry | undefined {
    if (id.length > MAX_LENGTH) return undefined;
    const bytes = Buffer.from(id.slice(PREFIX.length), 'base64url');
    if (bytes.length <= NONCE_BYTES || bytes.toString('base64url') !== id.slice(PREFIX.length)) return undefined; // one spelling per token
    const content = decrypt(this.#key, bytes.subarray(0, NONCE_BYTES), ASSOCIATED_DATA, bytes.subarray(NONCE_BYTES));
    if (content === undefined) return undefined;
    const stored = decodeRecord(content, contentSchema, 'batch token');
    return {
      ...stored, type: 'batch', key: '', accessor: '', ttlSeconds: Math.round((stored.expiresAt - stored.createdAt) / 1000), explicitMaxTtlSeconds: 0, periodSeconds: 0,
      renewedAt: null, renewable: false, usesLeft: null, login: null, condemned: false,
    };
  }
}
