// Node logins: a JWT signed with the node's key (PROTOCOL.md 1.1), checked with the algorithm pinned. The signature is checked
// before anything the token says is believed or answered, so a clock error, which names a time difference, is told to nobody
// but the node itself. One JWT logs in once.

import { createPublicKey } from 'node:crypto';

import { compactVerify, decodeJwt } from 'jose';

import { PurserError } from '../../lib/errors.ts';
import { CLOCK_LEEWAY_SECONDS, LOGIN_SECONDS, loginAudience, loginClaimsSchema, type LoginClaims } from '../../wire/node-login.ts';
import type { NodeRecord } from './registry.ts';
import { revokedError } from './registry.ts';

const MAX_JWT_BYTES = 4096;

/** A login JWT that was found good, except for having been used before. */
export interface VerifiedLogin {
  readonly node: NodeRecord;
  readonly claims: LoginClaims;
  /** Milliseconds since the epoch after which the JWT would be refused anyway. */
  readonly expires: number;
}

export interface LoginContext {
  readonly clusterId: string;
  readonly now: () => number;
  /** The node, revoked or not. */
  readonly find: (id: string) => NodeRecord | undefined;
}

/**
 * Checks signature, claims and time of a login JWT.
 * @throws ERR_NODE_REVOKED for an unknown or revoked node and for a wrong signature, ERR_NODE_CLOCK, ERR_REQUEST_INVALID
 */
export async function verifyLogin(jwt: string, context: LoginContext): Promise<VerifiedLogin> {
  const node = context.find(claimedIssuer(jwt));
  if (node === undefined || node.revoked !== undefined) throw revokedError();
  const claims = readClaims(await verifiedPayload(jwt, node));
  if (claims.iss !== node.id || claims.sub !== node.id) throw invalid('names another node');
  if (claims.aud !== loginAudience(context.clusterId)) throw invalid('is for another core');
  if (claims.exp <= claims.iat || claims.exp > claims.iat + LOGIN_SECONDS) throw invalid(`must live at most ${LOGIN_SECONDS} seconds`);
  requireClock(claims, context.now() / 1000);
  return { node, claims, expires: (claims.exp + CLOCK_LEEWAY_SECONDS) * 1000 };
}

function claimedIssuer(jwt: string): string {
  if (jwt.length > MAX_JWT_BYTES) throw invalid('is too long');
  try {
    const { iss } = decodeJwt(jwt);
    if (typeof iss === 'string') return iss;
  } catch {
    // Said below, without quoting it.
  }
  throw invalid('is malformed');
}

async function verifiedPayload(jwt: string, node: NodeRecord): Promise<Uint8Array> {
  try {
    const key = createPublicKey({ format: 'jwk', key: { kty: 'OKP', crv: 'Ed25519', x: node.public_key } });
    return (await compactVerify(jwt, key, { algorithms: ['EdDSA'] })).payload;
  } catch {
    // Also for another algorithm and a malformed key: a stranger learns nothing about the node from the way it fails.
    throw revokedError();
  }
}

function readClaims(payload: Uint8Array): LoginClaims {
  try {
    return loginClaimsSchema.parse(JSON.parse(Buffer.from(payload).toString('utf8')));
  } catch {
    throw invalid('has claims that are missing, unknown or not valid');
  }
}

function requireClock({ iat, exp }: LoginClaims, now: number): void {
  const isEarly = iat > now + CLOCK_LEEWAY_SECONDS;
  if (!isEarly && now < exp + CLOCK_LEEWAY_SECONDS) return;
  const difference = Math.round(Math.abs(iat - now));
  throw new PurserError('ERR_NODE_CLOCK', `the clock of the node is ${difference} s ${isEarly ? 'ahead of' : 'behind'} the clock of the core`,
    { hint: 'set both clocks, for instance with chrony or systemd-timesyncd' });
}

function invalid(reason: string): PurserError {
  return new PurserError('ERR_REQUEST_INVALID', `the login token ${reason}`);
}
