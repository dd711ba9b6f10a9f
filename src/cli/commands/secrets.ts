// `purser secrets`: which engine answers below which path.

import type { Command } from 'commander';

import { PurserError } from '../../lib/errors.ts';
import type { CommandContext } from '../context.ts';
import { entryRows } from '../output.ts';
import { connectWithToken, formatOf, withRemoteOptions, type RemoteOptions } from '../remote.ts';

interface EnableOptions extends RemoteOptions { readonly path?: string; readonly description?: string }
interface TuneOptions extends RemoteOptions { readonly description?: string; readonly defaultLeaseTtl?: string; readonly maxLeaseTtl?: string; readonly listingVisibility?: string; readonly version?: string }

/** Adds `purser secrets …`. */
export function registerSecrets(program: Command, context: CommandContext): void {
  const secrets = program.command('secrets').description('secrets engines and where they are mounted');
  withRemoteOptions(secrets.command('list').description('show the engines and their paths')).action(async (options: RemoteOptions) => {
    const mounts = await connectWithToken(options).read('sys/mounts') as Record<string, { type: string; accessor: string; description: string; options: { version?: string } | null }>;
    if (formatOf(options) === 'json') { context.output.json(mounts); return; }
    context.output.rows('table', ['path', 'type', 'version', 'accessor', 'description'], Object.entries(mounts).map(([path, mount]) => ({ ...mount, options: undefined, path, version: mount.options?.version })));
  });
  withRemoteOptions(secrets.command('enable').description('let an engine answer at a path').argument('<type>', 'kv-v2 or kv')).option('--path <path>', 'default: the type').option('--description <text>')
    .action(async (type: string, options: EnableOptions) => {
      const path = bare(options.path ?? type.replace(/-v[12]$/, ''));
      await connectWithToken(options).write(`sys/mounts/${path}`, { type, description: options.description ?? '' });
      context.output.note(`${type} answers below ${path}/`);
    });
  withRemoteOptions(secrets.command('disable').description('remove an engine and everything in it').argument('<path>')).action(async (path: string, options: RemoteOptions) => {
    await connectWithToken(options).delete(`sys/mounts/${bare(path)}`);
    context.output.note(`removed what was below ${path}`);
  });
  withRemoteOptions(secrets.command('tune').description('change how an engine is tuned; without options shows it').argument('<path>'))
    .option('--description <text>').option('--default-lease-ttl <duration>', 'life of what it hands out').option('--max-lease-ttl <duration>')
    .option('--listing-visibility <visibility>', 'hidden or unauth').option('--version <number>', '2 gives the secrets of a kv engine versions')
    .action((path: string, options: TuneOptions) => tune(context, path, options));
  withRemoteOptions(secrets.command('move').description('let an engine answer at another path').argument('<from>').argument('<to>')).action(async (from: string, to: string, options: RemoteOptions) => {
    await connectWithToken(options).write('sys/remount', { from: bare(from), to: bare(to) });
    context.output.note(`what was below ${bare(from)}/ is below ${bare(to)}/`);
    context.output.note('purser: hint: references, policies and workload roles still name the old path: change them');
  });
}

async function tune(context: CommandContext, path: string, options: TuneOptions): Promise<void> {
  const client = connectWithToken(options);
  const change = {
    description: options.description, default_lease_ttl: options.defaultLeaseTtl, max_lease_ttl: options.maxLeaseTtl, listing_visibility: options.listingVisibility,
    ...(options.version === undefined ? {} : { options: { version: options.version } }),
  };
  const isChange = Object.values(change).some((value) => value !== undefined);
  if (isChange) await client.write(`sys/mounts/${bare(path)}/tune`, change);
  const tuned = await client.read(`sys/mounts/${bare(path)}/tune`);
  if (formatOf(options) === 'json') context.output.json(tuned);
  else context.output.rows('table', ['key', 'value'], entryRows(tuned));
}

/** A mount path as the API names it. @throws ERR_CLI_USAGE */
function bare(path: string): string {
  const name = path.replace(/^\/+|\/+$/g, '');
  if (name === '') throw new PurserError('ERR_CLI_USAGE', 'a mount needs a path');
  return name;
}
