// `purser kv metadata`: versions and settings of a secret, never its values.

import type { Command } from 'commander';

import { PurserError } from '../../lib/errors.ts';
import type { CommandContext } from '../context.ts';
import { apiPath, openKv, requireVersions, withKvOptions, type KvOptions } from '../kv-path.ts';
import { pairs, repeated, wholeNumber } from '../option-values.ts';
import { entryRows } from '../output.ts';
import { formatOf } from '../remote.ts';

interface MetadataOptions extends KvOptions {
  readonly maxVersions?: string; readonly casRequired?: string; readonly deleteVersionAfter?: string; readonly customMetadata?: string[]; readonly removeCustomMetadata?: string[];
}
type Versions = Readonly<Record<string, { readonly created_time: string; readonly deletion_time: string; readonly destroyed: boolean }>>;

/** Adds `purser kv metadata …`. */
export function registerKvMetadata(kv: Command, context: CommandContext): void {
  const metadata = kv.command('metadata').description('versions and settings of a secret, never its values');
  withKvOptions(metadata.command('get').description('show versions and settings').argument('<path>')).action((path: string, options: KvOptions) => get(context, path, options));
  for (const [verb, description] of [['put', 'set settings; custom metadata is replaced'], ['patch', 'change settings; custom metadata is merged']] as const) {
    const command = withKvOptions(metadata.command(verb).description(description).argument('<path>'))
      .option('--max-versions <number>').option('--cas-required <bool>').option('--delete-version-after <duration>').addOption(repeated('--custom-metadata <key=value>'));
    if (verb === 'patch') command.addOption(repeated('--remove-custom-metadata <key>'));
    command.action((path: string, options: MetadataOptions) => write(context, verb, path, options));
  }
  withKvOptions(metadata.command('delete').description('remove a secret, all versions').argument('<path>')).action(async (path: string, options: KvOptions) => {
    const { client, kv: found } = await openKv(path, options);
    requireVersions(found, 'metadata');
    await client.delete(apiPath(found, 'metadata'));
    context.output.note(`removed ${found.shown} and all its versions`);
  });
}

async function get(context: CommandContext, path: string, options: KvOptions): Promise<void> {
  const format = formatOf(options);
  const { client, kv } = await openKv(path, options);
  requireVersions(kv, 'metadata');
  const data = await client.read(apiPath(kv, 'metadata'));
  if (format === 'json') { context.output.json(data); return; }
  const { versions, ...settings } = data as unknown as { versions: Versions };
  context.output.rows('table', ['key', 'value'], entryRows(settings));
  context.output.line('');
  context.output.rows('table', ['version', 'created_time', 'deletion_time', 'destroyed'], Object.entries(versions).map(([version, entry]) => ({ version, ...entry })));
}

async function write(context: CommandContext, verb: 'put' | 'patch', path: string, options: MetadataOptions): Promise<void> {
  const body = bodyOf(options);
  if (verb === 'patch' && Object.keys(body).length === 0) throw new PurserError('ERR_CLI_USAGE', 'nothing to change is given');
  const { client, kv } = await openKv(path, options);
  requireVersions(kv, 'metadata');
  if (verb === 'put') await client.write(apiPath(kv, 'metadata'), body);
  else await client.patch(apiPath(kv, 'metadata'), body);
  context.output.note(`${verb === 'put' ? 'wrote' : 'changed'} the metadata of ${kv.shown}`);
}

function bodyOf({ maxVersions, casRequired, deleteVersionAfter, customMetadata, removeCustomMetadata }: MetadataOptions): Record<string, unknown> {
  const custom = [...pairs('--custom-metadata', customMetadata ?? []), ...(removeCustomMetadata ?? []).map((key) => [key, null] as const)];
  return {
    ...(maxVersions === undefined ? {} : { max_versions: wholeNumber('--max-versions', maxVersions) }),
    ...(casRequired === undefined ? {} : { cas_required: truth('--cas-required', casRequired) }),
    ...(deleteVersionAfter === undefined ? {} : { delete_version_after: deleteVersionAfter }),
    ...(custom.length === 0 ? {} : { custom_metadata: Object.fromEntries(custom) }),
  };
}

function truth(option: string, text: string): boolean {
  if (text !== 'true' && text !== 'false') throw new PurserError('ERR_CLI_USAGE', `${option} is true or false`);
  return text === 'true';
}
