// The core as this machine sees it: address and TLS, clock, seal, storage, token, audit. Once the core cannot be reached, the checks behind
// that say so instead of failing one by one.

import { statfs } from 'node:fs/promises';
import { isIP } from 'node:net';
import { connect as connectTls } from 'node:tls';

import { CoreResponseError } from '../../client/response.ts';
import type { CoreClient } from '../../client/core-client.ts';
import type { Connection } from '../environment.ts';
import { fail, ok, skip, warn, type Check, type Finding } from './finding.ts';

const MIN_CERTIFICATE_DAYS = 14;
const DAY_MS = 86_400_000;
/** Node logins are refused past a minute (wire/PROTOCOL.md 1.1). */
const CLOCK_FAIL_SECONDS = 60;
const CLOCK_WARN_SECONDS = 5;
const FREE_WARN_BYTES = 1024 ** 3;
const FREE_FAIL_BYTES = 100 * 1024 ** 2;
const TLS_MILLISECONDS = 5_000;

interface Health { readonly initialized: boolean; readonly sealed: boolean; readonly server_time_utc: number; readonly version: string }

export interface CoreCheckOptions {
  readonly connection: Connection;
  readonly client: CoreClient;
  /** The core's data directory, when it is on this machine. */
  readonly dataDirectory: string;
}

export function coreChecks({ connection, client, dataDirectory }: CoreCheckOptions): Check[] {
  let health: Health | undefined;
  const reached = (check: (health: Health) => Promise<Omit<Finding, 'check'>>) => async () => (health === undefined ? skip('the core cannot be reached') : check(health));
  const unsealed = (check: () => Promise<Omit<Finding, 'check'>>) => reached(async ({ sealed }) => (sealed ? skip('the core is sealed') : check()));
  return [
    {
      name: 'core', run: async () => {
        health = (await client.health()).body as unknown as Health;
        return ok(`${connection.address} answers, version ${health.version}`);
      },
    },
    { name: 'tls', run: reached(() => checkCertificate(connection)) },
    { name: 'clock', run: reached(async ({ server_time_utc: seconds }) => clock(seconds - Date.now() / 1000)) },
    { name: 'seal', run: reached(async (state) => seal(state)) },
    { name: 'storage', run: reached(() => checkStorage(client, dataDirectory)) },
    { name: 'token', run: unsealed(() => checkToken(client)) },
    { name: 'audit', run: unsealed(() => checkAudit(client)) },
  ];
}

/** That the certificate is trusted, the first check has shown. */
async function checkCertificate({ address, certificateAuthority }: Connection): Promise<Omit<Finding, 'check'>> {
  const url = new URL(address);
  if (url.protocol === 'http:') return ok('plain HTTP, on loopback only');
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const validTo = await new Promise<string>((resolve, reject) => {
    const socket = connectTls({ host, port: Number(url.port || 443), ...(isIP(host) === 0 ? { servername: host } : {}), ...(certificateAuthority === undefined ? {} : { ca: certificateAuthority }) }, () => {
      resolve(socket.getPeerCertificate().valid_to);
      socket.destroy();
    });
    socket.setTimeout(TLS_MILLISECONDS, () => socket.destroy(new Error('the TLS handshake took too long')));
    socket.once('error', reject);
  });
  const days = Math.floor((Date.parse(validTo) - Date.now()) / DAY_MS);
  const message = `the certificate is trusted and good for ${String(days)} days`;
  return days < MIN_CERTIFICATE_DAYS ? warn(message, 'restart the server: its own certificate is then made anew; replace one of yours') : ok(message);
}

function clock(aheadSeconds: number): Omit<Finding, 'check'> {
  const difference = Math.max(0, Math.abs(aheadSeconds) - 1); // the core tells whole seconds
  const message = difference < 1 ? 'the clocks of core and this machine agree' : `the core's clock is ${difference.toFixed(0)} s ${aheadSeconds > 0 ? 'ahead' : 'behind'}`;
  const hint = 'set up time synchronisation (systemd-timesyncd or chrony) on both';
  return difference >= CLOCK_FAIL_SECONDS ? fail(`${message}: node logins are refused`, hint) : difference >= CLOCK_WARN_SECONDS ? warn(message, hint) : ok(message);
}

function seal({ initialized, sealed }: Health): Omit<Finding, 'check'> {
  if (!initialized) return fail('the core is new', 'purser init');
  return sealed ? fail('the core is sealed: no secret can be read', 'purser unseal') : ok('the core is unsealed');
}

async function checkStorage(client: CoreClient, dataDirectory: string): Promise<Omit<Finding, 'check'>> {
  const { storage_type: type } = (await client.request('GET', 'sys/seal-status')).body as { storage_type: string };
  if (type === 'inmem') return warn('the core keeps everything in memory only', 'start it without --dev for anything that matters');
  const free = await statfs(dataDirectory).then(({ bavail, bsize }) => bavail * bsize, () => undefined);
  if (free === undefined) return ok(`${type}`);
  const message = `${type}, ${(free / 1024 ** 3).toFixed(1)} GiB free below ${dataDirectory}`;
  const hint = 'make room: with a full disk audit refuses every request';
  return free < FREE_FAIL_BYTES ? fail(message, hint) : free < FREE_WARN_BYTES ? warn(message, hint) : ok(message);
}

async function checkToken(client: CoreClient): Promise<Omit<Finding, 'check'>> {
  if (!client.hasToken) return warn('there is no token', 'purser login');
  try {
    const { policies, ttl } = await client.read('auth/token/lookup-self') as unknown as { policies: string[]; ttl: number };
    return ok(`policies ${policies.join(', ')}${ttl > 0 ? `, ${String(ttl)} s left` : ', without end'}`);
  } catch (error) {
    if (isDenied(error)) return fail('the token is not valid any more', 'purser login');
    throw error;
  }
}

async function checkAudit(client: CoreClient): Promise<Omit<Finding, 'check'>> {
  if (!client.hasToken) return skip('there is no token to ask with');
  try {
    const devices = Object.keys(await client.read('sys/audit'));
    return devices.length === 0 ? warn('no request is recorded: there is no audit device', 'purser write sys/audit/file type=file …, or configure one') : ok(`recorded by ${devices.map((name) => name.replace(/\/$/, '')).join(', ')}`);
  } catch (error) {
    if (isDenied(error)) return skip('the token may not see the audit devices');
    throw error;
  }
}

function isDenied(error: unknown): boolean {
  return error instanceof CoreResponseError && error.status === 403;
}
