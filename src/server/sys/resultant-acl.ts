// sys/internal/ui/resultant-acl: the caller's own rules, as Vault's page asks for them to know what to show.

import type { JsonObject, LogicalRequest, LogicalResponse } from '../../core/logical.ts';
import { CAPABILITIES } from '../../policy/policy.ts';
import type { Principals } from '../principals.ts';
import { callerOf, type SysRoute } from './sys-engine.ts';

export function resultantAclRoutes(principals: Principals): SysRoute[] {
  return [{ path: 'internal/ui/resultant-acl', operations: { read: (request) => resultantAcl(principals, request) } }];
}

async function resultantAcl(principals: Principals, request: LogicalRequest): Promise<LogicalResponse> {
  const rules = (await principals.aclOf(callerOf(request))).rules();
  const shown = (isExact: boolean): JsonObject => Object.fromEntries((rules ?? []).filter(({ pattern }) => (pattern.kind === 'exact') === isExact)
    .map(({ pattern, capabilities }) => [pattern.literal, { capabilities: CAPABILITIES.filter((capability) => capabilities.has(capability)) }]));
  return { data: { root: rules === undefined, exact_paths: shown(true), glob_paths: shown(false), chroot_namespace: '' } };
}
