// The approle method: logins of machines by role id and secret id, in Vault's paths and shapes. An unknown role, an unknown and an
// ended secret id get the same answer. Ranges of addresses are checked before a use is counted.

import type { AuthMethod, EngineContext, Login, LoginRenewal, LogicalRequest, LogicalResponse, TokenParameters } from '../../core/logical.ts';
import { isWithin } from '../../lib/cidr.ts';
import { PurserError } from '../../lib/errors.ts';
import { stringField } from '../../lib/fields.ts';
import { MethodRoutes, routeOf, write, type Operations } from '../method/routes.ts';
import { FIELD_ENDPOINTS, pickField, readRole, showRole } from './role-fields.ts';
import { Roles, type Role } from './roles.ts';
import { readSecretIdWish, showSecretId } from './secret-id-fields.ts';
import { SecretIds, type SecretId } from './secret-ids.ts';

const LOGIN = 'login';
/** A chosen secret id that is shorter is worth a warning: it can be guessed. */
const GOOD_SECRET_ID_LENGTH = 20;
const MAX_LENGTH = 256;
const MAX_SECRET_ID_LENGTH = 4_096;

type RoleHandler = (request: LogicalRequest, role: Role, name: string) => Promise<LogicalResponse | undefined>;

export class ApproleMethod implements AuthMethod {
  readonly unauthenticatedPaths = [LOGIN];
  readonly #roles: Roles;
  readonly #secretIds: SecretIds;
  readonly #routes: MethodRoutes;
  #tidying: Promise<void> | undefined;

  constructor({ view, now }: EngineContext) {
    this.#roles = new Roles(view);
    this.#secretIds = new SecretIds(view, now);
    const destroy = this.#ofRole((request, role) => this.#destroy(request, role));
    const destroyByAccessor = this.#ofRole((request, role) => this.#destroyByAccessor(request, role));
    this.#routes = new MethodRoutes({
      [LOGIN]: write((request) => this.#logIn(request)),
      'tidy/:': write((_request, name) => this.#tidyNow(name)),
      'role': { list: async () => listed(await this.#roles.names()) },
      'role/:': {
        ...write(async (request, name) => this.#change(name, (before) => readRole(request.data, before))),
        read: async (_request, name) => { const role = await this.#roles.get(name); return role && { data: showRole(role) }; },
        delete: async (_request, name) => this.#delete(name),
      },
      'role/:/role-id': {
        read: this.#ofRole(async (_request, role) => ({ data: { role_id: role.roleId } })),
        ...write(this.#ofRole(async ({ data }, _role, name) => this.#change(name, (before) => readRole({ role_id: required(data, 'role_id') }, before)))),
      },
      'role/:/local-secret-ids': { read: this.#ofRole(async (_request, role) => ({ data: { local_secret_ids: role.localSecretIds } })) },
      'role/:/secret-id': { list: this.#ofRole(async (_request, role) => listed(await this.#secretIds.accessors(role))), ...write(this.#ofRole((request, role) => this.#create(request, role))) },
      'role/:/custom-secret-id': write(this.#ofRole((request, role) => this.#create(request, role, required(request.data, 'secret_id')))),
      'role/:/secret-id/lookup': write(this.#ofRole(async ({ data }, role) => shown(await this.#secretIds.find(role, required(data, 'secret_id'))))),
      'role/:/secret-id/destroy': { ...write(destroy), delete: destroy },
      'role/:/secret-id-accessor/lookup': write(this.#ofRole(async ({ data }, role) => shown(await this.#secretIds.findByAccessor(role, required(data, 'secret_id_accessor')) ?? noAccessor()))),
      'role/:/secret-id-accessor/destroy': { ...write(destroyByAccessor), delete: destroyByAccessor },
      ...this.#fieldRoutes(),
    });
  }

  handle(request: LogicalRequest): Promise<LogicalResponse | undefined> {
    return this.#routes.handle(request);
  }

  async exists({ path }: LogicalRequest): Promise<boolean> {
    const { route, name } = routeOf(path);
    return route !== 'role/:' || await this.#roles.get(name) !== undefined;
  }

  /** A role id, as in Vault: the role's name is not known before it is found. */
  loginName({ path, operation, data }: LogicalRequest): string | undefined {
    const roleId = data['role_id'];
    const isLogin = path === LOGIN && (operation === 'create' || operation === 'update');
    return isLogin && typeof roleId === 'string' && roleId !== '' && roleId.length <= MAX_LENGTH ? roleId : undefined;
  }

  /** Refused when the role is gone, or another one has its name now. */
  async renewLogin({ state }: LoginRenewal): Promise<TokenParameters> {
    const role = await this.#roles.get(state['role_name'] ?? '');
    if (role === undefined || role.uid !== state['role_uid']) throw invalid('the role of this token does not exist any more');
    return role.token;
  }

  async tidy(): Promise<void> {
    await this.#secretIds.tidy(async () => {
      const roles = await Promise.all((await this.#roles.names()).map((name) => this.#roles.get(name)));
      return roles.filter((role) => role !== undefined);
    });
  }

  async #logIn({ data, remoteAddress }: LogicalRequest): Promise<LogicalResponse> {
    const roleId = required(data, 'role_id');
    const found = roleId.length > MAX_LENGTH ? undefined : await this.#roles.byRoleId(roleId);
    if (found === undefined) throw wrong();
    const { name, role } = found;
    const secretId = role.bindSecretId ? await this.#useSecretId(role, required(data, 'secret_id'), remoteAddress) : undefined;
    if (!isWithin(remoteAddress, role.secretIdBoundCidrs)) throw invalid('source address unauthorized by CIDR restrictions on the role');
    return { login: loginOf(name, role, secretId) };
  }

  async #useSecretId(role: Role, secretId: string, remoteAddress: string): Promise<SecretId> {
    if (secretId.length > MAX_SECRET_ID_LENGTH) throw wrong();
    const used = await this.#secretIds.use(role, secretId, ({ cidrs }) => {
      if (!isWithin(remoteAddress, cidrs)) throw invalid('source address unauthorized through CIDR restrictions on the secret ID');
      if (!isWithin(remoteAddress, role.secretIdBoundCidrs)) throw invalid('source address unauthorized by CIDR restrictions on the role');
    });
    if (used === undefined) throw wrong();
    return used;
  }

  async #create({ data }: LogicalRequest, role: Role, chosen?: string): Promise<LogicalResponse> {
    if (!role.bindSecretId) throw invalid('bind_secret_id is not set on the role');
    if (chosen !== undefined && chosen.length > MAX_SECRET_ID_LENGTH) throw invalid(`a secret_id has at most ${MAX_SECRET_ID_LENGTH} characters`);
    const wish = readSecretIdWish(data, role);
    const { secretId, accessor } = await this.#secretIds.create(role, wish, chosen);
    const isShort = secretId.length < GOOD_SECRET_ID_LENGTH;
    return {
      data: { secret_id: secretId, secret_id_accessor: accessor, secret_id_ttl: wish.ttlSeconds, secret_id_num_uses: wish.numUses },
      ...(isShort ? { warnings: [`a secret_id of less than ${GOOD_SECRET_ID_LENGTH} characters can be guessed`] } : {}),
    };
  }

  async #destroy({ data }: LogicalRequest, role: Role): Promise<undefined> {
    await this.#secretIds.destroy(role, required(data, 'secret_id'));
  }

  async #destroyByAccessor({ data }: LogicalRequest, role: Role): Promise<undefined> {
    if (!await this.#secretIds.destroyByAccessor(role, required(data, 'secret_id_accessor'))) noAccessor();
  }

  async #change(name: string, change: Parameters<Roles['change']>[1]): Promise<undefined> {
    await this.#roles.change(name, change);
  }

  async #delete(name: string): Promise<undefined> {
    const role = await this.#roles.delete(name);
    if (role !== undefined) await this.#secretIds.wipe(role.uid);
  }

  /** 202, as in Vault, though it is done when the answer comes. */
  async #tidyNow(name: string): Promise<LogicalResponse> {
    if (name !== 'secret-id') throw new PurserError('ERR_REQUEST_NOT_FOUND', 'unsupported path');
    if (this.#tidying !== undefined) return { status: 202, warnings: ['Tidy operation already in progress.'] };
    this.#tidying = this.tidy().finally(() => { this.#tidying = undefined; });
    await this.#tidying;
    return { status: 202, warnings: ['Tidy operation completed.'] };
  }

  #fieldRoutes(): Record<string, Operations> {
    return Object.fromEntries(Object.entries(FIELD_ENDPOINTS).map(([path, endpoint]): [string, Operations] => [`role/:/${path}`, {
      read: this.#ofRole(async (_request, role) => {
        const value = showRole(role)[endpoint.field] ?? [];
        return { data: { [endpoint.field]: value, ...(endpoint.oldField === undefined ? {} : { [endpoint.oldField]: value }) } };
      }),
      ...write(this.#ofRole(async ({ data }, _role, name) => this.#change(name, (before) => readRole(pickField(data, endpoint), before)))),
      delete: this.#ofRole(async (_request, _role, name) => this.#change(name, (before) => readRole({ [endpoint.field]: endpoint.initial }, before))),
    }]));
  }

