// Starts and stops `purser server`: storage, TLS identity, listener, core. The order at the start means that a failure leaves
// nothing half made; the order at the end means that every request under way is answered and every acknowledged write is on disk.

import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createHash, createPrivateKey, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { messageOf, PurserError } from '../lib/errors.ts';
import { LmdbStorage } from '../storage/lmdb.ts';
import { MemoryStorage } from '../storage/memory.ts';
import type { ClosableStorage } from '../storage/storage.ts';
import { defaultAddress, type Endpoint, type ServerConfig } from './config.ts';
import { CoreState } from './core-state.ts';
import { prepareDataDirectory } from './data-directory.ts';
import { createFront } from './http/front.ts';
import { coreMetrics } from './metrics/core-metrics.ts';
import { RequestMetrics } from './metrics/request-metrics.ts';
import { loadTargets } from './notify/targets.ts';
import { coreLifecycle, type CoreOptions } from './open-core.ts';
import { createRequestHandler } from './request-handler.ts';
import { openAtStart } from './start-state.ts';
import { ownIdentity, type ServerIdentity } from './tls/own-authority.ts';
import type { UnsealedCore } from './unsealed-core.ts';
import type { PageHandler } from './web/page.ts';

/** How long requests under way may take after the server was told to stop, in milliseconds. */
const DRAIN_MILLISECONDS = 10_000;

export interface RunningServer {
  /** URL of the listener. */
  readonly address: string;
  /** PEM of the CA that clients must trust, and where it is kept; undefined for plain HTTP and for certificates of the operator. */
  readonly caCertificate: string | undefined;
  readonly caPath: string | undefined;
  /** The root token of a core that was made at this start and keeps nothing (`--dev`). */
  readonly devRootToken: string | undefined;
  /** Goes on in new audit files after the old ones were moved away. */
  reopenAudit(): Promise<void>;
  /** Finishes requests under way, seals, and closes the store. */
  close(): Promise<void>;
}

/**
 * Starts a server; resolves when it answers requests.
 * @param pageDirectory where the build left the web page; undefined: none is served
 * @throws ERR_STORAGE_LOCKED when the data directory is in use, ERR_STATE_CORRUPT, ERR_CONFIG_INVALID, ERR_SEAL_FILE and more
 */
export async function startServer(
  config: ServerConfig, log: Logger, now: () => number = Date.now, pageDirectory?: string, testOnlyEngines?: CoreOptions['testOnlyEngines'],
): Promise<RunningServer> {
  const storage = await openStorage(config, log);
  let front: Server | undefined;
  let state: CoreState<UnsealedCore> | undefined;
  try {
    const identity = await loadIdentity(config, now());
    const requests = new RequestMetrics();
    const metrics = coreMetrics({
      requests, status: () => core.status(), unsealed: async () => core.unsealed?.families() ?? [],
      certificateEnds: identity === undefined ? undefined : Date.parse(new X509Certificate(identity.certificate).validTo),
    });
    const core: CoreState<UnsealedCore> = state = new CoreState<UnsealedCore>(storage, coreLifecycle({
      config, log, now, metrics, notifyTargets: loadTargets(config.notify), testOnlyEngines, seal: () => core.seal(), authority: authorityOf(identity),
      address: () => config.publicAddress ?? defaultAddress(config, portOf(front!)),
    }));
    const storageType = config.dataDirectory === undefined ? 'inmem' : 'lmdb';
    const handle = createRequestHandler({
      state: core, storageType, now, maxBodyBytes: config.maxBodyBytes, requests, openMetrics: config.unauthenticatedMetrics ? metrics : undefined,
    });
    let isReady = false; // else a stranger's sys/init could win against --init-if-needed
    front = createFront(async (incoming) => {
      if (!isReady) throw new PurserError('ERR_BARRIER_SEALED', 'the server is starting');
      return handle(incoming);
    }, log, identity, config.web && pageDirectory !== undefined ? await loadPage(pageDirectory, log) : undefined);
    await listen(front, config.listen);
    const devRootToken = await openAtStart(config, core, log);
    isReady = true;
    return running(config, log, front, core, storage, identity, devRootToken);
  } catch (error) {
    front?.closeAllConnections();
    front?.close();
    await state?.seal();
    await storage.close();
    throw error;
  }
}

