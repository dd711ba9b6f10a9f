// Docker's `docker.secretprovider/1.0` protocol: what swarmkit sends and expects back (swarmkit manager/drivers/provider.go). The one call that a
// manager makes for each task, with everything else waiting for it, goes past Express, which would cost as much again as the answer. Every answer has DoNotReuse, because without it swarmkit starts a task with a
// stale value when this driver refuses one. Docker throws the reason of a refusal away, so it is logged here.

import type { IncomingMessage, RequestListener } from 'node:http';
import express from 'express';
import type { Express, Request, RequestHandler, Response } from 'express';
import type { Logger } from 'pino';
import { z } from 'zod';
import { withDeadline } from '../lib/deadline.ts';
import { PurserError, isPurserError } from '../lib/errors.ts';
import { swarmSecretRequestSchema } from '../wire/node-protocol.ts';
import { DOCKER_PLUGIN_TYPE, PLUGIN_IMPLEMENTS } from '../wire/plugin.ts';
import type { SwarmSecretRequest } from '../wire/node-protocol.ts';
import type { SwarmSecret } from './secret-memory.ts';

export type SecretSource = (request: SwarmSecretRequest) => Promise<SwarmSecret & { readonly isFromMemory: boolean }>;

/** Docker's dispatcher calls serially and waits: a driver that hangs stops the Swarm's control plane. The source is faster; this is the second line. */
const ANSWER_TIMEOUT_MS = 5000;
const MAX_BODY_BYTES = 1024 * 1024;
/** swarmkit api/validation/secrets.go: valid lengths are 1 to 511,999 bytes. */
const MAX_SECRET_BYTES = 500 * 1024 - 1;

const labels = z.record(z.string(), z.string()).nullish();
const getSecretSchema = z.object({
  SecretName: z.string(), SecretLabels: labels,
  ServiceID: z.string().optional(), ServiceName: z.string().optional(), ServiceLabels: labels,
  TaskID: z.string().optional(), TaskName: z.string().optional(), TaskImage: z.string().optional(), NodeID: z.string().optional(),
});

/**
 * @param source asks the core; what it throws becomes `Err`
 * @param timeoutMs bound of one answer, in milliseconds
 * @param volumes answers the calls for volumes, which come to the same socket
 */
export function secretProvider(source: SecretSource, log: Logger, timeoutMs = ANSWER_TIMEOUT_MS, volumes?: RequestHandler): RequestListener {
  const others = otherCalls(log, volumes);
  return (request, response) => {
    if (request.method !== 'POST' || request.url !== '/SecretProvider.GetSecret') {
      others(request, response);
      return;
    }
    void readText(request).then(async (body) => {
      if (body === undefined) log.warn({ status: 413 }, 'a request of the driver socket was not valid');
      const text = JSON.stringify(body === undefined ? INVALID : await getSecret(body, source, log, timeoutMs));
      response.writeHead(body === undefined ? 413 : 200, { 'Content-Type': DOCKER_PLUGIN_TYPE, 'Content-Length': Buffer.byteLength(text) }).end(text);
    }, () => { response.destroy(); });
  };
}

const INVALID = { Err: 'the request is not valid', DoNotReuse: true };

function otherCalls(log: Logger, volumes: RequestHandler | undefined): Express {
  const application = express();
  application.disable('x-powered-by').disable('etag');
  // Docker sends JSON without a content type.
  application.use(express.text({ type: () => true, limit: MAX_BODY_BYTES, defaultCharset: 'utf-8' }));
  application.post('/Plugin.Activate', (_request, response) => answer(response, { Implements: PLUGIN_IMPLEMENTS }));
  if (volumes !== undefined) application.post(/^\/VolumeDriver\.[A-Za-z]+$/, volumes);
  application.use((_request, response) => answer(response, { Err: 'there is no such call' }, 404));
  application.use((error: unknown, _request: Request, response: Response, next: express.NextFunction) => {
    if (response.headersSent) return next(error);
    // body-parser's errors carry an HTTP status; their text may quote the body.
    const status = (error as { status?: unknown }).status;
    log.warn({ status }, 'a request of the driver socket was not valid');
    answer(response, INVALID, typeof status === 'number' ? status : 500);
  });
  return application;
}

