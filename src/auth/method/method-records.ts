// What methods with one configuration and named roles have in common (jwt, kubernetes): the records `config` and `role/<name>` of a mount, and the
// paths `config`, `role/`, `role/<name>` and `login` over them. A role that is gone renews no login.

import type { z } from 'zod';

import type { JsonObject, LoginRenewal, LogicalRequest, LogicalResponse, TokenParameters } from '../../core/logical.ts';
import type { View } from '../../core/view.ts';
import { PurserError } from '../../lib/errors.ts';
import { decodeRecord, encodeRecord } from '../../lib/json-record.ts';
import { isName, MethodRoutes, routeOf, write } from './routes.ts';

const CONFIG = 'config';
const ROLES = 'role/';

/** How a method reads, keeps and shows one kind of record. Reading and showing are pure; both schema and reading refuse what is not valid. */
export interface MethodKinds<C, R> {
  /** For errors, such as "jwt". */
  readonly name: string;
  readonly config: { readonly schema: z.ZodType<C>; readonly read: (data: JsonObject) => C; readonly show: (config: C) => JsonObject };
  /** Called before a new configuration is stored; throws to refuse it. */
  readonly tryConfig?: (config: C, data: JsonObject) => Promise<void>;
  readonly role: { readonly schema: z.ZodType<R>; readonly read: (data: JsonObject, before: R | undefined) => R; readonly show: (role: R) => JsonObject };
  /** What a written role is answered with; Vault's methods differ. */
  readonly roleWritten: LogicalResponse | undefined;
}

export class MethodRecords<C, R extends { readonly token: TokenParameters }> {
  readonly #view: View;
  readonly #kinds: MethodKinds<C, R>;
  #config: C | undefined;

  constructor(view: View, kinds: MethodKinds<C, R>) {
    this.#view = view;
    this.#kinds = kinds;
  }

  /** The same object until another one is written. */
  async config(): Promise<C | undefined> {
    if (this.#config !== undefined) return this.#config;
    const bytes = await this.#view.get(CONFIG);
    return this.#config ??= bytes && decodeRecord(bytes, this.#kinds.config.schema, `${this.#kinds.name} configuration`);
  }

  /** @param name as a client gives it; what is no name is not there */
  async role(name: string): Promise<R | undefined> {
    const bytes = isName(name) ? await this.#view.get(ROLES + name.toLowerCase()) : undefined;
    return bytes && decodeRecord(bytes, this.#kinds.role.schema, `${this.#kinds.name} role`);
  }

  async exists({ path }: LogicalRequest): Promise<boolean> {
    const { route, name } = routeOf(path);
    if (route === CONFIG) return (await this.config()) !== undefined;
    return route !== 'role/:' || (await this.role(name)) !== undefined;
  }

  async renewLogin({ state }: LoginRenewal): Promise<TokenParameters> {
    const role = await this.role(state['role'] ?? '');
    if (role === undefined) throw new PurserError('ERR_REQUEST_INVALID', 'the role of this login is not there any more', { hint: 'log in again' });
    return role.token;
  }

  /** The paths of the method. */
  routes(logIn: (request: LogicalRequest) => Promise<LogicalResponse>): MethodRoutes {
    const { config, role } = this.#kinds;
    return new MethodRoutes({
      'login': write(logIn),
      'config': { ...write(({ data }) => this.#writeConfig(data)), read: async () => shown(await this.config(), config.show) },
      'role': { list: async () => ({ data: { keys: await this.#view.list(ROLES) } }) },
      'role/:': {
        ...write(({ data }, name) => this.#writeRole(name, data)), read: async (_request, name) => shown(await this.role(name), role.show),
        delete: async (_request, name) => this.#view.delete(ROLES + name).then(() => undefined),
      },
    });
  }

  async #writeConfig(data: JsonObject): Promise<undefined> {
    const config = this.#kinds.config.read(data);
    await this.#kinds.tryConfig?.(config, data);
    await this.#view.put(CONFIG, encodeRecord(config));
    this.#config = config;
  }

  async #writeRole(name: string, data: JsonObject): Promise<LogicalResponse | undefined> {
    await this.#view.put(ROLES + name, encodeRecord(this.#kinds.role.read(data, await this.role(name))));
    return this.#kinds.roleWritten;
  }
}

function shown<T>(record: T | undefined, show: (record: T) => JsonObject): LogicalResponse | undefined {
  return record === undefined ? undefined : { data: show(record) };
}
