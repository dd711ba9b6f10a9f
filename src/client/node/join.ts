// Joining a core (PROTOCOL.md 1.1): the one-time token names the core and pins its CA, the node makes an Ed25519 key that
// never leaves it, and the identity is stored. Nothing of the token is ever shown. The one call that is made without
// verified TLS fetches the CA, and its answer is worth nothing until its hash equals the pinned one.

import { X509Certificate, createHash, createPublicKey, generateKeyPairSync } from 'node:crypto';
import { z } from 'zod';
import { constantTimeEqual, utf8 } from '../../lib/bytes.ts';
import { PurserError, isPurserError } from '../../lib/errors.ts';
import { VERSION } from '../../lib/version.ts';
import { CoreClient } from '../core-client.ts';
import { CoreResponseError, readEnvelope } from '../response.ts';
import { Transport } from '../transport.ts';
import { decodeJoinToken } from '../../wire/join-token.ts';
import { joinRequestSchema } from '../../wire/node-protocol.ts';
import { ensurePrivateDirectory, loadIdentity, lockStateDirectory, storeIdentity } from './identity.ts';
import type { NodeIdentity } from './identity.ts';

const joinAnswerSchema = z.object({ node_id: z.string().min(1).max(128), cluster_id: z.string().min(1).max(128) });

export interface JoinOptions {
  readonly token: string;
  readonly stateDirectory: string;
  /** The node's name at the core: letters, digits, `.`, `_`, `-`. */
  readonly name: string;
  readonly swarmNodeId?: string | undefined;
  /** Where the core is, when this machine reaches it by another address than the token's. */
  readonly address?: string | undefined;
  /** Replace an identity that is there, readable or not. */
  readonly force?: boolean | undefined;
}

/**
 * Joins, and stores the identity in `stateDirectory`.
 * @throws ERR_NODE_JOIN, ERR_NODE_JOINED, ERR_STATE_LOCKED (an agent runs on that directory), ERR_CLIENT_*, ERR_CONFIG_INVALID
 */
export async function joinNode(options: JoinOptions): Promise<NodeIdentity> {
  const token = decodeJoinToken(options.token);
  const address = options.address ?? token.address;
  await ensurePrivateDirectory(options.stateDirectory);
  const lock = lockStateDirectory(options.stateDirectory);
  try {
    if (options.force !== true) await refuseSecondJoin(options.stateDirectory);
    const ca = token.ca === undefined ? undefined : await fetchPinnedCa(address, token.ca);
    const { privateKey } = generateKeyPairSync('ed25519');
    const jwk = createPublicKey(privateKey).export({ format: 'jwk' });
    const request = joinRequestSchema.safeParse({
      id: token.id, secret: token.secret, name: options.name, version: VERSION,
      public_key: { kty: jwk.kty, crv: jwk.crv, x: jwk.x },
      ...(options.swarmNodeId === undefined ? {} : { swarm_node_id: options.swarmNodeId }),
    });
    if (!request.success) {
      throw new PurserError('ERR_CONFIG_INVALID', 'the name of the node is not valid', { hint: 'use letters, digits, ".", "_" and "-", at most 128, in --name' });
    }
    const identity = { ...await askToJoin(address, ca, request.data), address, name: options.name, key: privateKey, ...(ca === undefined ? {} : { ca }) };
    await storeIdentity(options.stateDirectory, identity);
    return identity;
  } finally {
    lock.release();
  }
}

/**
 * The CA certificate of the core at `address`, in PEM.
 * @param pin SHA-256 of its DER, in hexadecimal
 * @throws ERR_CLIENT_TLS when it is not the pinned one
 */
export async function fetchPinnedCa(address: string, pin: string): Promise<string> {
  const transport = new Transport({ address, trustAnyCertificate: true, maxResponseBytes: 65_536 });
  try {
    const { data } = readEnvelope(await transport.send({ method: 'GET', path: '/v1/auth/node/ca', headers: { accept: 'application/json' }, timeoutMs: 10_000 }), undefined);
    const certificate = certificateIn(data?.['certificate']);
    const hash = certificate === undefined ? '' : createHash('sha256').update(certificate.raw).digest('hex');
    if (certificate === undefined || !constantTimeEqual(utf8(hash), utf8(pin))) {
      throw new PurserError('ERR_CLIENT_TLS', `the CA of ${transport.address.origin} is not the one pinned by the join token`,
        { hint: 'make a new token with purser node token; if the core has not changed its CA, somebody may be in between' });
    }
    return certificate.toString();
  } finally {
    transport.close();
  }
}

async function refuseSecondJoin(stateDirectory: string): Promise<void> {
  const identity = await loadIdentity(stateDirectory);
  if (identity === undefined) return;
  throw new PurserError('ERR_NODE_JOINED', `this machine is node ${identity.name} of ${identity.address} already`,
    { hint: 'add --force to give that identity up and join anew' });
}

async function askToJoin(address: string, ca: string | undefined, body: object): Promise<{ node_id: string; cluster_id: string }> {
  const client = new CoreClient({ address, certificateAuthority: ca });
  try {
    const answer = joinAnswerSchema.safeParse(await client.write('auth/node/join', body));
    if (!answer.success) throw new PurserError('ERR_CLIENT_PROTOCOL', 'the core answered the join with something unknown', { hint: 'use the same release on node and core' });
    return answer.data;
  } catch (error) {
    if (!(error instanceof CoreResponseError) || error.status >= 500) throw error;
    throw new PurserError('ERR_NODE_JOIN', error.messages.join('; ') || 'the core refused the join token', {
      hint: isPurserError(error) && error.hint !== undefined ? error.hint : 'make a new token with purser node token', cause: error,
    });
  } finally {
    client.close();
  }
}

function certificateIn(value: unknown): X509Certificate | undefined {
  try {
    return typeof value === 'string' ? new X509Certificate(value) : undefined;
  } catch {
    return undefined;
  }
}
