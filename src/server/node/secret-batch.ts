// Resolving references within one request: policy check, one read per secret, the field that was asked for. Within a batch a
// secret is read once, so fields that belong together come from one version. What is denied and what is not there at all look
// the same. A bad reference is a result, never an exception; only a sealed core or a batch beyond all bounds stops the request.

import type { SecretSource } from '../../core/logical.ts';
import { PurserError, isPurserError } from '../../lib/errors.ts';
import type { JsonObject } from '../../lib/json.ts';
import type { Acl } from '../../policy/acl.ts';
import type { ResolveResult } from '../../wire/node-protocol.ts';
import { dataSegmentHint, parseReference, type Reference } from '../../wire/reference.ts';
import { hasField, selectField } from '../../wire/selection.ts';

/** Bytes of values delivered and of secrets read for one request: what a client takes, base64 and JSON included. */
const MAX_BATCH_BYTES = 16 * 1024 * 1024;
const MAX_ROLES_SHOWN = 5;
const MAX_MESSAGE = 2048;

export interface MountedSource {
  /** With trailing '/'. */
  readonly mountPoint: string;
  readonly source: SecretSource;
  /** Below the mount. */
  readonly relativePath: string;
}

export interface SecretAccess {
  /** The engine that serves a logical path, when references can name its secrets. */
  readonly findSource: (path: string) => MountedSource | undefined;
  /** The compiled ACL of a set of policies; the server caches it. */
  readonly acl: (policies: readonly string[]) => Acl;
  /** Told of a read that failed for a reason of ours, for the log. */
  readonly onFault: (error: unknown) => void;
}

/** On whose behalf references are resolved. */
export interface Grantee {
  readonly roles: readonly string[];
  readonly policies: readonly string[];
  /** Called before a granted secret is read, so that no change can fall between reading and watching; false refuses. */
  readonly hold: (path: string) => boolean;
}

type Secret = Awaited<ReturnType<SecretSource['readSecret']>>;

export class SecretBatch {
  readonly #access: SecretAccess;
  readonly #reads = new Map<string, Promise<Secret>>();
  #bytes = 0;

  constructor(access: SecretAccess) {
    this.#access = access;
  }

  /** The result for one reference text. @throws ERR_BARRIER_SEALED, ERR_REQUEST_TOO_LARGE */
  async resolve(text: string, grantee: Grantee): Promise<ResolveResult> {
    let reference: Reference | undefined;
    try {
      reference = parseReference(text);
      return await this.#resolve(reference, grantee);
    } catch (error) {
      if (isPurserError(error, 'ERR_BARRIER_SEALED', 'ERR_REQUEST_TOO_LARGE')) throw error;
      return this.#failure(error, reference);
    }
  }

  async #resolve(reference: Reference, grantee: Grantee): Promise<ResolveResult> {
    const { path, field, version } = reference;
    const found = this.#granted(reference, grantee);
    if (!grantee.hold(path)) throw new PurserError('ERR_RESOLVE_FAILED', 'this node holds more secrets than the core keeps track of');
    const secret = await this.#read(found, version);
    const about = { path, ...(field === undefined ? {} : { field }) };
    if (secret === undefined || !hasField(secret.data, field)) {
      if (reference.default !== undefined) return { outcome: 'default', value: this.#deliver(Buffer.from(reference.default, 'utf8')), ...about, version: 0 };
      if (reference.isOptional) return { outcome: 'absent', ...about, version: 0 };
      if (secret === undefined) throw notFound(reference);
    }
    return { outcome: 'value', value: this.#deliver(selectField(secret.data, reference)), ...about, version: secret.version };
  }

  /** @throws ERR_RESOLVE_DENIED, the same when there is no such mount */
  #granted({ path, version }: Reference, { roles, policies }: Grantee): MountedSource {
    const found = this.#access.findSource(path);
    // Asked even without a mount, so that both refusals are one and the same.
    const apiPath = found === undefined ? path : found.mountPoint + found.source.policyPath(found.relativePath);
    const { allowed } = this.#access.acl(policies).check({ path: apiPath, operation: 'read', data: version === undefined ? {} : { version: String(version) } });
    if (allowed && found !== undefined) return found;
    throw new PurserError('ERR_RESOLVE_DENIED', `no workload role grants ${path} to this container`, { hint: hintFor(roles) });
  }

  async #read({ mountPoint, source, relativePath }: MountedSource, version: number | undefined): Promise<Secret> {
    const key = `${mountPoint}\0${relativePath}\0${version ?? ''}`;
    let read = this.#reads.get(key);
    if (read === undefined) {
      read = source.readSecret(relativePath, version).then((secret) => {
        if (secret !== undefined) this.#count(sizeOf(secret.data));
        return secret;
      });
      this.#reads.set(key, read);
    }
    return read;
  }

  #deliver(value: Uint8Array): string {
    this.#count(value.length);
    return Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64');
  }

  #count(bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes > MAX_BATCH_BYTES) throw new PurserError('ERR_REQUEST_TOO_LARGE', `the secrets of this request have more than ${MAX_BATCH_BYTES} bytes`, { hint: 'resolve fewer workloads at once' });
  }

  #failure(error: unknown, reference: Reference | undefined): ResolveResult {
    const about = reference === undefined ? {} : { path: reference.path };
    if (isPurserError(error) && /^ERR_RE(?:SOLVE|FERENCE)_/.test(error.code)) {
      const message = error.hint === undefined ? error.message : `${error.message} (${error.hint})`;
      return { outcome: 'error', code: error.code, message: message.slice(0, MAX_MESSAGE), ...about };
    }
    this.#access.onFault(error);
    return { outcome: 'error', code: 'ERR_RESOLVE_FAILED', message: `${reference?.path ?? 'the secret'} could not be read by the core, whose log says why`, ...about };
  }
}

function notFound(reference: Reference): PurserError {
  const { path, version } = reference;
  const hint = dataSegmentHint(reference);
  return new PurserError('ERR_RESOLVE_NOT_FOUND', version === undefined ? `${path} does not exist` : `version ${version} of ${path} does not exist`, hint === undefined ? {} : { hint });
}

function hintFor(roles: readonly string[]): string {
  if (roles.length === 0) return 'no workload role selects this container: purser workload list';
  const shown = roles.slice(0, MAX_ROLES_SHOWN).join(', ');
  return `it has the workload roles ${shown}${roles.length > MAX_ROLES_SHOWN ? ' and others' : ''}, whose policies do not allow it`;
}

function sizeOf(data: JsonObject): number {
  return JSON.stringify(data).length;
}
