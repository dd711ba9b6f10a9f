// The users of one userpass mount: their stored form (FORMAT.md), and changes that read first. Names come in lower case.

import { z } from 'zod';

import type { View } from '../../core/view.ts';
import { decodeRecord, encodeRecord } from '../../lib/json-record.ts';
import { KeyedLock } from '../../lib/keyed-lock.ts';
import { tokenParametersSchema } from '../method/token-parameters.ts';
import { passwordHashSchema } from './password-hash.ts';

const userSchema = z.strictObject({ v: z.literal(1), password: passwordHashSchema, token: tokenParametersSchema }).readonly();

export type User = Omit<z.infer<typeof userSchema>, 'v'>;

export class Users {
  readonly #view: View;
  readonly #lock = new KeyedLock();

  constructor(view: View) {
    this.#view = view.sub('user/');
  }

  /** @throws ERR_RECORD_INVALID */
  async get(name: string): Promise<User | undefined> {
    const bytes = await this.#view.get(name);
    return bytes && decodeRecord(bytes, userSchema, 'user');
  }

  /** Stores what `change` makes of the user, durably; undefined leaves things as they are. */
  async change(name: string, change: (before: User | undefined) => Promise<User | undefined>): Promise<void> {
    await this.#lock.run(name, async () => {
      const user = await change(await this.get(name));
      if (user !== undefined) await this.#view.put(name, encodeRecord({ v: 1, password: user.password, token: user.token }));
    });
  }

  async delete(name: string): Promise<void> {
    await this.#lock.run(name, () => this.#view.delete(name));
  }

  /** Sorted. */
  names(): Promise<string[]> {
    return this.#view.list('');
  }
}
