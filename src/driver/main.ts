// `purser driver`: serves Docker's secret provider protocol on a plugin socket (0600) with the identity of a node that
// joined with a driver token, and asks the core for each secret. Runs beside an agent; both log in for themselves.

import { createServer } from 'node:http';
import { lstat, mkdir, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { createLog } from '../lib/log.ts';
import { listenOnSocket } from '../lib/unix-socket.ts';
import { AGENT_PLUGIN_SOCKET, PLUGIN_SOCKET } from '../wire/plugin.ts';
import { DEFAULT_STATE_DIRECTORY, requireIdentity } from '../client/node/identity.ts';
import { NodeSession } from '../client/node/session.ts';
import { SecretAnswers } from './secret-answers.ts';
import { secretProvider } from './secret-provider.ts';
import { volumeRelay } from './volume-relay.ts';

/** The command's options, as the command line gives them. */
export interface DriverOptions {
  readonly stateDir?: string;
  /** Default /run/docker/plugins/purser.sock; the file name without `.sock` is the driver's name in Docker. */
  readonly socket?: string;
  /** Where the agent of this host serves volumes. Default /run/purser/plugin.sock. */
  readonly agentSocket?: string;
  /** Overrides the address of the core. */
  readonly address?: string;
  readonly logLevel?: string;
}

/**
 * Runs the driver until SIGTERM or SIGINT.
 * @throws ERR_NODE_UNJOINED, ERR_STATE_*, ERR_CONFIG_INVALID
 */
export async function runDriver(options: DriverOptions = {}): Promise<number> {
  const { stateDir = DEFAULT_STATE_DIRECTORY, socket = PLUGIN_SOCKET, agentSocket = `/run/purser/${AGENT_PLUGIN_SOCKET}`, address, logLevel } = options;
  const log = createLog('driver', logLevel);
  const identity = await requireIdentity(stateDir);
  const session = new NodeSession({ ...identity, address: address ?? identity.address });
  const answers = new SecretAnswers(session, log);
  const server = createServer({ requireHostHeader: false }, secretProvider((request) => answers.give(request), log, undefined, volumeRelay(agentSocket)));
  const stopped = new Promise<NodeJS.Signals>((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, resolve);
  });
  process.on('SIGUSR1', () => undefined);
  await mkdir(dirname(socket), { recursive: true, mode: 0o755 });
  await takeFromAgent(socket);
  await listenOnSocket(server, socket);
  // Logs in as well, so that the first task does not wait for it.
  answers.start();
  log.info({ socket, core: session.address }, 'driver ready');
  log.info({ signal: await stopped }, 'driver stopping');
  await new Promise<void>((resolve) => {
    server.close(() => resolve());
    server.closeIdleConnections();
    setTimeout(() => server.closeAllConnections(), 5000).unref();
  });
  await answers.close();
  session.close();
  return 0;
}

/** The agent keeps a link at Docker's path while no driver is there. */
async function takeFromAgent(socket: string): Promise<void> {
  if ((await lstat(socket).catch(() => undefined))?.isSymbolicLink() === true) await unlink(socket);
}
