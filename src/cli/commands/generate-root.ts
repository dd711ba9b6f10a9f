// `purser generate-root init | share | decode | status | cancel`: a new root token by unseal shares. It comes back under the one-time
// password that `init` printed, so that only its starter can read it.

import type { Command } from 'commander';

import { PurserError } from '../../lib/errors.ts';
import { unpadText } from '../../lib/one-time-pad.ts';
import type { CommandContext } from '../context.ts';
import { entryRows } from '../output.ts';
import { connect, formatOf, withFormatOption, withRemoteOptions, type RemoteOptions } from '../remote.ts';
import { readSecretArgument } from '../secret-input.ts';
import { SHARE_ARGUMENT } from '../shares.ts';

interface ShareOptions extends RemoteOptions { readonly nonce?: string }
interface Attempt { readonly started: boolean; readonly nonce: string; readonly progress: number; readonly required: number; readonly complete: boolean; readonly encoded_token: string; readonly otp: string }

/** Adds `purser generate-root …`. Without a token it works on the host of a core that runs with --allow-generate-root. */
export function registerGenerateRoot(program: Command, context: CommandContext): void {
  const generate = program.command('generate-root').description('make a root token with unseal shares');
  withRemoteOptions(generate.command('init').description('start, and print the one-time password that covers the token'))
    .action(async (options: RemoteOptions) => {
      const attempt = await call(options, 'PUT', 'sys/generate-root/attempt', {});
      if (formatOf(options) === 'json') { context.output.json(attempt); return; }
      context.output.line(`one-time password: ${attempt.otp}`);
      context.output.line(`nonce: ${attempt.nonce}`);
      context.output.note(`keep the password to yourself; ${String(attempt.required)} holders of a share now run purser generate-root share`);
    });
  withRemoteOptions(generate.command('share').description('give one unseal share').argument('[share]', SHARE_ARGUMENT)).option('--nonce <nonce>', 'of the attempt (default: the one under way)')
    .action((share: string | undefined, options: ShareOptions) => give(context, share, options));
  withFormatOption(generate.command('decode').description('uncover the token; prints it')).argument('<encoded>').argument('[password]', SHARE_ARGUMENT)
    .action(async (encoded: string, password: string | undefined, options: RemoteOptions) => {
      const token = unpadText(encoded, await readSecretArgument('one-time password', password, context.output));
      if (formatOf(options) === 'json') context.output.json({ token });
      else context.output.line(token);
    });
  withRemoteOptions(generate.command('status').description('how many shares were given')).action(async (options: RemoteOptions) => { show(context, options, await call(options, 'GET', 'sys/generate-root/attempt')); });
  withRemoteOptions(generate.command('cancel').description('forget it and the shares given so far')).action(async (options: RemoteOptions) => {
    await connect(options).delete('sys/generate-root/attempt');
    context.output.note('no root token is being made');
  });
}

async function give(context: CommandContext, share: string | undefined, options: ShareOptions): Promise<void> {
  const nonce = options.nonce ?? (await call(options, 'GET', 'sys/generate-root/attempt')).nonce;
  if (nonce === '') throw new PurserError('ERR_SEAL_ATTEMPT', 'no root generation in progress', { hint: 'start one with purser generate-root init' });
  const attempt = await call(options, 'PUT', 'sys/generate-root/update', { nonce, key: await readSecretArgument('unseal share', share, context.output) });
  if (!attempt.complete || formatOf(options) === 'json') { show(context, options, attempt); return; }
  context.output.line(`encoded token: ${attempt.encoded_token}`);
  context.output.note('purser: hint: whoever holds the one-time password runs purser generate-root decode and then revokes the token after its use');
}

async function call(options: RemoteOptions, method: 'GET' | 'PUT', path: string, body?: object): Promise<Attempt> {
  return (await connect(options).request(method, path, body)).body as unknown as Attempt;
}

function show(context: CommandContext, options: RemoteOptions, attempt: Attempt): void {
  if (formatOf(options) === 'json') { context.output.json(attempt); return; }
  const { started, nonce, progress, required } = attempt;
  context.output.rows('table', ['key', 'value'], entryRows({ started, ...(nonce === '' ? {} : { nonce }), progress: `${String(progress)}/${String(required)}` }));
}
