// `POST node/swarm-secret` (PROTOCOL.md 1.6): the value of a Swarm secret for one task, for nodes that joined with
// `driver: true`. The workload is the service as Swarm describes it. What is handed out is recorded first, so that the agent
// of the task's node, and no other, may follow it.
//
// A driver may give the answer to further tasks from its memory, as far as `scope` says, while its watch stream with `grants` is
// alive; it tells of them by `POST node/swarm-tasks`, so that they are recorded as the first one was.

import type { NodeRecord, NodeRegistry } from '../../auth/node/registry.ts';
import type { WorkloadRoles } from '../../auth/node/roles.ts';
import type { JsonObject } from '../../core/logical.ts';
import { ERROR_CODES, type ErrorCode } from '../../lib/error-codes.ts';
import { PurserError, isPurserError } from '../../lib/errors.ts';
import { swarmSecretRequestSchema, swarmTasksRequestSchema, type ResolveResult, type SwarmSecretRequest } from '../../wire/node-protocol.ts';
import { parseReference } from '../../wire/reference.ts';
import { validate } from '../../wire/validate.ts';
import type { Usage } from '../usage/usage.ts';
import { factsOf, isSwarmId, type Assignment, type Assignments } from './assignments.ts';
import { DRIVER_MEMORY, type Holdings } from './holdings.ts';
import { SecretBatch, type SecretAccess } from './secret-batch.ts';

/** swarmkit api/validation/secrets.go: 1 to 511,999 bytes. */
const MAX_SECRET_BYTES = 500 * 1024 - 1;
const REFERENCE_LABEL = 'purser.ref';
const STACK_LABEL = 'com.docker.stack.namespace';

export interface SwarmSecretsOptions {
  readonly access: SecretAccess;
  readonly roles: WorkloadRoles;
  readonly registry: NodeRegistry;
  readonly assignments: Assignments;
  readonly holdings: Holdings;
  /** Where refusals are noted. */
  readonly usage: Pick<Usage, 'denials' | 'roleUse'>;
}

export class SwarmSecrets {
  readonly #options: SwarmSecretsOptions;

  constructor(options: SwarmSecretsOptions) {
    this.#options = options;
  }

  /** @throws ERR_REQUEST_DENIED for a node that is no driver, ERR_WORKLOAD_INVALID, ERR_RESOLVE_*, ERR_REFERENCE_SYNTAX */
  async give(node: NodeRecord, body: unknown): Promise<JsonObject> {
    requireDriver(node);
    const request = validate(swarmSecretRequestSchema, body, 'swarm-secret request');
    try {
      const assignment = assignmentOf(request);
      const given = await this.#resolve(node, assignment);
      await this.#options.assignments.record(request.task_id, assignment);
      this.#options.assignments.expect(assignment.service.name, request.secret_name);
      return given;
    } catch (error) {
      this.#noteRefusal(node, request, error);
      throw error;
    }
  }

  /**
   * Records tasks that a driver answered from memory.
   * @returns the ids of tasks that were assigned to another node before
   * @throws ERR_REQUEST_DENIED for a node that is no driver, ERR_WORKLOAD_INVALID
   */
  async record(node: NodeRecord, body: unknown): Promise<JsonObject> {
    requireDriver(node);
    const { use, tasks } = validate(swarmTasksRequestSchema, body, 'swarm-tasks request');
    const refused = await Promise.all(tasks.map(async (task) => {
      try {
        await this.#options.assignments.record(task.task_id, assignmentOf({ ...use, ...task }));
        return [];
      } catch (error) {
        if (isPurserError(error, 'ERR_REQUEST_DENIED')) return [task.task_id];
        throw error;
      }
    }));
    return { refused: refused.flat() };
  }

