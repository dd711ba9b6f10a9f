// `purser usage`: which containers use which secrets, who read them, what was refused, and how far a rotation is. Every question is
// one of the server's (`sys/usage`), so it works remotely and under policy.

import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';

import type { CoreClient } from '../../client/core-client.ts';
import { PurserError } from '../../lib/errors.ts';
import type { CommandContext } from '../context.ts';
import type { Format } from '../output.ts';
import { connectWithToken, formatOf, withRemoteOptions, type RemoteOptions } from '../remote.ts';
import { VIEWS, type View } from './usage-views.ts';

const FILTERS = ['secret', 'container', 'node', 'service'] as const;
const QUESTIONS = ['history', 'activity', 'denied', 'processes', 'stale', 'unused', 'rotations', 'matrix', 'roles'] as const;
type Question = (typeof QUESTIONS)[number];

type UsageOptions = RemoteOptions & { readonly [K in (typeof FILTERS)[number]]?: string } & { readonly [K in Question]?: boolean } & {
  readonly all?: boolean; readonly unread?: boolean; readonly since?: string; readonly until?: string; readonly step?: string; readonly type?: string; readonly limit: string; readonly watch?: string | true; readonly hcl?: boolean;
};

const FORMATS: readonly Format[] = ['table', 'json', 'csv'];
const DEFAULT_LIMIT = '10000';
/** Of one request; more rows are asked for page by page. */
const PAGE = 10_000;
const WATCH_SECONDS = 2;

/** What a question takes beside its filters. */
const TAKES: Readonly<Record<Question | 'holdings', readonly string[]>> = {
  holdings: [...FILTERS, 'all', 'unread', 'since', 'until'], history: [...FILTERS, 'since', 'until', 'type'], activity: ['since', 'until', 'step'], denied: [...FILTERS, 'since', 'until'], processes: [...FILTERS, 'all', 'since', 'until'],
  stale: FILTERS, unused: ['since'], rotations: [], matrix: [], roles: ['since', 'all', 'hcl'],
};

/** Adds `purser usage`. */
export function registerUsage(program: Command, context: CommandContext): void {
  withRemoteOptions(program.command('usage').description('which containers use which secrets, who read them, and what was refused'), FORMATS)
    .option('--secret <path>', 'about this secret').option('--container <name-or-id>', 'about this container')
    .option('--node <name>', 'about this node').option('--service <name>', 'about this Swarm service')
    .option('--all', 'also what was released; with --roles, also roles that are not too wide').option('--unread', 'only what was granted and never read')
    .option('--since <time>', 'from then on: 2026-01-31T00:00:00Z, or so long ago: 24h, 30d').option('--until <time>', 'up to then')
    .option('--history', 'what happened, newest first').option('--type <types>', 'with --history: granted, opened, refused, rotated, action, released, denied')
    .option('--activity', 'how much was read and refused, step by step').option('--step <duration>', 'with --activity: 5m, 15m, 1h, 6h, 24h')
    .option('--denied', 'refused containers, services and reads').option('--processes', 'which programs read it, or tried to')
    .option('--stale', 'containers that still hold an old version').option('--rotations', 'rotations under way')
    .option('--unused', 'secrets that no container uses, or has used since --since').option('--matrix', 'secrets and the services that hold them')
    .option('--roles', 'workload roles that grant more than is used').option('--hcl', 'with --roles: print the tighter policies')
    .option('--limit <rows>', 'at most so many rows', DEFAULT_LIMIT)
    .option('--watch [seconds]', 'ask again and again')
    .action((options: UsageOptions) => usage(context, options));
}

async function usage(context: CommandContext, options: UsageOptions): Promise<void> {
  const format = formatOf(options, FORMATS);
  const question = questionOf(options);
  const limit = numberOf(options.limit, '--limit');
  const client = connectWithToken(options);
  const show = async () => print(context, format, question, options, await ask(client, question, queryOf(question, options), limit));
  await show();
  if (options.watch === undefined) return;
  const seconds = options.watch === true ? WATCH_SECONDS : numberOf(options.watch, '--watch');
  for (;;) {
    await sleep(seconds * 1000);
    context.output.clear();
    await show();
  }
}

