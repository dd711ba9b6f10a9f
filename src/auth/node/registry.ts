// The nodes of this core. Every node call asks the registry in memory, so that a revocation counts from the instant it is
// asked for; records are stored before a join or a login is answered. A revoked node stays on record and never comes back.

import { randomUUID } from 'node:crypto';

import { z } from 'zod';

import type { View, ViewOperation } from '../../core/view.ts';
import { PurserError } from '../../lib/errors.ts';
import { decodeRecord, encodeRecord } from '../../lib/json-record.ts';
import { KeyedLock } from '../../lib/keyed-lock.ts';

const time = z.number().int();

const storedSchema = z.strictObject({
  format: z.literal(1),
  name: z.string(),
  /** `x` of the Ed25519 JWK. */
  public_key: z.string(),
  driver: z.boolean(),
  version: z.string(),
  swarm_node_id: z.string().optional(),
  created: time,
  last_seen: time.optional(),
  revoked: time.optional(),
  logins: z.array(z.strictObject({ jti: z.string(), exp: time })),
});
type StoredNode = z.infer<typeof storedSchema>;

/** A node as others see it; times in milliseconds since the epoch. */
export interface NodeRecord extends Readonly<Omit<StoredNode, 'format' | 'logins'>> {
  readonly id: string;
}

export interface NewNode {
  readonly name: string;
  readonly publicKey: string;
  readonly driver: boolean;
  readonly version: string;
  readonly swarmNodeId: string | undefined;
}

/** What a login says about its node. */
export interface LoginFacts {
  readonly version: string | undefined;
  readonly swarmNodeId: string | undefined;
}

/** Logins of one node whose JWT could still be replayed; an agent logs in every 40 minutes and after a restart. */
const MAX_LIVE_LOGINS = 128;

export class NodeRegistry {
  readonly #view: View;
  readonly #now: () => number;
  readonly #nodes = new Map<string, StoredNode>();
  readonly #writes = new KeyedLock();

  private constructor(view: View, now: () => number) {
    this.#view = view;
    this.#now = now;
  }

  /** @param view the view of the whole node method, so that a use of a token and a node fit into one transaction */
  static async load(view: View, now: () => number): Promise<NodeRegistry> {
    const registry = new NodeRegistry(view, now);
    for (const id of await view.list('node/')) {
      const bytes = await view.get(`node/${id}`);
      if (bytes !== undefined) registry.#nodes.set(id, decodeRecord(bytes, storedSchema, 'node record'));
    }
    return registry;
  }

  get(id: string): NodeRecord | undefined {
    const node = this.#nodes.get(id);
    return node === undefined ? undefined : publicRecord(id, node);
  }

