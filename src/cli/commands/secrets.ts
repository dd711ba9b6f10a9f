// `purser secrets`: which engine answers below which path.

import type { Command } from 'commander';

import type { CommandContext } from '../context.ts';
import { connectWithToken, formatOf, withRemoteOptions, type RemoteOptions } from '../remote.ts';

interface EnableOptions extends RemoteOptions { readonly path?: string; readonly description?: string }

/** Adds `purser secrets …`. */
export function registerSecrets(program: Command, context: CommandContext): void {
  const secrets = program.command('secrets').description('secrets engines and where they are mounted');
  withRemoteOptions(secrets.command('list')).action(async (options: RemoteOptions) => {
    const mounts = await connectWithToken(options).read('sys/mounts') as Record<string, { type: string; accessor: string; description: string; options: { version?: string } | null }>;
    if (formatOf(options) === 'json') { context.output.json(mounts); return; }
    context.output.rows('table', ['path', 'type', 'version', 'accessor', 'description'], Object.entries(mounts).map(([path, mount]) => ({ ...mount, options: undefined, path, version: mount.options?.version })));
  });
  withRemoteOptions(secrets.command('enable').argument('<type>', 'kv-v2')).option('--path <path>', 'default: the type').option('--description <text>')
    .action(async (type: string, options: EnableOptions) => {
      const path = (options.path ?? type.replace(/-v2$/, '')).replace(/\/+$/, '');
      await connectWithToken(options).write(`sys/mounts/${path}`, { type, description: options.description ?? '' });
      context.output.note(`${type} answers below ${path}/`);
    });
  withRemoteOptions(secrets.command('disable').description('remove an engine and everything in it').argument('<path>')).action(async (path: string, options: RemoteOptions) => {
    await connectWithToken(options).delete(`sys/mounts/${path.replace(/\/+$/, '')}`);
    context.output.note(`removed what was below ${path}`);
  });
}
