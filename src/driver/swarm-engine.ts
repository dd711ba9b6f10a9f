// What the driver asks of the Docker Engine of its manager, over the Engine's socket: who leads, which services want rolling updates, what their
// secrets and running tasks are, and the update of a service. Docker's answers are checked as far as they are used; a service's specification is
// handed back as Docker gave it, so that nothing of it gets lost.

import { request } from 'node:http';
import { z } from 'zod';
import { PurserError, messageOf } from '../lib/errors.ts';

const REQUEST_MS = 10_000;
const MAX_ANSWER_BYTES = 32 * 1024 * 1024;
/** Of the Engine's API, as 20.10 and everything newer has it. */
const API = '/v1.41';

const labels = z.record(z.string(), z.string()).nullish().transform((value) => value ?? {});
const infoSchema = z.object({ Swarm: z.object({ NodeID: z.string(), ControlAvailable: z.boolean() }) });
const nodeSchema = z.object({ ManagerStatus: z.object({ Leader: z.boolean().optional() }).nullish() });
const secretSchema = z.object({ ID: z.string(), Spec: z.object({ Name: z.string(), Labels: labels, Driver: z.object({ Name: z.string() }).nullish() }) });
const serviceSchema = z.object({
  ID: z.string(), Version: z.object({ Index: z.number() }),
  Spec: z.object({
    Name: z.string(), Labels: labels,
    TaskTemplate: z.object({ ForceUpdate: z.number().optional(), ContainerSpec: z.object({ Secrets: z.array(z.object({ SecretID: z.string() })).nullish() }).optional() }),
  }),
});
const taskSchema = z.object({ ID: z.string(), NodeID: z.string().optional(), Slot: z.number().optional(), CreatedAt: z.string(), Spec: z.object({ ContainerSpec: z.object({ Image: z.string() }).optional() }), Status: z.object({ State: z.string() }) });

const listedSchema = z.object({
  ID: z.string(), ServiceStatus: z.object({ RunningTasks: z.number(), DesiredTasks: z.number() }).nullish(),
  Spec: z.object({ Name: z.string(), TaskTemplate: z.object({ ContainerSpec: z.object({ Secrets: z.array(z.object({ SecretID: z.string() })).nullish() }).optional() }) }),
});
const pastTaskSchema = z.object({ ID: z.string(), Status: z.object({ Timestamp: z.string(), Err: z.string().optional() }) });
const pluginSchema = z.object({ Name: z.string(), Enabled: z.boolean() });

/** A service as far as it is understood, and its whole specification as Docker gave it. */
export interface SwarmService extends z.infer<typeof serviceSchema> {
  readonly given: Readonly<Record<string, unknown>> & { readonly TaskTemplate: Readonly<Record<string, unknown>> };
}
export type SwarmServiceTask = z.infer<typeof taskSchema>;
export type SwarmSecretObject = z.infer<typeof secretSchema>;

/** A service, as `purser doctor` looks at it. */
export interface ServiceDiagnosis {
  readonly secrets: readonly { readonly name: string; readonly driver: string | undefined; readonly labels: Readonly<Record<string, string>> }[];
  readonly running: number;
  readonly desired: number;
  /** What Docker says of the task that failed last. */
  readonly lastError: string | undefined;
}

export class SwarmEngine {
  readonly #socketPath: string;

  constructor(socketPath: string) {
    this.#socketPath = socketPath;
  }