  all(): NodeRecord[] {
    return [...this.#nodes].map(([id, node]) => publicRecord(id, node));
  }

  /**
   * The node, when it may act now; marks it as seen.
   * @throws ERR_NODE_REVOKED for a revoked and for an unknown one
   */
  requireLive(id: string): NodeRecord {
    const node = this.#live(id);
    node.last_seen = this.#now();
    return publicRecord(id, node);
  }

  /** The live node that is this node of the Swarm. */
  findBySwarmNode(swarmNodeId: string): NodeRecord | undefined {
    return this.#findLive((node) => node.swarm_node_id === swarmNodeId);
  }

  /**
   * Stores a new node together with the use of its join token.
   * @returns its id
   * @throws ERR_REQUEST_INVALID when the name or the Swarm node is taken by a live node, or the key was used before
   */
  async add(node: NewNode, takeUse: ViewOperation): Promise<string> {
    this.#requireFree(node);
    const id = randomUUID();
    const record: StoredNode = {
      format: 1, name: node.name, public_key: node.publicKey, driver: node.driver, version: node.version,
      ...(node.swarmNodeId === undefined ? {} : { swarm_node_id: node.swarmNodeId }), created: this.#now(), logins: [],
    };
    await this.#view.transaction([{ kind: 'put', key: `node/${id}`, value: encodeRecord(record) }, takeUse]);
    this.#nodes.set(id, record);
    return id;
  }

  /**
   * Takes the JWT id of a login, in memory at once: of two logins with one JWT, one gets here first.
   * @param expires milliseconds since the epoch after which the JWT is refused for its age
   * @throws ERR_REQUEST_INVALID when it was used before, ERR_NODE_REVOKED
   */
  takeLogin(id: string, jti: string, expires: number): void {
    const node = this.#live(id);
    const now = this.#now();
    const logins = node.logins.filter(({ exp }) => exp > now);
    if (logins.some((login) => login.jti === jti)) throw new PurserError('ERR_REQUEST_INVALID', 'the login token was used before', { hint: 'sign a new one for every login' });
    if (logins.length >= MAX_LIVE_LOGINS) throw new PurserError('ERR_REQUEST_INVALID', 'this node logs in too often', { hint: 'wait three minutes; is the agent restarted over and over?' });
    node.logins = [...logins, { jti, exp: expires }];
  }

  /** @throws ERR_REQUEST_DENIED when the node is pinned to another Swarm node, or another node to this one */
  requireSwarmNode(id: string, swarmNodeId: string | undefined): void {
    if (swarmNodeId === undefined) return;
    const pinned = this.#nodes.get(id)?.swarm_node_id;
    const owner = this.findBySwarmNode(swarmNodeId);
    if ((pinned ?? swarmNodeId) !== swarmNodeId || (owner ?? { id }).id !== id) {
      throw new PurserError('ERR_REQUEST_DENIED', 'this node is not the Swarm node it says it is',
        { hint: 'if the host left and joined the Swarm again, revoke the node and join it anew: purser node revoke' });
    }
  }

  /** Pins what a login said and stores the record, its used JWT ids included. @throws ERR_NODE_REVOKED */
  async recordLogin(id: string, facts: LoginFacts): Promise<void> {
    const node = this.#live(id);
    node.last_seen = this.#now();
    if (facts.version !== undefined) node.version = facts.version;
    if (facts.swarmNodeId !== undefined) node.swarm_node_id = facts.swarmNodeId;
    await this.#store(id, node);
  }

  /**
   * Marks a node as revoked, in memory at once and then durably.
   * @returns false when there is no such node
   */
  async revoke(id: string): Promise<boolean> {
    const node = this.#nodes.get(id);
    if (node === undefined) return false;
    node.revoked ??= this.#now();
    await this.#store(id, node);
    return true;
  }

  #live(id: string): StoredNode {
    const node = this.#nodes.get(id);
    if (node === undefined || node.revoked !== undefined) throw revokedError();
    return node;
  }

  /** One write of a record at a time, each with what memory says then: a login under way cannot undo a revocation. */
  #store(id: string, node: StoredNode): Promise<void> {
    return this.#writes.run(id, () => this.#view.put(`node/${id}`, encodeRecord(node)));
  }

  #requireFree(node: NewNode): void {
    if (this.#findLive(({ name }) => name === node.name) !== undefined) {
      throw new PurserError('ERR_REQUEST_INVALID', 'a node of this name is there already', { hint: 'give another --name, or revoke the old one: purser node revoke' });
    }
    if ([...this.#nodes.values()].some(({ public_key: key }) => key === node.publicKey)) {
      throw new PurserError('ERR_REQUEST_INVALID', 'this node key was used before', { hint: 'join with a new key' });
    }
    if (node.swarmNodeId !== undefined && this.findBySwarmNode(node.swarmNodeId) !== undefined) {
      throw new PurserError('ERR_REQUEST_INVALID', 'another node is this Swarm node already', { hint: 'revoke the old one first: purser node revoke' });
    }
  }

  #findLive(accept: (node: StoredNode) => boolean): NodeRecord | undefined {
    for (const [id, node] of this.#nodes) if (node.revoked === undefined && accept(node)) return publicRecord(id, node);
    return undefined;
  }
}

function publicRecord(id: string, node: StoredNode): NodeRecord {
  const { name, public_key, driver, version, swarm_node_id, created, last_seen, revoked } = node;
  return { id, name, public_key, driver, version, swarm_node_id, created, last_seen, revoked };
}

/** One text for revoked and unknown: who asks without a good key learns nothing. */
export function revokedError(): PurserError {
  return new PurserError('ERR_NODE_REVOKED', 'the node was revoked or is not known', { hint: 'join again with a new token: purser node token' });
}
