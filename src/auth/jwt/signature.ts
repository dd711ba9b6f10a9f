// The signature of a JWT: only asymmetric algorithms, only the keys of the configuration, whatever the token says of itself. What is returned
// are the claims of a payload that one of those keys signed.

import type { KeyObject } from 'node:crypto';

import { compactVerify, createLocalJWKSet, decodeProtectedHeader, errors, type CompactVerifyResult, type JSONWebKeySet } from 'jose';

import { PurserError } from '../../lib/errors.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../lib/json.ts';

/** `none` and the HMAC algorithms are in no list: with a public key as an HMAC key anybody could sign. */
export const ALGORITHMS = ['RS256', 'RS384', 'RS512', 'ES256', 'ES384', 'ES512', 'PS256', 'PS384', 'PS512', 'EdDSA'] as const;

const MAX_JWT_LENGTH = 32_768;

/** Keys that may have signed. */
export interface VerificationKeys {
  /** @throws ERR_AUTH_PROVIDER when they cannot be read; anything else when no key fits or the signature is wrong */
  verify(jwt: string, algorithms: readonly string[]): Promise<CompactVerifyResult>;
}

/**
 * The claims of a token.
 * @throws ERR_REQUEST_INVALID with one message for every signature that is not right; ERR_AUTH_PROVIDER
 */
export async function verifiedClaims(jwt: string, keys: VerificationKeys, algorithms: readonly string[]): Promise<JsonObject> {
  if (jwt.length > MAX_JWT_LENGTH) throw invalid(`the token is longer than ${MAX_JWT_LENGTH} characters`);
  requireHeader(jwt, algorithms);
  const { payload } = await verifySignature(jwt, keys, algorithms);
  try {
    const claims = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(payload)) as JsonValue;
    if (isJsonObject(claims)) return claims;
  } catch {
    // Said below.
  }
  throw invalid('the payload is not a JSON object');
}

/** Before any key is read: a token that nobody would accept must not make the core ask a server. */
function requireHeader(jwt: string, algorithms: readonly string[]): void {
  let header: ReturnType<typeof decodeProtectedHeader>;
  try {
    header = decodeProtectedHeader(jwt);
  } catch {
    throw invalid('the token is malformed');
  }
  if (typeof header.alg !== 'string' || !algorithms.includes(header.alg)) throw invalid('the signature algorithm is not supported');
  if (header['b64'] !== undefined || header.crit !== undefined) throw invalid('the token has critical header parameters');
}

async function verifySignature(jwt: string, keys: VerificationKeys, algorithms: readonly string[]): Promise<CompactVerifyResult> {
  try {
    return await keys.verify(jwt, algorithms);
  } catch (error) {
    if (error instanceof PurserError) throw error;
    throw invalid('the signature is not valid');
  }
}

/** The keys of a JWKS; where several could have signed, each is tried. */
export class SetKeys implements VerificationKeys {
  readonly #set: ReturnType<typeof createLocalJWKSet>;

  constructor(set: JSONWebKeySet) {
    this.#set = createLocalJWKSet(set);
  }

  async verify(jwt: string, algorithms: readonly string[]): Promise<CompactVerifyResult> {
    try {
      return await compactVerify(jwt, this.#set, { algorithms: [...algorithms] });
    } catch (error) {
      if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error;
      for await (const key of error) {
        const verified = await compactVerify(jwt, key, { algorithms: [...algorithms] }).catch(() => undefined);
        if (verified !== undefined) return verified;
      }
      throw error;
    }
  }
}

/** Public keys given one by one; the token does not say which, so each is tried. */
export class StaticKeys implements VerificationKeys {
  readonly #keys: readonly KeyObject[];

  constructor(keys: readonly KeyObject[]) {
    this.#keys = keys;
  }

  async verify(jwt: string, algorithms: readonly string[]): Promise<CompactVerifyResult> {
    for (const key of this.#keys) {
      const verified = await compactVerify(jwt, key, { algorithms: [...algorithms] }).catch(() => undefined);
      if (verified !== undefined) return verified;
    }
    throw new Error('no key fits');
  }
}

function invalid(reason: string): PurserError {
  return new PurserError('ERR_REQUEST_INVALID', `error validating token: ${reason}`);
}
