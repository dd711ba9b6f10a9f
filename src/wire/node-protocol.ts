// Bodies and frames between nodes and the core (PROTOCOL.md section 1). Both sides validate what they receive with these
// schemas: the core because a node may be compromised, the agent because a core may be an older or newer one.

import { z } from 'zod';
import { MAX_REFERENCE_BYTES } from './reference.ts';

export const MAX_WORKLOADS = 256;
export const MAX_REFERENCES = 256;
export const MAX_USAGE_ENTRIES = 1000;
/** Longest watch frame in bytes, the newline included. */
export const MAX_FRAME_BYTES = 65_536;
export const HEARTBEAT_SECONDS = 10;
export const WATCH_SILENCE_SECONDS = 30;
/** Of a stream with `grants=true`, whose reader answers from memory only while it hears the core. */
export const GRANTS_HEARTBEAT_SECONDS = 1;
export const GRANTS_SILENCE_SECONDS = 3;
export const MAX_SWARM_TASKS = 256;

const text = (max: number) => z.string().max(max);
const containerId = z.string().regex(/^[0-9a-f]{64}$/);
const sequence = z.number().int().min(1).max(Number.MAX_SAFE_INTEGER);
const version = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
const time = z.iso.datetime();

export const joinRequestSchema = z.strictObject({
  id: text(128), secret: text(128),
  name: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/),
  public_key: z.strictObject({ kty: z.literal('OKP'), crv: z.literal('Ed25519'), x: z.string().regex(/^[A-Za-z0-9_-]{43}$/) }),
  version: text(64),
  swarm_node_id: text(64).optional(),
});
export type JoinRequest = z.infer<typeof joinRequestSchema>;

/** What a container is, as its agent sees it. */
export const workloadSchema = z.strictObject({
  id: containerId,
  name: text(512),
  image: text(1024),
  image_digest: text(256).optional(),
  labels: z.record(text(1024), text(65_536)),
  /** Names of those labels that the image brought, not whoever started the container. */
  image_labels: z.array(text(1024)).optional(),
  service: text(512).optional(),
  stack: text(512).optional(),
  task_id: text(64).optional(),
});
export type Workload = z.infer<typeof workloadSchema>;

export const resolveRequestSchema = z.strictObject({
  workloads: z.array(workloadSchema.extend({
    references: z.array(text(MAX_REFERENCE_BYTES)).max(MAX_REFERENCES),
    swarm_secrets: z.array(text(256)).max(MAX_REFERENCES).optional(),
  })).min(1).max(MAX_WORKLOADS),
});
export type ResolveRequest = z.infer<typeof resolveRequestSchema>;

export const resolveResultSchema = z.discriminatedUnion('outcome', [
  z.object({ outcome: z.literal('value'), value: z.base64(), path: text(4096), field: text(1024).optional(), version }),
  z.object({ outcome: z.literal('default'), value: z.base64(), path: text(4096), field: text(1024).optional(), version }),
  z.object({ outcome: z.literal('absent'), path: text(4096), field: text(1024).optional(), version }),
  z.object({ outcome: z.literal('error'), code: text(64), message: text(2048), path: text(4096).optional() }),
  z.object({ outcome: z.literal('foreign') }),
]);
export type ResolveResult = z.infer<typeof resolveResultSchema>;

export const resolveResponseSchema = z.object({
  workloads: z.array(z.object({ id: containerId, results: z.array(resolveResultSchema), swarm_secrets: z.array(resolveResultSchema).optional() })),
});
export type ResolveResponse = z.infer<typeof resolveResponseSchema>;

/** Audience of an identity: printable ASCII without the comma that separates several in a label. */
export const AUDIENCE = /^[\x21-\x2b\x2d-\x7e]{1,256}$/;
export const MAX_AUDIENCES = 8;

export const identityRequestSchema = z.strictObject({
  workloads: z.array(workloadSchema.extend({ audiences: z.array(z.string().regex(AUDIENCE)).min(1).max(MAX_AUDIENCES) })).min(1).max(MAX_WORKLOADS),
});
export type IdentityRequest = z.infer<typeof identityRequestSchema>;

export const identityResultSchema = z.discriminatedUnion('outcome', [
  z.object({ outcome: z.literal('value'), token: text(16_384), expire_time: time, ttl: z.number().int().min(1) }),
  z.object({ outcome: z.literal('error'), code: text(64), message: text(2048) }),
]);
export type IdentityResult = z.infer<typeof identityResultSchema>;

