// A core for tests: the real node services, tokens, policies and KV engine over memory views, behind a real HTTP server. Only
// the request stages are short: token, policy, engine; audit and limits are the pipeline's own tests.

import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';

import { SignJWT } from 'jose';

import { TokenStore } from '../../../src/auth/token/token-store.ts';
import { authObject } from '../../../src/auth/token/token-json.ts';
import { CoreClient } from '../../../src/client/core-client.ts';
import type { Caller, Engine, JsonObject, Operation } from '../../../src/core/logical.ts';
import type { View } from '../../../src/core/view.ts';
import { KvEngine } from '../../../src/engines/kv/kv-engine.ts';
import { PurserError } from '../../../src/lib/errors.ts';
import { replyForError } from '../../../src/server/error-status.ts';
import { send, successReply } from '../../../src/server/http/reply.ts';
import { createNodeServices, type NodeServices } from '../../../src/server/node/node-services.ts';
import { SysEngine } from '../../../src/server/sys/sys-engine.ts';
import { usageRoutes } from '../../../src/server/sys/usage.ts';
import { PolicyStore } from '../../../src/server/policy-store.ts';
import { decodeJoinToken } from '../../../src/wire/join-token.ts';
import type { ResolveResult, Workload } from '../../../src/wire/node-protocol.ts';
import { batch, type NewEntry } from '../../ledger/entries.ts';
import { MemoryView } from '../../fakes/memory-view.ts';

export const CLUSTER = 'cluster-1';

export interface TestCoreOptions {
  readonly view?: MemoryView;
  readonly tls?: { readonly certificate: string; readonly key: string; readonly authority: { readonly certificate: string; readonly hash: string } };
  readonly heartbeatMs?: number;
  readonly port?: number;
}

export interface TestNode {
  readonly id: string;
  readonly key: KeyObject;
  readonly client: CoreClient;
}

export interface JoinOptions { readonly driver?: boolean; readonly swarmNodeId?: string }

export class TestCore {
  /** Milliseconds that the core's clock is ahead of the machine's. */
  clockOffset = 0;
  /** Answers of these paths are computed and then thrown away with the connection. */
  readonly loseReplyOf = new Set<string>();
  readonly faults: unknown[] = [];
  readonly view: MemoryView;
  services!: NodeServices;
  kv!: KvEngine;
  root!: CoreClient;
  policies!: PolicyStore;
  tokens!: TokenStore;
  address = '';
  #server!: Server;
  #isPaused = false;
  readonly #clients: CoreClient[] = [];
  readonly #options: TestCoreOptions;

  private constructor(options: TestCoreOptions) {
    this.#options = options;
    this.view = options.view ?? new MemoryView();
  }

  static async start(options: TestCoreOptions = {}): Promise<TestCore> {
    const core = new TestCore(options);
    await core.#open();
    return core;
  }

  now = (): number => Date.now() + this.clockOffset;

