// A role as requests write it and answers show it, whole or by the sub-endpoints that have one field each.

import type { JsonObject } from '../../core/logical.ts';
import { addressRanges } from '../../lib/cidr.ts';
import { PurserError } from '../../lib/errors.ts';
import { booleanField, durationField, field, integerField, stringField, stringListField } from '../../lib/fields.ts';
import { readTokenParameters, showTokenParameters, type OldNames } from '../method/token-parameters.ts';
import type { Role, RoleSettings } from './roles.ts';

const OLD_NAMES: OldNames = { policies: 'policies', period: 'period' };
const ROLE_ID = /^[\x21-\x7e]{1,256}$/;

/**
 * The settings after a write: fields that are absent keep their value.
 * @throws ERR_REQUEST_INVALID with Vault's message
 */
export function readRole(data: JsonObject, before: Role | undefined): RoleSettings {
  const roleId = stringField(data, 'role_id') ?? before?.roleId;
  const localSecretIds = booleanField(data, 'local_secret_ids') ?? before?.localSecretIds ?? false;
  const settings: RoleSettings = {
    ...(roleId === undefined || roleId === '' ? {} : { roleId }),
    bindSecretId: booleanField(data, 'bind_secret_id') ?? before?.bindSecretId ?? true,
    secretIdBoundCidrs: stringListField(data, 'secret_id_bound_cidrs') ?? stringListField(data, 'bound_cidr_list') ?? before?.secretIdBoundCidrs ?? [],
    secretIdNumUses: integerField(data, 'secret_id_num_uses') ?? before?.secretIdNumUses ?? 0,
    secretIdTtlSeconds: durationField(data, 'secret_id_ttl') ?? before?.secretIdTtlSeconds ?? 0,
    localSecretIds,
    token: readTokenParameters(data, before?.token, OLD_NAMES),
  };
  if (settings.roleId !== undefined && !ROLE_ID.test(settings.roleId)) throw invalid('a role_id is 1 to 256 printable characters without blanks');
  if (before !== undefined && localSecretIds !== before.localSecretIds) throw invalid('local_secret_ids can only be modified during role creation');
  if (settings.secretIdNumUses < 0) throw invalid('secret_id_num_uses cannot be negative');
  addressRanges(settings.secretIdBoundCidrs, 'secret_id_bound_cidrs');
  if (!settings.bindSecretId && settings.secretIdBoundCidrs.length === 0 && settings.token.boundCidrs.length === 0) {
    throw invalid('at least one constraint should be enabled on the role', 'leave bind_secret_id on, or bind the role to addresses');
  }
  return settings;
}

/** As Vault's answers show it: everything but the role id. */
export function showRole(role: Role): JsonObject {
  return {
    bind_secret_id: role.bindSecretId, local_secret_ids: role.localSecretIds, secret_id_bound_cidrs: role.secretIdBoundCidrs.length === 0 ? null : role.secretIdBoundCidrs,
    secret_id_num_uses: role.secretIdNumUses, secret_id_ttl: role.secretIdTtlSeconds, ...showTokenParameters(role.token),
  };
}

/** A sub-endpoint: the field it shows, its older name, and the value that DELETE puts back. */
interface FieldEndpoint { readonly field: string; readonly oldField?: string; readonly initial: JsonObject[string] }

export const FIELD_ENDPOINTS: Readonly<Record<string, FieldEndpoint>> = {
  'policies': { field: 'token_policies', oldField: 'policies', initial: [] },
  'bind-secret-id': { field: 'bind_secret_id', initial: true },
  'bound-cidr-list': { field: 'secret_id_bound_cidrs', oldField: 'bound_cidr_list', initial: [] },
  'secret-id-bound-cidrs': { field: 'secret_id_bound_cidrs', initial: [] },
  'secret-id-num-uses': { field: 'secret_id_num_uses', initial: 0 },
  'secret-id-ttl': { field: 'secret_id_ttl', initial: 0 },
  'token-bound-cidrs': { field: 'token_bound_cidrs', initial: [] },
  'token-num-uses': { field: 'token_num_uses', initial: 0 },
  'token-ttl': { field: 'token_ttl', initial: 0 },
  'token-max-ttl': { field: 'token_max_ttl', initial: 0 },
  'period': { field: 'token_period', oldField: 'period', initial: 0 },
};

/** The field of a sub-endpoint out of a request. @throws ERR_REQUEST_INVALID when it is missing */
export function pickField(data: JsonObject, { field: name, oldField }: FieldEndpoint): JsonObject {
  const value = field(data, name) ?? (oldField === undefined ? undefined : field(data, oldField));
  if (value === undefined) throw invalid(`missing ${name}`);
  return { [name]: value };
}

function invalid(message: string, hint?: string): PurserError {
  return new PurserError('ERR_REQUEST_INVALID', message, hint === undefined ? {} : { hint });
}
