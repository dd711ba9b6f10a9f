// The node's session with the core: logs in with a short JWT signed by the node's key (PROTOCOL.md 1.1), keeps the token in
// memory only, and logs in again at two thirds of its life and at any 403. Many callers at once share one login.

import { randomUUID } from 'node:crypto';
import { SignJWT } from 'jose';
import { PurserError } from '../../lib/errors.ts';
import { VERSION } from '../../lib/version.ts';
import { CoreClient, type WatchOptions } from '../core-client.ts';
import { CoreResponseError, protocolError } from '../response.ts';
import { LOGIN_SECONDS, loginAudience } from '../../wire/node-login.ts';
import type { LoginClaims } from '../../wire/node-login.ts';
import type { WatchFrame } from '../../wire/node-protocol.ts';
import type { NodeIdentity } from './identity.ts';

/** Life of a login JWT: below the core's limit, so that rounding cannot exceed it. */
const JWT_SECONDS = LOGIN_SECONDS - 5;

/** Milliseconds for one attempt of a call that does not say otherwise, a login for one. */
const ATTEMPT_MS = 5000;

interface Token {
  readonly text: string;
  /** Milliseconds of the monotonic clock at which a new login is due. */
  readonly renewAt: number;
}

export class NodeSession {
  readonly #identity: NodeIdentity;
  readonly #swarmNodeId: () => Promise<string | undefined>;
  readonly #client: CoreClient;
  #token: Token | undefined;
  /** The last login named a Swarm node. */
  #isOfSwarm = false;
  #login: Promise<Token> | undefined;

  /** @param swarmNodeId this machine's id in the Swarm, asked for at every login because a node can join a Swarm later */
  constructor(identity: NodeIdentity, swarmNodeId: () => Promise<string | undefined> = async () => undefined) {
    this.#identity = identity;
    this.#swarmNodeId = swarmNodeId;
    this.#client = new CoreClient({ address: identity.address, certificateAuthority: identity.ca, token: () => this.#token?.text, timeoutMs: ATTEMPT_MS });
  }

  /** Scheme, host and port of the core, for messages. */
  get address(): string {
    return this.#client.address;
  }

  /**
   * Runs `action` logged in; after a 403 once more with a new login, because a token can end before its time.
   * @throws what `action` throws, and ERR_NODE_CLOCK, ERR_NODE_REVOKED, ERR_CLIENT_* from the login
   */
  async call<T>(action: (client: CoreClient) => Promise<T>): Promise<T> {
    const client = await this.ready();
    const token = this.#token;
    try {
      return await action(client);
    } catch (error) {
      if (!isTokenRefused(error)) throw error;
      if (this.#token === token) this.forgetToken();
    }
    return action(await this.ready());
  }

  /** The client, with a token that is good for a while. @throws as `call` for the login */
  async ready(): Promise<CoreClient> {
    if (this.#token === undefined || performance.now() >= this.#token.renewAt) {
      this.#login ??= this.#logIn().finally(() => { this.#login = undefined; });
      this.#token = await this.#login;
    }
    return this.#client;
  }

  /** Frames of the watch stream until it ends. @throws as `call`, and when the line breaks */
  async *watch(options: WatchOptions): AsyncGenerator<WatchFrame, void, undefined> {
    const client = await this.ready();
    try {
      yield* client.watch(options);
    } catch (error) {
      // Ended before its time: the next try logs in.
      if (error instanceof CoreResponseError && error.status === 403) this.forgetToken();
      throw error;
    }
  }

  /** Before a call about a task of the Swarm: the core gives such a task to no node that it does not know to be of the Swarm, and this machine may have joined it since the last login. */
  async nameSwarmNode(): Promise<void> {
    if (this.#isOfSwarm || this.#token === undefined) return;
    const isOfSwarm = await this.#swarmNodeId() !== undefined;
    // Another task may have brought the login meanwhile.
    if (isOfSwarm && !this.#isOfSwarm) this.forgetToken();
  }

  /** Makes the next call log in. */
  forgetToken(): void {
    this.#token = undefined;
  }

  close(): void {
    this.#token = undefined;
    this.#client.close();
  }

  async #logIn(): Promise<Token> {
    const began = performance.now();
    const auth = await this.#authenticate();
    const text = auth['client_token'];
    const seconds = auth['lease_duration'];
    if (typeof text !== 'string' || typeof seconds !== 'number' || seconds <= 0) throw protocolError('a login without token or lease');
    return { text, renewAt: began + seconds * 1000 * (2 / 3) };
  }

  async #authenticate(): Promise<Record<string, unknown>> {
    const { node_id: id, cluster_id: cluster, key } = this.#identity;
    const now = Math.floor(Date.now() / 1000);
    const swarmNodeId = await this.#swarmNodeId();
    this.#isOfSwarm = swarmNodeId !== undefined;
    const claims: LoginClaims = {
      iss: id, sub: id, aud: loginAudience(cluster), iat: now, exp: now + JWT_SECONDS, jti: randomUUID(), version: VERSION,
      ...(swarmNodeId === undefined ? {} : { swarm_node_id: swarmNodeId }),
    };
    const jwt = await new SignJWT(claims).setProtectedHeader({ alg: 'EdDSA', typ: 'JWT' }).sign(key);
    try {
      // Without the old token: the core must judge the login by its signature alone.
      this.#token = undefined;
      return await this.#client.authenticate('auth/node/login', { jwt });
    } catch (error) {
      throw explainLogin(error);
    }
  }
}

/** A 403 that a new login may mend: not one about what the node, whoever it is, may have. */
function isTokenRefused(error: unknown): boolean {
  return error instanceof CoreResponseError && error.status === 403 && error.serverCode?.startsWith('ERR_RESOLVE_') !== true;
}

/** Gives a refused login its own code, so that callers can tell a revoked node and a wrong clock from a missing grant. */
function explainLogin(error: unknown): unknown {
  if (!(error instanceof CoreResponseError) || error.status >= 500) return error;
  const message = error.messages.join('; ') || 'the core refused the login of this node';
  if (error.serverCode === 'ERR_NODE_CLOCK') {
    return new PurserError('ERR_NODE_CLOCK', message, { hint: error.hint ?? 'set the clocks of node and core by NTP', cause: error });
  }
  return new PurserError('ERR_NODE_REVOKED', message, { hint: 'see purser node list at the core; join again with purser agent join --force --token -', cause: error });
}
