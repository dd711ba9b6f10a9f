// What the keeper asks of the Docker Engine of its node: the containers it keeps, and the image that it is itself made from.

import Docker from 'dockerode';
import { withDeadline } from '../../lib/deadline.ts';
import { PurserError, messageOf } from '../../lib/errors.ts';
import { KEPT_LABEL, type HostedContainer } from './hosted.ts';

/** Stopping a container takes as long as the container, at most its StopTimeout. */
const CALL_MS = 60_000;
const LOG_LINES = 3;

export interface KeptContainer {
  readonly id: string;
  readonly name: string;
  readonly fingerprint: string;
  readonly imageId: string;
  readonly state: string;
}

export interface HostFacts {
  readonly dockerRoot: string;
  readonly hostName: string;
  readonly swarmNodeId: string | undefined;
}

export class KeeperEngine {
  readonly #docker: Docker;
  readonly #socketPath: string;

  constructor(socketPath: string) {
    this.#socketPath = socketPath;
    this.#docker = new Docker({ socketPath });
  }

  /** @throws ERR_DOCKER_UNAVAILABLE */
  host(): Promise<HostFacts> {
    return this.#call(async (docker) => {
      const { DockerRootDir, Name, Swarm } = await docker.info() as { DockerRootDir: string; Name: string; Swarm?: { NodeID?: string } };
      return { dockerRoot: DockerRootDir, hostName: Name, swarmNodeId: Swarm?.NodeID === '' ? undefined : Swarm?.NodeID };
    });
  }

  /** The id of the image that a container was made from. @throws ERR_DOCKER_UNAVAILABLE */
  imageOf(containerId: string): Promise<string | undefined> {
    return this.#call(async (docker) => (await docker.listContainers({ filters: { id: [containerId] } }))[0]?.ImageID);
  }

  /** @throws ERR_DOCKER_UNAVAILABLE */
  kept(): Promise<KeptContainer[]> {
    return this.#call(async (docker) => (await docker.listContainers({ all: true, filters: { label: [KEPT_LABEL] } }))
      .map(({ Id, Names, Labels, ImageID, State }) => ({ id: Id, name: Names[0]?.replace(/^\//, '') ?? '', fingerprint: Labels[KEPT_LABEL] ?? '', imageId: ImageID, state: State })));
  }

  /** @throws ERR_DOCKER_UNAVAILABLE */
  async create({ options }: HostedContainer): Promise<void> {
    await this.#call(async (docker) => { await (await docker.createContainer(options)).start(); });
  }

  /** @throws ERR_DOCKER_UNAVAILABLE */
  async start(id: string): Promise<void> {
    await this.#call(async (docker) => { await docker.getContainer(id).start(); });
  }

  /** Lets it end by itself, within its own time. @throws ERR_DOCKER_UNAVAILABLE */
  async stop(id: string): Promise<void> {
    // 304: it does not run.
    await this.#call(async (docker) => { await docker.getContainer(id).stop().catch(unless(304, 404)); });
  }

  /** @throws ERR_DOCKER_UNAVAILABLE */
  async remove(id: string): Promise<void> {
    await this.#call(async (docker) => { await docker.getContainer(id).remove({ v: true, force: true }).catch(unless(404)); });
  }

  /** The last lines that a container wrote, for somebody who does not know that it exists. @throws ERR_DOCKER_UNAVAILABLE */
  lastWords(id: string): Promise<string[]> {
    return this.#call(async (docker) => text(await docker.getContainer(id).logs({ stdout: true, stderr: true, follow: false, tail: LOG_LINES })).split('\n').filter((line) => line !== ''));
  }

  async #call<T>(action: (docker: Docker) => Promise<T>): Promise<T> {
    try {
      return await withDeadline(action(this.#docker), CALL_MS, () => new Error(`no answer within ${CALL_MS / 1000} s`));
    } catch (error) {
      throw new PurserError('ERR_DOCKER_UNAVAILABLE', `the Docker Engine at ${this.#socketPath} does not do it: ${messageOf(error).trim()}`,
        { hint: 'see deploy/agent-stack.yml for what the service needs', cause: error });
    }
  }
}

function unless(...statuses: readonly number[]): (error: unknown) => void {
  return (error) => {
    if (!statuses.includes((error as { statusCode?: number }).statusCode ?? 0)) throw error;
  };
}

/** Docker's frames: a byte for the stream, three of nothing, a length of four (Engine API, ContainerAttach). */
function text(frames: Buffer): string {
  const parts: Buffer[] = [];
  for (let at = 0; at + 8 <= frames.length;) {
    const end = at + 8 + frames.readUInt32BE(at + 4);
    parts.push(frames.subarray(at + 8, end));
    at = end;
  }
  return Buffer.concat(parts).toString('utf8');
}
