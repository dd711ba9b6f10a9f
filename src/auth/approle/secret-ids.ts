// The secret ids of roles. Guarantees: neither a secret id nor an accessor is found but through its own role, whose key they are
// hashed with and below whose uid they lie (CVE-2023-24999); counted uses are exact under concurrency; one that has ended is
// not there, whether its record is removed yet or not.

import { createHmac, randomUUID } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { z } from 'zod';

import type { View, ViewOperation } from '../../core/view.ts';
import { PurserError } from '../../lib/errors.ts';
import { decodeRecord, encodeRecord } from '../../lib/json-record.ts';
import { KeyedLock } from '../../lib/keyed-lock.ts';
import type { Role } from './roles.ts';

const SECRET_ID_LABEL = 'purser.approle.secret-id.v1\0';
const ACCESSOR_LABEL = 'purser.approle.accessor.v1\0';
const PAGE = 64;

const time = z.int().nonnegative();
const secretIdSchema = z.strictObject({
  v: z.literal(1),
  accessor: z.string().min(1),
  createdAt: time,
  updatedAt: time,
  /** Milliseconds since the epoch; null: without end. */
  expiresAt: time.nullable(),
  /** Null: any number. */
  usesLeft: z.int().positive().nullable(),
  ttlSeconds: time,
  metadata: z.record(z.string(), z.string()).readonly(),
  cidrs: z.array(z.string()).readonly(),
  tokenBoundCidrs: z.array(z.string()).readonly(),
}).readonly();
const accessorSchema = z.strictObject({ v: z.literal(1), secretId: z.string().regex(/^[0-9a-f]{64}$/) });

export type SecretId = z.infer<typeof secretIdSchema>;
export type SecretIdWish = Pick<SecretId, 'ttlSeconds' | 'metadata' | 'cidrs' | 'tokenBoundCidrs'> & { readonly numUses: number };
type Owner = Pick<Role, 'uid' | 'macKey'>;

export class SecretIds {
  readonly #view: View;
  readonly #now: () => number;
  readonly #lock = new KeyedLock();

  constructor(view: View, now: () => number) {
    this.#view = view;
    this.#now = now;
  }

