// `purser unwrap`: opens a wrapped answer, once. The wrapping token is all it takes; no login is needed.

import type { Command } from 'commander';

import { isJsonObject, type JsonObject } from '../../lib/json.ts';
import { readConnection } from '../environment.ts';
import { entryRows, textOf } from '../output.ts';
import { EXIT, type CommandContext } from '../context.ts';
import { clientFor, formatOf, withRemoteOptions, type RemoteOptions } from '../remote.ts';
import { promptHidden, readStdin } from '../secret-input.ts';

interface UnwrapOptions extends RemoteOptions { readonly field?: string; readonly lookup?: boolean }

/** Adds `purser unwrap`. */
export function registerUnwrap(program: Command, context: CommandContext): void {
  withRemoteOptions(program.command('unwrap').description('open a wrapped answer, once').argument('[token]', '- reads standard input; without it a prompt asks'))
    .option('--field <name>', 'print only this field').option('--lookup', 'show where it comes from and leave it closed')
    .action((token: string | undefined, options: UnwrapOptions) => unwrap(context, token, options));
}

async function unwrap(context: CommandContext, given: string | undefined, options: UnwrapOptions): Promise<void> {
  const token = (given === undefined ? await promptHidden('wrapping token') : given === '-' ? await readStdin() : given).trim();
  const client = clientFor({ ...readConnection(options), token });
  const { data, auth } = await client.request('POST', `sys/wrapping/${options.lookup === true ? 'lookup' : 'unwrap'}`, {});
  const answer = auth ?? data ?? {};
  const field = options.field === undefined ? undefined : fieldOf(answer, options.field);
  if (field !== undefined) { context.output.line(textOf(field)); return; }
  if (options.field !== undefined) {
    // The token is spent: what does not fit the wish must not be lost with it.
    context.output.warn(`there is no field ${options.field}; this is the whole answer`);
    context.exit(EXIT.failed);
  }
  if (options.field !== undefined || formatOf(options) === 'json') context.output.json(answer);
  else context.output.rows('table', ['key', 'value'], entryRows(answer));
}

/** Of the answer, or of the secret in it: key-value secrets of version 2 have their fields one level down. */
function fieldOf(answer: JsonObject, name: string): unknown {
  const inner = answer['data'];
  if (Object.hasOwn(answer, name)) return answer[name];
  return isJsonObject(inner) && Object.hasOwn(inner, name) ? inner[name] : undefined;
}
