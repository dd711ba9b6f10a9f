// The kubernetes method (Vault's API: developer.hashicorp.com/vault/api-docs/auth/kubernetes): the token of a service account, judged by its API
// server, becomes a login.

import { compactVerify } from 'jose';

import type { EngineContext, Login, LogicalRequest, LogicalResponse } from '../../core/logical.ts';
import { isWithin } from '../../lib/cidr.ts';
import { PurserError } from '../../lib/errors.ts';
import { stringField } from '../../lib/fields.ts';
import { MethodRecords } from '../method/method-records.ts';
import { RoleMethod } from '../method/role-method.ts';
import { configSchema, publicKeyOf, readConfig, showConfig, type KubernetesConfig } from './config.ts';
import { readRole, requireAccount, roleSchema, showRole, type KubernetesRole } from './role.ts';
import { claimedAccount, type ServiceAccount } from './service-account.ts';
import { reviewToken } from './token-review.ts';

/** Of service account issuers. */
const ALGORITHMS = ['RS256', 'RS384', 'RS512', 'ES256', 'ES384', 'ES512'];

export class KubernetesMethod extends RoleMethod<KubernetesConfig, KubernetesRole> {
  constructor({ view }: EngineContext) {
    super(new MethodRecords(view, {
      name: 'kubernetes', config: { schema: configSchema, read: readConfig, show: showConfig }, role: { schema: roleSchema, read: readRole, show: showRole }, roleWritten: undefined,
    }));
  }

  protected override async logIn({ data, remoteAddress }: LogicalRequest): Promise<LogicalResponse> {
    const roleName = (stringField(data, 'role') ?? '').toLowerCase();
    if (roleName === '') throw invalid('missing role');
    const jwt = (stringField(data, 'jwt') ?? '').trim();
    if (jwt === '') throw invalid('missing jwt');
    const role = await this.records.role(roleName);
    if (role === undefined) throw invalid(`invalid role name ${JSON.stringify(roleName.slice(0, 64))}`);
    if (!isWithin(remoteAddress, role.token.boundCidrs)) throw denied();
    const config = await this.records.config();
    if (config === undefined) throw new PurserError('ERR_REQUEST_INVALID', 'could not load backend configuration', { hint: 'write the config of this auth method first' });
    return { login: loginOf(await proven(jwt, role, config), role, roleName) };
  }
}

/** What the token claims is checked first, so that the API server is not asked for what would be refused anyway. */
async function proven(jwt: string, role: KubernetesRole, config: KubernetesConfig): Promise<ServiceAccount> {
  const claimed = claimedAccount(jwt, config.disableIssValidation ? undefined : config.issuer);
  requireAccount(role, claimed);
  if (config.pemKeys.length > 0) await requireSignature(jwt, config.pemKeys);
  const reviewed = await reviewToken(jwt, role.audience, config);
  if (reviewed.name !== claimed.name || reviewed.namespace !== claimed.namespace || (claimed.uid !== '' && claimed.uid !== reviewed.uid)) throw denied();
  return { ...reviewed, secretName: claimed.secretName };
}

async function requireSignature(jwt: string, pemKeys: readonly string[]): Promise<void> {
  for (const pem of pemKeys) {
    if (await compactVerify(jwt, publicKeyOf(pem), { algorithms: ALGORITHMS }).then(() => true, () => false)) return;
  }
  throw denied();
}

function loginOf({ name, namespace, uid, secretName }: ServiceAccount, role: KubernetesRole, roleName: string): Login {
  const metadata = { service_account_uid: uid, service_account_name: name, service_account_namespace: namespace, service_account_secret_name: secretName };
  return {
    alias: { name: role.aliasNameSource === 'serviceaccount_uid' ? uid : `${namespace}/${name}`, metadata },
    displayName: `${namespace}-${name}`, metadata: { ...metadata, role: roleName }, token: role.token, state: { role: roleName },
  };
}

function denied(): PurserError {
  return new PurserError('ERR_REQUEST_DENIED', 'permission denied');
}

function invalid(message: string): PurserError {
  return new PurserError('ERR_REQUEST_INVALID', message);
}