  /**
   * Stores a secret id, durably.
   * @param chosen one of the operator's; absent: a random one
   * @throws ERR_REQUEST_INVALID when the role has the chosen one already
   */
  create(role: Owner, wish: SecretIdWish, chosen: string = randomUUID()): Promise<{ readonly secretId: string; readonly accessor: string }> {
    const hash = hashOf(role, SECRET_ID_LABEL, chosen);
    return this.#lock.run(hash, async () => {
      const before = await this.#read(role.uid, hash);
      if (before !== undefined && !this.#hasEnded(before)) throw new PurserError('ERR_REQUEST_INVALID', 'SecretID is already registered');
      const now = this.#now();
      const accessor = randomUUID();
      const record: SecretId = {
        v: 1, accessor, createdAt: now, updatedAt: now, expiresAt: wish.ttlSeconds === 0 ? null : now + wish.ttlSeconds * 1000, usesLeft: wish.numUses === 0 ? null : wish.numUses,
        ttlSeconds: wish.ttlSeconds, metadata: wish.metadata, cidrs: wish.cidrs, tokenBoundCidrs: wish.tokenBoundCidrs,
      };
      await this.#view.transaction([
        ...(before === undefined ? [] : removal(role, hash, before)),
        { kind: 'put', key: accessorKey(role, accessor), value: encodeRecord({ v: 1, secretId: hash }) },
        { kind: 'put', key: `secret-id/${role.uid}/${hash}`, value: encodeRecord(record) },
      ]);
      return { secretId: chosen, accessor };
    });
  }

  /** One that has not ended. */
  async find(role: Owner, secretId: string): Promise<SecretId | undefined> {
    return this.#living(role.uid, hashOf(role, SECRET_ID_LABEL, secretId));
  }

  /** As find. */
  async findByAccessor(role: Owner, accessor: string): Promise<SecretId | undefined> {
    const hash = await this.#hashOfAccessor(role, accessor);
    return hash === undefined ? undefined : this.#living(role.uid, hash);
  }

  /**
   * Uses a secret id once; the last use removes it. Of n concurrent callers of one with k uses left exactly k get it.
   * @param check throws to refuse it, which costs no use
   * @returns undefined when there is none
   */
  async use(role: Owner, secretId: string, check: (record: SecretId) => void): Promise<SecretId | undefined> {
    const hash = hashOf(role, SECRET_ID_LABEL, secretId);
    const read = async (): Promise<SecretId | undefined> => {
      const found = await this.#living(role.uid, hash);
      if (found !== undefined) check(found);
      return found;
    };
    const take = async (): Promise<SecretId | undefined> => {
      const found = await read();
      if (found === undefined || found.usesLeft === null) return found;
      const usesLeft = found.usesLeft - 1;
      await this.#view.transaction(usesLeft === 0 ? removal(role, hash, found)
        : [{ kind: 'put', key: `secret-id/${role.uid}/${hash}`, value: encodeRecord({ ...found, usesLeft, updatedAt: this.#now() }) }]);
      return found;
    };
    // Without counted uses nothing is written, so logins of one secret id need not queue.
    const record = await read();
    return record === undefined || record.usesLeft === null ? record : this.#lock.run(hash, take);
  }

  /** Removes one; unknown ones are no error. */
  async destroy(role: Owner, secretId: string): Promise<void> {
    await this.#remove(role, hashOf(role, SECRET_ID_LABEL, secretId));
  }

  /** As destroy. @returns false when the role has no such accessor */
  async destroyByAccessor(role: Owner, accessor: string): Promise<boolean> {
    const hash = await this.#hashOfAccessor(role, accessor);
    if (hash !== undefined) await this.#remove(role, hash);
    return hash !== undefined;
  }

  /** The accessors of those that have not ended, sorted. */
  async accessors(role: Owner): Promise<string[]> {
    const accessors: string[] = [];
    for await (const [, record] of this.#all(role.uid)) if (!this.#hasEnded(record)) accessors.push(record.accessor);
    return accessors.sort();
  }

  /** Removes those that have ended, and all of roles that are gone. @param roles gives the roles there are; asked after the first look */
  async tidy(roles: () => Promise<readonly Owner[]>): Promise<void> {
    const uids = await this.#view.list('secret-id/');
    const owners = new Map((await roles()).map((role) => [role.uid, role]));
    for (const uid of uids.map((name) => name.replace(/\/$/, ''))) {
      const role = owners.get(uid);
      if (role === undefined) { await this.wipe(uid); continue; }
      for await (const [hash, record] of this.#all(uid)) if (this.#hasEnded(record)) await this.#remove(role, hash, (now) => this.#hasEnded(now));
    }
  }

  /** Removes everything of a role that is gone. */
  async wipe(uid: string): Promise<void> {
    for (const folder of [`accessor/${uid}/`, `secret-id/${uid}/`]) {
      for (let names: string[]; (names = await this.#view.list(folder, { limit: PAGE })).length > 0;) {
        await this.#view.transaction(names.map((name) => ({ kind: 'delete', key: folder + name })));
      }
    }
  }

  #remove(role: Owner, hash: string, when: (record: SecretId) => boolean = () => true): Promise<void> {
    return this.#lock.run(hash, async () => {
      const record = await this.#read(role.uid, hash);
      if (record !== undefined && when(record)) await this.#view.transaction(removal(role, hash, record));
    });
  }

  async #hashOfAccessor(role: Owner, accessor: string): Promise<string | undefined> {
    const bytes = await this.#view.get(accessorKey(role, accessor));
    return bytes && decodeRecord(bytes, accessorSchema, 'secret id accessor').secretId;
  }

  async #living(uid: string, hash: string): Promise<SecretId | undefined> {
    const record = await this.#read(uid, hash);
    return record === undefined || this.#hasEnded(record) ? undefined : record;
  }

  async #read(uid: string, hash: string): Promise<SecretId | undefined> {
    const bytes = await this.#view.get(`secret-id/${uid}/${hash}`);
    return bytes && decodeRecord(bytes, secretIdSchema, 'secret id');
  }

  /** Page by page; other work runs in between. */
  async *#all(uid: string): AsyncGenerator<readonly [hash: string, record: SecretId]> {
    for (let after: string | undefined; ;) {
      const page = await this.#view.list(`secret-id/${uid}/`, after === undefined ? { limit: PAGE } : { after, limit: PAGE });
      for (const hash of page) {
        const record = await this.#read(uid, hash);
        if (record !== undefined) yield [hash, record];
      }
      after = page.at(-1);
      if (page.length < PAGE) return;
      await nextTurn();
    }
  }

  #hasEnded({ expiresAt }: SecretId): boolean {
    return expiresAt !== null && this.#now() >= expiresAt;
  }
}

function removal(role: Owner, hash: string, { accessor }: SecretId): ViewOperation[] {
  return [{ kind: 'delete', key: accessorKey(role, accessor) }, { kind: 'delete', key: `secret-id/${role.uid}/${hash}` }];
}

function accessorKey(role: Owner, accessor: string): string {
  return `accessor/${role.uid}/${hashOf(role, ACCESSOR_LABEL, accessor)}`;
}

function hashOf({ macKey }: Owner, label: string, text: string): string {
  return createHmac('sha256', Buffer.from(macKey, 'base64')).update(label + text).digest('hex');
}
