// `POST node/resolve` (PROTOCOL.md 1.2): one batch of references for one or many containers of a node. Which policies a
// container gets is decided by the workload roles; a Swarm task that was assigned to another node gets nothing here.

import type { NodeRecord } from '../../auth/node/registry.ts';
import type { WorkloadRoles } from '../../auth/node/roles.ts';
import type { WorkloadFacts } from '../../auth/node/selector.ts';
import { resolveRequestSchema, type ResolveRequest, type ResolveResponse, type ResolveResult, type Workload } from '../../wire/node-protocol.ts';
import { validate } from '../../wire/validate.ts';
import { factsOf, isElsewhere, type Assignment, type Assignments } from './assignments.ts';
import type { Usage } from '../usage/usage.ts';
import type { Holdings } from './holdings.ts';
import { SecretBatch, type Grantee, type SecretAccess } from './secret-batch.ts';

type AskedWorkload = ResolveRequest['workloads'][number];

export interface ResolverOptions {
  readonly access: SecretAccess;
  readonly roles: WorkloadRoles;
  readonly holdings: Holdings;
  readonly assignments: Assignments;
  /** Where uses of roles and refusals are noted. */
  readonly usage: Pick<Usage, 'denials' | 'roleUse'>;
}

export class Resolver {
  readonly #options: ResolverOptions;

  constructor(options: ResolverOptions) {
    this.#options = options;
  }

  /** Results in the order asked. @throws ERR_REQUEST_INVALID, ERR_REQUEST_TOO_LARGE, ERR_BARRIER_SEALED */
  async resolve(node: NodeRecord, body: unknown): Promise<ResolveResponse> {
    const request = validate(resolveRequestSchema, body, 'resolve request');
    const batch = new SecretBatch(this.#options.access);
    const workloads: ResolveResponse['workloads'] = [];
    // One workload after the other: 256 of them at once would hold 65,536 reads in flight.
    for (const workload of request.workloads) workloads.push(await this.#resolveWorkload(node, workload, batch));
    return { workloads };
  }

  async #resolveWorkload(node: NodeRecord, workload: AskedWorkload, batch: SecretBatch): Promise<ResolveResponse['workloads'][number]> {
    const { id, references, swarm_secrets: swarmSecrets, task_id: taskId } = workload;
    const assigned = taskId === undefined ? new Map<string, Assignment>() : await this.#options.assignments.ofTaskSoon(taskId, workload.service, swarmSecrets ?? []);
    const isForeign = isElsewhere(assigned.values(), node, workload);
    const grantee = this.#grantee(node, id, factsOfWorkload(workload, node));
    const results = isForeign ? references.map(elsewhere) : await Promise.all(references.map((text) => batch.resolve(text, grantee)));
    for (const result of results) this.#note(node, workload, grantee.roles, result);
    if (swarmSecrets === undefined) return { id, results };
    if (taskId !== undefined && !isForeign && assigned.size > 0) this.#options.assignments.follow(taskId, node.id, id);
    const secrets = await Promise.all(swarmSecrets.map((name) => this.#resolveSwarmSecret(assigned.get(name), node, id, isForeign, batch)));
    for (const [index, result] of secrets.entries()) this.#note(node, workload, [], result, swarmSecrets[index]);
    return { id, results, swarm_secrets: secrets };
  }

  #note(node: NodeRecord, workload: AskedWorkload, roles: readonly string[], result: ResolveResult, swarmSecret?: string): void {
    if (result.outcome === 'value') this.#options.usage.roleUse.note(roles, result.path);
    if (result.outcome !== 'error') return;
    const { id, name, image, service, stack, task_id } = workload;
    this.#options.usage.denials.note({ node, container: { id, name, image, service, stack, task_id }, source: 'resolve', path: result.path, swarmSecret, code: result.code, reason: result.message });
  }

  async #resolveSwarmSecret(assignment: Assignment | undefined, node: NodeRecord, containerId: string, isForeign: boolean, batch: SecretBatch): Promise<ResolveResult> {
    if (assignment === undefined) return { outcome: 'foreign' };
    if (isForeign) return elsewhere();
    return batch.resolve(assignment.reference, this.#grantee(node, containerId, factsOf(assignment, node.name)));
  }

  #grantee(node: NodeRecord, containerId: string, facts: WorkloadFacts): Grantee {
    const { roles, holdings } = this.#options;
    return { ...roles.matching(facts), hold: (path) => holdings.add(node.id, containerId, path) };
  }
}

/** The agent's word about a container; the node's name is ours. */
export function factsOfWorkload(workload: Workload, node: NodeRecord): WorkloadFacts {
  const { name, image, image_digest: imageDigest, labels, image_labels: imageLabels, service, stack } = workload;
  return { name, image, imageDigest, labels, imageLabels, service, stack, node: node.name };
}

function elsewhere(): ResolveResult {
  return { outcome: 'error', code: 'ERR_RESOLVE_DENIED', message: 'the Swarm task was assigned to another node or belongs to another service' };
}
