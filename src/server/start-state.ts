// In which state the core starts. By default sealed, waiting for shares. With an auto-unseal file it opens itself. With
// --init-if-needed, for single hosts where nobody types anything, a new store is initialized 1 of 1: the share goes into that
// file before anything else is written, the root token into `<data>/root-token` (0600), and a start that was interrupted in
// between is completed by the next one. Whoever reads those files has everything; remove `root-token` once it is not needed.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { writeUnsealFile } from '../core/unseal-file.ts';
import { writeFileAtomic } from '../lib/atomic-file.ts';
import { PurserError } from '../lib/errors.ts';
import type { ServerConfig } from './config.ts';
import type { Closable, CoreState } from './core-state.ts';

const ROOT_TOKEN_FILE = 'root-token';

/**
 * Initializes or unseals as `config` says.
 * @returns the root token of a `--dev` core
 * @throws ERR_SEAL_FILE, ERR_SEAL_UNINITIALIZED, ERR_STATE_WRITE
 */
export async function openAtStart(config: ServerConfig, state: CoreState<Closable>, log: Logger): Promise<string | undefined> {
  if (config.dev !== undefined) {
    let rootToken: string | undefined;
    await state.initializeOpen(async () => undefined, async (token) => { rootToken = token; });
    return rootToken;
  }
  const { initialized } = await state.status();
  if (config.autoUnseal === undefined) {
    log.info(initialized ? 'the core is sealed: give its shares with purser unseal' : 'the core is new: initialize it with purser init');
    return undefined;
  }
  const { keyFile, initIfNeeded } = config.autoUnseal;
  const keep = (rootToken: string): Promise<void> => writeRootToken(join(config.dataDirectory!, ROOT_TOKEN_FILE), rootToken, log);
  if (initialized) {
    await state.unsealFromFile(keyFile, keep);
    log.info({ keyFile }, 'unsealed from the auto-unseal file');
    return undefined;
  }
  if (!initIfNeeded) throw new PurserError('ERR_SEAL_UNINITIALIZED', 'the core is not initialized', { hint: 'start once with --init-if-needed, or without --auto-unseal-key-file and run purser init' });
  if (existsSync(keyFile)) throw new PurserError('ERR_SEAL_FILE', `the auto-unseal file ${keyFile} exists already, but the store is new`, { hint: 'it may open another store: move it away first' });
  await state.initializeOpen((shares) => writeUnsealFile(keyFile, shares), keep);
  log.info({ keyFile }, 'initialized a new core; the auto-unseal file opens it from now on');
  return undefined;
}

async function writeRootToken(path: string, rootToken: string, log: Logger): Promise<void> {
  await writeFileAtomic(path, `${rootToken}\n`, { mode: 0o600 });
  log.info({ path }, 'wrote the root token; remove the file once you have another way in');
}
