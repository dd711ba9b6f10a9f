// Workload roles: what a container is → which policies it gets (PROTOCOL.md 1.4). All of them are kept in memory, because
// each resolve asks all of them; a write is durable before it counts.

import { z } from 'zod';

import type { View } from '../../core/view.ts';
import { PurserError } from '../../lib/errors.ts';
import { decodeRecord, encodeRecord } from '../../lib/json-record.ts';
import { validate } from '../../wire/validate.ts';
import { selects, type WorkloadFacts } from './selector.ts';

const MAX_ROLES = 10_000;
const ROLE_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;
/** Not for containers: everything, and the calls of nodes and of wrapped responses. */
const RESERVED_POLICIES = new Set(['root', 'purser-node', 'response-wrapping']);

const patterns = z.array(z.string().min(1).max(1024)).min(1).max(64);
const policyName = z.string().regex(/^[\x21-\x7e]{1,128}$/).toLowerCase()
  .refine((name) => !RESERVED_POLICIES.has(name), 'is a policy that no container may have');

const roleShape = {
  policies: z.array(policyName).min(1).max(64),
  selectors: z.strictObject({
    name: patterns.optional(), image: patterns.optional(), image_digest: patterns.optional(),
    service: patterns.optional(), stack: patterns.optional(), node: patterns.optional(),
    label: z.record(z.string().min(1).max(1024), patterns).refine((labels) => Object.keys(labels).length > 0, 'names no label').optional(),
  }).default({}),
  any: z.boolean().default(false),
};
const roleSchema = z.strictObject(roleShape)
  .refine(({ selectors, any }) => any !== (Object.keys(selectors).length > 0), 'needs selectors, or "any": true to mean every container, and not both');
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
}
