// `purser login`: checks a token, or gets one from an auth method, and keeps it, with the address and CA of the core, in
// ~/.purser (0600).

import { readFileSync } from 'node:fs';

import type { Command } from 'commander';

import { messageOf, PurserError } from '../../lib/errors.ts';
import { textOf } from '../output.ts';
import { readConnection, saveConnection, type Connection } from '../environment.ts';
import type { CommandContext } from '../context.ts';
import { clientFor, formatOf, withRemoteOptions, type RemoteOptions } from '../remote.ts';
import { promptHidden, readFields, readSecretArgument } from '../secret-input.ts';

interface LoginOptions extends RemoteOptions { readonly tokenFile?: string; readonly method?: string; readonly path?: string; readonly tokenOnly?: boolean }

/** What a method asks for besides what is given: its secret, and the field that belongs into the path. */
interface Method { readonly secret: string; readonly inPath?: string }

const METHODS: Readonly<Record<string, Method>> = {
  userpass: { secret: 'password', inPath: 'username' },
  approle: { secret: 'secret_id' },
  jwt: { secret: 'jwt' },
  oidc: { secret: 'jwt' },
  kubernetes: { secret: 'jwt' },
};
/** Not secret in any method. */
const PUBLIC_FIELDS = ['username', 'role', 'role_id'];

/** Adds `purser login`. */
export function registerLogin(program: Command, context: CommandContext): void {
  withRemoteOptions(program.command('login').description('keep a token for later commands, shown or got from an auth method')
    .argument('[fields...]', 'the token (- reads it from standard input); with --method: name=value, name=-, name=@file; a prompt asks for what is left out'))
    .option('--token-file <file>', 'read the token from a file')
    .option('--method <type>', 'log in with userpass, approle, jwt, kubernetes or any other method').option('--path <path>', 'where the method is mounted (default: its type)')
    .option('--token-only', 'print the token of the login, and keep nothing')
    .action((fields: string[], options: LoginOptions) => (options.method === undefined || options.method === 'token'
      ? loginWithToken(context, fields, options) : loginWithMethod(context, options.method, fields, options)));
}

async function loginWithToken(context: CommandContext, fields: readonly string[], options: LoginOptions): Promise<void> {
  if (fields.length > 1) throw new PurserError('ERR_CLI_USAGE', 'one token is enough', { hint: 'name the method that takes fields, such as --method userpass' });
  const connection = { ...readConnection(options), token: await readToken(context, fields[0], options) };
  const self = await clientFor(connection).read('auth/token/lookup-self') as unknown as { display_name: string; policies: string[]; ttl: number };
  await saveConnection(connection);
  context.output.note(loggedIn(connection, self.display_name, self.policies, self.ttl));
}

async function loginWithMethod(context: CommandContext, type: string, args: readonly string[], options: LoginOptions): Promise<void> {
  const method = Object.hasOwn(METHODS, type) ? METHODS[type] : undefined;
  const body = args.length === 0 ? {} : await readFields(args, (name) => {
    if (!PUBLIC_FIELDS.includes(name)) context.output.warn(`the ${name} stood on the command line, where other users and the shell history see it; leave it out and a prompt asks`);
  });
  const mount = (options.path ?? type).replace(/^\/?(?:auth\/)?/, '').replace(/\/+$/, '');
  const path = `auth/${mount}/login${method?.inPath === undefined ? '' : `/${takeField(body, method.inPath)}`}`;
  if (method !== undefined && !Object.hasOwn(body, method.secret)) body[method.secret] = await promptHidden(method.secret, `give ${method.secret}=- and the value on standard input, or ${method.secret}=@file`);
  const connection = { ...readConnection(options), token: undefined };
  const auth = await clientFor(connection).authenticate(path, body);
  const token = textOf(auth['client_token']);
  if (options.tokenOnly === true) { context.output.line(token); return; }
  await saveConnection({ ...connection, token });
  if (formatOf(options) === 'json') { context.output.json(auth); return; }
  context.output.note(loggedIn(connection, type, auth['policies'] as readonly string[], Number(auth['lease_duration'])));
}

function loggedIn({ address }: Pick<Connection, 'address'>, name: string, policies: readonly string[], ttl: number): string {
  return `logged in to ${address} as ${name}, policies ${policies.join(', ')}${ttl > 0 ? `, for ${String(ttl)} s` : ''}`;
}

function takeField(body: Record<string, unknown>, name: string): string {
  const { [name]: value } = body;
  if (typeof value !== 'string' || value === '' || value.includes('/')) throw new PurserError('ERR_CLI_USAGE', `the method needs ${name}`, { hint: `purser login --method userpass ${name}=…` });
  delete body[name];
  return value;
}

async function readToken(context: CommandContext, given: string | undefined, options: LoginOptions): Promise<string> {
  if (options.tokenFile === undefined) return readSecretArgument('token', given, context.output);
  try {
    return readFileSync(options.tokenFile, 'utf8').trim();
  } catch (cause) {
    throw new PurserError('ERR_CLI_USAGE', `${options.tokenFile} cannot be read: ${messageOf(cause)}`, { cause, hint: 'check the path and its permissions' });
  }
}
