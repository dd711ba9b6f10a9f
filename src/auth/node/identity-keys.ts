// The keys that sign the identities of containers: Ed25519, made when the first identity is asked for, replaced after a year. The
// one before stays published, so that every token outlives its key's replacement. Private halves never leave the barrier and memory.

import { createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto';

import { calculateJwkThumbprint, SignJWT } from 'jose';
import { z } from 'zod';

import type { JsonObject } from '../../core/logical.ts';
import type { View } from '../../core/view.ts';
import { decodeRecord, encodeRecord } from '../../lib/json-record.ts';
import { KeyedLock } from '../../lib/keyed-lock.ts';

const RECORD = 'identity-key';
const KEY_LIFE_MS = 365 * 24 * 3600_000;
/** The current one and the one before. */
const KEPT = 2;

const base64url = z.string().regex(/^[A-Za-z0-9_-]{43}$/);
const storedSchema = z.strictObject({
  format: z.literal(1),
  /** Newest first; `x` and `d` as in RFC 8037, `kid` the RFC 7638 thumbprint. */
  keys: z.array(z.strictObject({ kid: base64url, x: base64url, d: base64url, created: z.number().int() })).max(KEPT),
});
type StoredKey = z.infer<typeof storedSchema>['keys'][number];

export class IdentityKeys {
  readonly #view: View;
  readonly #now: () => number;
  readonly #lock = new KeyedLock();
  #keys: readonly StoredKey[];
  #signing: { readonly kid: string; readonly key: KeyObject } | undefined;

  private constructor(view: View, now: () => number, keys: readonly StoredKey[]) {
    this.#view = view;
    this.#now = now;
    this.#keys = keys;
  }

  /** @param view the view of the whole node method. @throws ERR_RECORD_INVALID */
  static async load(view: View, now: () => number): Promise<IdentityKeys> {
    const bytes = await view.get(RECORD);
    return new IdentityKeys(view, now, bytes === undefined ? [] : decodeRecord(bytes, storedSchema, 'identity key record').keys);
  }

  /** A JWT with these claims, all of them; a new key is stored before it signs anything. */
  async sign(claims: JsonObject): Promise<string> {
    if (this.#isDue()) await this.#lock.run(RECORD, () => this.#replace());
    const [{ kid, x, d }] = this.#keys as [StoredKey];
    if (this.#signing?.kid !== kid) this.#signing = { kid, key: createPrivateKey({ format: 'jwk', key: { kty: 'OKP', crv: 'Ed25519', x, d } }) };
    return new SignJWT({ ...claims }).setProtectedHeader({ alg: 'EdDSA', kid, typ: 'JWT' }).sign(this.#signing.key);
  }

  /** The public halves as a JWKS lists them. */
  published(): JsonObject[] {
    return this.#keys.map(({ kid, x }) => ({ kty: 'OKP', crv: 'Ed25519', alg: 'EdDSA', use: 'sig', kid, x }));
  }

  #isDue(): boolean {
    const [newest] = this.#keys;
    return newest === undefined || newest.created + KEY_LIFE_MS <= this.#now();
  }

  async #replace(): Promise<void> {
    if (!this.#isDue()) return;
    const { kty, crv, x, d } = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' }) as { kty: 'OKP'; crv: 'Ed25519'; x: string; d: string };
    const key = { kid: await calculateJwkThumbprint({ kty, crv, x }), x, d, created: this.#now() };
    const keys = [key, ...this.#keys].slice(0, KEPT);
    await this.#view.put(RECORD, encodeRecord({ format: 1, keys }));
    this.#keys = keys;
  }
}
