// `purser token role`: what a request to make a token with a role gets, whoever asks.

import type { Command } from 'commander';

import { entryRows } from '../output.ts';
import type { CommandContext } from '../context.ts';
import { repeated, wholeNumber } from '../option-values.ts';
import { connectWithToken, formatOf, printNames, withRemoteOptions, type RemoteOptions } from '../remote.ts';

interface WriteOptions extends RemoteOptions {
  readonly allow?: string[]; readonly allowGlob?: string[]; readonly disallow?: string[]; readonly disallowGlob?: string[]; readonly entityAlias?: string[]; readonly boundCidr?: string[];
  readonly orphan?: boolean; readonly renewable: boolean; readonly defaultPolicy: boolean; readonly period?: string; readonly explicitMaxTtl?: string; readonly numUses?: string;
  readonly pathSuffix?: string; readonly type?: string;
}

/** Adds `purser token role …`. */
export function registerTokenRole(token: Command, context: CommandContext): void {
  const role = token.command('role').alias('roles').description('what tokens made by a role are like');
  withRemoteOptions(role.command('write').description('make a role, or change what is named').argument('<name>'))
    .addOption(repeated('--allow <policy>', 'policies its tokens may have')).addOption(repeated('--allow-glob <pattern>')).addOption(repeated('--disallow <policy>')).addOption(repeated('--disallow-glob <pattern>'))
    .addOption(repeated('--entity-alias <pattern>', 'aliases that may be asked for')).addOption(repeated('--bound-cidr <range>', 'from where its tokens work')).option('--orphan', 'its tokens have no parent')
    .option('--no-renewable').option('--no-default-policy').option('--period <duration>').option('--explicit-max-ttl <duration>').option('--num-uses <number>')
    .option('--path-suffix <text>', 'added to the path of its tokens, to revoke them by').option('--type <type>', 'service, batch, default-service or default-batch')
    .action(async (name: string, options: WriteOptions) => {
      await connectWithToken(options).write(`auth/token/roles/${name}`, roleBody(options));
      context.output.note(`wrote the token role ${name}`);
    });
  withRemoteOptions(role.command('read').description('show a role').argument('<name>')).action(async (name: string, options: RemoteOptions) => {
    const data = await connectWithToken(options).read(`auth/token/roles/${name}`);
    if (formatOf(options) === 'json') context.output.json(data);
    else context.output.rows('table', ['key', 'value'], entryRows(data));
  });
  withRemoteOptions(role.command('list').description('names of all roles')).action(async (options: RemoteOptions) => printNames(context, options, await connectWithToken(options).list('auth/token/roles')));
  withRemoteOptions(role.command('delete').description('remove a role; its tokens stay and are not renewed any more').argument('<name>')).action(async (name: string, options: RemoteOptions) => {
    await connectWithToken(options).delete(`auth/token/roles/${name}`);
    context.output.note(`removed the token role ${name}`);
  });
}

/** Only what was named: the others keep their values. */
function roleBody(options: WriteOptions): object {
  return {
    allowed_policies: options.allow, allowed_policies_glob: options.allowGlob, disallowed_policies: options.disallow, disallowed_policies_glob: options.disallowGlob,
    allowed_entity_aliases: options.entityAlias, token_bound_cidrs: options.boundCidr, orphan: options.orphan, ...(options.renewable ? {} : { renewable: false }),
    ...(options.defaultPolicy ? {} : { token_no_default_policy: true }), token_period: options.period, token_explicit_max_ttl: options.explicitMaxTtl,
    token_num_uses: options.numUses === undefined ? undefined : wholeNumber('--num-uses', options.numUses), path_suffix: options.pathSuffix, token_type: options.type,
  };
}
