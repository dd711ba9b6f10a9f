// The driver as Docker's managed plugin: what `docker plugin set` gave is in the environment, and the identity is kept in the plugin's own state, so
// that the join token is used once and disable, enable and upgrade change nothing. A token that was set anew replaces the identity. With a token that the core
// refuses the plugin does not listen: `docker plugin enable` fails then, and the log of dockerd has the reason. A core that is away is waited for.

import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { z } from 'zod';
import { readJsonFile, writeFileAtomic } from '../lib/atomic-file.ts';
import { PurserError, isPurserError, messageOf } from '../lib/errors.ts';
import { loadIdentity, type NodeIdentity } from '../client/node/identity.ts';
import { joinNode } from '../client/node/join.ts';
import { decodeJoinToken } from '../wire/join-token.ts';

const given = z.string().transform((text) => (text === '' ? undefined : text)).optional();
const settingsSchema = z.object({
  PURSER_JOIN_TOKEN: given, PURSER_ADDR: given.pipe(z.url({ protocol: /^https?$/ }).optional()), PURSER_NODE_NAME: given, PURSER_LOG_LEVEL: given,
});

/** What `docker plugin set` can give. */
export interface ManagedSettings {
  readonly token: string | undefined;
  /** Where the core is, when not where the token says. */
  readonly address: string | undefined;
  readonly nodeName: string;
  readonly logLevel: string | undefined;
}

/** @throws ERR_CONFIG_INVALID */
export function readManagedSettings(environment: NodeJS.ProcessEnv = process.env): ManagedSettings {
  const parsed = settingsSchema.safeParse(environment);
  if (!parsed.success) throw new PurserError('ERR_CONFIG_INVALID', `${String(parsed.error.issues[0]?.path[0])} is not valid`, { hint: 'docker plugin disable, docker plugin set PURSER_ADDR=https://core:8200, docker plugin enable' });
  const { PURSER_JOIN_TOKEN: token, PURSER_ADDR: address, PURSER_NODE_NAME: nodeName = `${hostname()}-driver`, PURSER_LOG_LEVEL: logLevel } = parsed.data;
  return { token, address, nodeName, logLevel };
}

/** Id of the join token that the identity came from; no secret. */
const usedSchema = z.strictObject({ format: z.literal(1), token_id: z.string() });
const USED_FILE = 'joined-with.json';
const SET_TOKEN = 'docker plugin disable, docker plugin set PURSER_JOIN_TOKEN=$(purser node token --driver), docker plugin enable';
const RETRY_MS = 2000;

/**
 * The identity of this plugin, joined with the token if there is none or the token is a new one.
 * @throws ERR_NODE_UNJOINED without a token, ERR_NODE_JOIN, ERR_CLIENT_*, ERR_STATE_*
 */
export async function managedIdentity(stateDirectory: string, { token, address, nodeName }: ManagedSettings): Promise<NodeIdentity> {
  const identity = await loadIdentity(stateDirectory);
  if (token === undefined) {
    if (identity !== undefined) return identity;
    throw new PurserError('ERR_NODE_UNJOINED', 'this plugin has not joined a core and has no PURSER_JOIN_TOKEN', { hint: SET_TOKEN });
  }
  const { id } = decodeJoinToken(token);
  const usedFile = join(stateDirectory, USED_FILE);
  const used = await readJsonFile(usedFile, (value) => usedSchema.parse(value));
  if (identity !== undefined && used?.token_id === id) return identity;
  const joined = await joinNode({ token, stateDirectory, name: nodeName, address, force: true });
  await writeFileAtomic(usedFile, `${JSON.stringify({ format: 1, token_id: id })}\n`, { mode: 0o600 });
  return joined;
}

/** As managedIdentity(), again and again while the core cannot be reached. @throws when waiting does not help */
export async function waitForIdentity(stateDirectory: string, settings: ManagedSettings, log: Logger, signal: AbortSignal): Promise<NodeIdentity> {
  for (let tries = 0; ; tries++) {
    try {
      return await managedIdentity(stateDirectory, settings);
    } catch (error) {
      if (!isPurserError(error, 'ERR_CLIENT_UNREACHABLE')) throw explain(error);
      if (tries === 0) log.warn({ err: messageOf(error), hint: error.hint }, 'the core cannot be reached to join it; every secret is refused until then');
      await sleep(RETRY_MS, undefined, { signal });
    }
  }
}

/** The advice for a command line is of no use in a plugin. */
function explain(error: unknown): unknown {
  return isPurserError(error, 'ERR_NODE_JOIN') ? new PurserError(error.code, error.message, { hint: SET_TOKEN, cause: error }) : error;
}
