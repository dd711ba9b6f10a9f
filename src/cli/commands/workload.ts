// `purser workload`: roles that say which containers get which policies.

import type { Command } from 'commander';

import { PurserError } from '../../lib/errors.ts';
import type { CommandContext } from '../context.ts';
import { pairs, repeated } from '../option-values.ts';
import { connectWithToken, printNames, withRemoteOptions, type RemoteOptions } from '../remote.ts';

const SELECTORS = ['image', 'imageDigest', 'name', 'service', 'stack', 'node'] as const;
type Selector = (typeof SELECTORS)[number];
type WriteOptions = RemoteOptions & { readonly policy?: string[]; readonly label?: string[]; readonly any?: boolean; readonly identityAudience?: string[]; readonly identityTtl?: string } & { readonly [name in Selector]?: string[] };

/** Adds `purser workload …`. */
export function registerWorkload(program: Command, context: CommandContext): void {
  const workload = program.command('workload').description('which containers get which policies');
  const write = withRemoteOptions(workload.command('write').description('make or replace a role; all selectors must match, each may list alternatives, * is any text').argument('<name>'))
    .addOption(repeated('--policy <name>', 'policies its containers get'))
    .addOption(repeated('--identity-audience <audience>', 'to whom its containers may identify themselves (label purser.identity)'))
    .option('--identity-ttl <duration>', 'life of such an identity (default 10m)')
    .addOption(repeated('--label <key=value>')).option('--any', 'every container (instead of selectors)');
  for (const selector of SELECTORS) write.addOption(repeated(`--${snake(selector).replaceAll('_', '-')} <value>`));
  write.action(async (name: string, options: WriteOptions) => {
    await connectWithToken(options).write(`auth/node/role/${name}`, {
      policies: options.policy ?? [], selectors: selectorsOf(options), ...(options.any === true ? { any: true } : {}),
      ...(options.identityAudience === undefined ? {} : { identity_audiences: options.identityAudience }),
      ...(options.identityTtl === undefined ? {} : { identity_ttl: options.identityTtl }),
    });
    context.output.note(`wrote the workload role ${name}`);
  });
  withRemoteOptions(workload.command('read').description('show a role').argument('<name>')).action(async (name: string, options: RemoteOptions) => {
    context.output.json(await connectWithToken(options).read(`auth/node/role/${name}`));
  });
  withRemoteOptions(workload.command('list').description('names of all roles')).action(async (options: RemoteOptions) => printNames(context, options, await connectWithToken(options).list('auth/node/role')));
  withRemoteOptions(workload.command('delete').description('remove a role').argument('<name>')).action(async (name: string, options: RemoteOptions) => {
    await connectWithToken(options).delete(`auth/node/role/${name}`);
    context.output.note(`removed the workload role ${name}`);
  });
}

/** @throws ERR_CLI_USAGE for none without `any`, and for both */
function selectorsOf(options: WriteOptions): Record<string, unknown> {
  const selectors: Record<string, unknown> = {};
  for (const selector of SELECTORS) if (options[selector] !== undefined) selectors[snake(selector)] = options[selector];
  if (options.label !== undefined) selectors['label'] = labels(options.label);
  if ((Object.keys(selectors).length > 0) === (options.any === true)) {
    throw new PurserError('ERR_CLI_USAGE', 'a workload role needs selectors or --any, and not both', { hint: `such as --image 'registry/shop/*' --label team=shop` });
  }
  return selectors;
}

function labels(texts: readonly string[]): Record<string, string[]> {
  const result = new Map<string, string[]>();
  for (const [key, value] of pairs('--label', texts)) result.set(key, [...result.get(key) ?? [], value]);
  return Object.fromEntries(result);
}

function snake(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
