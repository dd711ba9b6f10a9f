// A command that speaks to the core: the options all of them share, and the client made from them.

import type { Command } from 'commander';

import { CoreClient } from '../client/core-client.ts';
import { PurserError } from '../lib/errors.ts';
import { readConnection, type Connection } from './environment.ts';
import type { CommandContext } from './context.ts';
import type { Format } from './output.ts';

export interface RemoteOptions {
  readonly address?: string;
  readonly caCert?: string;
  readonly format?: string;
}

/** Adds --address, --ca-cert and --format to a command. */
export function withRemoteOptions(command: Command, formats: readonly Format[] = ['table', 'json']): Command {
  return withFormatOption(command
    .option('--address <url>', 'the core (PURSER_ADDR, VAULT_ADDR)')
    .option('--ca-cert <file>', 'its CA certificate (PURSER_CACERT, VAULT_CACERT)'), formats);
}

/** Adds --format, and refuses an unknown one before anything is done. */
export function withFormatOption(command: Command, formats: readonly Format[] = ['table', 'json']): Command {
  return command.option('--format <format>', formats.join(' or '), (format: string) => formatOf({ format }, formats), 'table');
}

/** The format asked for. @throws ERR_CLI_USAGE for one the command does not have */
export function formatOf(options: RemoteOptions, formats: readonly Format[] = ['table', 'json']): Format {
  const format = formats.find((known) => known === (options.format ?? 'table'));
  if (format === undefined) throw new PurserError('ERR_CLI_USAGE', `there is no such format; ${formats.join(', ')} are known`);
  return format;
}

/** Names, one a line, or as a JSON array. */
export function printNames({ output }: CommandContext, options: RemoteOptions, names: readonly string[]): void {
  if (formatOf(options) === 'json') output.json(names);
  else for (const name of names) output.line(name);
}

/**
 * The names below a path that the user gave. With none there is nothing at that path, and a script that asked must not take it for an
 * answer; JSON stays an array all the same. (A list of a collection, such as the policies, may be empty.)
 * @throws ERR_CLIENT_RESPONSE when there are none, as Vault's command line says it
 */
export function printNamesBelow(context: CommandContext, options: RemoteOptions, path: string, names: readonly string[]): void {
  if (names.length > 0 || formatOf(options) === 'json') printNames(context, options, names);
  if (names.length === 0) throw new PurserError('ERR_CLIENT_RESPONSE', `no value found at ${path}`, { hint: 'paths are written mount first; purser secrets list shows the mounts' });
}

/** A client for the core; without a token only the unauthenticated calls work. */
export function connect(options: RemoteOptions): CoreClient {
  return clientFor(readConnection(options));
}

/** A client for a given connection. */
export function clientFor(connection: Connection): CoreClient {
  return new CoreClient({
    address: connection.address,
    certificateAuthority: connection.certificateAuthority,
    token: connection.token,
  });
}

/** A client that has a token. @throws ERR_CLI_USAGE with the advice to log in */
export function connectWithToken(options: RemoteOptions): CoreClient {
  const client = connect(options);
  if (!client.hasToken) throw new PurserError('ERR_CLI_USAGE', 'no token', { hint: 'log in with purser login, or set PURSER_TOKEN' });
  return client;
}
