// Keeps the identities of containers fresh: at two thirds of its life a token is replaced in place, one step for readers. One
// timer for all; what is due at about the same time is one request. When the core denies or cannot answer, the old token stays,
// to its own end and beyond (its readers' verifiers refuse it), and the question is asked again.

import type { Logger } from 'pino';
import { messageOf } from '../lib/errors.ts';
import { traced } from '../lib/trace.ts';
import { MAX_WORKLOADS } from '../wire/node-protocol.ts';
import type { IdentityResult } from '../wire/node-protocol.ts';
import type { ContainerRecord, GrantedFile } from './container-record.ts';
import type { Containers } from './containers.ts';
import type { CoreLink } from './core-link.ts';
import type { ChangedFile } from './fuse/filesystem.ts';
import type { ContainerUpdate } from './fuse/plan.ts';
import type { Ledger } from './ledger.ts';

export interface IdentityRefreshOptions {
  readonly containers: Pick<Containers, 'all' | 'get' | 'put'>;
  readonly core: Pick<CoreLink, 'identity'>;
  /** Replaces the named files of all containers in one step (SecretFilesystem.replace). */
  readonly replace: (updates: readonly ContainerUpdate[]) => Promise<readonly ChangedFile[]>;
  readonly ledger: Pick<Ledger, 'rotated'>;
  readonly log: Logger;
  /** Milliseconds before a question that was not answered with a token is asked again. */
  readonly retryMs?: number;
}

type IdentityFile = GrantedFile & { readonly source: { readonly type: 'identity'; readonly audiences: string[]; readonly refreshAt: number } };
interface Due { readonly record: ContainerRecord; readonly file: IdentityFile }

/** What falls due within this many milliseconds is asked for together. */
const TOGETHER_MS = 1000;
const RETRY_MS = 5000;
/** setTimeout's own limit is 2^31 - 1. */
const MAX_WAIT_MS = 24 * 3600_000;

export class IdentityRefresh {
  readonly #options: IdentityRefreshOptions;
  readonly #retryMs: number;
  /** Containers whose last question failed, and when to ask again. */
  readonly #retries = new Map<string, number>();
  #timer: NodeJS.Timeout | undefined;
  #round: Promise<void> | undefined;
  #isStopped = false;

  constructor(options: IdentityRefreshOptions) {
    this.#options = options;
    this.#retryMs = options.retryMs ?? RETRY_MS;
  }

  /** Looks at the containers anew: one was added, or this agent took them over. */
  wake(): void {
    if (this.#isStopped || this.#round !== undefined) return;
    clearTimeout(this.#timer);
    const next = Math.min(...this.#all().map((due) => this.#dueAt(due)));
    if (next === Infinity) return;
    this.#timer = setTimeout(() => this.#begin(), Math.min(MAX_WAIT_MS, Math.max(0, next - Date.now()))).unref();
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    await this.#round;
  }

  #begin(): void {
    this.#round = traced(() => this.#run()).catch((error: unknown) => {
      this.#options.log.error({ err: messageOf(error) }, 'the identities of containers could not be refreshed');
    }).finally(() => {
      this.#round = undefined;
      this.wake();
    });
  }

  async #run(): Promise<void> {
    const all = this.#all();
    const ids = new Set(all.map(({ record }) => record.workload.id));
    for (const id of this.#retries.keys()) if (!ids.has(id)) this.#retries.delete(id);
    const due = all.filter((one) => this.#dueAt(one) <= Date.now() + TOGETHER_MS).slice(0, MAX_WORKLOADS);
    for (const { record } of due) this.#retries.set(record.workload.id, Date.now() + this.#retryMs);
    if (due.length > 0) await this.#refresh(due);
  }

  async #refresh(due: readonly Due[]): Promise<void> {
    const { core, log, replace } = this.#options;
    let results: readonly IdentityResult[];
    try {
      results = await core.identity({ workloads: due.map(({ record, file }) => ({ ...record.workload, audiences: file.source.audiences })) });
    } catch (error) {
      log.warn({ containers: due.length, err: messageOf(error) }, 'identities cannot be refreshed yet; the tokens stay until their end');
      return;
    }
    const fresh = due.flatMap(({ record, file }, index) => {
      const result = results[index];
      // Started anew meanwhile: the new run has an identity of its own.
      if (this.#options.containers.get(record.workload.id)?.grantedAt !== record.grantedAt) {
        this.#retries.delete(record.workload.id);
        return [];
      }
      if (result?.outcome === 'value') return [{ id: record.workload.id, token: result.token, file: { ...file, version: file.version + 1, source: { ...file.source, refreshAt: refreshAt(result.ttl) } } }];
      log.warn({ container: record.workload.name, reason: result?.message }, 'an identity is not refreshed; its token stays until its end');
      return [];
    });
    await replace(fresh.map(({ id, token, file }) => ({ containerId: id, files: [{ name: file.name, version: file.version, content: Buffer.from(token, 'latin1') }] })));
    for (const { id, file } of fresh) this.#record(id, file);
  }

  #record(id: string, file: IdentityFile): void {
    this.#retries.delete(id);
    const record = this.#options.containers.get(id);
    if (record === undefined) return;
    const next = { ...record, files: record.files.map((one) => (one.source.type === 'identity' ? file : one)) };
    this.#options.containers.put(next);
    this.#options.ledger.rotated(next, [file]);
    this.#options.log.debug({ container: record.workload.name, version: file.version }, 'identity refreshed');
  }

  #all(): Due[] {
    return this.#options.containers.all().flatMap((record) => record.files.filter(isIdentity).map((file) => ({ record, file })));
  }

  #dueAt({ record, file }: Due): number {
    return this.#retries.get(record.workload.id) ?? file.source.refreshAt;
  }
}

/** When a token that lives `ttlSeconds` from now is to be replaced, in milliseconds since the epoch. */
export function refreshAt(ttlSeconds: number): number {
  return Date.now() + Math.floor(ttlSeconds * 1000 * (2 / 3));
}

function isIdentity(file: GrantedFile): file is IdentityFile {
  return file.source.type === 'identity';
}
