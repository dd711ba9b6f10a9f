// `purser driver`: serves Docker's secret provider protocol on a plugin socket (0600) with the identity of a node that
// joined with a driver token, and asks the core for each secret. Runs beside an agent; both log in for themselves.

import { lstat, unlink } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { makeDirectory } from '../lib/make-directory.ts';
import { createLog } from '../lib/log.ts';
import { pluginServer } from '../lib/plugin-server.ts';
import { listenOnSocket } from '../lib/unix-socket.ts';
import { PurserError, isPurserError, messageOf } from '../lib/errors.ts';
import { AGENT_PLUGIN_SOCKET, PLUGIN_SOCKET } from '../wire/plugin.ts';
import { DEFAULT_STATE_DIRECTORY, requireIdentity, type NodeIdentity } from '../client/node/identity.ts';
import { NodeSession } from '../client/node/session.ts';
import { serveMetrics } from '../lib/metrics-server.ts';
import { DriverMetrics } from './driver-metrics.ts';
import { RollingUpdates } from './rolling-updates.ts';
import { SecretAnswers } from './secret-answers.ts';
import { readManagedSettings, waitForIdentity } from './managed.ts';
import { secretProvider, type SecretSource } from './secret-provider.ts';
import { SwarmEngine } from './swarm-engine.ts';
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
  /** Where metrics are served: unix:/PATH or 127.0.0.1:PORT. */
  readonly metrics?: string;
  /** Runs as Docker's managed plugin (managed.ts). */
  readonly managed?: boolean;
  /** The Engine of this manager, for rolling updates (rolling-updates.ts). Default /run/docker.sock. */
  readonly dockerSocket?: string;
  /** Answers no secrets, because the managed plugin `driverName` does. */
  readonly updatesOnly?: boolean;
  readonly driverName?: string;
}

/** A refused join token keeps the plugin from listening, so that `docker plugin enable` fails; longer than that a core is waited for while listening. */
const FIRST_JOIN_MS = 4000;

/**
 * Runs the driver until SIGTERM or SIGINT.
 * @throws ERR_NODE_UNJOINED, ERR_STATE_*, ERR_CONFIG_INVALID; as a managed plugin also what a join throws
 */
export async function runDriver(options: DriverOptions = {}): Promise<number> {
  const { stateDir = DEFAULT_STATE_DIRECTORY, socket = PLUGIN_SOCKET, agentSocket = `/run/purser/${AGENT_PLUGIN_SOCKET}` } = options;
  const settings = options.managed === true ? readManagedSettings() : undefined;
  const log = createLog('driver', settings?.logLevel ?? options.logLevel);
  const stop = new AbortController();
  const stopped = new Promise<string>((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve(signal));
  });
  process.on('SIGUSR1', () => undefined);
  const address = settings?.address ?? options.address;
  let answers: SecretAnswers | undefined;
  let session: NodeSession | undefined;
  let updates: RollingUpdates | undefined;
  const begin = (identity: NodeIdentity): void => {
    session = new NodeSession({ ...identity, address: address ?? identity.address });
    const given = new SecretAnswers(session, log, () => { updates?.wake(); });
    answers = given;
    // Logs in as well, so that the first task does not wait for it.
    answers.start();
    // A managed plugin has no way to the Engine, and shall have none.
    if (settings === undefined) updates = rollingUpdates(given, options, log);
    updates?.start();
    log.info({ socket, core: session.address }, 'driver ready');
  };
  const source: SecretSource = async (request) => {
    if (answers === undefined) throw new PurserError('ERR_NODE_UNJOINED', 'the driver has not joined its core yet', { hint: 'see whether purser server can be reached from this host' });
    return answers.give(request);
  };
  // A managed plugin may start before its core does, and Docker wants it to listen.
  const joined = settings === undefined ? requireIdentity(stateDir) : waitForIdentity(stateDir, settings, log, stop.signal);
  joined.catch(() => undefined);
  const identity = await Promise.race([joined, sleep(FIRST_JOIN_MS, undefined, { ref: false })]).catch(async (error: unknown) => {
    if (settings === undefined) throw error;
    // Docker starts a plugin that ends over and over, and then cannot enable it any more. One that does not listen it stops by itself.
    log.error({ reason: messageOf(error), hint: isPurserError(error) ? error.hint : undefined }, 'this plugin cannot join its core, and docker plugin enable will fail');
    // Waiting for a signal alone does not keep a process alive.
    const alive = setInterval(() => undefined, 3600_000);
    await stopped;
    clearInterval(alive);
    throw error;
  });
  const measured = new DriverMetrics(() => session !== undefined);
  const server = pluginServer(secretProvider(measured.timed(source), log, undefined, volumeRelay(agentSocket)));
  if (options.updatesOnly !== true) {
    makeDirectory(dirname(socket), 0o755);
    await takeFromAgent(socket);
    await listenOnSocket(server, socket);
  }
  const metrics = options.metrics === undefined ? undefined
    : await serveMetrics({ listen: options.metrics, metrics: measured.metrics(), notReady: () => (answers === undefined ? 'the driver has not joined its core yet' : answers.isConnected ? undefined : 'the core cannot be reached') });
  const failed = new Promise<never>((_resolve, reject) => { joined.then(begin).catch(reject); });
  if (identity === undefined) log.info({ socket }, 'driver listens and waits for its core');
  try {
    log.info({ signal: await Promise.race([stopped, failed]) }, 'driver stopping');
  } finally {
    stop.abort();
    await metrics?.close();
    await new Promise<void>((resolve) => {
      server.close(() => resolve());
      server.closeIdleConnections();
      setTimeout(() => server.closeAllConnections(), 5000).unref();
    });
    await updates?.stop();
    await answers?.close();
    session?.close();
  }
  return 0;
}

function rollingUpdates(answers: SecretAnswers, { socket = PLUGIN_SOCKET, dockerSocket = '/run/docker.sock', driverName = basename(socket, '.sock') }: DriverOptions, log: Logger): RollingUpdates {
  return new RollingUpdates({
    engine: new SwarmEngine(dockerSocket), log, driverName,
    versionFor: (request) => answers.version(request), givenTo: (taskId, secretName) => answers.givenTo(taskId, secretName),
  });
}

/** The agent keeps a link at Docker's path while no driver is there. */
async function takeFromAgent(socket: string): Promise<void> {
  if ((await lstat(socket).catch(() => undefined))?.isSymbolicLink() === true) await unlink(socket);
}
