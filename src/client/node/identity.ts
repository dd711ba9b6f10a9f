// The node's identity on disk: `<state>/node.json` (who it is, which core, the core's CA) and `<state>/node.key` (Ed25519
// private key, PKCS8 PEM). The directory is 0700, the files 0600. Whole or absent: a file that is half written, altered or
// open to others is ERR_STATE_CORRUPT, never a reason to make a new identity. One agent per directory, by lock.

import { createPrivateKey } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { chmod, lstat, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { makeDirectory } from '../../lib/make-directory.ts';
import { readJsonFile, writeFileAtomic } from '../../lib/atomic-file.ts';
import { PurserError } from '../../lib/errors.ts';
import { lockFile } from '../../lib/file-lock.ts';
import type { FileLock } from '../../lib/file-lock.ts';

export const DEFAULT_STATE_DIRECTORY = '/var/lib/purser/agent';

const nodeSchema = z.strictObject({
  node_id: z.string().min(1).max(128),
  cluster_id: z.string().min(1).max(128),
  address: z.url({ protocol: /^https?$/ }),
  /** PEM of the core's CA; absent for a plain-HTTP core on loopback. */
  ca: z.string().startsWith('-----BEGIN CERTIFICATE-----').optional(),
  name: z.string().min(1).max(128),
});
const fileSchema = z.strictObject({ format: z.literal(1), node: nodeSchema });

/** Who the node is, and which core it belongs to. */
export type NodeRecord = z.infer<typeof nodeSchema>;

export interface NodeIdentity extends NodeRecord {
  readonly key: KeyObject;
}

/**
 * @returns undefined when this machine never joined (neither file is there)
 * @throws ERR_STATE_CORRUPT when a file is missing, unreadable, half written or open to other users
 */
export async function loadIdentity(stateDirectory: string): Promise<NodeIdentity | undefined> {
  const paths = pathsOf(stateDirectory);
  const [hasRecord, hasKey] = [await requirePrivate(paths.record), await requirePrivate(paths.key)];
  if (!hasRecord && !hasKey) return undefined;
  await requirePrivate(stateDirectory);
  if (!hasRecord || !hasKey) {
    throw corrupt(hasRecord ? paths.key : paths.record, 'it is missing while the other half of the identity is there');
  }
  const record = await readJsonFile(paths.record, (value) => {
    const parsed = fileSchema.safeParse(value);
    // zod's own report runs over many lines; the name of the first bad field is what helps.
    if (!parsed.success) throw new Error(`its field ${parsed.error.issues[0]?.path.join('.') || '(top)'} is not valid`);
    return parsed.data.node;
  });
  if (record === undefined) throw corrupt(paths.record, 'it vanished while being read');
  return { ...record, key: await readKey(paths.key) };
}

/** As loadIdentity. @throws ERR_NODE_UNJOINED when this machine never joined */
export async function requireIdentity(stateDirectory: string): Promise<NodeIdentity> {
  const identity = await loadIdentity(stateDirectory);
  if (identity !== undefined) return identity;
  throw new PurserError('ERR_NODE_UNJOINED', 'this machine has not joined a core',
    { hint: 'run purser node token where the core is, then purser agent join --token - here' });
}

/**
 * Writes both files, in place of an earlier identity. The record goes first and comes last: without it the identity counts
 * as half written, so a crash never leaves a record with somebody else's key.
 * @throws ERR_STATE_WRITE
 */
export async function storeIdentity(stateDirectory: string, identity: NodeIdentity): Promise<void> {
  const paths = pathsOf(stateDirectory);
  await ensurePrivateDirectory(stateDirectory);
  const { key, ...record } = identity;
  await rm(paths.record, { force: true });
  await writeFileAtomic(paths.key, key.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
  await writeFileAtomic(paths.record, `${JSON.stringify({ format: 1, node: record }, null, 2)}\n`, { mode: 0o600 });
}

/** Creates `directory` with mode 0700, or narrows it to that. */
export async function ensurePrivateDirectory(directory: string): Promise<void> {
  makeDirectory(directory, 0o700);
  await chmod(directory, 0o700);
}

/**
 * One agent (or join) at a time on a state directory.
 * @throws ERR_STATE_LOCKED when another process has it
 */
export function lockStateDirectory(stateDirectory: string): FileLock {
  return lockFile(join(stateDirectory, 'lock'), {
    code: 'ERR_STATE_LOCKED',
    message: `another agent uses the state directory ${stateDirectory}`,
    hint: 'stop that agent first, or give this one its own --state-dir',
  });
}

function pathsOf(stateDirectory: string): { record: string; key: string } {
  return { record: join(stateDirectory, 'node.json'), key: join(stateDirectory, 'node.key') };
}

/** False when nothing is there. @throws ERR_STATE_CORRUPT when others could read or change it */
async function requirePrivate(path: string): Promise<boolean> {
  const stat = await lstat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw corrupt(path, `it cannot be examined (${error.code ?? 'unknown error'})`);
  });
  if (stat === undefined) return false;
  if (stat.isSymbolicLink()) throw corrupt(path, 'it is a symbolic link');
  if ((stat.mode & 0o077) !== 0 || stat.uid !== process.getuid?.()) {
    throw new PurserError('ERR_STATE_CORRUPT', `${path} is open to other users (mode ${(stat.mode & 0o777).toString(8)})`, {
      hint: 'others may have read the key of this node: revoke the node and join again, or fix owner and mode (chmod go=) if you know better',
    });
  }
  return true;
}

async function readKey(path: string): Promise<KeyObject> {
  let key: KeyObject;
  try {
    key = createPrivateKey({ key: await readFile(path), format: 'pem', type: 'pkcs8' });
  } catch {
    throw corrupt(path, 'it is not a private key');
  }
  if (key.asymmetricKeyType !== 'ed25519') throw corrupt(path, 'it is not an Ed25519 key');
  return key;
}

function corrupt(path: string, reason: string): PurserError {
  return new PurserError('ERR_STATE_CORRUPT', `state file ${path} cannot be used: ${reason}`, {
    hint: 'restore the state directory from a backup, or join again with purser agent join --force --token -',
  });
}
