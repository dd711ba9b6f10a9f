// `POST node/identity` (PROTOCOL.md 1.8): short-lived EdDSA tokens that say which container their bearer runs in. A workload role
// must allow every audience; a Swarm task that was assigned to another node gets none. And the public side: the keys and the
// discovery document at the paths where Vault has them.

import { randomUUID } from 'node:crypto';

import type { IdentityKeys } from '../../auth/node/identity-keys.ts';
import type { NodeRecord } from '../../auth/node/registry.ts';
import type { WorkloadRoles } from '../../auth/node/roles.ts';
import type { Engine, JsonObject, LogicalRequest, LogicalResponse } from '../../core/logical.ts';
import { PurserError } from '../../lib/errors.ts';
import { identityRequestSchema, type IdentityRequest, type IdentityResponse, type IdentityResult } from '../../wire/node-protocol.ts';
import { validate } from '../../wire/validate.ts';
import { isElsewhere, type Assignments } from './assignments.ts';
import { factsOfWorkload } from './resolve.ts';

type AskedWorkload = IdentityRequest['workloads'][number];

export interface IdentitiesOptions {
  /** How nodes reach this core: `https://host:port`. */
  readonly address: string;
  readonly keys: IdentityKeys;
  readonly roles: WorkloadRoles;
  readonly assignments: Assignments;
  readonly now: () => number;
}

const MOUNT = 'identity/';
const KEYS = 'oidc/.well-known/keys';
const DISCOVERY = 'oidc/.well-known/openid-configuration';

export class Identities implements Engine {
  readonly unauthenticatedPaths = [KEYS, DISCOVERY];
  readonly #options: IdentitiesOptions;
  readonly #issuer: string;

  constructor(options: IdentitiesOptions) {
    this.#options = options;
    this.#issuer = `${options.address}/v1/${MOUNT}oidc`;
  }

  /** Results in the order asked. @throws ERR_REQUEST_INVALID, ERR_BARRIER_SEALED */
  async issue(node: NodeRecord, body: unknown): Promise<IdentityResponse> {
    const request = validate(identityRequestSchema, body, 'identity request');
    const workloads: IdentityResponse['workloads'] = [];
    for (const workload of request.workloads) workloads.push({ id: workload.id, result: await this.#issueOne(node, workload) });
    return { workloads };
  }

  /** Serves `identity/`: what anyone may read to verify a token, without Vault's envelope, as OpenID Connect clients expect it. */
  async handle(request: LogicalRequest): Promise<LogicalResponse> {
    const document = request.path === KEYS ? { keys: this.#options.keys.published() } : request.path === DISCOVERY ? this.#discovery() : undefined;
    if (document === undefined) throw new PurserError('ERR_REQUEST_NOT_FOUND', 'unsupported path');
    if (request.operation !== 'read') throw new PurserError('ERR_REQUEST_UNSUPPORTED', 'unsupported operation');
    return { data: document, isBare: true };
  }

  #discovery(): JsonObject {
    return {
      issuer: this.#issuer, jwks_uri: `${this.#issuer}/.well-known/keys`, response_types_supported: ['id_token'],
      subject_types_supported: ['public'], id_token_signing_alg_values_supported: ['EdDSA'],
    };
  }

  async #issueOne(node: NodeRecord, workload: AskedWorkload): Promise<IdentityResult> {
    const { roles, assignments, keys, now } = this.#options;
    const assigned = workload.task_id === undefined ? [] : [...(await assignments.ofTask(workload.task_id)).values()];
    if (isElsewhere(assigned, node, workload)) return denied('the Swarm task was assigned to another node or belongs to another service');
    const allowed = roles.identity(factsOfWorkload(workload, node), workload.audiences);
    if ('refused' in allowed) return denied(`no workload role lets this container identify itself to ${allowed.refused}`);
    const issued = Math.floor(now() / 1000);
    const expires = issued + allowed.ttlSeconds;
    const token = await keys.sign(this.#claims(node, workload, issued, expires));
    return { outcome: 'value', token, expire_time: new Date(expires * 1000).toISOString(), ttl: allowed.ttlSeconds };
  }

  #claims(node: NodeRecord, workload: AskedWorkload, iat: number, exp: number): JsonObject {
    const { id, name, image, image_digest: digest, service, stack, task_id: task, audiences } = workload;
    const [first = ''] = audiences;
    return {
      iss: this.#issuer, sub: `workload:${node.name}/${id}`, aud: audiences.length === 1 ? first : audiences, iat, exp, jti: randomUUID(),
      node: node.name, container: { id, name }, image,
      ...(digest === undefined ? {} : { image_digest: digest }), ...(service === undefined ? {} : { service }),
      ...(stack === undefined ? {} : { stack }), ...(task === undefined ? {} : { task_id: task }),
    };
  }
}

function denied(message: string): IdentityResult {
  return { outcome: 'error', code: 'ERR_RESOLVE_DENIED', message };
}
