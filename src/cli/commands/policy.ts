// `purser policy`: path policies, in HCL or JSON.

import type { Command } from 'commander';

import type { CommandContext } from '../context.ts';
import { connectWithToken, formatOf, withRemoteOptions, type RemoteOptions } from '../remote.ts';
import { readStdin, readValueFile } from '../secret-input.ts';

/** Adds `purser policy …`. */
export function registerPolicy(program: Command, context: CommandContext): void {
  const policy = program.command('policy').description('who may do what');
  withRemoteOptions(policy.command('write').argument('<name>').argument('<file>', '- reads standard input')).action(async (name: string, file: string, options: RemoteOptions) => {
    await connectWithToken(options).write(`sys/policies/acl/${name}`, { policy: file === '-' ? await readStdin() : readValueFile(file) });
    context.output.note(`wrote the policy ${name}`);
  });
  withRemoteOptions(policy.command('read').argument('<name>')).action(async (name: string, options: RemoteOptions) => {
    const data = await connectWithToken(options).read(`sys/policies/acl/${name}`) as { policy: string };
    if (formatOf(options) === 'json') context.output.json(data);
    else context.output.line(data.policy.trimEnd());
  });
  withRemoteOptions(policy.command('list')).action(async (options: RemoteOptions) => {
    const names = await connectWithToken(options).list('sys/policies/acl');
    if (formatOf(options) === 'json') context.output.json(names);
    else for (const name of names) context.output.line(name);
  });
  withRemoteOptions(policy.command('delete').argument('<name>')).action(async (name: string, options: RemoteOptions) => {
    await connectWithToken(options).delete(`sys/policies/acl/${name}`);
    context.output.note(`removed the policy ${name}`);
  });
}