function questionOf(options: UsageOptions): Question | 'holdings' {
  const asked = QUESTIONS.filter((question) => options[question] === true);
  if (asked.length > 1) throw new PurserError('ERR_CLI_USAGE', `give one of ${asked.map((question) => `--${question}`).join(' and ')}`);
  const question = asked[0] ?? 'holdings';
  const given = [...FILTERS, 'all', 'unread', 'since', 'until', 'step', 'type', 'hcl'].filter((name) => options[name as keyof UsageOptions] !== undefined);
  const wrong = given.find((name) => !TAKES[question].includes(name));
  if (wrong !== undefined) throw new PurserError('ERR_CLI_USAGE', question === 'holdings' ? `--${wrong} belongs to another question` : `--${question} does not take --${wrong}`, { hint: `it goes with ${takers(wrong)}` });
  const filters = FILTERS.filter((filter) => options[filter] !== undefined);
  const mayCombine = question === 'history' || question === 'denied';
  if (filters.length > 1 && !mayCombine) throw new PurserError('ERR_CLI_USAGE', `give one of ${filters.map((filter) => `--${filter}`).join(' and ')}`);
  return question;
}

function takers(option: string): string {
  return QUESTIONS.filter((question) => TAKES[question].includes(option)).map((question) => `--${question}`).join(', ');
}

function queryOf(question: Question | 'holdings', options: UsageOptions): Record<string, string> {
  const query: Record<string, string | undefined> = Object.fromEntries(FILTERS.map((filter) => [filter, options[filter]]));
  Object.assign(query, { since: options.since, until: options.until, step: options.step, type: options.type, unread: options.unread === true ? 'true' : undefined });
  if (options.all === true) query[question === 'roles' ? 'all' : 'released'] = 'true';
  return Object.fromEntries(Object.entries(query).filter((entry): entry is [string, string] => entry[1] !== undefined));
}

interface Answer { readonly items: readonly unknown[]; readonly isCut: boolean }

/** All pages, up to `limit` rows. */
async function ask(client: CoreClient, question: Question | 'holdings', query: Record<string, string>, limit: number): Promise<Answer> {
  const { path, list } = viewOf(question);
  const isWhole = ['rotations', 'matrix', 'activity'].includes(question);
  const items: unknown[] = [];
  let next: string | undefined;
  do {
    const page = isWhole ? {} : { limit: String(Math.min(PAGE, limit - items.length)), ...(next === undefined ? {} : { after: next }) };
    const data = await client.read(['sys/usage', path].filter((part) => part !== '').join('/'), { ...query, ...page }) as Record<string, unknown>;
    items.push(...data[list] as readonly unknown[]);
    next = data['next'] as string | undefined;
  } while (next !== undefined && items.length < limit);
  return { items: items.slice(0, limit), isCut: next !== undefined || items.length > limit };
}

function viewOf(question: Question | 'holdings'): View {
  return question === 'denied' ? { ...VIEWS.history, path: 'denied' } : VIEWS[question];
}

function print({ output }: CommandContext, format: Format, question: Question | 'holdings', options: UsageOptions, { items, isCut }: Answer): void {
  const { columns, row } = viewOf(question);
  if (options.hcl === true) for (const { role, suggested_policy: policy } of items as readonly { role: string; suggested_policy: string }[]) output.line(`# ${role}\n${policy}`);
  else if (format === 'json') output.json(items);
  else output.rows(format, columns, items.map((item) => row(item as never)));
  const asked = FILTERS.find((filter) => options[filter] !== undefined);
  if (items.length === 0 && format === 'table' && asked !== undefined) output.note(`purser: nothing is on record about the ${asked} ${options[asked] ?? ''}`);
  if (isCut) output.note(`purser: there is more than these ${String(items.length)} rows: narrow the question, or give a larger --limit`);
}

function numberOf(text: string, option: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new PurserError('ERR_CLI_USAGE', `${option} takes a whole number above 0`);
  return Number(text);
}
