// The roles of one approle mount: their stored form (FORMAT.md), found by name or by role id. A role that is made again under
// the same name is another one: its `uid` is new, so nothing of the old one fits it.

import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { z } from 'zod';

import type { View, ViewOperation } from '../../core/view.ts';
import { PurserError } from '../../lib/errors.ts';
import { decodeRecord, encodeRecord } from '../../lib/json-record.ts';
import { KeyedLock } from '../../lib/keyed-lock.ts';
import { tokenParametersSchema } from '../method/token-parameters.ts';

const roleSchema = z.strictObject({
  v: z.literal(1),
  uid: z.uuid(),
  roleId: z.string().min(1),
  /** Of the keyed hashes of this role's secret ids and accessors; 32 bytes, base64. */
  macKey: z.string().refine((text) => Buffer.from(text, 'base64').length === 32),
  bindSecretId: z.boolean(),
  secretIdBoundCidrs: z.array(z.string()).readonly(),
  /** 0: any number. */
  secretIdNumUses: z.int().nonnegative(),
  /** 0: without end. */
  secretIdTtlSeconds: z.int().nonnegative(),
  localSecretIds: z.boolean(),
  token: tokenParametersSchema,
}).readonly();
const indexSchema = z.strictObject({ v: z.literal(1), role: z.string() });

export type Role = z.infer<typeof roleSchema>;
/** What operators decide about a role; an absent role id is made. */
export type RoleSettings = Omit<Role, 'v' | 'uid' | 'macKey' | 'roleId'> & { readonly roleId?: string };

export class Roles {
  readonly #view: View;
  readonly #lock = new KeyedLock();

  constructor(view: View) {
    this.#view = view;
  }

  /** @throws ERR_RECORD_INVALID */
  async get(name: string): Promise<Role | undefined> {
    const bytes = await this.#view.get(`role/${name}`);
    return bytes && decodeRecord(bytes, roleSchema, 'role');
  }

  async byRoleId(roleId: string): Promise<{ readonly name: string; readonly role: Role } | undefined> {
    const bytes = await this.#view.get(indexKey(roleId));
    if (bytes === undefined) return undefined;
    const { role: name } = decodeRecord(bytes, indexSchema, 'role id');
    const role = await this.get(name);
    return role?.roleId === roleId ? { name, role } : undefined;
  }

  /**
   * Stores what `change` makes of a role (undefined: there is none yet), durably, with its role id.
   * @throws ERR_REQUEST_INVALID when another role has the role id, and what `change` throws
   */
  change(name: string, change: (before: Role | undefined) => RoleSettings): Promise<void> {
    return this.#lock.run('', async () => {
      const before = await this.get(name);
      const settings = change(before);
      const role: Role = {
        v: 1, ...settings, uid: before?.uid ?? randomUUID(), macKey: before?.macKey ?? randomBytes(32).toString('base64'),
        roleId: settings.roleId ?? before?.roleId ?? randomUUID(),
      };
      const operations: ViewOperation[] = [{ kind: 'put', key: `role/${name}`, value: encodeRecord(role) }];
      if (role.roleId !== before?.roleId) {
        if (await this.byRoleId(role.roleId) !== undefined) throw new PurserError('ERR_REQUEST_INVALID', 'role_id already in use');
        operations.push({ kind: 'put', key: indexKey(role.roleId), value: encodeRecord({ v: 1, role: name }) });
        if (before !== undefined) operations.push({ kind: 'delete', key: indexKey(before.roleId) });
      }
      await this.#view.transaction(operations);
    });
  }

  /** @returns the role that was there */
  delete(name: string): Promise<Role | undefined> {
    return this.#lock.run('', async () => {
      const role = await this.get(name);
      if (role !== undefined) await this.#view.transaction([{ kind: 'delete', key: `role/${name}` }, { kind: 'delete', key: indexKey(role.roleId) }]);
      return role;
    });
  }

  /** Sorted. */
  names(): Promise<string[]> {
    return this.#view.list('role/');
  }
}

/** A role id may be any text; it is no secret. */
function indexKey(roleId: string): string {
  return `role-id/${createHash('sha256').update(roleId).digest('hex')}`;
}
