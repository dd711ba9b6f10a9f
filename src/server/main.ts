// `purser server`: the process around the server: log, signals, the banner of --dev. Results of the log go to stderr as JSON
// lines. Core dumps cannot be forbidden from inside Node: the systemd unit sets LimitCORE=0, by hand `ulimit -c 0`.

import { dirname, join } from 'node:path';
import { pino, type Logger } from 'pino';
import { messageOf } from '../lib/errors.ts';
import { VERSION } from '../lib/version.ts';
import { loadConfig, type ServerConfig } from './config.ts';
import { startServer, type RunningServer } from './server.ts';

/**
 * Runs the server until it is told to stop.
 * @param options the flags of `purser server` (ServerOptions); checked here
 * @returns the exit code
 * @throws PurserError when it cannot start
 */
export async function runServer(options: object): Promise<number> {
  const config = loadConfig(options);
  process.title = 'purser server';
  process.umask(0o077);
  process.on('SIGUSR1', () => undefined); // Node's default would open a debugger, and with it the keys
  const log = pino({ level: config.logLevel, base: null }, pino.destination({ fd: 2, sync: true }));
  const stopped = signalled();
  log.info({ version: VERSION }, 'starting');
  const server = await startServer(config, log, Date.now, join(dirname(__filename), 'ui'));
  reportReady(server, config, log);
  process.on('SIGHUP', () => void reopenAudit(server, log));
  const signal = await stopped;
  log.info({ signal }, 'stopping');
  await server.close();
  return 0;
}

/** The first SIGTERM or SIGINT; a second one ends the process at once. */
function signalled(): Promise<string> {
  return new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve(signal));
  });
}

function reportReady(server: RunningServer, config: ServerConfig, log: Logger): void {
  log.info({ address: server.address, ...(server.caPath === undefined ? {} : { ca: server.caPath }) }, 'listening');
  if (config.audit === undefined || config.audit.devices.length === 0) log.warn('no audit device is configured: requests are not recorded');
  if (config.allowGenerateRoot) log.warn('recovery: a root token can be made with unseal shares alone, from this host; start without --allow-generate-root afterwards');
  if (config.dev === undefined) return;
  process.stderr.write([
    '', '  purser server --dev: everything is in memory and gone when it stops. Never use it for real secrets.', '',
    `    export PURSER_ADDR=${server.address}`, `    export PURSER_TOKEN=${server.devRootToken ?? ''}`, '', '',
  ].join('\n'));
}

async function reopenAudit(server: RunningServer, log: Logger): Promise<void> {
  try {
    await server.reopenAudit();
    log.info('reopened the audit files');
  } catch (error) {
    log.error({ reason: messageOf(error) }, 'an audit file could not be reopened');
  }
}
