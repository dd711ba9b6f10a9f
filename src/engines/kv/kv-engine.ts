// The KV engine, version 2: Vault's paths and shapes over the SecretStore. A deleted or destroyed version reads as 404 *with* its
// metadata, which clients depend on; what never existed reads as 404 without a body.

import type { Engine, EngineContext, JsonObject, LogicalRequest, LogicalResponse, Operation, SecretChangeListener, SecretFacts, SecretSource } from '../../core/logical.ts';
import { PurserError } from '../../lib/errors.ts';
import { mergePatch } from '../../lib/merge-patch.ts';
import { checkCas, depthOf, folderOf, requireData, requirePath, versionOf, versionsOf, withConfig, withPatchedSettings, withSettings } from './kv-input.ts';
import { configJson, metadataJson, secretJson, settingsJson, subkeysJson, versionJson } from './kv-json.ts';
import { addVersion, changeVersions, destroy, emptyMetadata, readableCurrent, softDelete, undelete } from './metadata.ts';
import type { SecretMetadata, VersionMetadata } from './metadata.ts';
import { SecretStore } from './secret-store.ts';
import type { SecretVersion } from './secret-store.ts';
import { upgradeSecrets } from './upgrade.ts';

/** Each name costs a read, and audit hashes all of it. */
const MAX_DETAILED = 500;

type Handler = (path: string, data: JsonObject) => Promise<LogicalResponse | undefined>;
type Route = Partial<Record<Operation, Handler>>;

const WRONG_VERSION_WARNING = 'Invalid path for a versioned K/V secrets engine: use data/<path> to read and write a secret and metadata/<path> to list, '
  + 'or the command line, which does it for you: purser kv get';

export class KvEngine implements Engine, SecretSource {
  readonly #store: SecretStore;
  readonly #now: () => number;
  readonly #routes: ReadonlyMap<string, Route>;
  readonly #upgrade: () => Promise<void>;
  #isUpgraded = false;
  #upgrading: Promise<void> | undefined;

  /** @param onChange told after each commit that changed which versions of a secret can be read */
  constructor(context: EngineContext, onChange: SecretChangeListener = () => undefined) {
    this.#now = context.now;
    this.#store = new SecretStore(context.view, context.now, onChange);
    this.#upgrade = () => upgradeSecrets(context.view, context.now);
    const write: Handler = (path, data) => this.#write(path, data);
    const writeMetadata: Handler = (path, data) => this.#writeMetadata(path, data);
    const versions = (change: () => (version: VersionMetadata) => VersionMetadata): Route => {
      const handler: Handler = (path, data) => this.#changeVersions(path, versionsOf(data), change());
      return { create: handler, update: handler };
    };
    const removeVersions: Handler = (path, data) => this.#destroy(path, versionsOf(data));
    this.#routes = new Map<string, Route>([
      ['data', {
        read: (path, data) => this.#readSecret(path, versionOf(data)),
        create: write, update: write,
        patch: (path, data) => this.#patch(path, data),
        delete: (path) => this.#deleteCurrent(path),
      }],
      ['subkeys', { read: (path, data) => { const depth = depthOf(data); return this.#read(path, versionOf(data), (found) => subkeysJson(found, depth)); } }],
      ['delete', versions(() => softDelete(this.#now()))],
      ['undelete', versions(() => undelete)],
      ['destroy', { create: removeVersions, update: removeVersions }],
      ['metadata', {
        read: (path) => this.#readMetadata(path),
        create: writeMetadata, update: writeMetadata,
        patch: (path, data) => this.#patchMetadata(path, data),
        delete: (path) => this.#deleteMetadata(path),
      }],
    ]);
  }

  async handle(request: LogicalRequest): Promise<LogicalResponse | undefined> {
    if (!this.#isUpgraded) await this.#upgraded();
    if (request.path === 'config') return this.#config(request);
    const slash = request.path.indexOf('/');
    const name = request.path.slice(0, Math.max(0, slash));
    const path = request.path.slice(slash + 1);
    if (name === 'metadata' && request.operation === 'list') return this.#list(path);
    if (name === 'detailed-metadata' && request.operation === 'list') return this.#listDetailed(path);
    const route = this.#routes.get(name);
    if (route === undefined) return { status: 404, warnings: [WRONG_VERSION_WARNING] };
    const handler = route[request.operation];
    if (handler === undefined) throw unsupported();
    return handler(requirePath(path), request.data);
  }

  async exists(request: LogicalRequest): Promise<boolean> {
    if (!this.#isUpgraded) await this.#upgraded();
    const match = /^(?:data|metadata)\/(.+)$/s.exec(request.path);
    return match === null || (await this.#store.metadata(requirePath(match[1] ?? ''))) !== undefined;
  }

  policyPath(path: string): string {
    return `data/${path}`;
  }

  listPath(folder: string): string {
    return `metadata/${folder}`;
  }

  async describeSecret(path: string): Promise<SecretFacts | undefined> {
    const metadata = await this.#store.metadata(requirePath(path));
    return metadata && { version: readableCurrent(metadata, this.#now()), created: metadata.versions[metadata.current]?.created ?? metadata.updatedAt, custom: metadata.custom ?? {} };
  }

  async readSecret(path: string, version?: number): ReturnType<SecretSource['readSecret']> {
    if (!this.#isUpgraded) await this.#upgraded();
    const found = await this.#store.read(requirePath(path), version ?? 0);
    return found === undefined || found.data === null ? undefined : { data: found.data, version: found.number };
  }

  /** Moves what the mount holds from the time when it was of version 1; all requests wait for it, and a failure is tried again by the next. */
  #upgraded(): Promise<void> {
    return this.#upgrading ??= this.#upgrade().then(() => { this.#isUpgraded = true; }).finally(() => { this.#upgrading = undefined; });
  }

  async #readSecret(path: string, version: number): Promise<LogicalResponse | undefined> {
    const found = await this.#store.read(path, version);
    if (found === undefined) return undefined;
    const data = secretJson(found);
    if (found.data === null) return { status: 404, data };
    return found.isAsKept ? { data, sameData: found.metadata } : { data };
  }

  async #read(path: string, version: number, shown: (found: SecretVersion) => JsonObject): Promise<LogicalResponse | undefined> {
    const found = await this.#store.read(path, version);
    if (found === undefined) return undefined;
    return found.data === null ? { status: 404, data: shown(found) } : { data: shown(found) };
  }

  async #write(path: string, body: JsonObject): Promise<LogicalResponse | undefined> {
    const data = requireData(body);
    return this.#addVersion(path, body, async () => data);
  }

  async #patch(path: string, body: JsonObject): Promise<LogicalResponse | undefined> {
    const patch = requireData(body);
    let missing: LogicalResponse | undefined;
    const written = await this.#addVersion(path, body, async () => {
      const found = await this.#store.read(path, 0);
      if (found !== undefined && found.data !== null) return mergePatch(found.data, patch);
      missing = found && { status: 404, data: secretJson(found) };
      return undefined;
    });
    return written ?? missing;
  }

  /** Adds the version that `produce` makes under the lock of the secret; undefined when it makes none. */
  async #addVersion(path: string, body: JsonObject, produce: () => Promise<JsonObject | undefined>): Promise<LogicalResponse | undefined> {
    const config = await this.#store.config();
    let response: LogicalResponse | undefined;
    await this.#store.change(path, async (before) => {
      checkCas(body, before, config);
      const data = await produce();
      if (data === undefined) return undefined;
      const { metadata, dropped } = addVersion(before ?? emptyMetadata(this.#now()), config, this.#now());
      const { current } = metadata;
      response = { data: versionJson(metadata, current, metadata.versions[current] as VersionMetadata) };
      return { metadata, write: { number: current, data }, remove: dropped };
    });
    return response;
  }

  async #deleteCurrent(path: string): Promise<undefined> {
    await this.#store.change(path, (before) => before && changeVersions(before, [before.current], this.#now(), softDelete(this.#now())));
  }

  async #changeVersions(path: string, numbers: readonly number[], change: (version: VersionMetadata) => VersionMetadata): Promise<undefined> {
    await this.#store.change(path, (before) => before && changeVersions(before, numbers, this.#now(), change));
  }

