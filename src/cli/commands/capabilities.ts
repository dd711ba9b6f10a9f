// `purser capabilities`: what a token may do on paths.

import type { Command } from 'commander';

import { PurserError } from '../../lib/errors.ts';
import type { CommandContext } from '../context.ts';
import { connectWithToken, formatOf, withRemoteOptions, type RemoteOptions } from '../remote.ts';
import { promptHidden, readStdin } from '../secret-input.ts';

interface CapabilitiesOptions extends RemoteOptions { readonly accessor?: string; readonly token?: true | '-' }

/** Adds `purser capabilities`. */
export function registerCapabilities(program: Command, context: CommandContext): void {
  withRemoteOptions(program.command('capabilities').description('what a token may do on paths (yours, unless another is named)').argument('<path...>'))
    .option('--accessor <accessor>', 'of the token with this accessor').option('--token [-]', 'of another token: from a prompt, or with - from standard input')
    .action((paths: string[], options: CapabilitiesOptions) => show(context, paths, options));
}

async function show(context: CommandContext, paths: readonly string[], options: CapabilitiesOptions): Promise<void> {
  const client = connectWithToken(options);
  const { accessor } = options;
  const token = await tokenOf(options);
  const suffix = accessor !== undefined ? '-accessor' : token === undefined ? '-self' : '';
  const data = await client.write(`sys/capabilities${suffix}`, { paths, ...(accessor === undefined ? {} : { accessor }), ...(token === undefined ? {} : { token }) });
  const found = Object.fromEntries(paths.map((path) => [path, data[path] as string[]]));
  if (formatOf(options) === 'json') context.output.json(found);
  else context.output.rows('table', ['path', 'capabilities'], Object.entries(found).map(([path, capabilities]) => ({ path, capabilities: capabilities.join(', ') })));
}

async function tokenOf({ accessor, token }: CapabilitiesOptions): Promise<string | undefined> {
  if (token === undefined) return undefined;
  if (accessor !== undefined) throw new PurserError('ERR_CLI_USAGE', 'give one of --accessor and --token');
  if (token === true) return (await promptHidden('token')).trim();
  if (token === '-') return (await readStdin()).trim();
  throw new PurserError('ERR_CLI_USAGE', '--token takes no value but -', { hint: 'a token on the command line is seen by other users: leave it out and a prompt asks' });
}