/** The body, whatever its type; undefined when it is too large: then the rest is read away, because a peer that still writes would not see the answer. */
function readText(request: IncomingMessage): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let length = 0;
    request.on('data', (chunk: Buffer) => {
      length += chunk.length;
      if (length <= MAX_BODY_BYTES) chunks.push(chunk);
    });
    request.on('end', () => { resolve(length > MAX_BODY_BYTES ? undefined : Buffer.concat(chunks).toString('utf8')); });
    request.on('error', reject);
  });
}

async function getSecret(body: string, source: SecretSource, log: Logger, timeoutMs: number): Promise<object> {
  const started = performance.now();
  let request: SwarmSecretRequest | undefined;
  try {
    request = readRequest(body);
    const secret = await withDeadline(source(request), timeoutMs, () =>
      new PurserError('ERR_CLIENT_UNREACHABLE', `the core did not answer within ${timeoutMs / 1000} s`));
    requireDeliverable(secret.value);
    log[secret.isFromMemory ? 'debug' : 'info']({ ...about(request), path: secret.path, version: secret.version, memory: secret.isFromMemory, ms: Number((performance.now() - started).toFixed(2)) }, 'secret given to a task');
    return { Value: Buffer.from(secret.value).toString('base64'), DoNotReuse: true };
  } catch (error) {
    const reason = isPurserError(error) ? error.message : 'the driver failed';
    log.error({ ...about(request), code: isPurserError(error) ? error.code : undefined, reason, hint: isPurserError(error) ? error.hint : undefined }, 'secret refused');
    return { Err: `purser: ${reason}`, DoNotReuse: true };
  }
}

/** @throws ERR_REQUEST_INVALID */
function readRequest(body: string): SwarmSecretRequest {
  if (body === '') {
    throw new PurserError('ERR_REQUEST_INVALID', 'the request of Docker has no body', { hint: 'Docker loses it when it sends a request again because this driver was away; Swarm tries the task again by itself' });
  }
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch {
    throw new PurserError('ERR_REQUEST_INVALID', 'the request of Docker is not JSON');
  }
  const docker = getSecretSchema.safeParse(value);
  if (!docker.success) throw new PurserError('ERR_REQUEST_INVALID', 'the request of Docker is not a GetSecret request');
  const { data } = docker;
  const request = swarmSecretRequestSchema.safeParse({
    secret_name: data.SecretName, secret_labels: data.SecretLabels ?? {},
    service_id: data.ServiceID, service_name: data.ServiceName, service_labels: data.ServiceLabels ?? {},
    task_id: data.TaskID, task_name: data.TaskName, task_image: data.TaskImage, node_id: data.NodeID,
  });
  if (!request.success) {
    throw new PurserError('ERR_REQUEST_INVALID', 'the request of Docker names no task or node, or is too large', { hint: 'use a Docker engine of 18.09 or newer' });
  }
  // zod keeps keys that are present and undefined; JSON drops them on the way to the core.
  return request.data;
}

function requireDeliverable(value: Uint8Array): void {
  if (value.length >= 1 && value.length <= MAX_SECRET_BYTES) return;
  throw new PurserError('ERR_REQUEST_INVALID', `the value has ${value.length} bytes, Swarm takes 1 to ${MAX_SECRET_BYTES}`,
    { hint: 'name one field of the secret, or deliver it with the label purser.file.<name>' });
}

function about(request: SwarmSecretRequest | undefined): object {
  return request === undefined ? {} : { secret: request.secret_name, service: request.service_name, task: request.task_id, node: request.node_id };
}

function answer(response: Response, body: object, status = 200): void {
  response.status(status).set('Content-Type', DOCKER_PLUGIN_TYPE).send(JSON.stringify(body));
}
