// The node method, mounted at `auth/node/` (PROTOCOL.md 1.1 and 1.4): join tokens, joining, login, the list of nodes and the
// workload roles. Policies decided who may call; here is decided what is valid. Joins run one at a time, so that a token's
// use and the name, key and Swarm node of the new node are checked and taken as one.

import { z } from 'zod';

import type { Engine, JsonObject, LogicalRequest, LogicalResponse, Operation } from '../../core/logical.ts';
import { parseDurationSeconds } from '../../lib/duration.ts';
import { PurserError } from '../../lib/errors.ts';
import { KeyedLock } from '../../lib/keyed-lock.ts';
import { encodeJoinToken } from '../../wire/join-token.ts';
import { joinRequestSchema } from '../../wire/node-protocol.ts';
import { validate } from '../../wire/validate.ts';
import type { JoinTokens } from './join-tokens.ts';
import { verifyLogin } from './login.ts';
import { revokedError, type NodeRecord, type NodeRegistry } from './registry.ts';
import type { WorkloadRoles } from './roles.ts';

export const NODE_POLICY = 'purser-node';
export const NODE_TOKEN_SECONDS = 3600;
const DEFAULT_JOIN_SECONDS = 3600;
const MAX_JOIN_SECONDS = 30 * 24 * 3600;

const joinTokenRequestSchema = z.strictObject({
  ttl: z.union([z.string().max(64), z.number()]).default(DEFAULT_JOIN_SECONDS),
  num_uses: z.number().int().min(1).max(1000).default(1),
  driver: z.boolean().default(false),
});
const loginRequestSchema = z.strictObject({ jwt: z.string().min(1) });

export interface NodeEngineOptions {
  readonly clusterId: string;
  /** How nodes reach this core, as written into join tokens. */
  readonly address: string;
  /** PEM of the CA and the SHA-256 of its DER in hexadecimal; undefined for plain HTTP on loopback. */
  readonly authority: { readonly certificate: string; readonly hash: string } | undefined;
  readonly now: () => number;
  readonly tokens: JoinTokens;
  readonly registry: NodeRegistry;
  readonly roles: WorkloadRoles;
  /** Makes the token of a login and gives Vault's `auth` object: policies as given and no others, not renewable. */
  readonly issueToken: (token: NodeTokenSpec) => Promise<JsonObject>;
  /** Revokes every token whose metadata names the node. */
  readonly revokeTokens: (nodeId: string) => Promise<void>;
  /** Told at once when a node is revoked. */
  readonly onRevoked: (nodeId: string) => void;
  /** Told when a workload role changed, before that is acknowledged. */
  readonly onRolesChanged: () => void;
  /** What the containers of a node hold now. */
  readonly holds: (nodeId: string) => { readonly containers: number; readonly secrets: number };
}

export interface NodeTokenSpec {
  readonly policies: readonly string[];
  readonly ttlSeconds: number;
  readonly displayName: string;
  readonly metadata: Readonly<Record<'node_id' | 'node_name', string>>;
}

type Handler = (request: LogicalRequest, name: string) => Promise<LogicalResponse | undefined>;

export class NodeEngine implements Engine {
  readonly unauthenticatedPaths = ['ca', 'join', 'login'];
  readonly #options: NodeEngineOptions;
  readonly #lock = new KeyedLock();
  /** By first path segment; the rest of the path is the name, and a name that is not wanted is not found. */
  readonly #routes: ReadonlyMap<string, Partial<Record<Operation, Handler>>>;

