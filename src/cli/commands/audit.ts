// `purser audit`: the devices, and what they recorded. search and tail ask the core, so they work from anywhere under policy; verify
// asks the core too, or proves files alone with an exported key where no core runs.

import type { Command } from 'commander';

import type { ChainReport } from '../../audit/verify-files.ts';
import { PurserError } from '../../lib/errors.ts';
import { writeFileAtomic } from '../../lib/atomic-file.ts';
import { EXIT, type CommandContext } from '../context.ts';
import { textOf, type Row } from '../output.ts';
import { connectWithToken, formatOf, withRemoteOptions, type RemoteOptions } from '../remote.ts';
import { promptHidden, readStdin, readValueFile } from '../secret-input.ts';

interface EnableOptions extends RemoteOptions { readonly path?: string; readonly description?: string }
interface FilterOptions extends RemoteOptions {
  readonly device?: string; readonly path?: string; readonly secret?: string; readonly accessor?: string; readonly node?: string;
  readonly operation?: string; readonly trace?: string; readonly outcome?: string; readonly all?: boolean;
}
interface SearchOptions extends FilterOptions { readonly since?: string; readonly until?: string; readonly limit?: string; readonly file?: string }
interface VerifyOptions extends RemoteOptions { readonly device?: string; readonly key?: string }
interface KeyOptions extends RemoteOptions { readonly out?: string }

const COLUMNS = ['time', 'outcome', 'operation', 'path', 'who', 'node', 'from', 'error'];
const PAGE = 500;
const DEFAULT_LIMIT = 100;

/** Adds `purser audit …`. */
export function registerAudit(program: Command, context: CommandContext): void {
  const audit = program.command('audit').description('audit devices, and what they recorded');
  withRemoteOptions(audit.command('list').description('show the devices')).action((options: RemoteOptions) => list(context, options));
  withRemoteOptions(audit.command('enable').description('record every request there too').argument('<type>', 'file, socket or syslog').argument('[options...]', 'such as file_path=second.log, address=logs:514'))
    .option('--path <name>', 'name of the device (default: the type)').option('--description <text>')
    .action((type: string, pairs: string[], options: EnableOptions) => enable(context, type, pairs, options));
  withRemoteOptions(audit.command('disable').description('stop recording there; its files and its chain stay').argument('<name>')).action(async (name: string, options: RemoteOptions) => {
    await connectWithToken(options).delete(`sys/audit/${nameOf(name)}`);
    context.output.note(`${nameOf(name)} records nothing any more`);
  });
  withRemoteOptions(audit.command('hash').description('how a value looks in a device\'s log').argument('<device>').argument('[value]', '- reads standard input; without it a prompt asks'))
    .action((device: string, value: string | undefined, options: RemoteOptions) => hash(context, device, value, options));
  withRemoteOptions(audit.command('key').description('export what proves a file without the core').argument('<device>')).requiredOption('--out <file>', 'written with mode 0600')
    .action((device: string, options: KeyOptions) => exportKey(context, device, options));
  withRemoteOptions(audit.command('verify').description('prove that nothing was cut or changed: the core\'s own files, or FILES with --key').argument('[files...]'))
    .option('--device <name>', 'default: file').option('--key <file>', 'from purser audit key; proves without asking the core')
    .action((files: string[], options: VerifyOptions) => verify(context, files, options));
  withFilters(audit.command('search').description('find entries, the newest first'))
    .option('--since <time>', 'such as 2h, or 2026-01-31T12:00:00Z').option('--until <time>').option('--limit <number>', 'at most that many', String(DEFAULT_LIMIT)).option('--file <name>', 'a rotated file')
    .action((options: SearchOptions) => search(context, options));
  withFilters(audit.command('tail').description('show entries as they are written')).action((options: FilterOptions) => tail(context, options));
}

function withFilters(command: Command): Command {
  return withRemoteOptions(command)
    .option('--secret <path>', 'everything about this secret, by nodes too').option('--path <path>', 'API path, or its beginning with * at the end').option('--accessor <accessor>', 'by this token')
    .option('--node <name>', 'by this node').option('--operation <name>', 'read, update, …').option('--trace <id>', 'the trace id of a line in the log of an agent').option('--outcome <outcome>', 'ok, denied or failed')
    .option('--all', 'request entries and markers too').option('--device <name>', 'default: the first file');
}

function queryOf({ device, path, secret, accessor, node, operation, trace, outcome, all }: FilterOptions): Record<string, string | undefined> {
  return { device, path, secret, accessor, node, operation, trace, outcome, all: all === true ? 'true' : undefined };
}

async function list(context: CommandContext, options: RemoteOptions): Promise<void> {
  const format = formatOf(options);
  const devices = await connectWithToken(options).read('sys/audit') as Record<string, { type: string; description: string; options: Record<string, string> }>;
  if (format === 'json') { context.output.json(devices); return; }
  context.output.rows('table', ['path', 'type', 'description', 'options'], Object.entries(devices).map(([path, device]) => ({
    path, type: device.type, description: device.description, options: Object.entries(device.options).map(([key, value]) => `${key}=${value}`).join(' '),
  })));
}

