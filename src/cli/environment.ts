// The one file of the command line that reads the environment: the address, the token and the CA of the core, from flags'
// fallbacks PURSER_* and VAULT_*, then from ~/.purser (written by `purser login` and the quickstart, mode 0600).

import { existsSync, readFileSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

import { makeDirectory } from '../lib/make-directory.ts';
import { writeFileAtomic } from '../lib/atomic-file.ts';
import { PurserError } from '../lib/errors.ts';

export interface Connection {
  readonly address: string;
  /** PEM of the core's CA; undefined trusts the system's authorities. */
  readonly certificateAuthority: string | undefined;
  readonly token: string | undefined;
}

interface Profile { readonly address: string; readonly certificate_authority?: string }

const DEFAULT_ADDRESS = 'https://127.0.0.1:8200';

/** The folder that keeps address, CA and token of the last login. */
export function profileDirectory(): string {
  return join(homedir(), '.purser');
}

/**
 * Where the core is and how to speak to it.
 * @throws ERR_STATE_CORRUPT when a file in ~/.purser is damaged or readable by others
 */
export function readConnection(flags: { readonly address?: string | undefined; readonly caCert?: string | undefined }): Connection {
  const profile = readProfile();
  const address = flags.address ?? variable('PURSER_ADDR') ?? variable('VAULT_ADDR') ?? profile?.address ?? DEFAULT_ADDRESS;
  const caFile = flags.caCert ?? variable('PURSER_CACERT') ?? variable('VAULT_CACERT');
  return {
    address,
    certificateAuthority: caFile === undefined ? profile?.certificate_authority : readCertificate(caFile),
    token: variable('PURSER_TOKEN') ?? variable('VAULT_TOKEN') ?? readPrivate(join(profileDirectory(), 'token'))?.trim(),
  };
}

/** Keeps a login for later commands: ~/.purser/profile.json and ~/.purser/token, both 0600. */
export async function saveConnection(connection: Connection): Promise<void> {
  const directory = profileDirectory();
  makeDirectory(directory, 0o700);
  const profile = { address: connection.address, ...(connection.certificateAuthority === undefined ? {} : { certificate_authority: connection.certificateAuthority }) };
  await writeFileAtomic(join(directory, 'profile.json'), `${JSON.stringify(profile, null, 2)}\n`, { mode: 0o600 });
  if (connection.token !== undefined) await writeFileAtomic(join(directory, 'token'), `${connection.token}\n`, { mode: 0o600 });
}

function variable(name: string): string | undefined {
  const value = process.env[name];
  return value === undefined || value === '' ? undefined : value;
}

function readCertificate(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    throw new PurserError('ERR_CONFIG_INVALID', `the CA certificate ${path} cannot be read`, { cause, hint: 'give the ca.pem that the server printed at its start' });
  }
}

function readProfile(): Profile | undefined {
  const path = join(profileDirectory(), 'profile.json');
  const text = readPrivate(path);
  if (text === undefined) return undefined;
  try {
    return checkedProfile(JSON.parse(text));
  } catch (cause) {
    throw new PurserError('ERR_STATE_CORRUPT', `${path} is damaged`, { cause, hint: 'log in again: purser login' });
  }
}

/** By hand: every command reads it, and a schema library takes longer to load than the command to run. */
function checkedProfile(value: unknown): Profile {
  const { address, certificate_authority: authority, ...rest } = value as Record<string, unknown>;
  const isProfile = typeof address === 'string' && address !== '' && (authority === undefined || typeof authority === 'string') && Object.keys(rest).length === 0;
  if (!isProfile) throw new TypeError('the profile has other fields than it should');
  return authority === undefined ? { address } : { address, certificate_authority: authority };
}

function readPrivate(path: string): string | undefined {
  if (!existsSync(path)) return undefined;
  if ((statSync(path).mode & 0o077) !== 0) {
    throw new PurserError('ERR_STATE_CORRUPT', `${path} is open to other users`, { hint: `chmod 600 ${path}` });
  }
  return readFileSync(path, 'utf8');
}
