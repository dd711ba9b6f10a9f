// The jwt method (Vault's API: developer.hashicorp.com/vault/api-docs/auth/jwt, roles of the type jwt): a token that an issuer signed, checked
// against a role, becomes a login. It also takes the identities that Purser gives to containers.

import type { AuthMethod, EngineContext, JsonObject, Login, LoginRenewal, LogicalRequest, LogicalResponse, Operation, TokenParameters } from '../../core/logical.ts';
import type { View } from '../../core/view.ts';
import { isWithin } from '../../lib/cidr.ts';
import { PurserError } from '../../lib/errors.ts';
import { stringField } from '../../lib/fields.ts';
import { decodeRecord, encodeRecord } from '../../lib/json-record.ts';
import { claimAt, mappedClaims, requireAudience, requireClaims, requireTimes } from './claims.ts';
import { configSchema, issuerOf, keysOf, readConfig, showConfig, tryKeys, type JwtConfig } from './config.ts';
import { readRole, roleSchema, showRole, type JwtRole } from './role.ts';
import { ALGORITHMS, verifiedClaims, type VerificationKeys } from './signature.ts';

const CONFIG = 'config';
const ROLE_NAME = /^[a-z0-9][a-z0-9._-]{0,127}$/;

type Handler = (request: LogicalRequest, name: string) => Promise<LogicalResponse | undefined>;

export class JwtMethod implements AuthMethod {
  readonly unauthenticatedPaths = ['login'];
  readonly #view: View;
  readonly #now: () => number;
  /** The configuration that was read last, and its keys. */
  #active: { readonly config: JwtConfig; readonly keys: VerificationKeys } | undefined;
  readonly #routes: ReadonlyMap<string, Partial<Record<Operation, Handler>>>;