  async #resolve(node: NodeRecord, assignment: Assignable): Promise<JsonObject> {
    const { access, roles, registry, holdings, usage } = this.#options;
    // Before anything is judged: a role that comes meanwhile narrows nothing afterwards, because the driver is told of it.
    const scope = roles.scope();
    const granted = roles.matching(factsOf(assignment, registry.findBySwarmNode(assignment.swarm_node_id)?.name));
    const result = await new SecretBatch(access).resolve(assignment.reference, { ...granted, hold: (path) => holdings.add(node.id, DRIVER_MEMORY, path) });
    const { value, version, path } = deliverable(result);
    if (result.outcome === 'value') usage.roleUse.note(granted.roles, path);
    const length = Buffer.byteLength(value, 'base64');
    if (length < 1 || length > MAX_SECRET_BYTES) {
      throw new PurserError('ERR_RESOLVE_SIZE', `the value has ${length} bytes, Swarm takes 1 to ${MAX_SECRET_BYTES}`,
        { hint: `name one field of the secret in its label ${REFERENCE_LABEL}, or deliver it with the label purser.file.<name>` });
    }
    return { value, version, path, scope };
  }

  /** On record with the service that did not get it. */
  #noteRefusal(node: NodeRecord, request: SwarmSecretRequest, error: unknown): void {
    if (!isPurserError(error)) return;
    const service = serviceOf(request);
    const path = pathOf(referenceOf(request) ?? '');
    this.#options.usage.denials.note({
      node, source: 'swarm-secret', swarmSecret: request.secret_name, code: error.code, reason: error.message, ...(path === undefined ? {} : { path }),
      container: { name: service.task_name, image: service.image, service: service.name, stack: service.stack, task_id: request.task_id },
    });
  }
}

/** The path that a reference names; undefined for a malformed one. */
function pathOf(reference: string): string | undefined {
  try {
    return parseReference(reference).path;
  } catch {
    return undefined;
  }
}

function requireDriver(node: NodeRecord): void {
  if (!node.driver) throw new PurserError('ERR_REQUEST_DENIED', 'this node may not answer Swarm for secrets', { hint: 'join it with a token made by: purser node token --driver' });
}

type Assignable = Omit<Assignment, 'format' | 'created'>;

function assignmentOf(request: SwarmSecretRequest): Assignable {
  if (!isSwarmId(request.task_id) || !isSwarmId(request.node_id)) throw new PurserError('ERR_REQUEST_INVALID', 'task_id or node_id is not an id of a Swarm');
  const reference = referenceOf(request);
  if (reference === undefined) {
    throw new PurserError('ERR_WORKLOAD_INVALID', `the Swarm secret has no label ${REFERENCE_LABEL}`,
      { hint: `docker secret create -d purser -l ${REFERENCE_LABEL}=purser://secret/db/prod#password NAME` });
  }
  return { secret_name: request.secret_name, swarm_node_id: request.node_id, reference, service: serviceOf(request) };
}

function referenceOf({ secret_labels: labels }: SwarmSecretRequest): string | undefined {
  return Object.hasOwn(labels, REFERENCE_LABEL) ? labels[REFERENCE_LABEL] : undefined;
}

function serviceOf(request: SwarmSecretRequest): Assignable['service'] {
  const labels = request.service_labels ?? {};
  const stack = Object.hasOwn(labels, STACK_LABEL) ? labels[STACK_LABEL] : undefined;
  return { name: request.service_name ?? '', ...(stack === undefined ? {} : { stack }), task_name: request.task_name ?? '', image: request.task_image ?? '', labels };
}

function deliverable(result: ResolveResult): { readonly value: string; readonly version: number; readonly path: string } {
  if (result.outcome === 'value' || result.outcome === 'default') return result;
  if (result.outcome === 'error') throw new PurserError(knownCode(result.code), result.message);
  throw new PurserError('ERR_RESOLVE_NOT_FOUND', 'the secret does not exist, and a Swarm secret cannot be left out', { hint: 'give the reference a default instead of optional' });
}

function knownCode(code: string): ErrorCode {
  return Object.hasOwn(ERROR_CODES, code) ? code as ErrorCode : 'ERR_RESOLVE_FAILED';
}
