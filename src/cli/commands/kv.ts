// `purser kv`: key-value secrets, version 2. Paths are written as references write them, mount first: `secret/db/prod`.

import type { Command } from 'commander';

import { isPurserError, PurserError } from '../../lib/errors.ts';
import type { CoreClient } from '../../client/core-client.ts';
import { entryRows, textOf } from '../output.ts';
import type { CommandContext } from '../context.ts';
import { connectWithToken, formatOf, withRemoteOptions, type RemoteOptions } from '../remote.ts';
import { readFields } from '../secret-input.ts';

interface ReadOptions extends RemoteOptions { readonly field?: string; readonly version?: string }
interface WriteOptions extends RemoteOptions { readonly cas?: string }
interface VersionsOptions extends RemoteOptions { readonly versions?: string }
interface MetadataOptions extends RemoteOptions {
  readonly maxVersions?: string; readonly casRequired?: string; readonly deleteVersionAfter?: string; readonly customMetadata?: string[];
}

/** Adds `purser kv …`. */
export function registerKv(program: Command, context: CommandContext): void {
  const kv = program.command('kv').description('read and write key-value secrets');
  withRemoteOptions(kv.command('put').description('write a new version').argument('<path>').argument('<fields...>', 'name=-, name=@file, name (prompt), name=value; or - or @file.json'))
    .option('--cas <version>', 'write only if this is the current version (0: only if there is none)')
    .action((path: string, fields: string[], options: WriteOptions) => put(context, path, fields, options, 'replace'));
  withRemoteOptions(kv.command('patch').description('change some fields, keep the others').argument('<path>').argument('<fields...>'))
    .option('--cas <version>', 'write only if this is the current version')
    .action((path: string, fields: string[], options: WriteOptions) => put(context, path, fields, options, 'merge'));
  withRemoteOptions(kv.command('get').description('read a version').argument('<path>'))
    .option('--field <name>', 'print only this field').option('--version <number>', 'an older version')
    .action((path: string, options: ReadOptions) => get(context, path, options));
  withRemoteOptions(kv.command('list').description('list names below a path').argument('<path>'))
    .action((path: string, options: RemoteOptions) => list(context, path, options));
  for (const [name, description] of [['delete', 'mark versions as deleted (the current one without --versions)'], ['undelete', 'bring deleted versions back'], ['destroy', 'remove versions for good']] as const) {
    withRemoteOptions(kv.command(name).description(description).argument('<path>')).option('--versions <list>', 'such as 1,2,3')
      .action((path: string, options: VersionsOptions) => changeVersions(context, name, path, options));
  }
  withRemoteOptions(kv.command('rollback').description('write an older version again as the newest').argument('<path>')).requiredOption('--version <number>')
    .action((path: string, options: ReadOptions) => rollback(context, path, options));
  registerMetadata(kv, context);
}

function registerMetadata(kv: Command, context: CommandContext): void {
  const metadata = kv.command('metadata').description('versions and settings of a secret, never its values');
  withRemoteOptions(metadata.command('get').argument('<path>')).action(async (path: string, options: RemoteOptions) => {
    const client = connectWithToken(options);
    const data = await client.read(await apiPath(client, path, 'metadata'));
    if (formatOf(options) === 'json') { context.output.json(data); return; }
    const { versions, ...settings } = data as { versions: Record<string, { created_time: string; deletion_time: string; destroyed: boolean }> };
    context.output.rows('table', ['key', 'value'], entryRows(settings));
    context.output.line('');
    context.output.rows('table', ['version', 'created_time', 'deletion_time', 'destroyed'], Object.entries(versions).map(([version, entry]) => ({ version, ...entry })));
  });
  withRemoteOptions(metadata.command('put').argument('<path>'))
    .option('--max-versions <number>').option('--cas-required <bool>').option('--delete-version-after <duration>').option('--custom-metadata <key=value...>')
    .action(async (path: string, options: MetadataOptions) => {
      const client = connectWithToken(options);
      await client.write(await apiPath(client, path, 'metadata'), metadataBody(options));
      context.output.note(`wrote the metadata of ${path}`);
    });
  withRemoteOptions(metadata.command('delete').description('remove a secret, all versions').argument('<path>')).action(async (path: string, options: RemoteOptions) => {
    const client = connectWithToken(options);
    await client.delete(await apiPath(client, path, 'metadata'));
    context.output.note(`removed ${path} and all its versions`);
  });
}

async function put(context: CommandContext, path: string, args: readonly string[], options: WriteOptions, mode: 'replace' | 'merge'): Promise<void> {
  const client = connectWithToken(options);
  const data = await readFields(args, (name) => {
    context.output.warn(`the value of ${name} stood on the command line, where other users and the shell history see it; use ${name}=- or ${name}=@file`);
  });
  const body = { data, options: options.cas === undefined ? {} : { cas: wholeNumber('--cas', options.cas) } };
  const target = await apiPath(client, path, 'data');
  const written = (mode === 'merge' ? await client.patch(target, body) : await client.write(target, body)) as { version: number; created_time: string };
  if (formatOf(options) === 'json') { context.output.json(written); return; }
  context.output.line(`${path} is at version ${String(written.version)}`);
}

