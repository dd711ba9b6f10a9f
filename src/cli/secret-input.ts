// How secret values reach the command line: from a prompt that does not echo, from stdin (`-`), from a file (`@path`), or, with
// a warning, from the arguments themselves, where other users of the host can see them.

import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

import { messageOf, PurserError } from '../lib/errors.ts';
import type { Output } from './output.ts';

/** Most bytes a value from stdin or a file may have. */
const MAX_INPUT_BYTES = 16 * 1024 * 1024;

/** All of stdin as UTF-8. @throws ERR_CLI_USAGE past 16 MiB */
export async function readStdin(input: AsyncIterable<Buffer | string> = process.stdin): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of input) {
    const bytes = Buffer.from(chunk);
    size += bytes.length;
    if (size > MAX_INPUT_BYTES) throw new PurserError('ERR_CLI_USAGE', 'standard input is larger than 16 MiB');
    chunks.push(bytes);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** The text of a file named after `@`. @throws ERR_CLI_USAGE when it cannot be read */
export function readValueFile(path: string): string {
  try {
    const text = readFileSync(path, 'utf8');
    if (text.length > MAX_INPUT_BYTES) throw new PurserError('ERR_CLI_USAGE', `${path} is larger than 16 MiB`);
    return text;
  } catch (cause) {
    if (cause instanceof PurserError) throw cause;
    throw new PurserError('ERR_CLI_USAGE', `${path} cannot be read: ${messageOf(cause)}`, { cause, hint: 'check the path and its permissions' });
  }
}

/** Asks on the terminal without echo. @param hint how else it can be given @throws ERR_CLI_USAGE when there is no terminal */
export async function promptHidden(question: string, hint = 'give it on standard input with -'): Promise<string> {
  if (!process.stdin.isTTY) {
    throw new PurserError('ERR_CLI_USAGE', `there is no terminal to ask for the ${question}`, { hint });
  }
  const reader = createInterface({ input: process.stdin, terminal: true }); // from here on the terminal does not echo
  process.stderr.write(`${question} (will not be shown): `);
  try {
    return await new Promise<string>((resolve, reject) => {
      reader.once('line', resolve);
      reader.once('SIGINT', () => { reject(new PurserError('ERR_CLI_USAGE', 'interrupted', { hint })); });
      reader.once('close', () => { reject(new PurserError('ERR_CLI_USAGE', `the ${question} was not given`, { hint })); }); // Ctrl-D, or the terminal is gone
    });
  } finally {
    reader.close();
    process.stderr.write('\n');
  }
}

/**
 * One secret that stands alone, such as an unseal share: from standard input (`-`), a prompt, or, with a warning, the argument itself.
 * @throws ERR_CLI_USAGE
 */
export async function readSecretArgument(what: string, given: string | undefined, output: Output): Promise<string> {
  if (given === undefined) return (await promptHidden(what)).trim();
  if (given === '-') return (await readStdin()).trim();
  output.warn(`the ${what} stood on the command line, where other users and the shell history see it; leave it out and a prompt asks`);
  return given;
}

/**
 * Fields of a secret from arguments `name=value`, `name=@file`, `name=-` (stdin, once) or `name` (prompt), or one `@file.json` or `-` with a
 * JSON object.
 * @param onArgument called for every value that stood in the arguments
 * @param options.repeated what a name given twice means: refused (the default), or a list of its values
 * @throws ERR_CLI_USAGE for anything else
 */
export async function readFields(
  args: readonly string[], onArgument: (name: string) => void, options: { readonly repeated?: 'refused' | 'list' } = {},
): Promise<Record<string, unknown>> {
  const [only] = args;
  if (args.length === 1 && only !== undefined && (only === '-' || only.startsWith('@'))) {
    return parseObject(only === '-' ? await readStdin() : readValueFile(only.slice(1)));
  }
  if (args.filter((arg) => arg === '-' || arg.endsWith('=-')).length > 1) {
    throw new PurserError('ERR_CLI_USAGE', 'standard input can give only one field', { hint: 'give a JSON object on standard input with a single -' });
  }
  const fields = new Map<string, string | string[]>();
  for (const arg of args) {
    const split = arg.indexOf('=');
    const name = split === -1 ? arg : arg.slice(0, split);
    if (name === '' || name === '-' || name.startsWith('@')) throw new PurserError('ERR_CLI_USAGE', 'a field is written name=value, name=@file, name=- or name');
    const before = fields.get(name);
    if (before !== undefined && options.repeated !== 'list') throw new PurserError('ERR_CLI_USAGE', `the field ${name} is given twice`);
    const value = await readValue(name, split === -1 ? undefined : arg.slice(split + 1), onArgument);
    fields.set(name, before === undefined ? value : [before, value].flat());
  }
  return Object.fromEntries(fields);
}

async function readValue(name: string, value: string | undefined, onArgument: (name: string) => void): Promise<string> {
  if (value === undefined) return promptHidden(`value of ${name}`, `give ${name}=- and the value on standard input, or ${name}=@file`);
  if (value === '-') return (await readStdin()).replace(/\r?\n$/, '');
  if (value.startsWith('@')) return readValueFile(value.slice(1));
  onArgument(name);
  return value.startsWith('\\@') || value === '\\-' ? value.slice(1) : value;
}

function parseObject(text: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // The parser's own message quotes its input, which is a secret.
    throw new PurserError('ERR_CLI_USAGE', 'the input is not JSON', { hint: 'an object such as {"user":"app","password":"…"} is expected' });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new PurserError('ERR_CLI_USAGE', 'the input is not a JSON object');
  return value as Record<string, unknown>;
}