  constructor({ view, now }: EngineContext) {
    this.#view = view;
    this.#now = now;
    const write = (handler: Handler): Partial<Record<Operation, Handler>> => ({ create: handler, update: handler });
    this.#routes = new Map<string, Partial<Record<Operation, Handler>>>([
      ['config', { ...write(({ data }) => this.#writeConfig(data)), read: () => this.#readConfig() }],
      ['role/', { list: async () => ({ data: { keys: await view.list('role/') } }) }],
      ['role/:', { ...write(({ data }, name) => this.#writeRole(name, data)), read: (_request, name) => this.#readRole(name), delete: (_request, name) => this.#deleteRole(name) }],
      ['login', write((request) => this.#logIn(request))],
    ]);
  }

  async exists({ path }: LogicalRequest): Promise<boolean> {
    if (path === CONFIG) return (await this.#config()) !== undefined;
    return path.startsWith('role/') ? (await this.#role(path.slice('role/'.length))) !== undefined : true;
  }

  async handle(request: LogicalRequest): Promise<LogicalResponse | undefined> {
    const [, name = ''] = /^role\/([^/]+)$/.exec(request.path) ?? [];
    const handlers = this.#routes.get(name === '' ? request.path : 'role/:');
    if (handlers === undefined) throw new PurserError('ERR_REQUEST_NOT_FOUND', 'unsupported path');
    const handler = handlers[request.operation];
    if (handler === undefined) throw new PurserError('ERR_REQUEST_UNSUPPORTED', 'unsupported operation');
    return handler(request, name.toLowerCase());
  }

  async renewLogin({ state }: LoginRenewal): Promise<TokenParameters> {
    const role = await this.#role(state['role'] ?? '');
    if (role === undefined) throw invalid('the role of this login is not there any more');
    return role.token;
  }

  async #logIn({ data, remoteAddress }: LogicalRequest): Promise<LogicalResponse> {
    const active = await this.#configured();
    const roleName = (stringField(data, 'role') || active.config.defaultRole).toLowerCase();
    if (roleName === '') throw invalid('missing role');
    const role = await this.#role(roleName);
    if (role === undefined) throw invalid(`role ${JSON.stringify(shown(roleName))} could not be found`);
    const jwt = stringField(data, 'jwt') ?? '';
    if (jwt === '') throw invalid('missing token');
    if (!isWithin(remoteAddress, role.token.boundCidrs)) throw new PurserError('ERR_REQUEST_DENIED', 'permission denied');
    const { config, keys } = active;
    const claims = await verifiedClaims(jwt, keys, config.algorithms.length === 0 ? ALGORITHMS : config.algorithms);
    this.#checkClaims(claims, role, config);
    return { login: loginOf(claims, role, roleName) };
  }

  #checkClaims(claims: JsonObject, role: JwtRole, config: JwtConfig): void {
    const issuer = issuerOf(config);
    requireTimes(claims, role.leeways, this.#now() / 1000);
    if (issuer !== '' && !sameIssuer(claims['iss'], issuer, config)) throw invalid('error validating token: invalid issuer (iss) claim');
    if (role.boundSubject !== '' && claims['sub'] !== role.boundSubject) throw invalid('error validating token: invalid subject (sub) claim');
    requireAudience(claims, role.boundAudiences);
    requireClaims(claims, role.boundClaims, role.boundClaimsType === 'glob');
  }

  async #configured(): Promise<{ readonly config: JwtConfig; readonly keys: VerificationKeys }> {
    const config = await this.#config();
    if (config === undefined) throw new PurserError('ERR_REQUEST_INVALID', 'could not load configuration', { hint: 'write the config of this auth method first' });
    return this.#active ??= { config, keys: keysOf(config, this.#now) };
  }

  async #config(): Promise<JwtConfig | undefined> {
    if (this.#active !== undefined) return this.#active.config;
    const bytes = await this.#view.get(CONFIG);
    return bytes && decodeRecord(bytes, configSchema, 'jwt configuration');
  }

  async #writeConfig(data: JsonObject): Promise<undefined> {
    const config = readConfig(data);
    await tryKeys(config, data, this.#now);
    await this.#view.put(CONFIG, encodeRecord(config));
    this.#active = { config, keys: keysOf(config, this.#now) };
  }

  async #readConfig(): Promise<LogicalResponse | undefined> {
    const config = await this.#config();
    return config && { data: showConfig(config) };
  }

  async #role(name: string): Promise<JwtRole | undefined> {
    const bytes = ROLE_NAME.test(name) ? await this.#view.get(`role/${name}`) : undefined;
    return bytes && decodeRecord(bytes, roleSchema, 'jwt role');
  }

  async #writeRole(name: string, data: JsonObject): Promise<LogicalResponse> {
    if (!ROLE_NAME.test(name)) throw invalid('a role name has letters, digits, ".", "_" and "-", at most 128');
    await this.#view.put(`role/${name}`, encodeRecord(readRole(data, await this.#role(name))));
    return {};
  }

  async #readRole(name: string): Promise<LogicalResponse | undefined> {
    const role = await this.#role(name);
    return role && { data: showRole(role) };
  }

  async #deleteRole(name: string): Promise<undefined> {
    if (ROLE_NAME.test(name)) await this.#view.delete(`role/${name}`);
  }
}

/** @throws ERR_REQUEST_INVALID without the claim that names the user */
function loginOf(claims: JsonObject, role: JwtRole, roleName: string): Login {
  const user = role.userClaimJsonPointer ? claimAt(claims, role.userClaim) : Object.hasOwn(claims, role.userClaim) ? claims[role.userClaim] : undefined;
  if (user === undefined || user === null || user === '') throw invalid(`claim ${JSON.stringify(role.userClaim)} not found in token`);
  if (typeof user !== 'string') throw invalid(`claim ${JSON.stringify(role.userClaim)} could not be converted to string`);
  const metadata = { ...mappedClaims(claims, role.claimMappings), role: roleName };
  return { alias: { name: user, metadata }, displayName: user, metadata, token: role.token, state: { role: roleName } };
}

/** The issuer of a discovery URL may or may not end in a slash; a bound issuer is taken as it is. */
function sameIssuer(claim: unknown, issuer: string, { boundIssuer }: JwtConfig): boolean {
  return claim === issuer || (boundIssuer === '' && claim === `${issuer}/`);
}

function shown(name: string): string {
  return name.length > 64 ? `${name.slice(0, 64)}…` : name;
}

function invalid(message: string): PurserError {
  return new PurserError('ERR_REQUEST_INVALID', message);
}
