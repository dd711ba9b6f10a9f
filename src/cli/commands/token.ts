// `purser token`: make, look at, renew and revoke tokens.

import type { Command } from 'commander';

import { PurserError } from '../../lib/errors.ts';
import { entryRows, textOf } from '../output.ts';
import type { CommandContext } from '../context.ts';
import { connectWithToken, formatOf, withRemoteOptions, type RemoteOptions } from '../remote.ts';
import { promptHidden, readStdin } from '../secret-input.ts';

interface CreateOptions extends RemoteOptions {
  readonly policy?: string[]; readonly ttl?: string; readonly numUses?: string; readonly displayName?: string; readonly orphan?: boolean;
}
interface TargetOptions extends RemoteOptions { readonly accessor?: string; readonly self?: boolean; readonly increment?: string }

/** Adds `purser token …`. */
export function registerToken(program: Command, context: CommandContext): void {
  const token = program.command('token').description('tokens of the core');
  withRemoteOptions(token.command('create').description('make a child token'))
    .option('--policy <name...>', 'policies (default: those of your token)').option('--ttl <duration>').option('--num-uses <number>')
    .option('--display-name <name>').option('--orphan', 'do not end with its parent')
    .action((options: CreateOptions) => create(context, options));
  withRemoteOptions(token.command('lookup').description('show a token (yours without an argument)').argument('[token]', '- reads standard input'))
    .option('--accessor <accessor>', 'by accessor')
    .action(async (given: string | undefined, options: TargetOptions) => {
      const client = connectWithToken(options);
      const target = await targetOf(given, options);
      show(context, options, target === undefined ? await client.read('auth/token/lookup-self') : await client.write(`auth/token/lookup${suffix(options)}`, target));
    });
  withRemoteOptions(token.command('renew').description('extend a token (yours without an argument)').argument('[token]', '- reads standard input'))
    .option('--accessor <accessor>').option('--increment <duration>')
    .action(async (given: string | undefined, options: TargetOptions) => {
      const increment = options.increment === undefined ? {} : { increment: options.increment };
      const target = await targetOf(given, options);
      const result = await connectWithToken(options).authenticate(target === undefined ? 'auth/token/renew-self' : `auth/token/renew${suffix(options)}`, { ...target, ...increment });
      context.output.note(`renewed for ${textOf(result['lease_duration'])} s`);
    });
  withRemoteOptions(token.command('revoke').description('end a token and its children').argument('[token]', '- reads standard input; without it a prompt asks'))
    .option('--accessor <accessor>').option('--self', 'your own token')
    .action(async (given: string | undefined, options: TargetOptions) => {
      const client = connectWithToken(options);
      if (options.self === true) await client.write('auth/token/revoke-self', {});
      else await client.write(`auth/token/revoke${suffix(options)}`, await targetOf(given, options) ?? { token: await promptHidden('token') });
      context.output.note('revoked');
    });
}

async function create(context: CommandContext, options: CreateOptions): Promise<void> {
  const body = {
    ...(options.policy === undefined ? {} : { policies: options.policy }), ...(options.ttl === undefined ? {} : { ttl: options.ttl }),
    ...(options.numUses === undefined ? {} : { num_uses: number(options.numUses) }), ...(options.displayName === undefined ? {} : { display_name: options.displayName }),
    ...(options.orphan === true ? { no_parent: true } : {}),
  };
  const auth = await connectWithToken(options).authenticate('auth/token/create', body);
  if (formatOf(options) === 'json') { context.output.json(auth); return; }
  context.output.line(textOf(auth['client_token']));
  context.output.note(`accessor ${textOf(auth['accessor'])}, policies ${textOf(auth['policies'])}, ${auth['lease_duration'] === 0 ? 'without end' : `for ${textOf(auth['lease_duration'])} s`}`);
}

function show(context: CommandContext, options: RemoteOptions, data: unknown): void {
  if (formatOf(options) === 'json') { context.output.json(data); return; }
  // The id is the token itself: a table on a screen is no place for it.
  context.output.rows('table', ['key', 'value'], entryRows(data as Record<string, unknown>).filter(({ key }) => key !== 'id'));
}

async function targetOf(given: string | undefined, options: TargetOptions): Promise<{ token: string } | { accessor: string } | undefined> {
  if (options.accessor !== undefined) return { accessor: options.accessor };
  if (given === undefined) return undefined;
  return { token: given === '-' ? (await readStdin()).trim() : given };
}

function suffix(options: TargetOptions): string {
  return options.accessor === undefined ? '' : '-accessor';
}

function number(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new PurserError('ERR_CLI_USAGE', '--num-uses takes a whole number');
  return Number(text);
}