  async #destroy(path: string, numbers: readonly number[]): Promise<undefined> {
    await this.#store.change(path, (before) => {
      const after = before && changeVersions(before, numbers, this.#now(), destroy);
      return after && { metadata: after.metadata, remove: after.changed };
    });
  }

  async #readMetadata(path: string): Promise<LogicalResponse | undefined> {
    const metadata = await this.#store.metadata(path);
    return metadata && { data: metadataJson(metadata) };
  }

  async #writeMetadata(path: string, body: JsonObject): Promise<undefined> {
    await this.#store.change(path, (before) => ({ metadata: withSettings(before ?? emptyMetadata(this.#now()), body, this.#now()) }));
  }

  async #patchMetadata(path: string, body: JsonObject): Promise<undefined> {
    const after: SecretMetadata | undefined = await this.#store.change(path, (before) =>
      before && { metadata: withPatchedSettings(before, body, this.#now()) });
    if (after === undefined) throw new PurserError('ERR_REQUEST_NOT_FOUND', 'there is no such secret');
  }

  async #deleteMetadata(path: string): Promise<undefined> {
    await this.#store.change(path, (before) => before && { metadata: undefined, remove: Object.keys(before.versions).map(Number) });
  }

  async #list(folder: string): Promise<LogicalResponse | undefined> {
    const keys = await this.#store.list(folderOf(folder));
    return keys.length === 0 ? undefined : { data: { keys } };
  }

  /** As #list, with the settings of each secret beside its name (OpenBao's detailed list). */
  async #listDetailed(path: string): Promise<LogicalResponse | undefined> {
    const folder = folderOf(path);
    const keys = await this.#store.list(folder);
    if (keys.length > MAX_DETAILED) throw new PurserError('ERR_REQUEST_INVALID', `a detailed list has at most ${MAX_DETAILED} names`, { hint: 'list metadata/ and read what is needed' });
    const found = await Promise.all(keys.filter((key) => !key.endsWith('/')).map(async (key) => [key, await this.#store.metadata(folder + key)] as const));
    const shown = found.flatMap(([key, metadata]) => (metadata === undefined ? [] : [[key, settingsJson(metadata)] as const]));
    return keys.length === 0 ? undefined : { data: { keys, key_info: Object.fromEntries(shown) } };
  }

  async #config(request: LogicalRequest): Promise<LogicalResponse | undefined> {
    if (request.operation === 'read') return { data: configJson(await this.#store.config()) };
    if (request.operation !== 'create' && request.operation !== 'update') throw unsupported();
    await this.#store.changeConfig((config) => withConfig(config, request.data));
    return undefined;
  }
}

function unsupported(): PurserError {
  return new PurserError('ERR_REQUEST_UNSUPPORTED', 'unsupported operation');
}
