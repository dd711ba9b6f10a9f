// Puts the agent together and takes it apart. It starts, and serves what a predecessor served, whether the core or Docker
// answer or not. It stops without harm: the mount stays with the holder, and readers wait for the next agent.

import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { withDeadline } from '../lib/deadline.ts';
import { isPurserError, messageOf } from '../lib/errors.ts';
import { lockFile, type FileLock } from '../lib/file-lock.ts';
import { serveMetrics } from '../lib/metrics-server.ts';
import { Actions } from './actions.ts';
import { AgentMetrics } from './agent-metrics.ts';
import { Containers } from './containers.ts';
import { SessionCoreLink } from './core-link.ts';
import { DockerEngine } from './docker.ts';
import { Environment } from './environment.ts';
import { EnvironmentMarkers } from './environment-markers.ts';
import type { EnvironmentMode } from './environment-variables.ts';
import { SecretFilesystem } from './fuse/filesystem.ts';
import { lockStateDirectory, requireIdentity } from '../client/node/identity.ts';
import { IdentityRefresh } from './identity-refresh.ts';
import type { InheritedDescriptors } from './launcher.ts';
import { Ledger } from './ledger.ts';
import { LedgerSender } from './ledger-sender.ts';
import { LedgerSpool } from './ledger-spool.ts';
import { Lifecycle } from './lifecycle.ts';
import { performAction } from './perform-action.ts';
import { Preparer } from './prepare.ts';
import { Rotation } from './rotation.ts';
import { RuntimeSocket } from './runtime-socket.ts';
import { NodeSession } from '../client/node/session.ts';
import { SwarmLive } from './swarm-live.ts';
import { AGENT_PLUGIN_SOCKET } from '../wire/plugin.ts';
import { VolumeDefinitions } from './volume/definitions.ts';
import { servePlugin } from './volume/plugin-server.ts';
import { volumeDriver } from './volume/volume-driver.ts';
import { Volumes } from './volume/volumes.ts';
import { Warden } from './warden.ts';
import { WatchFollower } from '../client/node/watch-follower.ts';

export interface AgentSettings {
  readonly stateDirectory: string;
  readonly runDirectory: string;
  readonly dockerSocket: string;
  /** Where Docker looks for the volume driver; undefined: it does not find it. */
  readonly pluginSocket?: string | undefined;
  /** What references in variables become when no label says so. */
  readonly environment: EnvironmentMode;
  /** Where the core is, when not where the node joined. */
  readonly address?: string | undefined;
  /** The file whose worker calls runFuseWorker(); the bundle itself unless given. */
  readonly workerEntry?: string | URL;
  readonly workerExecArgv?: readonly string[];
  /** Where metrics are served: `unix:/path` or `127.0.0.1:PORT`; undefined: nowhere. */
  readonly metrics?: string | undefined;
}

const CLOSE_MS = 10_000;

export interface Agent {
  /** Ends serving in order; the mount stays. */
  stop(): Promise<void>;
}

/**
 * @param descriptors the FUSE connection, mounted on `<run-dir>/fs`, and the state files of the holder
 * @throws ERR_NODE_UNJOINED, ERR_STATE_* (another agent has the state or the run directory), ERR_FUSE_*
 */
