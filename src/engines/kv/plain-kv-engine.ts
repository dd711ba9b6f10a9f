// The KV engine, version 1: Vault's paths and shapes over the PlainStore. The whole body of a write is the secret; what is
// read has a lease duration that nobody enforces, a hint to clients when to read again: `ttl` or `lease` in the secret, else the
// default of the mount, else of the system.

import type { Engine, EngineContext, JsonObject, LogicalRequest, LogicalResponse, SecretChangeListener, SecretSource } from '../../core/logical.ts';
import { parseDurationSeconds } from '../../lib/duration.ts';
import { PurserError } from '../../lib/errors.ts';
import { folderOf, requirePath } from './kv-input.ts';
import { PlainStore } from './plain-store.ts';

interface PlainKvContext extends Pick<EngineContext, 'view'> {
  /** How long a lease of this mount lasts where nobody says so; it may change at any time. */
  readonly defaultLeaseSeconds: (mountPoint: string) => number;
}

export class PlainKvEngine implements Engine, SecretSource {
  readonly isSecretThroughout = true;
  readonly verbatimPaths = ['*'];
  readonly #store: PlainStore;
  readonly #defaultLeaseSeconds: PlainKvContext['defaultLeaseSeconds'];

  /** @param onChange told after each commit, with the secret's revision as its version */
  constructor(context: PlainKvContext, onChange: SecretChangeListener = () => undefined) {
    this.#store = new PlainStore(context.view, onChange);
    this.#defaultLeaseSeconds = context.defaultLeaseSeconds;
  }

  async handle({ operation, path, mountPoint, data }: LogicalRequest): Promise<LogicalResponse | undefined> {
    switch (operation) {
      case 'read': return this.#read(requirePath(path), mountPoint);
      case 'list': return this.#list(folderOf(path));
      case 'create': case 'update': return this.#write(requirePath(path), data);
      case 'delete': return this.#store.remove(requirePath(path)).then(() => undefined);
      case 'patch': throw new PurserError('ERR_REQUEST_UNSUPPORTED', 'unsupported operation', { hint: 'only kv version 2 can be patched' });
    }
  }

  exists({ path }: LogicalRequest): Promise<boolean> {
    return this.#store.exists(requirePath(path));
  }

  close(): Promise<void> {
    return this.#store.close();
  }

  policyPath(path: string): string {
    return path;
  }

  listPath(folder: string): string {
    return folder;
  }

  /** No version can be asked for: an older one is not kept, and the present one would not stay. */
  async readSecret(path: string, version?: number): ReturnType<SecretSource['readSecret']> {
    const secret = version === undefined ? await this.#store.read(requirePath(path)) : undefined;
    return secret && { data: secret.data, version: secret.revision };
  }

  async #read(path: string, mountPoint: string): Promise<LogicalResponse | undefined> {
    const secret = await this.#store.read(path);
    return secret && { data: secret.data, leaseSeconds: leaseOf(secret.data) || this.#defaultLeaseSeconds(mountPoint) };
  }

  async #write(path: string, data: JsonObject): Promise<undefined> {
    if (Object.keys(data).length === 0) throw new PurserError('ERR_REQUEST_INVALID', 'missing data fields');
    await this.#store.write(path, data);
  }

  async #list(folder: string): Promise<LogicalResponse | undefined> {
    const keys = await this.#store.list(folder);
    return keys.length === 0 ? undefined : { data: { keys } };
  }
}

/** What the secret itself says, in Vault's order; 0 for nothing, and for text that is no duration and just a part of the secret. */
function leaseOf(data: JsonObject): number {
  const wish = data['ttl'] ?? data['lease'];
  if (typeof wish !== 'string' && typeof wish !== 'number') return 0;
  try {
    return parseDurationSeconds(wish);
  } catch {
    return 0;
  }
}