async function enable(context: CommandContext, type: string, pairs: readonly string[], options: EnableOptions): Promise<void> {
  const given = Object.fromEntries(pairs.map((pair) => {
    const split = pair.indexOf('=');
    if (split < 1) throw new PurserError('ERR_CLI_USAGE', 'an option is written name=value');
    return [pair.slice(0, split), pair.slice(split + 1)];
  }));
  const name = nameOf(options.path ?? type);
  await connectWithToken(options).write(`sys/audit/${name}`, { type, description: options.description ?? '', options: given });
  context.output.note(`every request is recorded by ${name} too`);
}

async function hash(context: CommandContext, device: string, value: string | undefined, options: RemoteOptions): Promise<void> {
  if (value !== undefined && value !== '-') context.output.warn('the value stood on the command line, where other users and the shell history see it; use -');
  const input = value === undefined ? await promptHidden('value') : value === '-' ? (await readStdin()).replace(/\r?\n$/, '') : value;
  context.output.line(textOf((await connectWithToken(options).write(`sys/audit-hash/${nameOf(device)}`, { input }))['hash']));
}

async function exportKey(context: CommandContext, device: string, options: KeyOptions): Promise<void> {
  const { chain_key: key } = await connectWithToken(options).read(`sys/audit/key/${nameOf(device)}`);
  await writeFileAtomic(options.out ?? '', `${textOf(key)}\n`, { mode: 0o600 });
  context.output.note(`wrote ${options.out ?? ''}; whoever has it can also forge the file, so keep it away from the host of the core`);
}

async function verify(context: CommandContext, files: readonly string[], options: VerifyOptions): Promise<void> {
  const format = formatOf(options);
  if (files.length > 0 && options.key === undefined) throw new PurserError('ERR_CLI_USAGE', 'to prove files, --key is needed', { hint: 'purser audit key <device> --out FILE exports it' });
  if (files.length === 0 && options.key !== undefined) throw new PurserError('ERR_CLI_USAGE', '--key needs the files to prove');
  const report = options.key === undefined
    ? await connectWithToken(options).read(`sys/audit/verify/${nameOf(options.device ?? 'file')}`, undefined, { timeoutMs: 3_600_000 }) as unknown as ChainReport
    : await verifyHere(files, options.key);
  if (format === 'json') context.output.json(report);
  else show(context, report);
  if (!report.isSound) context.exit(EXIT.failed);
}

async function verifyHere(files: readonly string[], keyFile: string): Promise<ChainReport> {
  const key = Buffer.from(readValueFile(keyFile).trim(), 'base64');
  if (key.length !== 32) throw new PurserError('ERR_CLI_USAGE', `${keyFile} is no key of an audit device`, { hint: 'purser audit key <device> --out FILE exports it' });
  const { verifyFiles } = await import('../../audit/verify-files.ts');
  return verifyFiles(files, key);
}

function show(context: CommandContext, { files, gaps, sound, isSound }: ChainReport): void {
  context.output.rows('table', ['file', 'from', 'to', 'lines', 'torn', 'problem'], files.map(({ file, from, to, lines, torn, problem, unreadable }) => ({
    file, from, to, lines, torn, problem: unreadable ?? (problem === undefined ? '' : `${problem.kind} at line ${problem.line} (number ${problem.seq} of the chain): ${problem.message}`),
  })));
  for (const gap of gaps) context.output.line(gap);
  const ranges = sound.map(({ from, to }) => `${from} to ${to}`).join(', ');
  context.output.line(isSound ? `sound from ${ranges}` : `NOT sound; sound parts: ${ranges === '' ? 'none' : ranges}`);
}

async function search(context: CommandContext, options: SearchOptions): Promise<void> {
  const format = formatOf(options);
  const limit = Number(options.limit);
  if (!Number.isInteger(limit) || limit < 1) throw new PurserError('ERR_CLI_USAGE', '--limit takes a whole number');
  const client = connectWithToken(options);
  const found: Record<string, unknown>[] = [];
  for (let cursor: string | undefined; found.length < limit;) {
    const page = await client.read('sys/audit/log', { ...queryOf(options), since: options.since, until: options.until, file: options.file, cursor, limit: Math.min(PAGE, limit - found.length) });
    found.push(...page['entries'] as Record<string, unknown>[]);
    cursor = textOf(page['cursor']);
    if (cursor === '') break;
  }
  if (format === 'json') context.output.json(found);
  else context.output.rows('table', COLUMNS, found.map(rowOf));
}

async function tail(context: CommandContext, options: FilterOptions): Promise<void> {
  const format = formatOf(options);
  for await (const frame of connectWithToken(options).auditTail(queryOf(options))) {
    if (frame.type === 'lost') context.output.warn(`${frame.count} entries came faster than they could be shown`);
    if (frame.type !== 'entry') continue;
    if (format === 'json') context.output.line(JSON.stringify(frame.entry));
    else context.output.line(Object.values(rowOf(frame.entry)).filter((cell) => cell !== undefined && cell !== '').join('  '));
  }
}

interface Entry {
  readonly time?: string; readonly outcome?: string; readonly error?: string;
  readonly request?: { readonly operation?: string; readonly path?: string; readonly remote_address?: string };
  readonly auth?: { readonly display_name?: string; readonly metadata?: { readonly node_name?: string } };
}

function rowOf(found: Record<string, unknown>): Row {
  const { time, outcome, error, request, auth } = found as Entry;
  return { time, outcome, operation: request?.operation, path: request?.path, who: auth?.display_name, node: auth?.metadata?.node_name, from: request?.remote_address, error };
}

/** Vault shows a device as `file/`. */
function nameOf(device: string): string {
  return device.replace(/\/+$/, '');
}