async function loadPage(directory: string, log: Logger): Promise<PageHandler | undefined> {
  try {
    return (await import('./web/page.ts')).createPage(directory);
  } catch (error) {
    log.warn({ directory, reason: messageOf(error) }, 'there is no web page: its files are missing beside the program');
    return undefined;
  }
}

async function openStorage(config: ServerConfig, log: Logger): Promise<ClosableStorage> {
  if (config.dataDirectory === undefined) return new MemoryStorage();
  const directory = join(config.dataDirectory, 'store');
  log.info({ directory }, 'opening the store');
  await prepareDataDirectory(config.dataDirectory);
  return LmdbStorage.open({ directory });
}

async function loadIdentity(config: ServerConfig, now: number): Promise<ServerIdentity | undefined> {
  const { tls, dataDirectory, listen: { host }, publicAddress } = config;
  if (tls.kind === 'off' || dataDirectory === undefined) return undefined;
  if (tls.kind === 'files') return readIdentity(tls.certificate, tls.key);
  const publicHost = publicAddress === undefined ? [] : [new URL(publicAddress).hostname.replace(/^\[|\]$/g, '')];
  return ownIdentity(dataDirectory, [host, ...publicHost, ...tls.names], now);
}

async function readIdentity(certificatePath: string, keyPath: string): Promise<ServerIdentity> {
  try {
    const [certificate, key] = await Promise.all([readFile(certificatePath, 'utf8'), readFile(keyPath, 'utf8')]);
    if (!new X509Certificate(certificate).checkPrivateKey(createPrivateKey(key))) throw new Error('the key does not belong to the certificate');
    return { certificate, key, authority: undefined, authorityPath: undefined };
  } catch (error) {
    throw new PurserError('ERR_CONFIG_INVALID', `the TLS certificate or key cannot be used: ${messageOf(error)}`, { hint: 'give PEM files: the certificate chain, server certificate first, and its unencrypted key' });
  }
}

/** What nodes pin: our own CA, or the last certificate of the chain that the operator gave. */
function authorityOf(identity: ServerIdentity | undefined): { readonly certificate: string; readonly hash: string } | undefined {
  if (identity === undefined) return undefined;
  const certificate = identity.authority ?? identity.certificate.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----\n?/g)?.at(-1) ?? identity.certificate;
  return { certificate, hash: createHash('sha256').update(new X509Certificate(certificate).raw).digest('hex') };
}

function listen(front: Server, { host, port }: Endpoint): Promise<void> {
  return new Promise((resolve, reject) => {
    front.once('error', (error: NodeJS.ErrnoException) => {
      const reason = error.code === 'EADDRINUSE' ? 'the address is in use' : error.code ?? messageOf(error);
      reject(new PurserError('ERR_CONFIG_INVALID', `cannot listen on ${host}:${port}: ${reason}`, { hint: 'stop what listens there, or give another --listen', cause: error }));
    });
    front.listen({ host, port, backlog: 1_024 }, resolve);
  });
}

function portOf(front: Server): number {
  return (front.address() as AddressInfo).port;
}

function running(
  config: ServerConfig, log: Logger, front: Server, state: CoreState<UnsealedCore>, storage: ClosableStorage, identity: ServerIdentity | undefined, devRootToken: string | undefined,
): RunningServer {
  const close = async (): Promise<void> => {
    const drained = drain(front);
    await state.unsealed?.endStreams();
    await drained;
    await state.seal();
    await storage.close();
    log.info('stopped');
  };
  let closed: Promise<void> | undefined;
  return {
    address: defaultAddress(config, portOf(front)), caCertificate: identity?.authority, caPath: identity?.authorityPath, devRootToken,
    reopenAudit: async () => state.unsealed?.audit.reopen(),
    close: () => closed ??= close(),
  };
}

/** Takes no new connection and waits for the open ones; those that do not end in time are cut. */
async function drain(front: Server): Promise<void> {
  const ended = new Promise<void>((resolve) => front.close(() => resolve()));
  front.closeIdleConnections();
  const cut = setTimeout(() => front.closeAllConnections(), DRAIN_MILLISECONDS);
  await ended;
  clearTimeout(cut);
}
