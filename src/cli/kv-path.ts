// What all kv commands share: from a secret's path as references write it to the API path of its engine, which may be of
// version 1 or 2.

import type { Command } from 'commander';

import type { CoreClient } from '../client/core-client.ts';
import { isPurserError, PurserError } from '../lib/errors.ts';
import { connectWithToken, withRemoteOptions, type RemoteOptions } from './remote.ts';

export interface KvOptions extends RemoteOptions { readonly mount?: string }

export interface KvPath {
  /** With trailing '/'. */
  readonly mount: string;
  readonly version: 1 | 2;
  /** Below the mount, without slashes around it; empty for the mount itself. */
  readonly path: string;
  /** The whole path, mount first, for messages. */
  readonly shown: string;
}

/** The options of every kv command. */
export function withKvOptions(command: Command): Command {
  return withRemoteOptions(command).option('--mount <path>', 'the mount; the path is then below it');
}

/** The API call of a command: a client and where the secret is. @throws as findKv */
export async function openKv(path: string, options: KvOptions): Promise<{ readonly client: CoreClient; readonly kv: KvPath }> {
  const client = connectWithToken(options);
  return { client, kv: await findKv(client, path, options.mount) };
}

/**
 * Finds the mount of `path`.
 * @param mount given by the user; `path` is then below it
 * @throws ERR_CLI_USAGE when it is no kv engine, and what the client throws
 */
async function findKv(client: CoreClient, path: string, mount?: string): Promise<KvPath> {
  const shown = (mount === undefined ? path : `${mount}/${path}`).replace(/^\/+|\/+$/g, '').replace(/\/{2,}/g, '/');
  if (shown === '') throw new PurserError('ERR_CLI_USAGE', 'the path is empty', { hint: 'such as secret/db/prod; purser secrets list shows the mounts' });
  const found = await findMount(client, shown, mount);
  if (found.type !== 'kv') throw new PurserError('ERR_CLI_USAGE', `${found.path} is not a key-value engine`, { hint: 'purser secrets list shows what is mounted' });
  return { mount: found.path, version: found.options?.version === '2' ? 2 : 1, path: shown.slice(found.path.length), shown };
}

/** `secret/db/prod` → `secret/data/db/prod` for version 2. */
export function apiPath({ mount, version, path }: KvPath, section: string): string {
  return `${mount}${version === 2 ? `${section}/` : ''}${path}`.replace(/\/$/, '');
}

/** @throws ERR_CLI_USAGE for an engine without versions */
export function requireVersions(kv: KvPath, what: string): void {
  if (kv.version === 1) throw new PurserError('ERR_CLI_USAGE', `${what} needs kv version 2, and ${kv.mount} has version 1`, { hint: 'purser secrets tune can upgrade the mount' });
}

interface FoundMount { readonly path: string; readonly type: string; readonly options: { readonly version?: string } | null }

async function findMount(client: CoreClient, path: string, mount: string | undefined): Promise<FoundMount> {
  try {
    return await client.read(`sys/internal/ui/mounts/${path}`) as unknown as FoundMount;
  } catch (error) {
    // A token without any right there may not ask; then what the user says, or the first segment, is the best guess.
    if (!isPurserError(error, 'ERR_CLIENT_RESPONSE')) throw error;
    return { path: `${(mount ?? path.split('/')[0] ?? '').replace(/^\/+|\/+$/g, '')}/`, type: 'kv', options: { version: '2' } };
  }
}
