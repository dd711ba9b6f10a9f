// The userpass method: users with a password, in Vault's paths and shapes. A wrong password and an unknown user get the same
// answer after the same time. Names are one in any letter case, everywhere: storage, lockout, alias.

import type { AuthMethod, EngineContext, LoginRenewal, LogicalRequest, LogicalResponse, TokenParameters } from '../../core/logical.ts';
import { PurserError } from '../../lib/errors.ts';
import { field, stringField } from '../../lib/fields.ts';
import { MethodRoutes, routeOf, write } from '../method/routes.ts';
import { readTokenParameters, showTokenParameters, type OldNames } from '../method/token-parameters.ts';
import { canonicalPolicies, DEFAULT_POLICY_NAME } from '../token/policy-names.ts';
import type { PasswordHasher } from './password-hash.ts';
import { Users, type User } from './users.ts';

const OLD_NAMES: OldNames = { policies: 'policies', ttl: 'ttl', max_ttl: 'max_ttl', bound_cidrs: 'bound_cidrs' };
const MAX_PASSWORD_LENGTH = 1_024;
const LOGIN = 'login/:';

export class UserpassMethod implements AuthMethod {
  readonly unauthenticatedPaths = ['login/*'];
  readonly #users: Users;
  readonly #hasher: PasswordHasher;
  readonly #routes: MethodRoutes;

  /** @param hasher shared by all mounts, because the thread pool is */
  constructor({ view }: EngineContext, hasher: PasswordHasher) {
    this.#users = new Users(view);
    this.#hasher = hasher;
    this.#routes = new MethodRoutes({
      'users': { list: () => this.#list() },
      'users/:': { ...write((request, name) => this.#write(request, name)), read: (_request, name) => this.#read(name), delete: (_request, name) => this.#delete(name) },
      'users/:/password': write((request, name) => this.#update(name, async (user) => ({ ...user, password: await this.#hasher.hash(newPassword(request)) }))),
      'users/:/policies': write((request, name) => this.#update(name, async (user) => ({ ...user, token: policiesOnly(request, user.token) }))),
      [LOGIN]: write((request, name) => this.#logIn(request, name)),
    });
  }

  handle(request: LogicalRequest): Promise<LogicalResponse | undefined> {
    return this.#routes.handle(request);
  }

  async exists({ path }: LogicalRequest): Promise<boolean> {
    const { route, name } = routeOf(path);
    return route !== 'users/:' || await this.#users.get(name) !== undefined;
  }

  loginName({ path, operation }: LogicalRequest): string | undefined {
    const { route, name } = routeOf(path);
    return route === LOGIN && (operation === 'create' || operation === 'update') ? name : undefined;
  }

  /** Refused when the user is gone or has other policies now, as in Vault. */
  async renewLogin({ state, policies }: LoginRenewal): Promise<TokenParameters> {
    const user = await this.#users.get(state['username'] ?? '');
    if (user === undefined) throw invalid('the user of this token is not there any more');
    if (withoutDefault(user.token.policies) !== withoutDefault(policies)) throw invalid('policies have changed, not renewing', 'log in again');
    return user.token;
  }

  async #logIn(request: LogicalRequest, name: string): Promise<LogicalResponse> {
    const password = stringField(request.data, 'password') ?? '';
    if (password === '') throw invalid('missing password');
    const user = await this.#users.get(name);
    // Too long is wrong, and takes as long.
    const isRight = await this.#hasher.verify(password.slice(0, MAX_PASSWORD_LENGTH + 1), user?.password);
    if (user === undefined || !isRight || password.length > MAX_PASSWORD_LENGTH) throw new PurserError('ERR_LOGIN_INVALID', 'invalid username or password');
    if (this.#hasher.isOutdated(user.password)) await this.#rehash(name, user, password);
    const state = { username: name };
    return { login: { alias: { name }, displayName: name, metadata: state, token: user.token, state } };
  }

  /** Unless the password was changed meanwhile. */
  async #rehash(name: string, checked: User, password: string): Promise<void> {
    const hash = await this.#hasher.hash(password);
    await this.#users.change(name, async (user) => (user?.password.hash === checked.password.hash ? { ...user, password: hash } : undefined));
  }

  async #list(): Promise<LogicalResponse | undefined> {
    const keys = await this.#users.names();
    return keys.length === 0 ? undefined : { data: { keys } };
  }

  async #read(name: string): Promise<LogicalResponse | undefined> {
    const user = await this.#users.get(name);
    return user && { data: showTokenParameters(user.token) };
  }

  async #write(request: LogicalRequest, name: string): Promise<undefined> {
    await this.#users.change(name, async (before) => {
      const token = readTokenParameters(request.data, before?.token, OLD_NAMES);
      const isUnchanged = before !== undefined && field(request.data, 'password') === undefined && field(request.data, 'password_hash') === undefined;
      return { token, password: isUnchanged ? before.password : await this.#hasher.hash(newPassword(request)) };
    });
  }

  async #update(name: string, change: (user: User) => Promise<User>): Promise<undefined> {
    await this.#users.change(name, async (user) => {
      if (user === undefined) throw invalid('username does not exist');
      return change(user);
    });
  }

  async #delete(name: string): Promise<undefined> {
    await this.#users.delete(name);
  }
}

function newPassword({ data }: LogicalRequest): string {
  if (field(data, 'password_hash') !== undefined) throw invalid('password_hash is not supported', 'give the password, which is hashed with scrypt');
  const password = stringField(data, 'password') ?? '';
  if (password === '') throw invalid('missing password');
  if (password.length > MAX_PASSWORD_LENGTH) throw invalid(`a password has at most ${MAX_PASSWORD_LENGTH} characters`);
  return password;
}

function policiesOnly({ data }: LogicalRequest, before: TokenParameters): TokenParameters {
  const { token_policies: policies = null, policies: old = null } = data;
  if (policies === null && old === null) throw invalid('missing token_policies');
  return readTokenParameters({ token_policies: policies, policies: old }, before, OLD_NAMES);
}

/** As one text, for comparing: a token has default also when the user does not name it. */
function withoutDefault(policies: readonly string[]): string {
  return canonicalPolicies(policies).filter((name) => name !== DEFAULT_POLICY_NAME).join(',');
}

function invalid(message: string, hint?: string): PurserError {
  return new PurserError('ERR_REQUEST_INVALID', message, hint === undefined ? {} : { hint });
}
