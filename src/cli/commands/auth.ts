// `purser auth`: which methods let users and machines log in, and how they are tuned; who is locked out.

import type { Command } from 'commander';

import { PurserError } from '../../lib/errors.ts';
import type { CoreClient } from '../../client/core-client.ts';
import type { CommandContext } from '../context.ts';
import { connectWithToken, formatOf, withRemoteOptions, type RemoteOptions } from '../remote.ts';

interface Method { readonly type: string; readonly accessor: string; readonly description: string; readonly config: { readonly default_lease_ttl: number; readonly max_lease_ttl: number } }
interface TuneOptions extends RemoteOptions {
  readonly description?: string; readonly defaultLeaseTtl?: string; readonly maxLeaseTtl?: string; readonly tokenType?: string; readonly listingVisibility?: string;
  readonly userLockoutThreshold?: string; readonly userLockoutDuration?: string; readonly userLockoutCounterResetDuration?: string; readonly userLockoutDisable?: string | true;
}
interface EnableOptions extends TuneOptions { readonly path?: string }
interface LockedUsers { readonly by_namespace: readonly { readonly mount_accessors: readonly { readonly mount_accessor: string; readonly alias_identifiers: readonly string[] }[] }[] }

/** Adds `purser auth …`. */
export function registerAuth(program: Command, context: CommandContext): void {
  const auth = program.command('auth').description('auth methods: how users and machines log in');
  withRemoteOptions(auth.command('list').description('show the methods and their paths')).action(async (options: RemoteOptions) => {
    const methods = await methodsOf(connectWithToken(options));
    if (formatOf(options) === 'json') { context.output.json(methods); return; }
    context.output.rows('table', ['path', 'type', 'accessor', 'default_ttl', 'max_ttl', 'description'], Object.entries(methods).map(([path, { type, accessor, description, config }]) =>
      ({ path, type, accessor, default_ttl: shownTtl(config.default_lease_ttl), max_ttl: shownTtl(config.max_lease_ttl), description })));
  });
  withTuneOptions(auth.command('enable').description('let a method log in').argument('<type>', 'userpass, approle, …')).option('--path <path>', 'default: the type')
    .action(async (type: string, options: EnableOptions) => {
      const path = pathOf(options.path ?? type);
      const { description, ...config } = tuneBody(options);
      await connectWithToken(options).write(`sys/auth/${path}`, { type, description: description ?? '', config });
      context.output.note(`${type} logs in at auth/${path}/`);
    });
  withRemoteOptions(auth.command('disable').description('remove a method with all its users or roles; tokens of its logins end').argument('<path>'))
    .action(async (path: string, options: RemoteOptions) => {
      await connectWithToken(options).delete(`sys/auth/${pathOf(path)}`);
      context.output.note(`removed auth/${pathOf(path)}/ and ended its tokens`);
    });
  withTuneOptions(auth.command('tune').description('change a method: lengths of life, lockout').argument('<path>'))
    .action(async (path: string, options: TuneOptions) => {
      const body = tuneBody(options);
      if (Object.keys(body).length === 0) throw new PurserError('ERR_CLI_USAGE', 'there is nothing to change', { hint: 'see purser auth tune --help' });
      await connectWithToken(options).write(`sys/auth/${pathOf(path)}/tune`, body);
      context.output.note(`tuned auth/${pathOf(path)}/`);
    });
  withRemoteOptions(auth.command('locked').description('names that failed to log in too often')).action((options: RemoteOptions) => listLocked(context, options));
  withRemoteOptions(auth.command('unlock').description('let a locked name log in again').argument('<path>', 'of the method').argument('<name>', 'as purser auth locked shows it'))
    .action(async (path: string, name: string, options: RemoteOptions) => {
      const client = connectWithToken(options);
      const method = (await methodsOf(client))[`${pathOf(path)}/`];
      if (method === undefined) throw new PurserError('ERR_CLI_USAGE', `there is no method at ${pathOf(path)}`, { hint: 'purser auth list shows them' });
      await client.write(`sys/locked-users/${method.accessor}/unlock/${name}`);
      context.output.note(`unlocked ${name}`);
    });
}

async function listLocked(context: CommandContext, options: RemoteOptions): Promise<void> {
  const client = connectWithToken(options);
  const [methods, locked] = await Promise.all([methodsOf(client), client.read('sys/locked-users') as unknown as Promise<LockedUsers>]);
  const paths = new Map(Object.entries(methods).map(([path, { accessor }]) => [accessor, path]));
  const rows = locked.by_namespace.flatMap(({ mount_accessors: mounts }) => mounts.flatMap(({ mount_accessor: accessor, alias_identifiers: names }) =>
    names.map((name) => ({ path: paths.get(accessor) ?? accessor, name }))));
  context.output.rows(formatOf(options), ['path', 'name'], rows);
}

async function methodsOf(client: CoreClient): Promise<Record<string, Method>> {
  return await client.read('sys/auth') as unknown as Record<string, Method>;
}

function withTuneOptions(command: Command): Command {
  return withRemoteOptions(command)
    .option('--description <text>').option('--default-lease-ttl <duration>', 'life of its tokens; -1: the system’s').option('--max-lease-ttl <duration>', 'longest life of its tokens; -1: the system’s')
    .option('--token-type <type>').option('--listing-visibility <value>', 'unauth or hidden')
    .option('--user-lockout-threshold <number>', 'failures that lock a name (5)').option('--user-lockout-duration <duration>', 'how long (15m)')
    .option('--user-lockout-counter-reset-duration <duration>', 'after which failures are forgotten (15m)').option('--user-lockout-disable [boolean]', 'lock nobody');
}

function tuneBody(options: TuneOptions): Record<string, unknown> {
  const lockout = given({
    lockout_threshold: options.userLockoutThreshold, lockout_duration: options.userLockoutDuration,
    lockout_counter_reset_duration: options.userLockoutCounterResetDuration, lockout_disable: options.userLockoutDisable,
  });
  return given({
    description: options.description, default_lease_ttl: options.defaultLeaseTtl, max_lease_ttl: options.maxLeaseTtl, token_type: options.tokenType,
    listing_visibility: options.listingVisibility, user_lockout_config: Object.keys(lockout).length === 0 ? undefined : lockout,
  });
}

function given(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

/** Without `auth/`, which Vault's users write or leave out. */
function pathOf(path: string): string {
  return path.replace(/^\/?(?:auth\/)?/, '').replace(/\/+$/, '');
}

function shownTtl(seconds: number): string {
  return seconds === 0 ? 'system' : `${seconds}s`;
}
