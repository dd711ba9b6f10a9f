// `purser rotate`: the data keys of the barrier. `purser rekey` is about the shares instead.

import type { Command } from 'commander';

import { PurserError } from '../../lib/errors.ts';
import type { CommandContext } from '../context.ts';
import { entryRows } from '../output.ts';
import { connectWithToken, formatOf, withRemoteOptions, type RemoteOptions } from '../remote.ts';

interface ConfigOptions extends RemoteOptions { readonly interval?: string; readonly maxOperations?: string; readonly enable?: boolean; readonly disable?: boolean }

/** Adds `purser rotate …`. */
export function registerRotate(program: Command, context: CommandContext): void {
  const show = (options: RemoteOptions, data: object): void => {
    if (formatOf(options) === 'json') context.output.json(data);
    else context.output.rows('table', ['key', 'value'], entryRows(data as Record<string, unknown>));
  };
  const rotate = withRemoteOptions(program.command('rotate').description('add a term to the keyring: new writes use a new data key, and old records move to it in the background')).action(async (options: RemoteOptions) => {
    await connectWithToken(options).write('sys/rotate', {});
    context.output.note('new writes are encrypted under a new key; old records move to it in the background: purser rotate status');
  });
  withRemoteOptions(rotate.command('status').description('the active key: its term, its age, how much was encrypted under it, and whether all records have moved to it'))
    .action(async (options: RemoteOptions) => { show(options, await connectWithToken(options).read('sys/key-status')); });
  withRemoteOptions(rotate.command('config').description('when a new key comes by itself; without options shows it'))
    .option('--interval <duration>', 'at least 24h, or 0 for no limit of time').option('--max-operations <number>', 'at least 1000000')
    .option('--enable', 'rotate by itself').option('--disable', 'do not')
    .action(async (options: ConfigOptions) => {
      const client = connectWithToken(options);
      const change = changeOf(options);
      if (Object.keys(change).length > 0) await client.write('sys/rotate/config', change);
      show(options, await client.read('sys/rotate/config'));
    });
}

function changeOf({ interval, maxOperations, enable, disable }: ConfigOptions): object {
  if (enable === true && disable === true) throw new PurserError('ERR_CLI_USAGE', 'give one of --enable and --disable');
  return {
    ...(interval === undefined ? {} : { interval }), ...(maxOperations === undefined ? {} : { max_operations: maxOperations }),
    ...(enable === true ? { enabled: true } : disable === true ? { enabled: false } : {}),
  };
}
