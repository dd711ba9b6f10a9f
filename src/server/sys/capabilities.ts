// sys/capabilities-self: what the caller's token may do on given paths. Asking for another token's capabilities is an
// operator's question and also answered here (sys/capabilities, sys/capabilities-accessor).

import type { JsonObject, LogicalRequest, LogicalResponse } from '../../core/logical.ts';
import { PurserError } from '../../lib/errors.ts';
import { stringField, stringListField } from '../../lib/fields.ts';
import type { Acl } from '../../policy/acl.ts';
import type { Principals } from '../principals.ts';
import { callerOf, type SysRoute } from './sys-engine.ts';

const MAX_PATHS = 1_000;

export function capabilityRoutes(principals: Principals): SysRoute[] {
  const answer = (data: JsonObject, acl: Acl | undefined): LogicalResponse => {
    if (acl === undefined) throw new PurserError('ERR_REQUEST_INVALID', 'invalid token');
    const paths = pathsOf(data);
    const found = paths.map((path) => [path, acl.capabilities(path)] as const);
    const single = found.length === 1 ? { capabilities: found[0]![1] } : {};
    return { data: { ...Object.fromEntries(found), ...single }, copyDataToTop: true };
  };
  const byToken = async (id: string | undefined) => (id === undefined ? undefined : (await principals.find(id))?.acl);
  const byAccessor = async (accessor: string | undefined) => (accessor === undefined ? undefined : (await principals.findByAccessor(accessor))?.acl);
  return [
    { path: 'capabilities-self', operations: { update: async (request: LogicalRequest) => answer(request.data, await principals.aclOf(callerOf(request))) } },
    { path: 'capabilities', operations: { update: async ({ data }) => answer(data, await byToken(stringField(data, 'token'))) } },
    { path: 'capabilities-accessor', operations: { update: async ({ data }) => answer(data, await byAccessor(stringField(data, 'accessor'))) } },
  ];
}

function pathsOf(data: JsonObject): readonly string[] {
  const paths = stringListField(data, 'paths') ?? stringListField(data, 'path') ?? [];
  if (paths.length === 0) throw new PurserError('ERR_REQUEST_INVALID', 'paths must be supplied');
  if (paths.length > MAX_PATHS) throw new PurserError('ERR_REQUEST_INVALID', `at most ${MAX_PATHS} paths at once`);
  return paths;
}
