// Docker's `docker.volumedriver/1.0` protocol as an Express application (moby: daemon/volume/drivers/proxy.go). Docker knows one plugin
// by one name and remembers what it implements, so every socket named `purser` announces the same: this one and the driver's.

import express from 'express';
import type { Express, Request, Response } from 'express';
import type { Logger } from 'pino';
import { z } from 'zod';
import { PurserError, isPurserError, messageOf } from '../../lib/errors.ts';
import { traced } from '../../lib/trace.ts';
import { describeReference, parseReference } from '../../wire/reference.ts';
import { DOCKER_PLUGIN_TYPE, PLUGIN_IMPLEMENTS } from '../../wire/plugin.ts';
import type { VolumeDefinition } from './definitions.ts';
import type { Volumes } from './volumes.ts';

const MAX_BODY_BYTES = 1024 * 1024;

const callSchema = z.object({
  Name: z.string().optional(),
  ID: z.string().regex(/^[0-9a-f]{64}$/).optional(),
  Opts: z.record(z.string(), z.string()).nullish(),
});
type Call = z.infer<typeof callSchema>;

export type VolumeCalls = Pick<Volumes, 'create' | 'remove' | 'get' | 'all' | 'mount' | 'unmount'>;

/** What is not answered here is answered with `Err`, which Docker shows to whoever asked. */
export function volumeDriver(volumes: VolumeCalls, log: Logger): Express {
  const application = express();
  application.disable('x-powered-by').disable('etag');
  // Docker sends JSON without a content type.
  application.use(express.text({ type: () => true, limit: MAX_BODY_BYTES, defaultCharset: 'utf-8' }));
  application.post('/Plugin.Activate', (_request, response) => answer(response, { Implements: PLUGIN_IMPLEMENTS }));
  const calls: Readonly<Record<string, (call: Call) => object | Promise<object>>> = {
    Create: async (call) => { await volumes.create(nameOf(call), call.Opts ?? {}); return {}; },
    Remove: async (call) => { await volumes.remove(nameOf(call)); return {}; },
    Mount: async (call) => ({ Mountpoint: await volumes.mount(nameOf(call), mountIdOf(call)) }),
    Unmount: async (call) => { await volumes.unmount(mountIdOf(call)); return {}; },
    // A mount point belongs to one container, a volume has none.
    Path: (call) => { volumes.get(nameOf(call)); return { Mountpoint: '' }; },
    Get: (call) => ({ Volume: { ...shown(volumes.get(nameOf(call))), Status: statusOf(volumes.get(nameOf(call))) } }),
    List: () => ({ Volumes: volumes.all().map(shown) }),
    Capabilities: () => ({ Capabilities: { Scope: 'local' } }),
  };
  for (const [name, handle] of Object.entries(calls)) {
    application.post(`/VolumeDriver.${name}`, async (request: Request, response: Response) => {
      try {
        answer(response, { ...await traced(async () => handle(readCall(request.body as unknown))), Err: '' });
      } catch (error) {
        // Docker asks for volumes of every name.
        if (name !== 'Get') log.warn({ call: name, code: isPurserError(error) ? error.code : undefined, reason: messageOf(error) }, 'a call of Docker for a volume was refused');
        answer(response, { Err: reasonOf(error) });
      }
    });
  }
  // Swarm asks here while the driver is not running: fail closed (see driver/secret-provider.ts).
  application.post('/SecretProvider.GetSecret', (_request, response) => answer(response, { Err: 'purser: the driver does not run on this manager', DoNotReuse: true }));
  application.use((_request, response) => answer(response, { Err: 'there is no such call' }, 404));
  application.use((error: unknown, _request: Request, response: Response, next: express.NextFunction) => {
    if (response.headersSent) return next(error);
    const { status } = error as { status?: unknown };
    log.warn({ status }, 'a request of the plugin socket was not valid');
    answer(response, { Err: 'the request is not valid' }, typeof status === 'number' ? status : 500);
  });
  return application;
}

/** @throws ERR_REQUEST_INVALID; the text of a parser could quote the body */
function readCall(body: unknown): Call {
  try {
    return callSchema.parse(typeof body === 'string' && body.trim() !== '' ? JSON.parse(body) : {});
  } catch {
    throw new PurserError('ERR_REQUEST_INVALID', 'the request of Docker is not a call for a volume');
  }
}

function nameOf({ Name }: Call): string {
  if (Name === undefined || Name === '') throw new PurserError('ERR_REQUEST_INVALID', 'the request of Docker names no volume');
  return Name;
}

function mountIdOf({ ID }: Call): string {
  if (ID === undefined) throw new PurserError('ERR_REQUEST_INVALID', 'the request of Docker names no mount');
  return ID;
}

function shown({ name, created }: VolumeDefinition): object {
  return { Name: name, Mountpoint: '', CreatedAt: new Date(created).toISOString() };
}

/** What `docker volume inspect` shows: which file is which secret. */
function statusOf({ files }: VolumeDefinition): Record<string, string> {
  return Object.fromEntries(files.map(({ name, text }) => [name, describeReference(parseReference(text))]));
}

/** One line: what is wrong and what to do. */
function reasonOf(error: unknown): string {
  if (!isPurserError(error)) return 'purser: the agent failed, see its log';
  const text = error.message.startsWith('purser: ') ? error.message : `purser: ${error.message}`;
  return error.hint === undefined ? text : `${text} (${error.hint})`;
}

function answer(response: Response, body: object, status = 200): void {
  response.status(status).set('Content-Type', DOCKER_PLUGIN_TYPE).send(JSON.stringify(body));
}
