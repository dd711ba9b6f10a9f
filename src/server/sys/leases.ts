// sys/leases: what the core will take back, and when. Renewing needs to know the id and nothing else (the default policy allows
// it); listing and revoking by path is for operators.

import type { JsonObject, LogicalRequest, LogicalResponse } from '../../core/logical.ts';
import { PurserError } from '../../lib/errors.ts';
import { booleanField, durationField, integerField, stringField } from '../../lib/fields.ts';
import type { LeaseDirectory } from '../lease-directory.ts';
import type { SysHandler, SysRoute } from './sys-engine.ts';

const MAX_LISTED = 10_000;

/** @param onFault told when a tidy() that nobody waits for failed */
export function leaseRoutes(leases: LeaseDirectory, onFault: (error: unknown) => void): SysRoute[] {
  const renew: SysHandler = ({ data }, name) => leases.renew(leaseIdOf(data, name), durationField(data, 'increment') ?? 0);
  const revoke: SysHandler = async ({ data }, name) => nothing(leases.revoke(leaseIdOf(data, name), isSync(data)));
  const revokePrefix: SysHandler = async ({ data }, name) => nothing(leases.revokePrefix(name, { sync: isSync(data) }));
  const revokeForce: SysHandler = async (_request, name) => nothing(leases.revokePrefix(name, { sync: true, force: true }));
  const list: SysHandler = (_request, name) => listBelow(leases, name);
  const tidy = (): LogicalResponse => {
    void leases.tidy().catch(onFault);
    return { status: 202, warnings: ['Tidy operation successfully started. What could not be done is in the server log.'] };
  };
  return [
    { path: 'leases/lookup', operations: { update: async ({ data }, name) => ({ data: await leases.lookup(leaseIdOf(data, name)) }), list } },
    { path: 'leases/lookup/*', needsSudo: true, operations: { list } },
    // Vault has each of these twice, and takes the id in the path, too.
    ...['', 'leases/'].flatMap((prefix): SysRoute[] => [
      { path: `${prefix}renew`, operations: { update: renew } },
      { path: `${prefix}renew/*`, operations: { update: renew } },
      { path: `${prefix}revoke`, operations: { update: revoke } },
      { path: `${prefix}revoke/*`, operations: { update: revoke } },
      { path: `${prefix}revoke-prefix/*`, needsSudo: true, operations: { update: revokePrefix } },
      { path: `${prefix}revoke-force/*`, needsSudo: true, operations: { update: revokeForce } },
    ]),
    { path: 'leases/tidy', operations: { update: async () => tidy() } },
    { path: 'leases/count', operations: { read: async (request) => ({ data: await leases.count(isIrrevocable(request)) }) } },
    { path: 'leases', needsSudo: true, operations: { read: (request) => listIrrevocable(leases, request) } },
  ];
}

async function listBelow(leases: LeaseDirectory, name: string): Promise<LogicalResponse | undefined> {
  const keys = await leases.list(name === '' ? '' : `${name}/`);
  return keys.length === 0 ? undefined : { data: { keys } };
}

async function listIrrevocable(leases: LeaseDirectory, request: LogicalRequest): Promise<LogicalResponse> {
  if (!isIrrevocable(request)) throw invalid('only leases of the type irrevocable are listed here', 'ask for ?type=irrevocable, or list sys/leases/lookup');
  const limit = integerField(request.data, 'limit') ?? MAX_LISTED;
  if (limit < 1 || limit > MAX_LISTED) throw invalid(`the limit is 1 to ${MAX_LISTED}`);
  const found = await leases.irrevocable(limit);
  return { data: { lease_count: found.length, leases: found } };
}

function isIrrevocable({ data }: LogicalRequest): boolean {
  const type = stringField(data, 'type') ?? '';
  if (type !== '' && type !== 'irrevocable') throw invalid('there is no such type of lease', 'leave it out, or ask for irrevocable');
  return type === 'irrevocable';
}

/** From the body, or the rest of the path. */
function leaseIdOf(data: JsonObject, name: string): string {
  const id = stringField(data, 'lease_id') ?? stringField(data, 'url_lease_id') ?? name;
  if (id === '') throw invalid('lease_id must be specified');
  return id;
}

function isSync(data: JsonObject): boolean {
  return booleanField(data, 'sync') ?? false;
}

async function nothing(work: Promise<void>): Promise<undefined> {
  await work;
}

function invalid(message: string, hint?: string): PurserError {
  return new PurserError('ERR_REQUEST_INVALID', message, hint === undefined ? {} : { hint });
}
