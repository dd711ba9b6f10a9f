// Keeps a holder and an agent of the wanted image on this node. The holder is left alone while it runs, whatever image it is of: it has the mounts of running
// containers. An agent is replaced when anything about it changed; readers wait for the next one. When the keeper stops, both stay as long as a
// container has files of theirs, because a keeper also stops when its service is updated, and go otherwise.

import type { Logger } from 'pino';
import type { KeeperEngine, KeptContainer } from './engine.ts';
import { AGENT_NAME, HOLDER_NAME, agentContainer, holderContainer, type HostedContainer, type HostedSettings } from './hosted.ts';

export interface KeeperOptions extends HostedSettings {
  readonly engine: Pick<KeeperEngine, 'kept' | 'create' | 'start' | 'stop' | 'remove' | 'lastWords'>;
  readonly log: Logger;
  /** True while containers of this node have files of the agent. */
  readonly isInUse: () => Promise<boolean>;
}

export class Keeper {
  readonly #options: KeeperOptions;
  readonly #holder: HostedContainer;
  readonly #agent: HostedContainer;
  readonly #complained = new Set<string>();

  constructor(options: KeeperOptions) {
    this.#options = options;
    this.#holder = holderContainer(options);
    this.#agent = agentContainer(options);
  }

  /** Makes it so that both are there. @throws ERR_DOCKER_UNAVAILABLE */
  async keep(): Promise<void> {
    const { engine, log } = this.#options;
    const { agent, holder } = await this.#kept();
    const isCurrent = agent?.fingerprint === this.#agent.fingerprint;
    if (agent !== undefined && isCurrent) {
      if (agent.state !== 'running') await this.#complain(agent);
      // Without its holder it serves on; the next one would get another connection, which running containers do not have.
      else if (holder?.state !== 'running') return this.#complain(holder ?? { ...agent, name: HOLDER_NAME });
      else return this.#complained.clear();
    }
    if (holder?.state !== 'running') {
      if (agent !== undefined) await this.#discard(agent);
      if (holder !== undefined) await this.#discard(holder);
      await engine.create(this.#holder);
      await engine.create(this.#agent);
      log.info({}, 'holder and agent started');
    } else if (agent === undefined || !isCurrent) {
      if (agent !== undefined) await this.#discard(agent);
      await engine.create(this.#agent);
      log.info({}, agent === undefined ? 'agent started' : 'agent replaced');
    } else if (agent.state !== 'restarting') {
      await engine.start(agent.id);
    }
  }

  /** Takes both away unless a container would lose its files. @returns true when they are gone. @throws ERR_DOCKER_UNAVAILABLE */
  async leave(): Promise<boolean> {
    const { engine, isInUse, log } = this.#options;
    const { agent, holder } = await this.#kept();
    if (!await isInUse()) {
      if (agent !== undefined) await engine.stop(agent.id);
      // A task may have come while it stopped.
      if (!await isInUse()) {
        for (const one of [agent, holder]) if (one !== undefined) await this.#discard(one);
        return true;
      }
      if (agent !== undefined) await engine.start(agent.id);
    }
    log.warn({}, `containers use secrets of this agent, so it stays; when they are gone: docker stop ${AGENT_NAME} ${HOLDER_NAME} && docker rm ${AGENT_NAME} ${HOLDER_NAME}`);
    return false;
  }

  async #kept(): Promise<{ readonly agent: KeptContainer | undefined; readonly holder: KeptContainer | undefined }> {
    const kept = await this.#options.engine.kept();
    return { agent: kept.find(({ name }) => name === AGENT_NAME), holder: kept.find(({ name }) => name === HOLDER_NAME) };
  }

  async #discard({ id }: KeptContainer): Promise<void> {
    await this.#options.engine.stop(id);
    await this.#options.engine.remove(id);
  }

  async #complain({ id, name, state }: KeptContainer): Promise<void> {
    if (this.#complained.has(name)) return;
    this.#complained.add(name);
    this.#options.log.error({ container: name, state, said: await this.#options.engine.lastWords(id) }, 'does not run');
  }
}