  /** True on the one manager that leads now. @throws ERR_DOCKER_UNAVAILABLE */
  async isLeader(): Promise<boolean> {
    const { Swarm } = await this.#get('/info', infoSchema);
    if (!Swarm.ControlAvailable) return false;
    return (await this.#get(`/nodes/${Swarm.NodeID}`, nodeSchema)).ManagerStatus?.Leader === true;
  }

  /** @throws ERR_DOCKER_UNAVAILABLE */
  services(label: string): Promise<SwarmService[]> {
    const schema = z.unknown().transform((service) => ({ ...serviceSchema.parse(service), given: (service as { Spec: SwarmService['given'] }).Spec }));
    return this.#get(`/services?filters=${filter({ label: [label] })}`, z.array(schema));
  }

  /** @throws ERR_DOCKER_UNAVAILABLE */
  secrets(): Promise<SwarmSecretObject[]> {
    return this.#get('/secrets', z.array(secretSchema));
  }

  /** The tasks that run, or that are to run and were given their secrets. @throws ERR_DOCKER_UNAVAILABLE */
  async tasks(serviceId: string): Promise<SwarmServiceTask[]> {
    const tasks = await this.#get(`/tasks?filters=${filter({ service: [serviceId], 'desired-state': ['running'] })}`, z.array(taskSchema));
    return tasks.filter(({ NodeID }) => NodeID !== undefined);
  }

  /**
   * What an operator would want to know about a service that does not start.
   * @returns undefined when there is none of this name
   * @throws ERR_DOCKER_UNAVAILABLE
   */
  async diagnosis(name: string): Promise<ServiceDiagnosis | undefined> {
    const listed = await this.#get(`/services?status=true&filters=${filter({ name: [name] })}`, z.array(listedSchema));
    // Docker's filter takes every name that begins so.
    const service = listed.find(({ ID, Spec }) => Spec.Name === name || ID === name);
    if (service === undefined) return undefined;
    const used = new Set((service.Spec.TaskTemplate.ContainerSpec?.Secrets ?? []).map(({ SecretID }) => SecretID));
    const secrets = used.size === 0 ? [] : (await this.secrets()).filter(({ ID }) => used.has(ID));
    const past = await this.#get(`/tasks?filters=${filter({ service: [service.ID] })}`, z.array(pastTaskSchema));
    return {
      secrets: secrets.map(({ Spec }) => ({ name: Spec.Name, driver: Spec.Driver?.Name, labels: Spec.Labels })),
      running: service.ServiceStatus?.RunningTasks ?? 0, desired: service.ServiceStatus?.DesiredTasks ?? 0,
      lastError: past.filter(({ Status }) => (Status.Err ?? '') !== '').sort((a, b) => (a.Status.Timestamp < b.Status.Timestamp ? 1 : -1))[0]?.Status.Err,
    };
  }

  /** Whether a managed plugin of this name is enabled. @throws ERR_DOCKER_UNAVAILABLE */
  async hasPlugin(name: string): Promise<boolean> {
    return (await this.#get('/plugins', z.array(pluginSchema))).some(({ Name, Enabled }) => Enabled && (Name === name || Name === `${name}:latest`));
  }

  /**
   * Stores new labels and, to make new tasks, a new count of forced updates, if the service is still the one that was read.
   * @returns false when somebody else changed it meanwhile
   * @throws ERR_DOCKER_UNAVAILABLE
   */
  async update({ ID, Version, Spec, given }: SwarmService, labelsNow: Readonly<Record<string, string>>, isNewTasks: boolean): Promise<boolean> {
    const spec = {
      ...given, Labels: labelsNow,
      ...(isNewTasks ? { TaskTemplate: { ...given.TaskTemplate, ForceUpdate: (Spec.TaskTemplate.ForceUpdate ?? 0) + 1 } } : {}),
    };
    const { status, body } = await this.#ask('POST', `/services/${ID}/update?version=${String(Version.Index)}`, JSON.stringify(spec));
    if (status === 200) return true;
    // "update out of sequence", as an internal error in old engines.
    if (/out of sequence/.test(body)) return false;
    throw unavailable(`the Docker Engine refused to update the service ${Spec.Name} (status ${String(status)})`);
  }

  async #get<T>(path: string, schema: z.ZodType<T>): Promise<T> {
    const { status, body } = await this.#ask('GET', path);
    try {
      if (status === 200) return schema.parse(JSON.parse(body));
    } catch (error) {
      throw unavailable(`the Docker Engine gave an answer that is not known to ${path.split('?')[0] ?? ''}`, error);
    }
    throw unavailable(`the Docker Engine answered ${path.split('?')[0] ?? ''} with status ${String(status)}`);
  }

  #ask(method: string, path: string, body?: string): Promise<{ status: number; body: string }> {
    const headers = body === undefined ? {} : { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) };
    return new Promise((resolve, reject) => {
      const call = request({ socketPath: this.#socketPath, path: API + path, method, headers, agent: false, signal: AbortSignal.timeout(REQUEST_MS) }, (response) => {
        const chunks: Buffer[] = [];
        let length = 0;
        response.on('error', reject).on('data', (chunk: Buffer) => {
          length += chunk.length;
          if (length > MAX_ANSWER_BYTES) call.destroy(new Error('the answer is too large'));
          else chunks.push(chunk);
        }).on('end', () => { resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString('utf8') }); });
      });
      call.on('error', (error) => { reject(unavailable(`the Docker Engine at ${this.#socketPath} does not answer: ${messageOf(error)}`, error)); });
      call.end(body);
    });
  }
}

function filter(filters: Readonly<Record<string, readonly string[]>>): string {
  return encodeURIComponent(JSON.stringify(filters));
}

function unavailable(message: string, cause?: unknown): PurserError {
  return new PurserError('ERR_DOCKER_UNAVAILABLE', message, { hint: 'check that Docker runs, and that this host is a manager', cause });
}