export async function startAgent(settings: AgentSettings, descriptors: InheritedDescriptors, log: Logger): Promise<Agent> {
  const { stateDirectory, runDirectory } = settings;
  const identity = await requireIdentity(stateDirectory);
  const lock = lockStateDirectory(stateDirectory);
  const runLock = lockRunDirectory(runDirectory);
  const docker = new DockerEngine(settings.dockerSocket, log);
  const session = new NodeSession({ ...identity, address: settings.address ?? identity.address },
    async () => (await docker.info().catch(() => undefined))?.swarmNodeId);
  const measured = new AgentMetrics();
  const core = measured.timed(new SessionCoreLink(session));
  const spool = await openSpool(join(stateDirectory, 'spool'), log);
  const sender = new LedgerSender({ spool, send: (batch) => core.usage(batch), log });
  const ledger = new Ledger((entry) => { spool.append(entry); sender.wake(entry.type === 'rotated'); }, log);
  const containers = await Containers.open(join(stateDirectory, 'containers'), log);
  // Reads that waited for this agent are served, and told to the ledger, as soon as the filesystem is attached.
  for (const record of containers.all()) ledger.know(record);
  const trees = await SecretFilesystem.attach({
    ...descriptors, mountPoint: join(runDirectory, 'fs'), onEvent: (event) => { measured.observed(event); ledger.observed([event]); }, log: { warn: (message) => log.warn(message) },
    ...(settings.workerEntry === undefined ? {} : { workerEntry: settings.workerEntry }),
    ...(settings.workerExecArgv === undefined ? {} : { workerExecArgv: settings.workerExecArgv }),
  });
  const mountRoot = join(runDirectory, 'ro');
  const markers = await EnvironmentMarkers.open(join(runDirectory, 'environment'));
  const isCoreAway = (): boolean => !watch.isConnected;
  const actions = new Actions({ containers, ledger, log, perform: (record, action, stop) => performAction(docker, record, action, stop) });
  const rotation = new Rotation({ containers, core, ledger, log, replace: (updates) => trees.replace(updates), onRotated: (id, files) => { measured.rotated(files); actions.rotated(id, files); } });
  const identities = new IdentityRefresh({ containers, core, ledger, log, replace: (updates) => trees.replace(updates) });
  const swarmLive = new SwarmLive({ trees, core, docker, log, mountRoot });
  const warden = new Warden(runDirectory);
  const preparer = new Preparer({ trees, warden, core, docker, containers, rotation, ledger, log, mountRoot, isCoreAway, markers, identities, environment: settings.environment });
  const environment = new Environment({ trees, core, rotation, log, isCoreAway, warden });
  const definitions = await VolumeDefinitions.open(join(stateDirectory, 'volumes'), log);
  const volumes = new Volumes({ definitions, trees, core, docker, containers, rotation, ledger, log, mountRoot });
  const lifecycle = new Lifecycle({ trees, containers, preparer, environment, markers, volumes, swarmLive, rotation, ledger, docker, log });
  const reconcile = () => {
    lifecycle.reconcile().catch((error: unknown) => log.warn({ err: messageOf(error) }, 'the running containers cannot be compared with Docker\'s now'));
  };
  // Tasks that started while the core was away have Docker's values; now theirs can follow.
  const watch = new WatchFollower({
    open: (options) => core.watch(options), log, onLoss: 'running containers keep their values',
    listener: {
      changed: (path, version) => { measured.changed(path); rotation.changed(path, version); }, resync: () => rotation.resync(),
      connected: () => { measured.connected(); reconcile(); },
    },
  });
  const served = trees.containers().length;
  lifecycle.recover();
  const socket = await RuntimeSocket.listen({ path: join(runDirectory, 'agent.sock'), handler: (request) => lifecycle.request(request), log })
    .catch(async (error: unknown) => {
      await trees.detach();
      throw error;
    });
  const plugin = await servePlugin(volumeDriver(volumes, log), join(runDirectory, AGENT_PLUGIN_SOCKET), settings.pluginSocket, log)
    .catch(async (error: unknown) => {
      await socket.close();
      await trees.detach();
      throw error;
    });
  const metrics = settings.metrics === undefined ? undefined : await serveMetrics({
    listen: settings.metrics, notReady: () => (isCoreAway() ? 'the core cannot be reached' : undefined),
    metrics: measured.metrics({ containers: () => trees.containers().length, inherited: served, reads: () => trees.reads, pending: () => spool.pending, dropped: () => spool.dropped, isConnected: () => !isCoreAway() }),
  }).catch(async (error: unknown) => {
    await Promise.all([plugin.close(), socket.close()]);
    await trees.detach();
    throw error;
  });
  sender.start();
  watch.start();
  identities.wake();
  actions.recover();
  docker.follow({ onConnected: reconcile, onEvent: (event) => { void lifecycle.event(event); }, onVolumeMount: (event) => { void volumes.mounted(event); } });
  log.info({ node: identity.name, core: session.address, served: trees.containers().length }, 'agent ready');
  return {
    async stop() {
      await withDeadline(actions.stop(), CLOSE_MS, () => new Error('a restart is still under way')).catch((error: unknown) => log.warn({ err: messageOf(error) }, 'actions after rotations were left'));
      await withDeadline(socket.close(), CLOSE_MS, () => new Error('requests are still under way')).catch((error: unknown) => log.warn({ err: messageOf(error) }, 'the runtime socket was closed early'));
      await metrics?.close();
      await Promise.all([plugin.close(), docker.stop(), watch.stop(), rotation.stop(), identities.stop()]);
      // Before the sender, so that the last reads are in the spool.
      await trees.detach();
      ledger.close();
      await sender.stop();
      spool.close();
      await containers.flush();
      session.close();
      runLock.release();
      lock.release();
      log.info('agent stopped; the mount stays');
    },
  };
}

/** Before anything of the connection is touched: two servers of one FUSE connection would take each other's requests. @throws ERR_STATE_LOCKED */
function lockRunDirectory(runDirectory: string): FileLock {
  return lockFile(join(runDirectory, 'agent.lock'), {
    code: 'ERR_STATE_LOCKED', message: `another agent serves ${runDirectory} on this host`,
    hint: 'stop that one first (systemctl stop purser-agent; docker stop purser-agent), or give this one its own --run-dir',
  });
}

/** A damaged spool must not keep containers from their secrets: it is put aside, whole and loudly, for somebody to look at. */
async function openSpool(directory: string, log: Logger): Promise<LedgerSpool> {
  try {
    return await LedgerSpool.open(directory, log);
  } catch (error) {
    if (!isPurserError(error, 'ERR_STATE_CORRUPT')) throw error;
    const aside = `${directory}.damaged-${new Date().toISOString().replace(/[:.]/g, '-')}`;
    await rename(directory, aside);
    log.error({ err: error.message, movedTo: aside }, 'the usage spool is damaged and was moved aside; its entries are not reported');
    return LedgerSpool.open(directory, log);
  }
}