  /** A handler of paths below a role; without it a read finds nothing, and everything else is refused. */
  #ofRole(handle: RoleHandler): (request: LogicalRequest, name: string) => Promise<LogicalResponse | undefined> {
    return async (request, name) => {
      const role = await this.#roles.get(name);
      if (role !== undefined) return handle(request, role, name);
      if (request.operation === 'read' || request.operation === 'list') return undefined;
      throw new PurserError('ERR_REQUEST_NOT_FOUND', `role ${JSON.stringify(name)} does not exist`, { hint: 'make it first, or list the roles' });
    };
  }
}

function loginOf(name: string, role: Role, secretId: SecretId | undefined): Login {
  const bound = secretId?.tokenBoundCidrs ?? [];
  return {
    alias: { name: role.roleId }, displayName: '', metadata: { ...secretId?.metadata, role_name: name },
    token: bound.length === 0 ? role.token : { ...role.token, boundCidrs: bound },
    state: { role_name: name, role_uid: role.uid },
  };
}

function listed(keys: readonly string[]): LogicalResponse | undefined {
  return keys.length === 0 ? undefined : { data: { keys } };
}

function shown(secretId: SecretId | undefined): LogicalResponse | undefined {
  return secretId && { data: showSecretId(secretId) };
}

function required(data: LogicalRequest['data'], name: string): string {
  const text = stringField(data, name) ?? '';
  if (text === '') throw invalid(`missing ${name}`);
  return text;
}

function wrong(): PurserError {
  return new PurserError('ERR_LOGIN_INVALID', 'invalid role or secret ID');
}

function noAccessor(): never {
  throw new PurserError('ERR_REQUEST_NOT_FOUND', 'failed to find accessor entry for secret_id_accessor');
}

function invalid(message: string): PurserError {
  return new PurserError('ERR_REQUEST_INVALID', message);
}
