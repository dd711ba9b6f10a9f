// Lease records in a View with their indexes (FORMAT.md). Every change is one transaction, so an index never names what is not
// there, and a lease is never without its place in the queue.

import { keysBelow, namesIn } from '../core/folders.ts';
import { dueNames, reschedule } from '../core/due-queue.ts';
import type { View, ViewOperation } from '../core/view.ts';
import { encodeRecord } from '../lib/json-record.ts';
import { dueAt, isIrrevocable, parseLease, suffixOf, type Lease } from './lease-record.ts';

const EMPTY = new Uint8Array(0);

export class LeaseRecords {
  readonly #view: View;

  constructor(view: View) {
    this.#view = view;
  }

  /** @throws ERR_RECORD_INVALID */
  async load(id: string): Promise<Lease | undefined> {
    const bytes = await this.#view.get(`id/${id}`);
    return bytes && parseLease(bytes);
  }

  async loadBySuffix(suffix: string): Promise<Lease | undefined> {
    const id = await this.#view.get(`suffix/${suffix}`);
    return id && this.load(Buffer.from(id).toString('utf8'));
  }

  insert(lease: Lease): Promise<void> {
    const suffix = suffixOf(lease.id);
    return this.#view.transaction([
      { kind: 'put', key: `id/${lease.id}`, value: encodeRecord(lease) },
      { kind: 'put', key: `suffix/${suffix}`, value: Buffer.from(lease.id, 'utf8') },
      ...(lease.owner === '' ? [] : [{ kind: 'put', key: ownerKey(lease), value: EMPTY } as const]),
      ...reschedule(suffix, null, dueAt(lease)),
    ]);
  }

  async update(before: Lease, after: Lease): Promise<void> {
    const suffix = suffixOf(after.id);
    const operations: ViewOperation[] = [{ kind: 'put', key: `id/${after.id}`, value: encodeRecord(after) }, ...reschedule(suffix, dueAt(before), dueAt(after))];
    if (isIrrevocable(after)) operations.push({ kind: 'put', key: `irrevocable/${suffix}`, value: EMPTY });
    await this.#view.transaction(operations);
  }

  remove(lease: Lease): Promise<void> {
    const suffix = suffixOf(lease.id);
    return this.#view.transaction([
      { kind: 'delete', key: `id/${lease.id}` },
      { kind: 'delete', key: `suffix/${suffix}` },
      { kind: 'delete', key: `irrevocable/${suffix}` },
      ...(lease.owner === '' ? [] : [{ kind: 'delete', key: ownerKey(lease) } as const]),
      ...reschedule(suffix, dueAt(lease), null),
    ]);
  }

  /** Names below a path that is empty or ends in '/': lease suffixes, and folders with a trailing '/'. */
  list(prefix: string): Promise<string[]> {
    return this.#view.list(`id/${prefix}`);
  }

  /** Ids of all leases below a path. */
  async *below(prefix: string): AsyncGenerator<string> {
    for await (const key of keysBelow(this.#view, `id/${prefix}`)) yield key.slice('id/'.length);
  }

  /** Suffixes of the leases of a token. */
  ownedBy(owner: string): AsyncGenerator<string> {
    return namesIn(this.#view, `owner/${owner}/`);
  }

  /** Keys of the tokens that own a lease. */
  async *owners(): AsyncGenerator<string> {
    for await (const name of namesIn(this.#view, 'owner/')) yield name.slice(0, -1);
  }

  /** Suffixes of all of them. */
  all(): AsyncGenerator<string> {
    return namesIn(this.#view, 'suffix/');
  }

  irrevocable(): AsyncGenerator<string> {
    return namesIn(this.#view, 'irrevocable/');
  }

  /** Suffixes of the leases to be revoked at `now`. */
  due(now: number): AsyncGenerator<string> {
    return dueNames(this.#view, now);
  }
}

function ownerKey({ owner, id }: Lease): string {
  return `owner/${owner}/${suffixOf(id)}`;
}
