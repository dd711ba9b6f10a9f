// The secrets that the core gave this driver, by who may have them: service, secret and image exactly as Swarm describes them, and the node
// where the core says that the node matters. Guarantee: nothing that was forgotten comes back. A load that was under way when
// anything was forgotten is given to its caller and not kept. Bounded in entries and bytes; what goes is overwritten.

import { createHash } from 'node:crypto';
import type { SwarmSecretRequest, SwarmSecretScope, SwarmSecretUse } from '../wire/node-protocol.ts';

/** The bytes of a secret and the version they are. */
export interface SwarmSecret {
  readonly value: Uint8Array;
  readonly version: number;
  readonly path: string;
}

/** What the core gave, and for whom else it holds. */
export interface GrantedSecret extends SwarmSecret {
  readonly scope: SwarmSecretScope;
}

interface Entry {
  readonly secret: SwarmSecret;
  /** The request that it answered. */
  readonly request: SwarmSecretRequest;
}

const MAX_ENTRIES = 10_000;
const MAX_BYTES = 64 * 1024 * 1024;

export class SecretMemory {
  /** Least recently used first. */
  readonly #entries = new Map<string, Entry>();
  #bytes = 0;
  #epoch = 0;

  get size(): number {
    return this.#entries.size;
  }

  /** A copy of what is remembered for this request. */
  get(request: SwarmSecretRequest): SwarmSecret | undefined {
    const use = useKey(request);
    for (const key of [use, nodeKey(use, request)]) {
      const entry = this.#entries.get(key);
      if (entry === undefined) continue;
      this.#entries.delete(key);
      this.#entries.set(key, entry);
      return { ...entry.secret, value: Buffer.from(entry.secret.value) };
    }
    return undefined;
  }

  /** Runs `ask`, and remembers what it gives unless something was forgotten meanwhile or it is for this task alone. */
  async load(request: SwarmSecretRequest, ask: (request: SwarmSecretRequest) => Promise<GrantedSecret>): Promise<SwarmSecret> {
    const epoch = this.#epoch;
    const { scope, ...secret } = await ask(request);
    if (epoch === this.#epoch && scope !== 'task') this.#keep(keyFor(request, scope), { secret: { ...secret, value: Buffer.from(secret.value) }, request });
    return secret;
  }

  /** Forgets what was read at `path`. @returns the requests that it answered */
  forgetPath(path: string): SwarmSecretRequest[] {
    this.#epoch++;
    const forgotten = [...this.#entries].filter(([, { secret }]) => secret.path === path);
    for (const [key] of forgotten) this.#drop(key);
    return forgotten.map(([, { request }]) => request);
  }

  /** @returns the requests that were answered, the latest first */
  forgetAll(): SwarmSecretRequest[] {
    this.#epoch++;
    const requests = [...this.#entries.values()].map(({ request }) => request).reverse();
    for (const key of [...this.#entries.keys()]) this.#drop(key);
    return requests;
  }

  #keep(key: string, entry: Entry): void {
    this.#drop(key);
    this.#entries.set(key, entry);
    this.#bytes += entry.secret.value.length;
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= MAX_ENTRIES && this.#bytes <= MAX_BYTES) return;
      this.#drop(oldest);
    }
  }

  #drop(key: string): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    this.#entries.delete(key);
    this.#bytes -= entry.secret.value.length;
    entry.secret.value.fill(0);
  }
}

/** What of a request is the same for all tasks of the service. */
export function useOf(request: SwarmSecretRequest): SwarmSecretUse {
  const { secret_name, secret_labels, service_id, service_name, service_labels, task_image } = request;
  return { secret_name, secret_labels, service_id, service_name, service_labels, task_image };
}

/** One text for one use, however large its labels are. */
export function useKey(request: SwarmSecretRequest): string {
  return createHash('sha256').update(JSON.stringify(useOf(request))).digest('base64');
}

function keyFor(request: SwarmSecretRequest, scope: 'service' | 'node'): string {
  const use = useKey(request);
  return scope === 'service' ? use : nodeKey(use, request);
}

function nodeKey(use: string, request: SwarmSecretRequest): string {
  return `${use} ${request.node_id}`;
}
