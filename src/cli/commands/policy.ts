// `purser policy`: path policies, in HCL or JSON.

import { statSync } from 'node:fs';

import type { Command } from 'commander';

import { writeFileAtomic } from '../../lib/atomic-file.ts';
import { PurserError } from '../../lib/errors.ts';
import type { CommandContext } from '../context.ts';
import { connectWithToken, formatOf, printNames, withRemoteOptions, type RemoteOptions } from '../remote.ts';
import { readStdin, readValueFile } from '../secret-input.ts';

/** Adds `purser policy …`. */
export function registerPolicy(program: Command, context: CommandContext): void {
  const policy = program.command('policy').description('who may do what');
  withRemoteOptions(policy.command('write').description('make or replace a policy').argument('<name>').argument('<file>', '- reads standard input')).action(async (name: string, file: string, options: RemoteOptions) => {
    await connectWithToken(options).write(`sys/policies/acl/${name}`, { policy: file === '-' ? await readStdin() : readValueFile(file) });
    context.output.note(`wrote the policy ${name}`);
  });
  policy.command('fmt').description('check a policy and bring it into one layout').argument('<file>', '- reads standard input and prints')
    .option('--check', 'change nothing; fail when the layout is another').action((file: string, options: { readonly check?: boolean }) => format(context, file, options.check === true));
  withRemoteOptions(policy.command('read').description('print a policy').argument('<name>')).action(async (name: string, options: RemoteOptions) => {
    const data = await connectWithToken(options).read(`sys/policies/acl/${name}`) as { policy: string };
    if (formatOf(options) === 'json') context.output.json(data);
    else context.output.line(data.policy.trimEnd());
  });
  withRemoteOptions(policy.command('list').description('names of all policies')).action(async (options: RemoteOptions) => printNames(context, options, await connectWithToken(options).list('sys/policies/acl')));
  withRemoteOptions(policy.command('delete').description('remove a policy').argument('<name>')).action(async (name: string, options: RemoteOptions) => {
    await connectWithToken(options).delete(`sys/policies/acl/${name}`);
    context.output.note(`removed the policy ${name}`);
  });
}

async function format(context: CommandContext, file: string, isCheck: boolean): Promise<void> {
  const { formatPolicy } = await import('../../policy/format.ts'); // the other commands start without the parser
  const text = file === '-' ? await readStdin() : readValueFile(file);
  const formatted = formatPolicy(text);
  if (formatted === text && (isCheck || file !== '-')) { context.output.note(`${file} is in the layout already`); return; }
  if (isCheck) throw new PurserError('ERR_POLICY_SYNTAX', `${file} is valid, in another layout`, { hint: `purser policy fmt ${file}` });
  if (file === '-') { context.output.line(formatted.trimEnd()); return; }
  await writeFileAtomic(file, formatted, { mode: statSync(file).mode & 0o777 });
  context.output.note(`brought ${file} into the layout`);
}
