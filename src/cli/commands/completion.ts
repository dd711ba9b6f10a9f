// `purser completion bash|zsh|fish`: prints the script to load.

import type { Command } from 'commander';

import { PurserError } from '../../lib/errors.ts';
import type { CommandContext } from '../context.ts';

/** Adds `purser completion`. Registered last: it describes everything that was added before. */
export function registerCompletion(program: Command, context: CommandContext): void {
  program.command('completion').description('print the completion script of a shell').argument('<shell>', 'bash, zsh or fish')
    .action(async (name: string) => {
      const { completionScript, SHELLS } = await import('../completion.ts');
      const shell = SHELLS.find((known) => known === name);
      if (shell === undefined) throw new PurserError('ERR_CLI_USAGE', `there is no completion for ${name}`, { hint: `one of ${SHELLS.join(', ')}` });
      context.output.line(completionScript(shell, program).trimEnd());
    });
}
