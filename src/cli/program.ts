// The command tree of `purser`: options, help and exit codes. Commands live one per file in commands/; this file only joins
// them.

import { Command, CommanderError } from 'commander';

import { isPurserError } from '../lib/errors.ts';
import { registerAgent } from './commands/agent.ts';
import { registerAudit } from './commands/audit.ts';
import { registerAuth } from './commands/auth.ts';
import { registerCapabilities } from './commands/capabilities.ts';
import { registerCompletion } from './commands/completion.ts';
import { registerDoctor } from './commands/doctor.ts';
import { registerDriver } from './commands/driver.ts';
import { registerGenerateRoot } from './commands/generate-root.ts';
import { registerKv } from './commands/kv.ts';
import { registerLogical } from './commands/logical.ts';
import { registerLease } from './commands/lease.ts';
import { registerLogin } from './commands/login.ts';
import { registerNode } from './commands/node.ts';
import { registerOperator } from './commands/operator.ts';
import { registerPolicy } from './commands/policy.ts';
import { registerRekey } from './commands/rekey.ts';
import { registerRotate } from './commands/rotate.ts';
import { registerRuntime } from './commands/runtime.ts';
import { registerSecrets } from './commands/secrets.ts';
import { registerServer } from './commands/server.ts';
import { registerToken } from './commands/token.ts';
import { registerUnwrap } from './commands/unwrap.ts';
import { registerUsage } from './commands/usage.ts';
import { registerWorkload } from './commands/workload.ts';
import { EXIT, type CommandContext, type Programs } from './context.ts';
import { createOutput, USAGE_HINT, type Output } from './output.ts';

declare const PURSER_VERSION: string | undefined;

/**
 * Runs one command line.
 * @param args the arguments after `purser`
 * @returns the exit code
 */
export async function runCli(args: readonly string[], programs: Programs, output: Output = createOutput()): Promise<number> {
  let exitCode: number = EXIT.done;
  const context: CommandContext = { output, programs, exit: (code) => { exitCode = code; } };
  try {
    await buildProgram(context).parseAsync(withTwoDashes(args), { from: 'user' });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.usage;
    output.error(error);
    return isPurserError(error, 'ERR_CLI_USAGE') ? EXIT.usage : EXIT.failed;
  }
}

/** Vault's command line writes `-cas=1` and `-format json`; so may users of this one. What follows `--` is left alone. */
function withTwoDashes(args: readonly string[]): string[] {
  const end = args.includes('--') ? args.indexOf('--') : args.length;
  return args.map((arg, index) => (index < end && /^-[a-z][a-z-]*[a-z](?:=|$)/.test(arg) ? `-${arg}` : arg));
}

/** The whole command tree. */
export function buildProgram(context: CommandContext): Command {
  const program = new Command('purser')
    .description('secrets for Docker and Swarm: references instead of values, live rotation, a record of every use')
    .version(typeof PURSER_VERSION === 'string' ? PURSER_VERSION : 'development', '-V, --version')
    .enablePositionalOptions() // else --version of a command, such as kv get's, is taken for this one
    .showHelpAfterError(false)
    .enablePositionalOptions() // options before a sub-command are its parent's, those behind it its own
    .exitOverride()
    .configureOutput({
      writeOut: (text) => { context.output.line(text.trimEnd()); },
      // commander writes `error: …`; ours is one voice, with the hint on its own line.
      outputError: (text) => {
        context.output.note(`purser: ${text.trim().replace(/\s*\n\s*/g, ' ').toLowerCase()}`);
        context.output.note(`purser: hint: ${USAGE_HINT}`);
      },
    });
  for (const register of [
    registerServer, registerAgent, registerDriver, registerOperator, registerRekey, registerRotate, registerGenerateRoot,
    registerLogin, registerLogical, registerKv, registerPolicy, registerToken, registerLease, registerUnwrap, registerAuth,
    registerSecrets, registerNode, registerWorkload, registerUsage, registerAudit, registerRuntime,
    registerCapabilities,
    registerDoctor, registerCompletion,
  ]) register(program, context);
  return program;
}
