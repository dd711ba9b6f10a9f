// `purser usage`: which containers use which secrets, in which version.

import type { Command } from 'commander';

import { PurserError } from '../../lib/errors.ts';
import type { CommandContext } from '../context.ts';
import type { Format } from '../output.ts';
import { connectWithToken, formatOf, withRemoteOptions, type RemoteOptions } from '../remote.ts';

interface UsageOptions extends RemoteOptions { readonly secret?: string; readonly container?: string; readonly node?: string; readonly unused?: boolean; readonly all?: boolean }
interface Holding {
  readonly node: string; readonly container_id: string; readonly container: string; readonly image: string; readonly service?: string; readonly path: string; readonly field?: string; readonly target: string;
  readonly version: number; readonly granted_time: string; readonly released_time: string | null; readonly opens: number; readonly last_opened_time: string | null; readonly refused: number;
  readonly on_rotate?: { readonly action: string; readonly outcome: 'done' | 'failed'; readonly exit_code?: number; readonly attempt: number; readonly message?: string };
  readonly processes: readonly { readonly executable: string; readonly name: string; readonly uid: number; readonly pid: number; readonly count: number }[];
}

const FORMATS: readonly Format[] = ['table', 'json', 'csv'];
const COLUMNS = ['secret', 'version', 'container', 'image', 'node', 'service', 'state', 'opens', 'last_opened', 'read_by', 'on_rotate'] as const;

/** Adds `purser usage`. */
export function registerUsage(program: Command, context: CommandContext): void {
  withRemoteOptions(program.command('usage').description('which containers use which secrets'), FORMATS)
    .option('--secret <path>', 'who uses this secret').option('--container <name-or-id>', 'what this container uses')
    .option('--node <name>', 'what this node holds').option('--unused', 'secrets that no container uses')
    .option('--all', 'also what was released')
    .action((options: UsageOptions) => usage(context, options));
}

async function usage(context: CommandContext, options: UsageOptions): Promise<void> {
  const format = formatOf(options, FORMATS);
  const filters = { secret: options.secret, container: options.container, node: options.node, unused: options.unused === true ? 'true' : undefined, released: options.all === true ? 'true' : undefined };
  if ([options.secret, options.container, options.node, options.unused].filter((filter) => filter !== undefined).length > 1) {
    throw new PurserError('ERR_CLI_USAGE', 'give one of --secret, --container, --node, --unused');
  }
  const query = Object.fromEntries(Object.entries(filters).filter((filter): filter is [string, string] => filter[1] !== undefined));
  const data = await connectWithToken(options).read('sys/usage', query) as { holdings?: Holding[]; unused?: string[] };
  if (data.unused !== undefined) {
    context.output.rows(format, ['secret'], data.unused.map((secret) => ({ secret })));
  } else if (format === 'json') {
    context.output.json(data.holdings);
  } else {
    context.output.rows(format, COLUMNS, (data.holdings ?? []).map(asRow));
  }
}

function asRow(holding: Holding): Record<(typeof COLUMNS)[number], string | number | undefined> {
  return {
    secret: holding.field === undefined ? holding.path : `${holding.path}#${holding.field}`,
    version: holding.version,
    container: `${holding.container} (${holding.container_id.slice(0, 12)})`,
    image: holding.image, node: holding.node, service: holding.service,
    state: holding.released_time === null ? 'held' : `released ${holding.released_time}`,
    opens: holding.opens, last_opened: holding.last_opened_time ?? 'never',
    read_by: holding.processes.map((process) => `${process.executable || process.name} (uid ${String(process.uid)})`).filter((name, index, all) => all.indexOf(name) === index).join(' '),
    on_rotate: holding.on_rotate === undefined ? undefined : describeAction(holding.on_rotate),
  };
}

/** `exec:nginx: exit 1 (attempt 3)`, `signal:HUP: done`. */
function describeAction({ action, outcome, exit_code: code, attempt, message }: NonNullable<Holding['on_rotate']>): string {
  const result = outcome === 'done' ? 'done' : code === undefined ? message ?? 'failed' : `exit ${String(code)}`;
  return `${action}: ${result}${attempt === 1 ? '' : ` (attempt ${String(attempt)})`}`;
}