  constructor(options: NodeEngineOptions) {
    this.#options = options;
    const write = (handler: Handler): Partial<Record<Operation, Handler>> => ({ create: handler, update: handler });
    this.#routes = new Map<string, Partial<Record<Operation, Handler>>>([
      ['join-token', write((request) => this.#makeJoinToken(request))],
      ['ca', { read: () => this.#readAuthority() }],
      ['join', write((request) => this.#join(request))],
      ['login', write((request) => this.#logIn(request))],
      ['nodes/', { list: () => this.#listNodes() }],
      ['nodes/:', { read: (_request, id) => this.#readNode(id), delete: (_request, id) => this.#revoke(id) }],
      ['role/', { list: () => this.#listRoles() }],
      ['role/:', {
        ...write((request, name) => this.#writeRole(request, name)),
        read: (_request, name) => this.#readRole(name),
        delete: (_request, name) => this.#deleteRole(name),
      }],
    ]);
  }

  async exists(request: LogicalRequest): Promise<boolean> {
    const { route, name } = parsePath(request.path);
    return route !== 'role/:' || this.#options.roles.get(name) !== undefined;
  }

  async handle(request: LogicalRequest): Promise<LogicalResponse | undefined> {
    const { route, name } = parsePath(request.path);
    const handlers = this.#routes.get(route);
    if (handlers === undefined) throw new PurserError('ERR_REQUEST_NOT_FOUND', 'unsupported path');
    const handler = handlers[request.operation];
    if (handler === undefined) throw new PurserError('ERR_REQUEST_UNSUPPORTED', 'unsupported operation');
    return handler(request, name);
  }

  async #makeJoinToken(request: LogicalRequest): Promise<LogicalResponse> {
    const body = validate(joinTokenRequestSchema, request.data, 'request');
    const ttlSeconds = parseDurationSeconds(body.ttl);
    if (ttlSeconds < 1 || ttlSeconds > MAX_JOIN_SECONDS) throw new PurserError('ERR_REQUEST_INVALID', 'the ttl of a join token is 1 second to 30 days');
    const { address, authority, tokens } = this.#options;
    const { id, secret, expires } = await tokens.create({ ttlSeconds, uses: body.num_uses, driver: body.driver });
    const token = encodeJoinToken({ address, ...(authority === undefined ? {} : { ca: authority.hash }), id, secret });
    return { data: { token, expire_time: new Date(expires).toISOString() } };
  }

  async #readAuthority(): Promise<LogicalResponse | undefined> {
    const { authority } = this.#options;
    return authority && { data: { certificate: authority.certificate } };
  }

  async #join(request: LogicalRequest): Promise<LogicalResponse> {
    const body = validate(joinRequestSchema, request.data, 'join request');
    const { tokens, registry, clusterId } = this.#options;
    // Checked before the lock too: strangers must not be able to queue up in front of nodes.
    await tokens.check(body.id, body.secret);
    const nodeId = await this.#lock.run('join', async () => {
      const { driver, takeUse } = await tokens.check(body.id, body.secret);
      return registry.add({ name: body.name, publicKey: body.public_key.x, driver, version: body.version, swarmNodeId: body.swarm_node_id }, takeUse);
    });
    return { data: { node_id: nodeId, cluster_id: clusterId } };
  }

  async #logIn(request: LogicalRequest): Promise<LogicalResponse> {
    const { jwt } = validate(loginRequestSchema, request.data, 'login request');
    const { clusterId, now, registry, issueToken, revokeTokens } = this.#options;
    const { node, claims, expires } = await verifyLogin(jwt, { clusterId, now, find: (id) => registry.get(id) });
    registry.requireSwarmNode(node.id, claims.swarm_node_id);
    registry.takeLogin(node.id, claims.jti, expires);
    await registry.recordLogin(node.id, { version: claims.version, swarmNodeId: claims.swarm_node_id });
    const auth = await issueToken({
      policies: [NODE_POLICY], ttlSeconds: NODE_TOKEN_SECONDS, displayName: `node-${node.name}`, metadata: { node_id: node.id, node_name: node.name },
    });
    if (registry.get(node.id)?.revoked !== undefined) {
      // Revoked while the token was made, which may have escaped the revocation's sweep.
      await revokeTokens(node.id);
      throw revokedError();
    }
    return { auth, isNewToken: true, data: { server_time: new Date(now()).toISOString() } };
  }

  async #listNodes(): Promise<LogicalResponse> {
    const nodes = this.#options.registry.all();
    return { data: { keys: nodes.map(({ id }) => id).sort(), key_info: Object.fromEntries(nodes.map((node) => [node.id, this.#dataOf(node)])) } };
  }

  async #readNode(id: string): Promise<LogicalResponse | undefined> {
    const node = this.#options.registry.get(id);
    return node && { data: this.#dataOf(node) };
  }

  #dataOf(node: NodeRecord): JsonObject {
    return { ...nodeData(node), ...this.#options.holds(node.id) };
  }

  async #revoke(id: string): Promise<undefined> {
    const { registry, onRevoked, revokeTokens } = this.#options;
    if (registry.get(id) === undefined) throw new PurserError('ERR_REQUEST_NOT_FOUND', 'there is no such node', { hint: 'purser node list shows them' });
    const stored = registry.revoke(id);
    onRevoked(id);
    await stored;
    await revokeTokens(id);
  }

  async #listRoles(): Promise<LogicalResponse> {
    return { data: { keys: this.#options.roles.names() } };
  }

  async #readRole(name: string): Promise<LogicalResponse | undefined> {
    const role = this.#options.roles.get(name);
    return role && { data: JSON.parse(JSON.stringify(role)) as JsonObject };
  }

  async #writeRole(request: LogicalRequest, name: string): Promise<undefined> {
    await this.#options.roles.put(name, request.data);
    this.#options.onRolesChanged();
  }

  async #deleteRole(name: string): Promise<undefined> {
    const deleted = this.#options.roles.delete(name);
    // It grants nothing from here on, whether its record goes or not.
    this.#options.onRolesChanged();
    await deleted;
  }
}

function parsePath(path: string): { readonly route: string; readonly name: string } {
  const slash = path.indexOf('/');
  if (slash < 0 || slash === path.length - 1) return { route: path, name: '' };
  return { route: `${path.slice(0, slash)}/:`, name: path.slice(slash + 1) };
}

function nodeData(node: NodeRecord): JsonObject {
  return {
    id: node.id, name: node.name, driver: node.driver, version: node.version, swarm_node_id: node.swarm_node_id ?? null,
    public_key: { kty: 'OKP', crv: 'Ed25519', x: node.public_key },
    created: timeText(node.created), last_seen: timeText(node.last_seen), revoked: node.revoked !== undefined, revoked_time: timeText(node.revoked),
  };
}

function timeText(milliseconds: number | undefined): string | null {
  return milliseconds === undefined ? null : new Date(milliseconds).toISOString();
}
