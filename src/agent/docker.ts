// What the agent hears and asks from the Docker Engine; the only file that speaks to it. Docker may be absent, restart or
// hang: following it goes on by itself, and every question ends in bounded time. Never `inspect`: see container-facts.ts.

import { setTimeout as sleep } from 'node:timers/promises';
import type { Readable } from 'node:stream';
import Docker from 'dockerode';
import type { Logger } from 'pino';
import { z } from 'zod';
import { withDeadline } from '../lib/deadline.ts';
import { PurserError, messageOf } from '../lib/errors.ts';
import { VOLUME_DRIVER } from './container-facts.ts';
import type { DockerContainer } from './workload.ts';

export interface ContainerEvent {
  readonly action: 'start' | 'die' | 'destroy';
  readonly id: string;
  /** Milliseconds since the epoch, by Docker's clock, which is this machine's. */
  readonly time: number;
}

/** Docker mounted a volume of the driver purser in a container, which is about to start. */
export interface VolumeMountEvent {
  readonly volume: string;
  readonly container: string;
  /** Where in the container. */
  readonly destination: string;
}

export interface DockerListener {
  onEvent(event: ContainerEvent): void;
  onVolumeMount(event: VolumeMountEvent): void;
  /** Events flow from here on; what happened before must be found by asking. */
  onConnected(): void;
}

const CALL_TIMEOUT_MS = 5000;
/** Asked while a container starts; the runtime waits 5 s for one without references. */
const IMAGE_TIMEOUT_MS = 2000;
/** Images whose labels are remembered, and the length of all labels of one. */
const MAX_IMAGES = 512;
const MAX_REMEMBERED = 16 * 1024;
/** The runtime asks the agent for the variables of a command, and waits up to 30 s. */
const ACTION_TIMEOUT_MS = 60_000;
/** Docker gives a container 10 s to stop unless it was started with more. */
const RESTART_TIMEOUT_MS = 600_000;
const MAX_EVENT_BYTES = 1024 * 1024;
const ID = /^[0-9a-f]{64}$/;

const labelsSchema = z.record(z.string(), z.string()).nullish();

const eventSchema = z.object({ Action: z.enum(['start', 'die', 'destroy']), Actor: z.object({ ID: z.string().regex(ID) }), timeNano: z.number() });

const volumeMountSchema = z.object({
  Type: z.literal('volume'), Action: z.literal('mount'),
  Actor: z.object({ ID: z.string(), Attributes: z.object({ driver: z.literal(VOLUME_DRIVER), container: z.string().regex(ID), destination: z.string() }) }),
});

export class DockerEngine {
  readonly #socketPath: string;
  readonly #log: Logger;
  readonly #stop = new AbortController();
  readonly #imageLabels = new Map<string, Readonly<Record<string, string>>>();
  #loop: Promise<void> | undefined;

  constructor(socketPath: string, log: Logger) {
    this.#socketPath = socketPath;
    this.#log = log;
  }

  /** Follows the events until stop(); reconnects by itself. */
  follow(listener: DockerListener): void {
    this.#loop ??= this.#run(listener);
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#loop;
  }

  /** Ids of the containers that run now. @throws ERR_DOCKER_UNAVAILABLE */
  async runningIds(): Promise<string[]> {
    const list = await this.#ask((docker) => docker.listContainers());
    return list.map(({ Id }) => Id);
  }

  /** A container as the list knows it, for when Docker's own record cannot be read. @throws ERR_DOCKER_UNAVAILABLE */
  async listed(id: string): Promise<DockerContainer | undefined> {
    const [found] = await this.#ask((docker) => docker.listContainers({ all: true, filters: { id: [id] } }));
    return found?.Id === id ? { id, name: found.Names[0] ?? '', image: found.Image, imageId: found.ImageID, labels: found.Labels } : undefined;
  }

