// Answers that the core wraps: the option --wrap-ttl, and what is printed in place of the answer. `purser unwrap` opens it.

import type { Command } from 'commander';

import type { CallOptions, CoreClient, Method } from '../client/core-client.ts';
import type { CommandContext } from './context.ts';
import { textOf } from './output.ts';
import { formatOf, type RemoteOptions } from './remote.ts';

export interface WrapOptions extends RemoteOptions { readonly wrapTtl?: string }

/** Adds --wrap-ttl to a command. */
export function withWrapOption(command: Command): Command {
  return command.option('--wrap-ttl <duration>', 'print a token that opens the answer once, for so long, with purser unwrap');
}

/** One call whose answer is wrapped; prints the wrapping token. */
export async function printWrapped(
  context: CommandContext, client: CoreClient, options: WrapOptions, call: { readonly method: Method; readonly path: string; readonly body?: object; readonly query?: CallOptions['query'] },
): Promise<void> {
  const info = await client.wrap(options.wrapTtl ?? '', call.method, call.path, call.body, { query: call.query });
  if (formatOf(options) === 'json') { context.output.json(info); return; }
  context.output.line(textOf(info['token']));
  context.output.note(`holds the answer of ${textOf(info['creation_path'])} for ${textOf(info['ttl'])} s; it opens once: purser unwrap`);
}