async function get(context: CommandContext, path: string, options: ReadOptions): Promise<void> {
  const format = formatOf(options);
  const client = connectWithToken(options);
  const query: Record<string, string> = options.version === undefined ? {} : { version: String(wholeNumber('--version', options.version)) };
  const secret = await client.read(await apiPath(client, path, 'data'), query) as unknown as { data: Record<string, unknown>; metadata: Record<string, unknown> };
  if (options.field !== undefined) {
    if (!Object.hasOwn(secret.data, options.field)) throw new PurserError('ERR_CLI_USAGE', `${path} has no field ${options.field}`, { hint: `it has: ${Object.keys(secret.data).join(', ')}` });
    context.output.line(textOf(secret.data[options.field]));
  } else if (format === 'json') {
    context.output.json(secret);
  } else {
    context.output.note(`${path}, version ${String(secret.metadata['version'])} of ${String(secret.metadata['created_time'])}`);
    context.output.rows('table', ['field', 'value'], Object.entries(secret.data).map(([field, value]) => ({ field, value: textOf(value) })));
  }
}

async function list(context: CommandContext, path: string, options: RemoteOptions): Promise<void> {
  const format = formatOf(options);
  const client = connectWithToken(options);
  const keys = await client.list(await apiPath(client, path, 'metadata'));
  if (format === 'json') context.output.json(keys);
  else for (const key of keys) context.output.line(key);
}

async function changeVersions(context: CommandContext, action: 'delete' | 'undelete' | 'destroy', path: string, options: VersionsOptions): Promise<void> {
  const client = connectWithToken(options);
  if (options.versions === undefined) {
    if (action !== 'delete') throw new PurserError('ERR_CLI_USAGE', `${action} needs --versions`, { hint: `purser kv metadata get ${path} lists them` });
    await client.delete(await apiPath(client, path, 'data'));
    context.output.note(`deleted the current version of ${path}; purser kv undelete brings it back`);
    return;
  }
  const versions = options.versions.split(',').map((version) => wholeNumber('--versions', version.trim()));
  await client.write(await apiPath(client, path, action), { versions });
  context.output.note(`${action === 'destroy' ? 'destroyed' : `${action}d`} version ${versions.join(', ')} of ${path}`);
}

async function rollback(context: CommandContext, path: string, options: ReadOptions): Promise<void> {
  const client = connectWithToken(options);
  const target = await apiPath(client, path, 'data');
  const version = wholeNumber('--version', options.version ?? '');
  const { current_version: current } = await client.read(await apiPath(client, path, 'metadata')) as { current_version: number };
  const old = await client.read(target, { version: String(version) }) as unknown as { data: Record<string, unknown> };
  const written = await client.write(target, { data: old.data, options: { cas: current } }) as { version: number };
  context.output.line(`${path} is at version ${String(written.version)}, the content of version ${String(version)}`);
}

/** `secret/db/prod` → `secret/data/db/prod`: the core tells where the mount ends. */
async function apiPath(client: CoreClient, path: string, section: string): Promise<string> {
  const clean = path.replace(/^\/+|\/+$/g, '');
  let mount: { path: string; type: string; options: { version?: string } | null };
  try {
    mount = await client.read(`sys/internal/ui/mounts/${clean}`) as typeof mount;
  } catch (error) {
    // A token that may only write below its path may not ask about the mount; then the first segment is the best guess.
    if (!isPurserError(error, 'ERR_CLIENT_RESPONSE')) throw error;
    mount = { path: `${clean.split('/')[0] ?? ''}/`, type: 'kv', options: { version: '2' } };
  }
  if (mount.type !== 'kv' || mount.options?.version !== '2') throw new PurserError('ERR_CLI_USAGE', `${mount.path} is not a key-value engine of version 2`);
  return `${mount.path}${section}/${clean.slice(mount.path.length)}`.replace(/\/$/, '');
}

function metadataBody(options: MetadataOptions): Record<string, unknown> {
  const custom = options.customMetadata?.map((pair) => {
    const split = pair.indexOf('=');
    if (split < 1) throw new PurserError('ERR_CLI_USAGE', 'custom metadata is written key=value');
    return [pair.slice(0, split), pair.slice(split + 1)] as const;
  });
  return {
    ...(options.maxVersions === undefined ? {} : { max_versions: wholeNumber('--max-versions', options.maxVersions) }),
    ...(options.casRequired === undefined ? {} : { cas_required: options.casRequired === 'true' }),
    ...(options.deleteVersionAfter === undefined ? {} : { delete_version_after: options.deleteVersionAfter }),
    ...(custom === undefined ? {} : { custom_metadata: Object.fromEntries(custom) }),
  };
}

function wholeNumber(option: string, text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new PurserError('ERR_CLI_USAGE', `${option} takes a whole number`);
  return Number(text);
}
