// Workload roles: what a container is → which policies it gets (PROTOCOL.md 1.4). All of them are kept in memory, because
// each resolve asks all of them; a write is durable before it counts.

import { z } from 'zod';

import type { View } from '../../core/view.ts';
import { PurserError } from '../../lib/errors.ts';
import { parseDurationSeconds } from '../../lib/duration.ts';
import { matchesGlob } from '../../lib/glob.ts';
import { decodeRecord, encodeRecord } from '../../lib/json-record.ts';
import type { SwarmSecretScope } from '../../wire/node-protocol.ts';
import { validate } from '../../wire/validate.ts';
import { selects, type WorkloadFacts } from './selector.ts';

const MAX_ROLES = 10_000;
const DEFAULT_IDENTITY_SECONDS = 600;
const MIN_IDENTITY_SECONDS = 30;
const MAX_IDENTITY_SECONDS = 24 * 3600;
const ROLE_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;
/** Not for containers: everything, and the calls of nodes and of wrapped responses. */
const RESERVED_POLICIES = new Set(['root', 'purser-node', 'response-wrapping']);

const patterns = z.array(z.string().min(1).max(1024)).min(1).max(64);
const policyName = z.string().regex(/^[\x21-\x7e]{1,128}$/).toLowerCase()
  .refine((name) => !RESERVED_POLICIES.has(name), 'is a policy that no container may have');

const roleShape = {
  policies: z.array(policyName).max(64).default([]),
  selectors: z.strictObject({
    name: patterns.optional(), image: patterns.optional(), image_digest: patterns.optional(),
    service: patterns.optional(), stack: patterns.optional(), node: patterns.optional(),
    label: z.record(z.string().min(1).max(1024), patterns).refine((labels) => Object.keys(labels).length > 0, 'names no label').optional(),
  }).default({}),
  any: z.boolean().default(false),
  /** To whom its containers may identify themselves: exact or globs. */
  identity_audiences: patterns.optional(),
  identity_ttl: z.union([z.string().max(64), z.number()]).transform(identitySeconds).optional(),
};
const roleSchema = z.strictObject(roleShape)
  .refine(({ selectors, any }) => any !== (Object.keys(selectors).length > 0), 'needs selectors, or "any": true to mean every container, and not both')
  .refine(({ policies, identity_audiences: audiences }) => policies.length > 0 || audiences !== undefined, 'gives nothing: it needs policies or identity_audiences')
  .refine(({ identity_audiences: audiences, identity_ttl: ttl }) => audiences !== undefined || ttl === undefined, 'has an identity_ttl but no identity_audiences');
const storedSchema = z.strictObject({ format: z.literal(1), ...roleShape });

export type WorkloadRole = z.infer<typeof roleSchema>;

export class WorkloadRoles {
  readonly #view: View;
  readonly #roles = new Map<string, WorkloadRole>();

  private constructor(view: View) {
    this.#view = view;
  }

  /** @param view holds one record a role, by name */
  static async load(view: View): Promise<WorkloadRoles> {
    const roles = new WorkloadRoles(view);
    for (const name of await view.list('')) {
      const bytes = await view.get(name);
      if (bytes !== undefined) roles.#roles.set(name, decodeRecord(bytes, storedSchema, 'workload role'));
    }
    return roles;
  }

  get(name: string): WorkloadRole | undefined {
    return this.#roles.get(name);
  }

  names(): string[] {
    return [...this.#roles.keys()].sort();
  }

  /** Stores a role in place of an earlier one. @throws ERR_REQUEST_INVALID */
  async put(name: string, body: unknown): Promise<void> {
    if (!ROLE_NAME.test(name)) throw new PurserError('ERR_REQUEST_INVALID', 'a role name has letters, digits, ".", "_" and "-", at most 128');
    const role = validate(roleSchema, body, 'workload role');
    if (!this.#roles.has(name) && this.#roles.size >= MAX_ROLES) throw new PurserError('ERR_REQUEST_INVALID', `there are ${MAX_ROLES} workload roles already`);
    await this.#view.put(name, encodeRecord({ format: 1, ...role }));
    this.#roles.set(name, role);
  }

  async delete(name: string): Promise<void> {
    // Not granting any more comes first: a failed write leaves the role, and its granting, to the next start only.
    if (!this.#roles.delete(name)) return;
    await this.#view.delete(name);
  }

  /** Names and policies (sorted, each once) of all roles that select the workload. */
  matching(facts: WorkloadFacts): { readonly roles: readonly string[]; readonly policies: readonly string[] } {
    const matched = [...this.#roles].filter(([, role]) => selects(role.selectors, facts));
    return { roles: matched.map(([name]) => name).sort(), policies: [...new Set(matched.flatMap(([, role]) => role.policies))].sort() };
  }

  /** For whom one answer about a task's grants holds: as far as no role looks closer. */
  scope(): SwarmSecretScope {
    const selectors = [...this.#roles.values()].map((role) => role.selectors);
    if (selectors.some(({ name }) => name !== undefined)) return 'task';
    return selectors.some(({ node }) => node !== undefined) ? 'node' : 'service';
  }

  /**
   * How long a token for these audiences may live: as long as the shortest of the roles that allow one of them says.
   * @returns the first audience that no role of the workload allows, or the life in seconds
   */
  identity(facts: WorkloadFacts, audiences: readonly string[]): { readonly refused: string } | { readonly ttlSeconds: number } {
    const matched = [...this.#roles.values()].filter((role) => role.identity_audiences !== undefined && selects(role.selectors, facts));
    const lives: number[] = [];
    for (const audience of audiences) {
      const allowing = matched.filter((role) => role.identity_audiences?.some((pattern) => matchesGlob(pattern, audience)) === true);
      if (allowing.length === 0) return { refused: audience };
      lives.push(...allowing.map((role) => role.identity_ttl ?? DEFAULT_IDENTITY_SECONDS));
    }
    return { ttlSeconds: Math.min(...lives) };
  }
}

function identitySeconds(value: string | number, context: z.RefinementCtx): number {
  try {
    const seconds = parseDurationSeconds(value);
    if (seconds >= MIN_IDENTITY_SECONDS && seconds <= MAX_IDENTITY_SECONDS) return seconds;
  } catch {
    // Said below.
  }
  context.addIssue({ code: 'custom', message: `is not a duration of ${MIN_IDENTITY_SECONDS} seconds to ${MAX_IDENTITY_SECONDS / 3600} hours` });
  return z.NEVER;
}
