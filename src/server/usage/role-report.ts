// Workload roles that grant more than is used: `GET sys/usage/roles` (PROTOCOL.md 1.7). What a role grants is asked of the very
// ACL that decides at a resolve, secret by secret; what it gave is what RoleUse noted. The suggestion is a policy that names
// exactly the secrets that were given.

import { z } from 'zod';

import type { JsonObject } from '../../core/logical.ts';
import type { WorkloadRoles } from '../../auth/node/roles.ts';
import { limit, text, timeOf } from '../../ledger/query/parameters.ts';
import type { Acl } from '../../policy/acl.ts';
import type { Policy } from '../../policy/policy.ts';
import type { RoleUse } from './role-use.ts';

const DEFAULT_ROLES = 100;
const DEFAULT_SINCE = '30d';
/** Secrets looked at; there may be more, which the answer says. */
const MAX_SECRETS = 20_000;
/** Unused grants that are named for a role; all are counted. */
const MAX_NAMED = 100;
/** Decisions between two turns of the event loop. */
const CHUNK = 2_000;

export const roleReportSchema = z.strictObject({
  role: text.optional(), since: text.default(DEFAULT_SINCE), limit: limit.default(DEFAULT_ROLES),
  /** The last role of the page before. */
  after: text.optional(),
  /** Also roles that grant no more than is used. */
  all: z.union([z.boolean(), z.enum(['true', 'false']).transform((value) => value === 'true')]).optional(),
});
export type RoleQuestion = z.output<typeof roleReportSchema>;

export interface RoleReportOptions {
  readonly roles: Pick<WorkloadRoles, 'names' | 'get'>;
  readonly use: RoleUse;
  readonly acl: (policies: readonly string[]) => Acl;
  readonly readPolicy: (name: string) => Policy | undefined;
  readonly secretPaths: () => AsyncIterable<string>;
  /** The path of the API that a policy has to name for a secret; undefined when no engine serves it any more. */
  readonly policyPath: (secret: string) => string | undefined;
  readonly now: () => number;
}

interface Secret { readonly path: string; readonly apiPath: string }

/** @throws ERR_REQUEST_INVALID, ERR_DURATION_SYNTAX */
export async function roleReport(options: RoleReportOptions, asked: RoleQuestion): Promise<JsonObject> {
  const since = timeOf(asked.since, 'since', options.now());
  const { secrets, isCut } = await existingSecrets(options);
  const rows: JsonObject[] = [];
  const names = options.roles.names().filter((name) => (asked.role === undefined || name === asked.role) && (asked.after === undefined || name > asked.after));
  const about = { since: new Date(since).toISOString(), ...(isCut || options.use.isFull ? { incomplete: true } : {}) };
  let last: string | undefined;
  for (const name of names) {
    if (rows.length >= asked.limit) return { roles: rows, ...about, truncated: true, next: last ?? '' };
    last = name;
    const row = await reportOf(name, options, secrets, since);
    if (row !== undefined && (asked.all === true || asked.role !== undefined || row.isTooWide)) rows.push(row.data);
  }
  return { roles: rows, ...about };
}

async function existingSecrets({ secretPaths, policyPath }: RoleReportOptions): Promise<{ readonly secrets: readonly Secret[]; readonly isCut: boolean }> {
  const secrets: Secret[] = [];
  for await (const path of secretPaths()) {
    if (secrets.length >= MAX_SECRETS) return { secrets, isCut: true };
    const apiPath = policyPath(path);
    if (apiPath !== undefined) secrets.push({ path, apiPath });
  }
  return { secrets, isCut: false };
}

async function reportOf(name: string, options: RoleReportOptions, secrets: readonly Secret[], since: number): Promise<{ readonly data: JsonObject; readonly isTooWide: boolean } | undefined> {
  const role = options.roles.get(name);
  if (role === undefined) return undefined;
  const used = options.use.usedSince(name, since);
  const usedSet = new Set(used);
  const acl = options.acl(role.policies);
  const granted: string[] = [];
  for (const [index, { path, apiPath }] of secrets.entries()) {
    if (index % CHUNK === CHUNK - 1) await new Promise(setImmediate);
    if (acl.check({ path: apiPath, operation: 'read', data: {} }).allowed) granted.push(path);
  }
  const unused = granted.filter((path) => !usedSet.has(path));
  const rules = role.policies.flatMap((policy) => options.readPolicy(policy)?.rules ?? []);
  const writes = rules.some(({ capabilities }) => [...capabilities].some((capability) => capability !== 'read' && capability !== 'deny'));
  return {
    isTooWide: unused.length > 0 || writes,
    data: {
      role: name, policies: role.policies, granted: granted.length, used, unused: unused.slice(0, MAX_NAMED), unused_count: unused.length,
      /** A container only ever reads: everything else in its policies serves nobody. */
      more_than_read: writes,
      suggested_policy: suggestion(name, used, options.policyPath),
    },
  };
}

/** HCL that grants reading of exactly these secrets. */
function suggestion(role: string, used: readonly string[], policyPath: RoleReportOptions['policyPath']): string {
  if (used.length === 0) return `# no container with the workload role ${role} was given a secret in this time\n`;
  return used.map((path) => {
    const apiPath = policyPath(path);
    if (apiPath === undefined) return `# ${oneLine(path)}: no engine serves it any more\n`;
    // In a policy a last `*` and a whole segment `+` stand for anything, and braces for the one who asks: no rule names such a path alone.
    if (apiPath.endsWith('*') || apiPath.split('/').includes('+') || apiPath.includes('{{')) return `# ${oneLine(apiPath)} cannot be named exactly in a policy\n`;
    return `path ${JSON.stringify(apiPath)} {\n  capabilities = ["read"]\n}\n`;
  }).join('\n');
}

function oneLine(path: string): string {
  return JSON.stringify(path).slice(1, -1);
}