export const identityResponseSchema = z.object({ workloads: z.array(z.object({ id: containerId, result: identityResultSchema })) });
export type IdentityResponse = z.infer<typeof identityResponseSchema>;

export const watchFrameSchema = z.discriminatedUnion('type', [
  z.object({ type: z.literal('hello'), stream: text(64), seq: version, resumed: z.boolean(), grants: z.literal(true).exactOptional() }),
  z.object({ type: z.literal('changed'), seq: version, path: text(4096), version }),
  z.object({ type: z.literal('heartbeat'), seq: version }),
  z.object({ type: z.literal('grants'), seq: version }),
  z.object({ type: z.literal('revoked') }),
]);
export type WatchFrame = z.infer<typeof watchFrameSchema>;

const processSchema = z.strictObject({ pid: version, uid: version, executable: text(4096), name: text(64) });
const containerSchema = z.strictObject({ id: containerId, name: text(512), image: text(1024), service: text(512).optional(), stack: text(512).optional(), task_id: text(64).optional() });
const secretSchema = { path: text(4096), field: text(1024).optional(), version, target: text(4096) };
const counted = { count: sequence, first_time: time, last_time: time };
const entry = { seq: sequence, time };

export const usageEntrySchema = z.discriminatedUnion('type', [
  z.strictObject({ ...entry, type: z.literal('granted'), container: containerSchema, secrets: z.array(z.strictObject({ ...secretSchema, pinned: z.literal(true).optional() })).max(2 * MAX_REFERENCES) }),
  z.strictObject({ ...entry, type: z.literal('opened'), container_id: containerId, ...secretSchema, process: processSchema, ...counted }),
  z.strictObject({ ...entry, type: z.literal('refused'), container_id: containerId, target: text(4096).optional(), process: processSchema, ...counted }),
  z.strictObject({ ...entry, type: z.literal('rotated'), container_id: containerId, ...secretSchema }),
  z.strictObject({
    ...entry, type: z.literal('action'), container_id: containerId, action: text(256), outcome: z.enum(['done', 'failed']), exit_code: z.number().int().optional(),
    duration_ms: version, attempt: sequence, message: text(512).optional(),
  }),
  z.strictObject({ ...entry, type: z.literal('released'), container_id: containerId, reason: z.enum(['exited', 'removed', 'start-failed', 'lost']) }),
]);
export type UsageEntry = z.infer<typeof usageEntrySchema>;

export const usageBatchSchema = z.strictObject({ spool: z.uuid(), entries: z.array(usageEntrySchema).min(1).max(MAX_USAGE_ENTRIES) });
export type UsageBatch = z.infer<typeof usageBatchSchema>;

/** A Swarm secret as a service uses it, and the image of the service's tasks. */
const swarmSecretUseSchema = z.strictObject({
  secret_name: text(256),
  secret_labels: z.record(text(1024), text(65_536)),
  service_id: text(64).optional(), service_name: text(512).optional(), service_labels: z.record(text(1024), text(65_536)).optional(),
  task_image: text(1024).optional(),
});
export type SwarmSecretUse = z.infer<typeof swarmSecretUseSchema>;

const swarmTaskSchema = z.strictObject({ task_id: text(64), task_name: text(512).optional(), node_id: text(64) });
export type SwarmTask = z.infer<typeof swarmTaskSchema>;

/** Docker's GetSecret request in snake_case (swarmkit manager/drivers/provider.go). */
export const swarmSecretRequestSchema = swarmSecretUseSchema.extend(swarmTaskSchema.shape);
export type SwarmSecretRequest = z.infer<typeof swarmSecretRequestSchema>;

export const swarmSecretResponseSchema = z.object({ value: z.base64(), version, path: text(4096), scope: z.enum(['service', 'node', 'task']) });
export type SwarmSecretScope = z.infer<typeof swarmSecretResponseSchema>['scope'];

export const swarmTasksRequestSchema = z.strictObject({ use: swarmSecretUseSchema, tasks: z.array(swarmTaskSchema).min(1).max(MAX_SWARM_TASKS) });
export type SwarmTasksRequest = z.infer<typeof swarmTasksRequestSchema>;

export const swarmTasksResponseSchema = z.object({ refused: z.array(text(64)) });
