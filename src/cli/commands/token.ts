// `purser token`: make, look at, renew and revoke tokens.

import type { Command } from 'commander';

import { PurserError } from '../../lib/errors.ts';
import { entryRows, textOf } from '../output.ts';
import type { CommandContext } from '../context.ts';
import { pairs, repeated, wholeNumber } from '../option-values.ts';
import { connectWithToken, formatOf, printNames, withRemoteOptions, type RemoteOptions } from '../remote.ts';
import { printWrapped, withWrapOption, type WrapOptions } from '../wrapped.ts';
import { registerTokenRole } from './token-role.ts';
import { promptHidden, readStdin } from '../secret-input.ts';

interface CreateOptions extends WrapOptions {
  readonly policy?: string[]; readonly defaultPolicy: boolean; readonly ttl?: string; readonly explicitMaxTtl?: string; readonly period?: string; readonly numUses?: string;
  readonly renewable: boolean; readonly type?: string; readonly displayName?: string; readonly metadata?: string[]; readonly orphan?: boolean; readonly role?: string; readonly entityAlias?: string;
}
interface TargetOptions extends RemoteOptions { readonly accessor?: string; readonly self?: boolean; readonly increment?: string; readonly orphan?: boolean }

/** Adds `purser token …`. */
export function registerToken(program: Command, context: CommandContext): void {
  const token = program.command('token').description('tokens of the core');
  withWrapOption(withRemoteOptions(token.command('create').description('make a child token')))
    .addOption(repeated('--policy <name>', 'policies (default: those of your token)')).option('--no-default-policy', 'leave the policy default out')
    .option('--role <name>', 'as this token role says').option('--type <type>', 'service or batch').option('--ttl <duration>').option('--explicit-max-ttl <duration>')
    .option('--period <duration>', 'renewable for ever, each time for so long').option('--num-uses <number>').option('--no-renewable')
    .option('--display-name <name>').addOption(repeated('--metadata <key=value>')).option('--entity-alias <name>').option('--orphan', 'do not end with its parent')
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
    .option('--accessor <accessor>').option('--self', 'your own token').option('--orphan', 'its children live on')
    .action(async (given: string | undefined, options: TargetOptions) => {
      const client = connectWithToken(options);
      if (options.orphan === true && (options.self === true || options.accessor !== undefined)) throw new PurserError('ERR_CLI_USAGE', '--orphan needs the token itself');
      if (options.orphan === true) await client.write('auth/token/revoke-orphan', await targetOf(given, options) ?? { token: await promptHidden('token') });
      else if (options.self === true) await client.write('auth/token/revoke-self', {});
      else await client.write(`auth/token/revoke${suffix(options)}`, await targetOf(given, options) ?? { token: await promptHidden('token') });
      context.output.note('revoked');
    });
  withRemoteOptions(token.command('capabilities').description('what a token may do on a path (yours without --accessor and --token)').argument('<path>'))
    .option('--accessor <accessor>').option('--token <token>', '- reads standard input')
    .action(async (path: string, options: TargetOptions & { readonly token?: string }) => {
      const target = await targetOf(options.token, options);
      const answer = await connectWithToken(options).write(`sys/capabilities${target === undefined ? '-self' : suffix(options)}`, { ...target, paths: [path] });
      if (formatOf(options) === 'json') context.output.json(answer[path]);
      else context.output.line((answer[path] as string[]).join(', '));
    });
  withRemoteOptions(token.command('list').description('list the accessors of all tokens')).action(async (options: RemoteOptions) => {
    printNames(context, options, await connectWithToken(options).list('auth/token/accessors'));
  });
  withRemoteOptions(token.command('tidy').description('look for tokens whose parent is gone')).action(async (options: RemoteOptions) => {
    await connectWithToken(options).write('auth/token/tidy');
    context.output.note('tidying in the background');
  });
  registerTokenRole(token, context);
}

async function create(context: CommandContext, options: CreateOptions): Promise<void> {
  const body = {
    policies: options.policy, ttl: options.ttl, explicit_max_ttl: options.explicitMaxTtl, period: options.period, type: options.type, display_name: options.displayName,
    num_uses: options.numUses === undefined ? undefined : wholeNumber('--num-uses', options.numUses), meta: options.metadata && Object.fromEntries(pairs('--metadata', options.metadata)),
    entity_alias: options.entityAlias, no_parent: options.orphan, ...(options.defaultPolicy ? {} : { no_default_policy: true }), ...(options.renewable ? {} : { renewable: false }),
  };
  const path = options.role === undefined ? 'auth/token/create' : `auth/token/create/${options.role}`;
  const client = connectWithToken(options);
  if (options.wrapTtl !== undefined) { await printWrapped(context, client, options, { method: 'POST', path, body }); return; }
  const auth = await client.authenticate(path, body);
  if (formatOf(options) === 'json') { context.output.json(auth); return; }
  context.output.line(textOf(auth['client_token']));
  context.output.note(`${auth['accessor'] === '' ? 'batch token' : `accessor ${textOf(auth['accessor'])}`}, policies ${textOf(auth['policies'])}, ${auth['lease_duration'] === 0 ? 'without end' : `for ${textOf(auth['lease_duration'])} s`}`);
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
