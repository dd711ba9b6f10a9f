// `purser read | write | list | delete`: any path of the API as it stands in Vault's documentation, without `/v1/`. What has no
// command of its own is reached with these.

import type { Command } from 'commander';

import type { JsonObject } from '../../lib/json.ts';
import type { Envelope } from '../../client/response.ts';
import { PurserError } from '../../lib/errors.ts';
import { entryRows, textOf } from '../output.ts';
import type { CommandContext } from '../context.ts';
import { connect, connectWithToken, formatOf, printNamesBelow, withRemoteOptions, type RemoteOptions } from '../remote.ts';
import { readFields } from '../secret-input.ts';
import { printWrapped, withWrapOption, type WrapOptions } from '../wrapped.ts';

interface FieldOptions extends WrapOptions { readonly field?: string }
interface WriteOptions extends FieldOptions { readonly force?: boolean }

/** Fields whose values no other user of the host should see in a process listing; how long a token lives is no secret. */
const SECRET_FIELD = /passw|(?<!bind_)secret(?!_id_(?:ttl|num_uses|bound_cidrs|accessor)$)|token(?!_(?:ttl|max_ttl|explicit_max_ttl|period|policies|num_uses|type|bound_cidrs|no_default_policy)$)|jwt|private|credential|(?:^|_)(?:key|keys|otp|share|input|plaintext)$/i;

/** Adds `purser read`, `write`, `list` and `delete`. */
export function registerLogical(program: Command, context: CommandContext): void {
  withWrapOption(withRemoteOptions(program.command('read').description('read any path of the API, such as sys/mounts').argument('<path>').argument('[parameters...]', 'name=value, sent in the query')))
    .option('--field <name>', 'print only this field of the data')
    .action((path: string, parameters: string[], options: FieldOptions) => read(context, path, parameters, options));
  withWrapOption(withRemoteOptions(program.command('write').description('write any path of the API').argument('<path>').argument('[fields...]', 'name=-, name=@file, name (prompt), name=value (given twice: a list); or - or @file.json with the whole body')))
    .option('-f, --force', 'write without any field').option('--field <name>', 'print only this field of the answer')
    .action((path: string, fields: string[], options: WriteOptions) => write(context, path, fields, options));
  withRemoteOptions(program.command('list').description('list the names below any path of the API').argument('<path>'))
    .action((path: string, options: RemoteOptions) => list(context, path, options));
  withRemoteOptions(program.command('delete').description('delete at any path of the API').argument('<path>'))
    .action(async (path: string, options: RemoteOptions) => {
      await connectWithToken(options).delete(apiPath(path));
      context.output.note(`deleted ${path}`);
    });
}

async function read(context: CommandContext, path: string, parameters: readonly string[], options: FieldOptions): Promise<void> {
  const query = Object.fromEntries(parameters.map((parameter) => {
    const split = parameter.indexOf('=');
    if (split < 1) throw new PurserError('ERR_CLI_USAGE', 'a parameter is written name=value');
    return [parameter.slice(0, split), parameter.slice(split + 1)];
  }));
  // Logins and public keys need no token.
  if (options.wrapTtl !== undefined) await printWrapped(context, connect(options), options, { method: 'GET', path: apiPath(path), query });
  else show(context, options, await connect(options).request('GET', apiPath(path), undefined, { query }));
}

async function write(context: CommandContext, path: string, args: readonly string[], options: WriteOptions): Promise<void> {
  if (args.length === 0 && options.force !== true) throw new PurserError('ERR_CLI_USAGE', 'there is nothing to write', { hint: 'give fields as name=value, or --force for none' });
  const body = args.length === 0 ? {} : await readFields(args, (name) => {
    if (SECRET_FIELD.test(name)) context.output.warn(`the value of ${name} stood on the command line, where other users and the shell history see it; use ${name}=- or ${name}=@file`);
  }, { repeated: 'list' });
  if (options.wrapTtl !== undefined) await printWrapped(context, connect(options), options, { method: 'POST', path: apiPath(path), body });
  else show(context, options, await connect(options).request('POST', apiPath(path), body), `wrote ${path}`);
}

async function list(context: CommandContext, path: string, options: RemoteOptions): Promise<void> {
  const keys = await connectWithToken(options).list(apiPath(path));
  printNamesBelow(context, options, path, keys);
}

/** What the core said: as it is for json, else the data, or the token of a login, as a table. */
function show(context: CommandContext, options: FieldOptions, { body, data, auth, warnings }: Envelope, done?: string): void {
  for (const warning of warnings) context.output.warn(warning);
  // Documents such as a JWKS come without an envelope.
  const shown: JsonObject = auth ?? data ?? (Object.hasOwn(body, 'request_id') ? {} : body);
  if (options.field !== undefined) context.output.line(textOf(fieldOf(shown, options.field)));
  else if (formatOf(options) === 'json') context.output.json(body);
  else if (Object.keys(shown).length > 0) context.output.rows('table', ['key', 'value'], entryRows(shown));
  else if (done !== undefined) context.output.note(done);
}

function fieldOf(data: JsonObject, name: string): unknown {
  if (Object.hasOwn(data, name)) return data[name];
  throw new PurserError('ERR_CLI_USAGE', `the answer has no field ${name}`, { hint: `it has: ${Object.keys(data).join(', ')}` });
}

/** The path as the client takes it; `/v1/` in front is a habit from curl. */
function apiPath(path: string): string {
  const bare = path.replace(/^\/?(?:v1\/)?/, '').replace(/\/+$/, '');
  if (bare === '') throw new PurserError('ERR_CLI_USAGE', 'the path is empty', { hint: 'such as sys/mounts or secret/data/db/prod' });
  return bare;
}