  /**
   * The labels that an image brings. Asked once, as a rule: the id is a hash of them. Unlike a container, an image can be inspected during a start.
   * @throws ERR_DOCKER_UNAVAILABLE, also when there is no such image any more
   */
  async imageLabels(imageId: string): Promise<Readonly<Record<string, string>>> {
    const known = this.#imageLabels.get(imageId);
    if (known !== undefined) return known;
    const { Config } = await this.#ask((docker) => docker.getImage(imageId).inspect(), IMAGE_TIMEOUT_MS);
    const labels = labelsSchema.parse((Config as { Labels?: unknown } | undefined)?.Labels) ?? {};
    if (Object.entries(labels).flat().join('').length > MAX_REMEMBERED) return labels;
    if (this.#imageLabels.size >= MAX_IMAGES) this.#imageLabels.clear();
    this.#imageLabels.set(imageId, labels);
    return labels;
  }

  /** The containers that have a volume, running or not, and where. @throws ERR_DOCKER_UNAVAILABLE */
  async volumeUsers(volume: string): Promise<{ readonly id: string; readonly state: string; readonly destination: string }[]> {
    const list = await this.#ask((docker) => docker.listContainers({ all: true, filters: { volume: [volume] } }));
    return list.flatMap(({ Id, State, Mounts }) => Mounts.filter(({ Name, Driver }) => Name === volume && Driver === VOLUME_DRIVER).map(({ Destination }) => ({ id: Id, state: State, destination: Destination })));
  }

  /** Docker's data root, and this machine's id in the Swarm if it is in one. @throws ERR_DOCKER_UNAVAILABLE */
  async info(): Promise<{ dockerRoot: string | undefined; swarmNodeId: string | undefined }> {
    const info = await this.#ask((docker) => docker.info() as Promise<{ DockerRootDir?: unknown; Swarm?: { NodeID?: unknown } }>);
    const [root, node] = [info.DockerRootDir, info.Swarm?.NodeID];
    return {
      dockerRoot: typeof root === 'string' && root.startsWith('/') ? root : undefined,
      swarmNodeId: typeof node === 'string' && /^[a-z0-9]{1,64}$/.test(node) ? node : undefined,
    };
  }

  /**
   * Runs a command in a container as the container's user, without its input and output.
   * @returns the id of the exec, once the command runs
   * @throws ERR_DOCKER_ACTION, ERR_DOCKER_UNAVAILABLE
   */
  async startExec(id: string, command: readonly string[]): Promise<string> {
    return this.#act(ACTION_TIMEOUT_MS, async (docker) => {
      const exec = await docker.getContainer(id).exec({ Cmd: [...command], AttachStdin: false, AttachStdout: false, AttachStderr: false });
      (await exec.start({ Detach: true, Tty: false })).destroy();
      return exec.id;
    });
  }

  /** @throws ERR_DOCKER_ACTION, ERR_DOCKER_UNAVAILABLE */
  async execState(exec: string): Promise<{ readonly isRunning: boolean; readonly exitCode: number | null; readonly pid: number }> {
    // Of an exec, which no start of a container waits for.
    const { Running, ExitCode, Pid } = await this.#act(CALL_TIMEOUT_MS, (docker) => docker.getExec(exec).inspect());
    return { isRunning: Running, exitCode: ExitCode, pid: Pid };
  }

  /** Stops a container within its own time, and starts it again. @throws ERR_DOCKER_ACTION, ERR_DOCKER_UNAVAILABLE */
  async restart(id: string): Promise<void> {
    await this.#act(RESTART_TIMEOUT_MS, (docker) => docker.getContainer(id).restart());
  }

  async #act<T>(timeoutMs: number, action: (docker: Docker) => Promise<T>): Promise<T> {
    try {
      return await withDeadline(action(new Docker({ socketPath: this.#socketPath })), timeoutMs, () => new Error(`no answer within ${timeoutMs / 1000} s`));
    } catch (error) {
      if (!isRefusal(error)) throw this.#unavailable(error);
      throw new PurserError('ERR_DOCKER_ACTION', error.message.replace(/^\(HTTP code \d+\) [^-]*- /, '').trim(), { hint: 'see the log of dockerd', cause: error });
    }
  }

  async #ask<T>(question: (docker: Docker) => Promise<T>, timeoutMs = CALL_TIMEOUT_MS): Promise<T> {
    try {
      const docker = new Docker({ socketPath: this.#socketPath, timeout: timeoutMs });
      return await withDeadline(question(docker), timeoutMs, () => new Error(`no answer within ${timeoutMs / 1000} s`));
    } catch (error) {
      throw this.#unavailable(error);
    }
  }

  #unavailable(error: unknown): PurserError {
    return new PurserError('ERR_DOCKER_UNAVAILABLE', `the Docker Engine at ${this.#socketPath} does not answer: ${reasonOf(error)}`,
      { hint: 'start Docker, or name its socket with --docker-socket', cause: error });
  }

  async #run(listener: DockerListener): Promise<void> {
    const { signal } = this.#stop;
    for (let failures = 0; !signal.aborted;) {
      try {
        await this.#stream(listener, () => { failures = 0; });
        if (!signal.aborted) this.#log.warn('the event stream of Docker ended');
      } catch (error) {
        if (failures === 0 && !signal.aborted) this.#log.warn({ reason: reasonOf(error) }, 'Docker cannot be followed; the agent serves on and keeps trying');
      }
      const wait = Math.min(5000, 200 * 2 ** Math.min(failures++, 8));
      await sleep(wait, undefined, { signal }).catch(() => undefined);
    }
  }

  async #stream(listener: DockerListener, onOpen: () => void): Promise<void> {
    const docker = new Docker({ socketPath: this.#socketPath });
    // A stream that comes after its deadline would have no reader, and keep this process from ending.
    const opening = new AbortController();
    const options = { filters: { type: ['container', 'volume'], event: ['start', 'die', 'destroy', 'mount'] }, abortSignal: opening.signal } satisfies Docker.GetEventsOptions;
    const stream = await withDeadline(docker.getEvents(options) as Promise<Readable>, CALL_TIMEOUT_MS, () => {
      opening.abort();
      return new Error('no answer');
    });
    const end = () => { stream.destroy(); };
    this.#stop.signal.addEventListener('abort', end, { once: true });
    if (this.#stop.signal.aborted) end();
    onOpen();
    this.#log.info('following Docker');
    listener.onConnected();
    try {
      for await (const line of lines(stream)) {
        const event = parseEvent(line);
        if (event === undefined) continue;
        if ('volume' in event) listener.onVolumeMount(event);
        else listener.onEvent(event);
      }
    } finally {
      this.#stop.signal.removeEventListener('abort', end);
      stream.destroy();
    }
  }
}

function parseEvent(line: string): ContainerEvent | VolumeMountEvent | undefined {
  try {
    const value = JSON.parse(line) as unknown;
    const mount = volumeMountSchema.safeParse(value);
    if (mount.success) return { volume: mount.data.Actor.ID, container: mount.data.Actor.Attributes.container, destination: mount.data.Actor.Attributes.destination };
    const { Action, Actor, timeNano } = eventSchema.parse(value);
    return { action: Action, id: Actor.ID, time: Math.floor(timeNano / 1e6) };
  } catch {
    // Other events may come in spite of the filter (`exec_start: …` counts as start in old engines).
    return undefined;
  }
}

async function* lines(stream: Readable): AsyncGenerator<string> {
  let rest = '';
  stream.setEncoding('utf8');
  for await (const chunk of stream as AsyncIterable<string>) {
    const parts = (rest + chunk).split('\n');
    rest = parts.pop() ?? '';
    if (rest.length > MAX_EVENT_BYTES) throw new Error('an event is too long');
    yield* parts.filter((part) => part !== '');
  }
}

/** Docker's own answer, as against none. */
function isRefusal(error: unknown): error is Error {
  return error instanceof Error && 'statusCode' in error && typeof error.statusCode === 'number';
}

function reasonOf(error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code;
  if (code === 'ENOENT' || code === 'ECONNREFUSED') return 'nobody listens there';
  return code ?? messageOf(error);
}
