// `purser rekey init | share | verify | status | cancel`: new unseal shares. By default the new shares must be given back before the old
// ones lose their worth, so that an answer that got lost loses nothing.

import type { Command } from 'commander';

import type { CommandContext } from '../context.ts';
import { entryRows } from '../output.ts';
import { connectWithToken, formatOf, withRemoteOptions, type RemoteOptions } from '../remote.ts';
import { readSecretArgument } from '../secret-input.ts';
import { printShares, shareCount, SHARE_ARGUMENT } from '../shares.ts';

interface InitOptions extends RemoteOptions { readonly shares: string; readonly threshold: string; readonly verify: boolean }
interface ShareOptions extends RemoteOptions { readonly nonce?: string }
interface Progress {
  readonly started?: boolean; readonly nonce: string; readonly t: number; readonly n: number; readonly progress: number; readonly required?: number;
  readonly complete?: boolean; readonly keys_base64?: string[]; readonly verification_required?: boolean;
}

/** Adds `purser rekey …`. */
export function registerRekey(program: Command, context: CommandContext): void {
  const rekey = program.command('rekey').description('replace the unseal shares');
  withRemoteOptions(rekey.command('init').description('start: how many new shares, and how many of them unseal'))
    .option('--shares <number>', 'how many shares', '5').option('--threshold <number>', 'how many of them unseal', '3')
    .option('--no-verify', 'do not ask for the new shares before the old ones lose their worth')
    .action(async (options: InitOptions) => {
      const body = { secret_shares: shareCount('--shares', options.shares), secret_threshold: shareCount('--threshold', options.threshold), require_verification: options.verify };
      show(context, options, await call(options, 'PUT', 'sys/rekey/init', body));
      if (!options.verify) context.output.warn('if the answer with the new shares gets lost, the core cannot be unsealed any more');
      context.output.note('purser: hint: each holder of a share now runs purser rekey share');
    });
  withRemoteOptions(rekey.command('share').description('give one present share').argument('[share]', SHARE_ARGUMENT)).option('--nonce <nonce>', 'of the rekey (default: the one under way)')
    .action((share: string | undefined, options: ShareOptions) => give(context, share, options));
  withRemoteOptions(rekey.command('verify').description('give one new share back').argument('[share]', SHARE_ARGUMENT)).option('--nonce <nonce>', 'of the verification (default: the one under way)')
    .action((share: string | undefined, options: ShareOptions) => verify(context, share, options));
  withRemoteOptions(rekey.command('status').description('how many shares were given, and of what')).action(async (options: RemoteOptions) => { show(context, options, await call(options, 'GET', 'sys/rekey/init')); });
  withRemoteOptions(rekey.command('cancel').description('forget it; the present shares keep their worth')).action(async (options: RemoteOptions) => {
    await connectWithToken(options).delete('sys/rekey/init');
    context.output.note('no rekey is under way; the present shares unseal');
  });
}

async function give(context: CommandContext, share: string | undefined, options: ShareOptions): Promise<void> {
  const nonce = options.nonce ?? (await call(options, 'GET', 'sys/rekey/init')).nonce;
  const result = await call(options, 'PUT', 'sys/rekey/update', { nonce, key: await readSecretArgument('unseal share', share, context.output) });
  if (result.complete !== true || formatOf(options) === 'json') { show(context, options, result); return; }
  printShares(context.output, result.keys_base64 ?? []);
  if (result.verification_required === true) {
    context.output.note('these shares do not unseal yet, the old ones do');
    context.output.note('purser: hint: hand them out, then each holder runs purser rekey verify');
  } else {
    context.output.note('from now on these shares unseal, and the old ones do not; if the core unseals itself from a file, it replaced that file');
  }
}

async function verify(context: CommandContext, share: string | undefined, options: ShareOptions): Promise<void> {
  const nonce = options.nonce ?? (await call(options, 'GET', 'sys/rekey/verify')).nonce;
  const result = await call(options, 'PUT', 'sys/rekey/verify', { nonce, key: await readSecretArgument('new share', share, context.output) });
  if (result.complete === true && formatOf(options) === 'table') context.output.note('from now on the new shares unseal, and the old ones do not');
  else show(context, options, result);
}

async function call(options: RemoteOptions, method: 'GET' | 'PUT', path: string, body?: object): Promise<Progress> {
  return (await connectWithToken(options).request(method, path, body)).body as unknown as Progress;
}

function show(context: CommandContext, options: RemoteOptions, progress: Progress): void {
  if (formatOf(options) === 'json') { context.output.json(progress); return; }
  const { started, nonce, t: threshold, n: shares, progress: given, required, verification_required: needsVerification } = progress;
  context.output.rows('table', ['key', 'value'], entryRows({
    started: started ?? false, ...(nonce === '' ? {} : { nonce, new_shares: `${String(threshold)} of ${String(shares)}` }),
    progress: `${String(given)}/${String(required ?? threshold)}`, ...(needsVerification === undefined ? {} : { verification: needsVerification }),
  }));
}
