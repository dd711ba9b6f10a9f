// `purser agent`: gets the descriptors from the launcher, runs until SIGTERM or SIGINT, and resolves with the exit code.

import { PurserError } from '../lib/errors.ts';
import { createLog } from '../lib/log.ts';
import { startAgent } from './agent.ts';
import { ENVIRONMENT_MODES } from './environment-variables.ts';
import { DEFAULT_STATE_DIRECTORY, requireIdentity } from '../client/node/identity.ts';
import { PLUGIN_SOCKET } from '../wire/plugin.ts';
import { inheritedDescriptors, launch } from './launcher.ts';

const RUN_DIRECTORY = '/run/purser';

/** The command's options, as the command line gives them. */
export interface AgentOptions {
  /** Identity, container records and ledger spool. Default /var/lib/purser/agent. */
  readonly stateDir?: string;
  /** Sockets and mounts. Default /run/purser, which is also where purser-runtime looks. */
  readonly runDir?: string;
  readonly dockerSocket?: string;
  /** Overrides the address of the core. */
  readonly address?: string;
  readonly logLevel?: string;
  /** What references in variables become when no label says so: values (default), strict or files-only. */
  readonly env?: string;
  /** Where metrics are served: unix:/PATH or 127.0.0.1:PORT. */
  readonly metrics?: string;
}

/**
 * Runs the agent; without descriptors it starts itself again through purser-runtime.
 * @throws ERR_NODE_UNJOINED, ERR_STATE_*, ERR_FUSE_*, ERR_CONFIG_INVALID
 */
export async function runAgent(options: AgentOptions = {}): Promise<number> {
  const { stateDir = DEFAULT_STATE_DIRECTORY, runDir = RUN_DIRECTORY, dockerSocket = '/run/docker.sock', address, logLevel, env = 'values' } = options;
  const environment = ENVIRONMENT_MODES.find((mode) => mode === env);
  if (environment === undefined) throw new PurserError('ERR_CONFIG_INVALID', '--env has a mode that does not exist', { hint: `write --env ${ENVIRONMENT_MODES.join(', --env ')}` });
  const log = createLog('agent', logLevel);
  const descriptors = inheritedDescriptors();
  if (descriptors === undefined) {
    // Said before anything is mounted.
    await requireIdentity(stateDir);
    return launch(runDir);
  }
  // Heard from the beginning: a stop during the start must not end in the middle of it.
  const stopped = new Promise<NodeJS.Signals>((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, resolve);
  });
  // Node would open a debugger port on this one, and with it the memory.
  process.on('SIGUSR1', () => undefined);
  const agent = await startAgent({
    stateDirectory: stateDir, runDirectory: runDir, dockerSocket, address, environment, metrics: options.metrics,
    // An agent beside the host's own must not take Docker's path from it.
    pluginSocket: runDir === RUN_DIRECTORY ? PLUGIN_SOCKET : undefined,
  }, descriptors, log);
  log.info({ signal: await stopped }, 'agent stopping');
  await agent.stop();
  return 0;
}
