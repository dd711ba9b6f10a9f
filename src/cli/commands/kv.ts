// `purser kv`: key-value secrets. Paths are written as references write them, mount first: `secret/db/prod`. Commands that
// only write never read, so that a token that may write and not read is enough for them.

import type { Command } from 'commander';

import type { CoreClient } from '../../client/core-client.ts';
import { CoreResponseError } from '../../client/response.ts';
import { PurserError } from '../../lib/errors.ts';
import type { CommandContext } from '../context.ts';
import { apiPath, openKv, requireVersions, withKvOptions, type KvOptions, type KvPath } from '../kv-path.ts';
import { wholeNumber } from '../option-values.ts';
import { textOf } from '../output.ts';
import { formatOf, printNamesBelow } from '../remote.ts';
import { readFields } from '../secret-input.ts';
import { printWrapped, withWrapOption } from '../wrapped.ts';
import { registerKvMetadata } from './kv-metadata.ts';

interface ReadOptions extends KvOptions { readonly field?: string; readonly version?: string; readonly wrapTtl?: string }
interface WriteOptions extends KvOptions { readonly cas?: string }
interface VersionsOptions extends KvOptions { readonly versions?: string }

/** Adds `purser kv …`. */
export function registerKv(program: Command, context: CommandContext): void {
  const kv = program.command('kv').description('read and write key-value secrets');
  withKvOptions(kv.command('put').description('write a secret; with versions, a new one').argument('<path>').argument('<fields...>', 'name=-, name=@file, name (prompt), name=value; or - or @file.json'))
    .option('--cas <version>', 'write only if this is the current version (0: only if there is none)')
    .action((path: string, fields: string[], options: WriteOptions) => put(context, path, fields, options, 'put'));
  withKvOptions(kv.command('patch').description('change some fields, keep the others').argument('<path>').argument('<fields...>'))
    .option('--cas <version>', 'write only if this is the current version')
    .action((path: string, fields: string[], options: WriteOptions) => put(context, path, fields, options, 'patch'));
  withWrapOption(withKvOptions(kv.command('get').description('read a secret').argument('<path>')))
    .option('--field <name>', 'print only this field').option('--version <number>', 'an older version')
    .action((path: string, options: ReadOptions) => get(context, path, options));
  withKvOptions(kv.command('list').description('list names below a path').argument('[path]'))
    .action((path: string | undefined, options: KvOptions) => list(context, path ?? '', options));
  for (const [name, description] of [['delete', 'mark versions as deleted (the current one without --versions)'], ['undelete', 'bring deleted versions back'], ['destroy', 'remove versions for good']] as const) {
    withKvOptions(kv.command(name).description(description).argument('<path>')).option('--versions <list>', 'such as 1,2,3')
      .action((path: string, options: VersionsOptions) => changeVersions(context, name, path, options));
  }
  withKvOptions(kv.command('rollback').description('write an older version again as the newest').argument('<path>')).requiredOption('--version <number>')
    .action((path: string, options: ReadOptions) => rollback(context, path, options));
  registerKvMetadata(kv, context);
}

async function put(context: CommandContext, path: string, args: readonly string[], options: WriteOptions, verb: 'put' | 'patch'): Promise<void> {
  const { client, kv } = await openKv(path, options);
  if (verb === 'patch' || options.cas !== undefined) requireVersions(kv, verb === 'patch' ? 'patch' : '--cas');
  const data = await readFields(args, (name) => {
    context.output.warn(`the value of ${name} stood on the command line, where other users and the shell history see it; use ${name}=- or ${name}=@file`);
  });
  const format = formatOf(options);
  if (kv.version === 1) {
    await client.write(apiPath(kv, 'data'), data);
    context.output.note(`wrote ${kv.shown}`);
    return;
  }
  const body = { data, options: options.cas === undefined ? {} : { cas: wholeNumber('--cas', options.cas) } };
  const written = verb === 'patch' ? await client.patch(apiPath(kv, 'data'), body) : await client.write(apiPath(kv, 'data'), body);
  if (format === 'json') { context.output.json(written); return; }
  context.output.line(`${kv.shown} is at version ${textOf(written['version'])}`);
}

