// `purser lease`: secrets that the core takes back, and tokens, which are leases too.

import type { Command } from 'commander';

import { PurserError } from '../../lib/errors.ts';
import { entryRows, textOf } from '../output.ts';
import type { CommandContext } from '../context.ts';
import { connectWithToken, formatOf, printNames, withRemoteOptions, type RemoteOptions } from '../remote.ts';

interface ListOptions extends RemoteOptions { readonly irrevocable?: boolean }
interface RenewOptions extends RemoteOptions { readonly increment?: string }
interface RevokeOptions extends RemoteOptions { readonly prefix?: boolean; readonly force?: boolean; readonly sync?: boolean }

/** Adds `purser lease …`. */
export function registerLease(program: Command, context: CommandContext): void {
  const lease = program.command('lease').description('secrets with an end, and tokens');
  withRemoteOptions(lease.command('lookup').description('show a lease').argument('<id>')).action(async (id: string, options: RemoteOptions) => {
    const data = await connectWithToken(options).write('sys/leases/lookup', { lease_id: id });
    if (formatOf(options) === 'json') context.output.json(data);
    else context.output.rows('table', ['key', 'value'], entryRows(data));
  });
  withRemoteOptions(lease.command('list').description('list leases below a path').argument('[prefix]', 'such as database/creds/app'))
    .option('--irrevocable', 'only those that their engine refuses to revoke, with the reason')
    .action((prefix: string | undefined, options: ListOptions) => list(context, prefix, options));
  withRemoteOptions(lease.command('renew').description('extend a lease').argument('<id>')).option('--increment <duration>', 'from now; default: what it got at first')
    .action(async (id: string, options: RenewOptions) => {
      const { body } = await connectWithToken(options).request('POST', 'sys/leases/renew', { lease_id: id, ...(options.increment === undefined ? {} : { increment: options.increment }) });
      const { lease_id, lease_duration, renewable } = body;
      if (formatOf(options) === 'json') context.output.json({ lease_id, lease_duration, renewable });
      else context.output.note(`renewed for ${textOf(lease_duration)} s`);
    });
  withRemoteOptions(lease.command('revoke').description('end a lease, or all below a path').argument('<id-or-prefix>'))
    .option('--prefix', 'all leases below this path').option('--force', 'with --prefix: forget those that their engine refuses to revoke').option('--sync', 'wait until it is done')
    .action((target: string, options: RevokeOptions) => revoke(context, target, options));
  withRemoteOptions(lease.command('tidy').description('end the leases of tokens that are gone')).action(async (options: RemoteOptions) => {
    await connectWithToken(options).write('sys/leases/tidy');
    context.output.note('tidying in the background');
  });
}

async function list(context: CommandContext, prefix: string | undefined, options: ListOptions): Promise<void> {
  const client = connectWithToken(options);
  if (options.irrevocable === true) {
    const { leases } = await client.read('sys/leases', { type: 'irrevocable' }) as { leases: { lease_id: string; error: string }[] };
    context.output.rows(formatOf(options), ['lease_id', 'error'], leases);
    return;
  }
  const names = await client.list(`sys/leases/lookup/${prefix ?? ''}`.replace(/\/+$/, ''));
  printNames(context, options, names);
}

async function revoke(context: CommandContext, target: string, options: RevokeOptions): Promise<void> {
  if (options.force === true && options.prefix !== true) throw new PurserError('ERR_CLI_USAGE', '--force goes with --prefix');
  const client = connectWithToken(options);
  const sync = options.sync === true;
  const path = target.replace(/\/+$/, '');
  if (options.force === true) await client.write(`sys/leases/revoke-force/${path}`);
  else if (options.prefix === true) await client.write(`sys/leases/revoke-prefix/${path}`, { sync });
  else await client.write('sys/leases/revoke', { lease_id: target, sync });
  context.output.note(sync || options.force === true ? 'revoked' : 'ordered; it is done within seconds');
}