  client(token?: string | (() => string | undefined)): CoreClient {
    const client = new CoreClient({ address: this.address, token, timeoutMs: 30_000, retryDelays: [10], certificateAuthority: this.#options.tls?.authority.certificate });
    this.#clients.push(client);
    return client;
  }

  async policy(name: string, text: string): Promise<void> {
    await this.policies.write(name, text);
  }

  /** Writes a secret below `secret/`. */
  async put(path: string, data: JsonObject): Promise<void> {
    await this.kv.handle({ operation: 'update', path: `data/${path}`, mountPoint: 'secret/', data: { data }, remoteAddress: '' });
  }

  async role(name: string, body: object): Promise<void> {
    await this.root.write(`auth/node/role/${name}`, body);
  }

  /** The parts of a new join token. */
  async joinToken(body: object = {}): Promise<{ id: string; secret: string; text: string }> {
    const { token } = await this.root.write('auth/node/join-token', body);
    const { id, secret } = decodeJoinToken(textOf(token));
    return { id, secret, text: textOf(token) };
  }

  /** Joins and logs in. */
  async join(name: string, options: JoinOptions = {}): Promise<TestNode> {
    const { id, secret } = await this.joinToken({ driver: options.driver ?? false });
    const { privateKey, publicKey } = generateKeyPairSync('ed25519');
    const { node_id: nodeId } = await this.client().write('auth/node/join', {
      id, secret, name, version: '1', public_key: jwkOf(publicKey), ...(options.swarmNodeId === undefined ? {} : { swarm_node_id: options.swarmNodeId }),
    });
    const token = await this.logIn(textOf(nodeId), privateKey);
    return { id: textOf(nodeId), key: privateKey, client: this.client(token) };
  }

  async logIn(nodeId: string, key: KeyObject, claims: object = {}): Promise<string> {
    const auth = await this.client().authenticate('auth/node/login', { jwt: await loginJwt(nodeId, key, claims) });
    return textOf(auth['client_token']);
  }

  /** Stops and starts with the same storage, as a restart of the process would. */
  async restart(): Promise<void> {
    const { port } = this.#server.address() as AddressInfo;
    await this.#shut();
    await this.#open(port);
  }

  /** Takes connections and requests, and answers none, until restart(). */
  pause(): { restart: () => Promise<void> } {
    this.#isPaused = true;
    this.#server.closeAllConnections();
    return {
      restart: async () => {
        this.#isPaused = false;
        await this.restart();
      },
    };
  }

  async close(): Promise<void> {
    for (const client of this.#clients) client.close();
    await this.#shut();
  }

  async #shut(): Promise<void> {
    await this.services.close();
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #open(port = 0): Promise<void> {
    const { tls } = this.#options;
    const listener = (request: IncomingMessage, response: ServerResponse) => void this.#serve(request, response);
    this.#server = tls === undefined ? createServer(listener) : createTlsServer({ cert: tls.certificate, key: tls.key }, listener);
    await new Promise<void>((resolve) => this.#server.listen(port, '127.0.0.1', resolve));
    this.address = `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
    this.policies = await PolicyStore.open(this.view.sub('policy/'), () => this.services.grantsChanged());
    this.tokens = await TokenStore.open(this.view.sub('token/'), this.now);
    await this.#openServices();
    const { id } = await this.tokens.createRoot();
    this.root = this.client(id);
  }

  async #openServices(): Promise<void> {
    const view: View = this.view;
    this.kv = new KvEngine({ view: view.sub('kv/'), now: this.now }, (path, version) => this.services.changed(`secret/${path}`, version));
    this.services = await createNodeServices({
      views: { auth: view.sub('auth/'), ledger: view.sub('ledger/'), swarm: view.sub('swarm/') },
      clusterId: CLUSTER, address: this.address, authority: this.#options.tls?.authority, now: this.now,
      acl: (names) => this.policies.acl(names),
      readPolicy: (name) => this.policies.read(name),
      isLiveToken: async (id) => (await this.tokens.lookup(id)) !== undefined,
      findSource: (path) => (path.startsWith('secret/') ? { mountPoint: 'secret/', source: this.kv, relativePath: path.slice(7) } : undefined),
      onFault: (error) => this.faults.push(error),
      issueToken: async (spec) => {
        const { id, entry } = await this.tokens.create({ ...spec, mayBeInternal: true, path: 'auth/node/login', renewable: false });
        return authObject(id, entry, this.now());
      },
      revokeTokens: async (nodeId) => { await this.tokens.revokeWhere((entry) => entry.path === 'auth/node/login' && entry.metadata['node_id'] === nodeId); },
      secretPaths: () => listAll(this.kv),
      ...(this.#options.heartbeatMs === undefined ? {} : { heartbeatMs: this.#options.heartbeatMs }),
    });
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (this.#isPaused) return;
    try {
      const url = new URL(request.url ?? '', this.address);
      const path = decodeURIComponent(url.pathname).replace(/^\/v1\//, '');
      const query = Object.fromEntries(url.searchParams);
      const isList = query['list'] === 'true';
      delete query['list'];
      const operation: Operation = isList ? 'list' : ({ GET: 'read', POST: 'update', DELETE: 'delete' } as const)[request.method ?? ''] ?? 'update';
      const text = await bodyOf(request);
      const data = (text === '' ? query : JSON.parse(text)) as JsonObject;
      const caller = await this.#authorise(request, path, operation);
      if (path === 'node/watch') return this.services.watch(caller?.caller, caller?.expires ?? 0, query, response);
      if (path === 'sys/usage/events') return this.services.usage.streams.attach({ tokenId: caller?.caller.tokenId ?? '', tokenExpires: caller?.expires ?? 0 }, response);
      const answer = await this.#dispatch(isList ? `${path}/` : path, operation, data, caller?.caller);
      if (this.loseReplyOf.has(path)) return void request.socket.destroy();
      send(response, successReply('id', answer, operation === 'read' || operation === 'list', operation === 'list'));
    } catch (error) {
      send(response, replyForError(error));
    }
  }

  async #authorise(request: IncomingMessage, path: string, operation: Operation): Promise<{ caller: Caller; expires: number } | undefined> {
    if (this.services.auth.unauthenticatedPaths?.some((open) => path === `auth/node/${open}`) === true) return undefined;
    if (this.services.identity.unauthenticatedPaths?.some((open) => path === `identity/${open}`) === true) return undefined;
    const id = String(request.headers['x-vault-token']);
    const entry = await this.tokens.lookup(id);
    if (entry === undefined || !this.policies.acl(entry.policies).check({ path, operation }).allowed) throw new PurserError('ERR_REQUEST_DENIED', 'permission denied');
    const isRoot = entry.policies.includes('root');
    return {
      caller: { tokenId: id, tokenKey: entry.key, accessor: entry.accessor, policies: entry.policies, displayName: entry.displayName, metadata: entry.metadata, isRoot, path: entry.path, hasSudo: isRoot },
      expires: entry.expiresAt ?? Infinity,
    };
  }

  async #dispatch(path: string, operation: Operation, data: JsonObject, caller: Caller | undefined): ReturnType<Engine['handle']> {
    const mounts: readonly (readonly [string, Engine])[] = [['auth/node/', this.services.auth], ['node/', this.services.calls], ['identity/', this.services.identity], ['secret/', this.kv], ['sys/', new SysEngine(usageRoutes(this.services.usage))]];
    const found = mounts.find(([mount]) => path.startsWith(mount));
    if (found === undefined) throw new PurserError('ERR_REQUEST_NOT_FOUND', 'no handler');
    const [mountPoint, engine] = found;
    return engine.handle({ operation, path: path.slice(mountPoint.length), mountPoint, data, remoteAddress: '127.0.0.1', ...(caller === undefined ? {} : { caller }) });
  }
}

/** What a node tells of the use of secrets, numbered as an agent numbers it. */
export class UsageReports {
  /** Number of the last entry told. */
  sequence = 0;
  readonly #client: () => CoreClient;

  /** @param client of the node, asked for each report: a restart of the core makes another one */
  constructor(client: () => CoreClient) {
    this.#client = client;
  }

  async add(...entries: NewEntry[]): Promise<void> {
    const first = this.sequence + 1;
    this.sequence += entries.length;
    await this.#client().write('node/usage', batch(first, entries, new Date()));
  }
}

/** A field of an answer that must be a string. */
export function textOf(value: unknown): string {
  assert.equal(typeof value, 'string');
  return value as string;
}

export function jwkOf(key: KeyObject): { kty: 'OKP'; crv: 'Ed25519'; x: string } {
  return { kty: 'OKP', crv: 'Ed25519', x: String(key.export({ format: 'jwk' }).x) };
}

let jwtCount = 0;

/** A login JWT as an agent signs it, with some claims replaced. */
export async function loginJwt(nodeId: string, key: KeyObject, claims: object = {}): Promise<string> {
  const now = Math.floor(Date.now() / 1000);
  const all = { iss: nodeId, sub: nodeId, aud: `purser:${CLUSTER}`, iat: now, exp: now + 55, jti: `test-login-jwt-${String(++jwtCount).padStart(8, '0')}`, ...claims };
  return new SignJWT(all).setProtectedHeader({ alg: 'EdDSA' }).sign(key);
}

export function workload(references: readonly string[], facts: Partial<Workload> & { swarm_secrets?: string[] } = {}): object {
  return { id: 'a'.repeat(64), name: 'web', image: 'nginx:1.27', labels: {}, references, ...facts };
}

/** The results of one container's references. */
export async function resolve(node: TestNode, references: readonly string[], facts: Parameters<typeof workload>[1] = {}): Promise<ResolveResult[]> {
  const data = await node.client.write('node/resolve', { workloads: [workload(references, facts)] });
  return (data['workloads'] as unknown as { results: ResolveResult[] }[])[0]?.results ?? [];
}

export function valueText(result: ResolveResult | undefined): string | undefined {
  return result?.outcome === 'value' || result?.outcome === 'default' ? Buffer.from(result.value, 'base64').toString() : undefined;
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of request) text += String(chunk);
  return text;
}

async function* listAll(kv: KvEngine, folder = ''): AsyncGenerator<string> {
  const answer = await kv.handle({ operation: 'list', path: `metadata/${folder}`, mountPoint: 'secret/', data: {}, remoteAddress: '' });
  for (const key of (answer?.data?.['keys'] ?? []) as string[]) {
    if (key.endsWith('/')) yield* listAll(kv, folder + key);
    else yield `secret/${folder}${key}`;
  }
}
