// The jwt method (Vault's API: developer.hashicorp.com/vault/api-docs/auth/jwt, roles of the type jwt): a token that an issuer signed, checked
// against a role, becomes a login. It also takes the identities that Purser gives to containers.

import type { EngineContext, JsonObject, Login, LogicalRequest, LogicalResponse } from '../../core/logical.ts';
import { isWithin } from '../../lib/cidr.ts';
import { PurserError } from '../../lib/errors.ts';
import { stringField } from '../../lib/fields.ts';
import { MethodRecords } from '../method/method-records.ts';
import { RoleMethod } from '../method/role-method.ts';
import { claimAt, groupsClaim, mappedClaims, requireAudience, requireClaims, requireTimes } from './claims.ts';
import { configSchema, issuerOf, keysOf, readConfig, showConfig, tryKeys, type JwtConfig } from './config.ts';
import { readRole, roleSchema, showRole, type JwtRole } from './role.ts';
import { ALGORITHMS, verifiedClaims, type VerificationKeys } from './signature.ts';

export class JwtMethod extends RoleMethod<JwtConfig, JwtRole> {
  readonly #now: () => number;
  /** Of the configuration that is in force; another one is another object. */
  readonly #keys = new WeakMap<JwtConfig, VerificationKeys>();

  constructor({ view, now }: EngineContext) {
    super(new MethodRecords(view, {
      name: 'jwt', config: { schema: configSchema, read: readConfig, show: showConfig }, tryConfig: (config, data) => tryKeys(config, data, now),
      role: { schema: roleSchema, read: readRole, show: showRole }, roleWritten: {},
    }));
    this.#now = now;
  }

  protected override async logIn({ data, remoteAddress }: LogicalRequest): Promise<LogicalResponse> {
    const config = await this.records.config();
    if (config === undefined) throw new PurserError('ERR_REQUEST_INVALID', 'could not load configuration', { hint: 'write the config of this auth method first' });
    const roleName = (stringField(data, 'role') || config.defaultRole).toLowerCase();
    if (roleName === '') throw invalid('missing role');
    const role = await this.records.role(roleName);
    if (role === undefined) throw invalid(`role ${JSON.stringify(shown(roleName))} could not be found`);
    const jwt = stringField(data, 'jwt') ?? '';
    if (jwt === '') throw invalid('missing token');
    if (!isWithin(remoteAddress, role.token.boundCidrs)) throw new PurserError('ERR_REQUEST_DENIED', 'permission denied');
    const claims = await verifiedClaims(jwt, this.#keysOf(config), config.algorithms.length === 0 ? ALGORITHMS : config.algorithms);
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

  #keysOf(config: JwtConfig): VerificationKeys {
    let keys = this.#keys.get(config);
    if (keys === undefined) this.#keys.set(config, keys = keysOf(config, this.#now));
    return keys;
  }
}

/** @throws ERR_REQUEST_INVALID without the claim that names the user */
function loginOf(claims: JsonObject, role: JwtRole, roleName: string): Login {
  const user = role.userClaimJsonPointer ? claimAt(claims, role.userClaim) : Object.hasOwn(claims, role.userClaim) ? claims[role.userClaim] : undefined;
  if (user === undefined || user === null || user === '') throw invalid(`claim ${JSON.stringify(role.userClaim)} not found in token`);
  if (typeof user !== 'string') throw invalid(`claim ${JSON.stringify(role.userClaim)} could not be converted to string`);
  const metadata = { ...mappedClaims(claims, role.claimMappings), role: roleName };
  const groups = role.groupsClaim === '' ? [] : groupsClaim(claims, role.groupsClaim);
  return { alias: { name: user, metadata }, groups, displayName: user, metadata, token: role.token, state: { role: roleName } };
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
