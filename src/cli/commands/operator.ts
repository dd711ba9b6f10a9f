// `purser init | unseal | seal | status | rotate`: the state of the core's seal. Shares are read from a prompt or stdin.

import type { Command } from 'commander';

import { PurserError } from '../../lib/errors.ts';
import { EXIT, type CommandContext } from '../context.ts';
import { connect, connectWithToken, formatOf, withRemoteOptions, type RemoteOptions } from '../remote.ts';
import { promptHidden, readStdin } from '../secret-input.ts';

interface InitOptions extends RemoteOptions { readonly shares: string; readonly threshold: string }
interface UnsealOptions extends RemoteOptions { readonly reset?: boolean }
interface SealStatus { readonly sealed: boolean; readonly initialized: boolean; readonly t: number; readonly n: number; readonly progress: number; readonly version: string; readonly storage_type: string }

/** Adds the operator commands. */
export function registerOperator(program: Command, context: CommandContext): void {
  withRemoteOptions(program.command('init').description('initialize a new core and print its unseal shares and root token, once'))
    .option('--shares <number>', 'how many shares', '5').option('--threshold <number>', 'how many of them unseal', '3')
    .action((options: InitOptions) => init(context, options));
  withRemoteOptions(program.command('unseal').description('give one unseal share').argument('[share]', '- reads it from standard input; without it a prompt asks'))
    .option('--reset', 'forget the shares given so far')
    .action((share: string | undefined, options: UnsealOptions) => unseal(context, share, options));
  withRemoteOptions(program.command('seal').description('forget the keys: nothing can be read until it is unsealed')).action(async (options: RemoteOptions) => {
    await connectWithToken(options).write('sys/seal', {});
    context.output.note('the core is sealed');
  });
  withRemoteOptions(program.command('status').description('seal state; exit code 3 when sealed')).action(async (options: RemoteOptions) => {
    report(context, options, (await connect(options).request('GET', 'sys/seal-status')).body as unknown as SealStatus);
  });
  withRemoteOptions(program.command('rotate').description('add a term to the keyring: new writes use a new data key')).action(async (options: RemoteOptions) => {
    await connectWithToken(options).write('sys/rotate', {});
    context.output.note('new writes are encrypted under a new key');
  });
}

async function init(context: CommandContext, options: InitOptions): Promise<void> {
  const format = formatOf(options);
  const body = { secret_shares: count('--shares', options.shares), secret_threshold: count('--threshold', options.threshold) };
  const result = (await connect(options).request('PUT', 'sys/init', body)).body as { keys_base64: string[]; root_token: string };
  if (format === 'json') { context.output.json(result); return; }
  result.keys_base64.forEach((share, index) => { context.output.line(`unseal share ${String(index + 1)}: ${share}`); });
  context.output.line(`root token: ${result.root_token}`);
  context.output.note(`keep the shares apart: any ${options.threshold} of them open the core, and nobody can make new ones without them`);
  context.output.note('purser: hint: give the shares with purser unseal, then purser login');
}

async function unseal(context: CommandContext, share: string | undefined, options: UnsealOptions): Promise<void> {
  const body = options.reset === true ? { reset: true } : { key: await readShare(context, share) };
  report(context, options, (await connect(options).request('PUT', 'sys/unseal', body)).body as unknown as SealStatus);
}

async function readShare(context: CommandContext, share: string | undefined): Promise<string> {
  if (share === undefined) return (await promptHidden('unseal share')).trim();
  if (share === '-') return (await readStdin()).trim();
  context.output.warn('the share stood on the command line, where other users and the shell history see it; leave it out and a prompt asks');
  return share;
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

function count(option: string, text: string): number {
  if (!/^\d{1,3}$/.test(text)) throw new PurserError('ERR_CLI_USAGE', `${option} takes a whole number`);
  return Number(text);
}
