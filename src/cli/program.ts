// The command tree of `purser`: options, help and exit codes. Commands live one per file in commands/; this file only joins
// them. Exit codes: 0 done, 1 refused or failed, 2 the command line is wrong, 3 sealed (`purser status`).

import { Command, CommanderError } from 'commander';

import { isPurserError } from '../lib/errors.ts';
import { registerAgent } from './commands/agent.ts';
import { registerDriver } from './commands/driver.ts';
import { registerKv } from './commands/kv.ts';
import { registerLogin } from './commands/login.ts';
import { registerNode } from './commands/node.ts';
import { registerOperator } from './commands/operator.ts';
import { registerPolicy } from './commands/policy.ts';
import { registerRuntime } from './commands/runtime.ts';
import { registerSecrets } from './commands/secrets.ts';
import { registerServer } from './commands/server.ts';
import { registerToken } from './commands/token.ts';
import { registerUsage } from './commands/usage.ts';
import { registerWorkload } from './commands/workload.ts';
import { createOutput, type Output } from './output.ts';

declare const PURSER_VERSION: string | undefined;

export const EXIT = { done: 0, failed: 1, usage: 2, sealed: 3 } as const;

/** What a command may ask of the other programs; main.ts loads each only when it is asked for. */
export interface Programs {
  /** The long-running ones resolve with the exit code. */
  readonly server: (options: object) => Promise<number>;
  readonly agent: (options: object) => Promise<number>;
  readonly driver: (options: object) => Promise<number>;
  readonly joinNode: (options: JoinOptions) => Promise<{ readonly address: string; readonly name: string }>;
  readonly runtime: () => Promise<RuntimeSetup>;
}

export interface JoinOptions {
  readonly token: string;
  readonly name: string;
  readonly stateDirectory: string;
  readonly force: boolean;
  readonly swarmNodeId: string | undefined;
}

export interface RuntimeOptions {
  readonly daemonJson: string;
  readonly dockerSocket: string;
}

/** Installs the shim into a Docker Engine (agent/runtime-config.ts). */
export interface RuntimeSetup {
  installRuntime(options: RuntimeOptions & { readonly source: string }): Promise<{ readonly changed: boolean }>;
  uninstallRuntime(options: RuntimeOptions & { readonly force: boolean }): Promise<{ readonly changed: boolean; readonly warnings: readonly string[] }>;
  runtimeStatus(options: RuntimeOptions): Promise<object>;
}

/** What every command gets. */
export interface CommandContext {
  readonly output: Output;
  readonly programs: Programs;
  /** Sets the exit code of a command that did its work but has something to say (sealed, for one). */
  exit(code: number): void;
}

/**
 * Runs one command line.
 * @param args the arguments after `purser`
 * @returns the exit code
 */
export async function runCli(args: readonly string[], programs: Programs, output: Output = createOutput()): Promise<number> {
  let exitCode: number = EXIT.done;
  const context: CommandContext = { output, programs, exit: (code) => { exitCode = code; } };
  try {
    await buildProgram(context).parseAsync([...args], { from: 'user' });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.usage;
    output.error(error);
    return isPurserError(error, 'ERR_CLI_USAGE') ? EXIT.usage : EXIT.failed;
  }
}

function buildProgram(context: CommandContext): Command {
  const program = new Command('purser')
    .description('secrets for Docker and Swarm: references instead of values, live rotation, a record of every use')
    .version(typeof PURSER_VERSION === 'string' ? PURSER_VERSION : 'development', '-V, --version')
    .showHelpAfterError(false)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => { context.output.line(text.trimEnd()); },
      // commander writes `error: …`; ours is one voice, with the hint on its own line.
      outputError: (text) => {
        context.output.note(`purser: ${text.trim().replace(/\s*\n\s*/g, ' ').toLowerCase()}`);
        context.output.note('purser: hint: see purser --help, or --help after a command');
      },
    });
  for (const register of [
    registerServer, registerAgent, registerDriver, registerOperator, registerLogin, registerKv, registerPolicy, registerToken,
    registerSecrets, registerNode, registerWorkload, registerUsage, registerRuntime,
  ]) register(program, context);
  return program;
}
