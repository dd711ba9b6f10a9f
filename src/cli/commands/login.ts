// `purser login`: checks a token and keeps it, with the address and CA of the core, in ~/.purser (0600).

import { readFileSync } from 'node:fs';

import type { Command } from 'commander';

import { PurserError } from '../../lib/errors.ts';
import { readConnection, saveConnection } from '../environment.ts';
import type { CommandContext } from '../context.ts';
import { clientFor, withRemoteOptions, type RemoteOptions } from '../remote.ts';
import { promptHidden, readStdin } from '../secret-input.ts';

interface LoginOptions extends RemoteOptions { readonly tokenFile?: string }

/** Adds `purser login`. */
export function registerLogin(program: Command, context: CommandContext): void {
  withRemoteOptions(program.command('login').description('keep a token for later commands').argument('[token]', '- reads it from standard input; without it a prompt asks'))
    .option('--token-file <file>', 'read the token from a file')
    .action((token: string | undefined, options: LoginOptions) => login(context, token, options));
}

async function login(context: CommandContext, given: string | undefined, options: LoginOptions): Promise<void> {
  const connection = {
    ...readConnection(options),
    token: await readToken(context, given, options),
  };
  const self = await clientFor(connection).read('auth/token/lookup-self') as unknown as { display_name: string; policies: string[]; ttl: number };
  await saveConnection(connection);
  context.output.note(`logged in to ${connection.address} as ${self.display_name}, policies ${self.policies.join(', ')}${self.ttl > 0 ? `, for ${String(self.ttl)} s` : ''}`);
}

async function readToken(context: CommandContext, given: string | undefined, options: LoginOptions): Promise<string> {
  if (options.tokenFile !== undefined) {
    try {
      return readFileSync(options.tokenFile, 'utf8').trim();
    } catch (cause) {
      throw new PurserError('ERR_CLI_USAGE', `${options.tokenFile} cannot be read`, { cause });
    }
  }
  if (given === undefined) return (await promptHidden('token')).trim();
  if (given === '-') return (await readStdin()).trim();
  context.output.warn('the token stood on the command line, where other users and the shell history see it');
  return given;
}
