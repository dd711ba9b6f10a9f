// sys/policy (Vault's older form, which most clients use) and sys/policies/acl: the same policies in two shapes.

import type { JsonObject, LogicalRequest, LogicalResponse } from '../../core/logical.ts';
import { PurserError } from '../../lib/errors.ts';
import { stringField } from '../../lib/fields.ts';
import type { Policy } from '../../policy/policy.ts';
import type { PolicyStore } from '../policy-store.ts';
import type { SysRoute } from './sys-engine.ts';

export function policyRoutes(policies: PolicyStore): SysRoute[] {
  const remove = async (_request: LogicalRequest, name: string): Promise<undefined> => policies.delete(name).then(() => undefined);
  const list = async (): Promise<LogicalResponse> => ({ data: { keys: policies.names() } });
  const listOld = async (): Promise<LogicalResponse> => ({ data: { keys: policies.names(), policies: policies.names() }, copyDataToTop: true });
  return [
    { path: 'policy', operations: { read: listOld, list: listOld } },
    {
      path: 'policy/*',
      operations: {
        read: async (_request, name) => show(policies.read(name), (policy) => ({ data: { name: policy.name, rules: policy.text }, copyDataToTop: true })),
        update: (request, name) => write(policies, request.data, name, 'rules'),
        delete: remove,
      },
    },
    { path: 'policies/acl', operations: { read: list, list } },
    {
      path: 'policies/acl/*',
      operations: {
        read: async (_request, name) => show(policies.read(name), (policy) => ({ data: { name: policy.name, policy: policy.text } })),
        update: (request, name) => write(policies, request.data, name),
        delete: remove,
      },
    },
  ];
}

function show(policy: Policy | undefined, response: (policy: Policy) => LogicalResponse): LogicalResponse | undefined {
  return policy && response(policy);
}

async function write(policies: PolicyStore, data: JsonObject, name: string, deprecated?: string): Promise<LogicalResponse | undefined> {
  const text = stringField(data, 'policy') ?? (deprecated === undefined ? undefined : stringField(data, deprecated));
  if (text === undefined || text === '') throw new PurserError('ERR_REQUEST_INVALID', "'policy' parameter not supplied or empty");
  await policies.write(name, decoded(text));
  const isRenamed = name !== name.toLowerCase();
  return isRenamed ? { warnings: ['policy names are kept in lower case'] } : undefined;
}

/** Vault also takes the text in base64. A policy never is valid base64 by chance: it has blanks or braces. */
function decoded(text: string): string {
  if (!/^[A-Za-z0-9+/\s]+={0,2}\s*$/.test(text)) return text;
  return Buffer.from(text, 'base64').toString('utf8');
}