async function get(context: CommandContext, path: string, options: ReadOptions): Promise<void> {
  const format = formatOf(options);
  const { client, kv } = await openKv(path, options);
  if (options.version !== undefined) requireVersions(kv, '--version');
  if (options.wrapTtl !== undefined) {
    await printWrapped(context, client, options, { method: 'GET', path: apiPath(kv, 'data'), query: options.version === undefined ? {} : { version: wholeNumber('--version', options.version) } });
    return;
  }
  const { data, metadata } = await readSecret(client, kv, options.version);
  if (options.field !== undefined) {
    if (!Object.hasOwn(data, options.field)) throw new PurserError('ERR_CLI_USAGE', `${kv.shown} has no field ${options.field}`, { hint: `it has: ${Object.keys(data).join(', ')}` });
    context.output.line(textOf(data[options.field]));
  } else if (format === 'json') {
    context.output.json({ data, ...(metadata === undefined ? {} : { metadata }) });
  } else {
    context.output.note(metadata === undefined ? kv.shown : `${kv.shown}, version ${textOf(metadata['version'])} of ${textOf(metadata['created_time'])}`);
    context.output.rows('table', ['field', 'value'], Object.entries(data).map(([field, value]) => ({ field, value: textOf(value) })));
  }
}

interface Secret { readonly data: Readonly<Record<string, unknown>>; readonly metadata?: Readonly<Record<string, unknown>> | undefined }

async function readSecret(client: CoreClient, kv: KvPath, version: string | undefined): Promise<Secret> {
  if (kv.version === 1) return { data: await client.read(apiPath(kv, 'data')) };
  const query = version === undefined ? {} : { version: wholeNumber('--version', version) };
  try {
    return await client.read(apiPath(kv, 'data'), query) as unknown as Secret;
  } catch (error) {
    // The core says what it knows of a deleted version beside its 404.
    if (!(error instanceof CoreResponseError) || error.status !== 404 || error.messages.length > 0) throw error;
    throw new PurserError('ERR_CLIENT_RESPONSE', `${version === undefined ? kv.shown : `version ${version} of ${kv.shown}`} does not exist, or was deleted`,
      { hint: `purser kv metadata get ${kv.shown} lists its versions`, cause: error });
  }
}

async function list(context: CommandContext, path: string, options: KvOptions): Promise<void> {
  if (path === '' && options.mount === undefined) throw new PurserError('ERR_CLI_USAGE', 'list needs a path', { hint: 'purser secrets list shows the mounts' });
  const { client, kv } = await openKv(path, options);
  const keys = await client.list(apiPath(kv, 'metadata'));
  printNamesBelow(context, options, kv.shown, keys);
}

async function changeVersions(context: CommandContext, action: 'delete' | 'undelete' | 'destroy', path: string, options: VersionsOptions): Promise<void> {
  const { client, kv } = await openKv(path, options);
  if (action !== 'delete' || options.versions !== undefined) requireVersions(kv, action === 'delete' ? '--versions' : action);
  if (options.versions === undefined) {
    if (action !== 'delete') throw new PurserError('ERR_CLI_USAGE', `${action} needs --versions`, { hint: `purser kv metadata get ${kv.shown} lists them` });
    await client.delete(apiPath(kv, 'data'));
    context.output.note(kv.version === 1 ? `deleted ${kv.shown}` : `deleted the current version of ${kv.shown}; purser kv undelete brings it back`);
    return;
  }
  const versions = options.versions.split(',').map((version) => wholeNumber('--versions', version.trim()));
  await client.write(apiPath(kv, action), { versions });
  context.output.note(`${action === 'destroy' ? 'destroyed' : `${action}d`} version ${versions.join(', ')} of ${kv.shown}`);
}

async function rollback(context: CommandContext, path: string, options: ReadOptions): Promise<void> {
  const { client, kv } = await openKv(path, options);
  requireVersions(kv, 'rollback');
  const version = wholeNumber('--version', options.version ?? '');
  const { current_version: current } = await client.read(apiPath(kv, 'metadata'));
  const { data } = await readSecret(client, kv, String(version));
  const written = await client.write(apiPath(kv, 'data'), { data, options: { cas: current } });
  context.output.line(`${kv.shown} is at version ${textOf(written['version'])}, the content of version ${version}`);
}
