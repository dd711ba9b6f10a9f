// The token roles in the token store's view, and the calls at `auth/token/roles`.

import type { JsonObject, LogicalResponse } from '../../core/logical.ts';
import type { View } from '../../core/view.ts';
import { PurserError } from '../../lib/errors.ts';
import { decodeRecord, encodeRecord } from '../../lib/json-record.ts';
import { KeyedLock } from '../../lib/keyed-lock.ts';
import { readTokenRole, roleName, showTokenRole, tokenRoleSchema, type TokenRole } from './token-role.ts';

const MAX_ROLES = 10_000;

export class TokenRoles {
  readonly #view: View;
  readonly #lock = new KeyedLock();

  /** @param view `token/role/` */
  constructor(view: View) {
    this.#view = view;
  }

  async find(name: string): Promise<TokenRole | undefined> {
    const bytes = await this.#view.get(roleName(name));
    return bytes && decodeRecord(bytes, tokenRoleSchema, 'token role');
  }

  /** @throws ERR_REQUEST_INVALID */
  async read(name: string): Promise<LogicalResponse | undefined> {
    const role = await this.find(name);
    return role && { data: showTokenRole(roleName(name), role) };
  }

  /** Makes or changes a role. @throws ERR_REQUEST_INVALID */
  async write(name: string, data: JsonObject): Promise<undefined> {
    const key = roleName(name);
    await this.#lock.run(key, async () => {
      const before = await this.find(key);
      if (before === undefined && (await this.#view.list('')).length >= MAX_ROLES) throw new PurserError('ERR_REQUEST_INVALID', `there are ${MAX_ROLES} token roles already`);
      await this.#view.put(key, encodeRecord(readTokenRole(data, before)));
    });
  }

  /** Tokens of the role stay, and are not renewed any more. */
  async delete(name: string): Promise<undefined> {
    const key = roleName(name);
    await this.#lock.run(key, () => this.#view.delete(key));
  }

  async list(): Promise<LogicalResponse | undefined> {
    const keys = await this.#view.list('');
    return keys.length === 0 ? undefined : { data: { keys } };
  }
}
