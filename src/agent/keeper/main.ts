// `purser agent keep`: the process of a global Swarm service (deploy/agent-stack.yml). Joins its node to the core with the token in a Swarm secret, then
// keeps the agent's containers on this node until SIGTERM.

import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { PurserError, isPurserError, messageOf } from '../../lib/errors.ts';
import { createLog } from '../../lib/log.ts';
import { DEFAULT_STATE_DIRECTORY, loadIdentity } from '../../client/node/identity.ts';
import { joinNode } from '../../client/node/join.ts';
import { KeeperEngine, type HostFacts } from './engine.ts';
import { Keeper } from './keeper.ts';

/** The command's options, as the command line gives them. */
export interface KeeperCommandOptions {
  /** Where the host's /run/docker.sock and /var/lib are mounted. */
  readonly host: string;
  readonly tokenFile: string;
  /** The core, when not where the token says. */
  readonly address?: string;
  readonly logLevel?: string;
  /** More options of `purser agent`. */
  readonly agentArguments: readonly string[];
}

const LOOK_MS = 5000;

/**
 * Runs until SIGTERM or SIGINT.
 * @throws ERR_NODE_UNJOINED, ERR_NODE_JOIN, ERR_CLIENT_*, ERR_DOCKER_UNAVAILABLE, ERR_STATE_*: Swarm starts it again, and shows the text in `docker service logs`
 */
export async function runKeeper(options: KeeperCommandOptions): Promise<number> {
  const log = createLog('keeper', options.logLevel);
  const stop = new AbortController();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => stop.abort());
  process.on('SIGUSR1', () => undefined);
  const stateDirectory = join(options.host, DEFAULT_STATE_DIRECTORY);
  const engine = new KeeperEngine(join(options.host, 'run/docker.sock'));
  const host = await engine.host();
  await joinOnce(stateDirectory, options, host);
  const imageId = await engine.imageOf(await ownContainer());
  if (imageId === undefined) throw new PurserError('ERR_DOCKER_UNAVAILABLE', 'the Docker Engine does not know the container that this is', { hint: 'mount the socket of the Engine that runs it' });
  const keeper = new Keeper({
    engine, log, imageId, dockerRoot: host.dockerRoot, agentArguments: options.agentArguments,
    isInUse: () => hasRecords(join(stateDirectory, 'containers')),
  });
  for (let failures = 0; !stop.signal.aborted;) {
    try {
      await keeper.keep();
      failures = 0;
    } catch (error) {
      if (failures++ === 0) log.error({ err: messageOf(error) }, 'the agent cannot be kept now');
    }
    await sleep(LOOK_MS, undefined, { signal: stop.signal }).catch(() => undefined);
  }
  log.info({ removed: await keeper.leave() }, 'keeper stopping');
  return 0;
}

/** Of every container and volume that it serves the agent has a record. What cannot be read counts as in use, by its error. */
async function hasRecords(directory: string): Promise<boolean> {
  const names = await readdir(directory).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  return names.some((name) => name.endsWith('.json'));
}

/** A node that has joined keeps its identity, whatever token is there now: a new token is for new nodes. */
async function joinOnce(stateDirectory: string, { tokenFile, address }: KeeperCommandOptions, { hostName, swarmNodeId }: HostFacts): Promise<void> {
  if (await loadIdentity(stateDirectory) !== undefined) return;
  const token = await readFile(tokenFile, 'utf8').catch((error: unknown) => {
    throw new PurserError('ERR_NODE_UNJOINED', `this node has not joined a core, and the token cannot be read: ${messageOf(error)}`,
      { hint: 'purser node token --uses 5 | docker secret create purser_join_token -', cause: error });
  });
  try {
    await joinNode({ token: token.trim(), stateDirectory, name: hostName, swarmNodeId, address });
  } catch (error) {
    throw isPurserError(error, 'ERR_NODE_JOIN') ? new PurserError(error.code, error.message, { hint: 'make a new token, put it into a new Swarm secret, and give the service that one: docker service update --secret-rm … --secret-add source=…,target=purser_join_token', cause: error }) : error;
  }
}

/** Docker mounts a container's /etc/hostname from its own folder, which has the container's id for a name. @throws ERR_DOCKER_UNAVAILABLE */
async function ownContainer(): Promise<string> {
  const id = /\/containers\/([0-9a-f]{64})\/hostname /.exec(await readFile('/proc/self/mountinfo', 'utf8'))?.[1];
  if (id !== undefined) return id;
  throw new PurserError('ERR_DOCKER_UNAVAILABLE', 'this process does not run in a container of Docker', { hint: 'purser agent keep is for the service in deploy/agent-stack.yml; on a host itself: purser agent' });
}
