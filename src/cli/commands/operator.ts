// `purser init | unseal | seal | status`: the state of the core's seal. Shares are read from a prompt or stdin.

import type { Command } from 'commander';

import { EXIT, type CommandContext } from '../context.ts';
import { connect, connectWithToken, formatOf, withRemoteOptions, type RemoteOptions } from '../remote.ts';
import { readSecretArgument } from '../secret-input.ts';
import { printShares, shareCount, SHARE_ARGUMENT } from '../shares.ts';

interface InitOptions extends RemoteOptions { readonly shares: string; readonly threshold: string }
interface UnsealOptions extends RemoteOptions { readonly reset?: boolean }
interface SealStatus { readonly sealed: boolean; readonly initialized: boolean; readonly t: number; readonly n: number; readonly progress: number; readonly version: string; readonly storage_type: string }

/** Adds the operator commands. */
export function registerOperator(program: Command, context: CommandContext): void {
  withRemoteOptions(program.command('init').description('initialize a new core and print its unseal shares and root token, once'))
    .option('--shares <number>', 'how many shares', '5').option('--threshold <number>', 'how many of them unseal', '3')
    .action((options: InitOptions) => init(context, options));
  withRemoteOptions(program.command('unseal').description('give one unseal share').argument('[share]', SHARE_ARGUMENT))
    .option('--reset', 'forget the shares given so far')
    .action((share: string | undefined, options: UnsealOptions) => unseal(context, share, options));
  withRemoteOptions(program.command('seal').description('forget the keys: nothing can be read until it is unsealed')).action(async (options: RemoteOptions) => {
    await connectWithToken(options).write('sys/seal', {});
    context.output.note('the core is sealed');
  });
  withRemoteOptions(program.command('status').description('seal state; exit code 3 when sealed')).action(async (options: RemoteOptions) => {
    report(context, options, (await connect(options).request('GET', 'sys/seal-status')).body as unknown as SealStatus);
  });
}

async function init(context: CommandContext, options: InitOptions): Promise<void> {
  const format = formatOf(options);
  const body = { secret_shares: shareCount('--shares', options.shares), secret_threshold: shareCount('--threshold', options.threshold) };
  const result = (await connect(options).request('PUT', 'sys/init', body)).body as { keys_base64: string[]; root_token: string };
  if (format === 'json') { context.output.json(result); return; }
  printShares(context.output, result.keys_base64);
  context.output.line(`root token: ${result.root_token}`);
  context.output.note(`keep the shares apart: any ${options.threshold} of them open the core, and nobody can make new ones without them`);
  context.output.note('purser: hint: give the shares with purser unseal, then purser login');
}

async function unseal(context: CommandContext, share: string | undefined, options: UnsealOptions): Promise<void> {
  const body = options.reset === true ? { reset: true } : { key: await readSecretArgument('unseal share', share, context.output) };
  report(context, options, (await connect(options).request('PUT', 'sys/unseal', body)).body as unknown as SealStatus);
}

function report(context: CommandContext, options: RemoteOptions, status: SealStatus): void {
  if (status.sealed) context.exit(EXIT.sealed);
  if (formatOf(options) === 'json') { context.output.json(status); return; }
  context.output.rows('table', ['key', 'value'], [
    { key: 'initialized', value: status.initialized }, { key: 'sealed', value: status.sealed },
    { key: 'shares', value: status.n }, { key: 'threshold', value: status.t }, { key: 'progress', value: `${String(status.progress)}/${String(status.t)}` },
    { key: 'version', value: status.version }, { key: 'storage', value: status.storage_type },
  ]);
}
