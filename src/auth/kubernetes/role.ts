// Roles of a kubernetes mount: which service accounts log in, and what they get.

import { z } from 'zod';

import type { JsonObject } from '../../core/logical.ts';
import { PurserError } from '../../lib/errors.ts';
import { stringField, stringListField } from '../../lib/fields.ts';
import { matchesGlob } from '../../lib/glob.ts';
import { readTokenParameters, showTokenParameters, tokenParametersSchema } from '../method/token-parameters.ts';
import type { ServiceAccount } from './service-account.ts';

export const roleSchema = z.strictObject({
  v: z.literal(1),
  /** Exact or with `*`. */
  names: z.array(z.string()).min(1).readonly(),
  namespaces: z.array(z.string()).min(1).readonly(),
  /** The token must be for it; empty: for the API server itself. */
  audience: z.string(),
  aliasNameSource: z.enum(['serviceaccount_uid', 'serviceaccount_name']),
  token: tokenParametersSchema,
}).readonly();

export type KubernetesRole = z.infer<typeof roleSchema>;

const OLD_NAMES = { policies: 'policies', ttl: 'ttl', max_ttl: 'max_ttl', period: 'period', bound_cidrs: 'bound_cidrs' };
const MAX_PATTERNS = 256;

/** The role after a write; fields that are absent keep what `before` has. @throws ERR_REQUEST_INVALID */
export function readRole(data: JsonObject, before: KubernetesRole | undefined): KubernetesRole {
  if ((stringField(data, 'bound_service_account_namespace_selector') ?? '') !== '') throw invalid('bound_service_account_namespace_selector is not supported');
  const names = stringListField(data, 'bound_service_account_names') ?? before?.names ?? [];
  const namespaces = stringListField(data, 'bound_service_account_namespaces') ?? before?.namespaces ?? [];
  const aliasNameSource = stringField(data, 'alias_name_source') ?? before?.aliasNameSource ?? 'serviceaccount_uid';
  if (names.length === 0) throw invalid('"bound_service_account_names" can not be empty');
  if (namespaces.length === 0) throw invalid('"bound_service_account_namespaces" can not be empty');
  if (names.length > MAX_PATTERNS || namespaces.length > MAX_PATTERNS) throw invalid(`at most ${MAX_PATTERNS} names and namespaces`);
  if (isAnything(names) && isAnything(namespaces)) throw invalid('"bound_service_account_names" and "bound_service_account_namespaces" can not both be "*"');
  if (aliasNameSource !== 'serviceaccount_uid' && aliasNameSource !== 'serviceaccount_name') throw invalid('alias_name_source must be serviceaccount_uid or serviceaccount_name');
  return { v: 1, names, namespaces, audience: stringField(data, 'audience') ?? before?.audience ?? '', aliasNameSource, token: readTokenParameters(data, before?.token, OLD_NAMES) };
}

/** As Vault shows it. */
export function showRole(role: KubernetesRole): JsonObject {
  return {
    ...showTokenParameters(role.token), alias_name_source: role.aliasNameSource, bound_service_account_names: role.names, bound_service_account_namespaces: role.namespaces,
    bound_service_account_namespace_selector: '', ...(role.audience === '' ? {} : { audience: role.audience }),
  };
}

/** @throws ERR_REQUEST_DENIED with Vault's messages */
export function requireAccount({ names, namespaces }: KubernetesRole, { name, namespace }: Pick<ServiceAccount, 'name' | 'namespace'>): void {
  if (!names.some((pattern) => matchesGlob(pattern, name))) throw new PurserError('ERR_REQUEST_DENIED', 'service account name not authorized');
  if (!namespaces.some((pattern) => matchesGlob(pattern, namespace))) throw new PurserError('ERR_REQUEST_DENIED', 'namespace not authorized');
}

function isAnything(patterns: readonly string[]): boolean {
  return patterns.some((pattern) => /^\*+$/.test(pattern));
}

function invalid(message: string): PurserError {
  return new PurserError('ERR_REQUEST_INVALID', message);
}
