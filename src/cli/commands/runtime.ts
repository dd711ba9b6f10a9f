// `purser runtime`: puts the OCI runtime shim into the Docker Engine by live reload, takes it out, and shows its state.

import type { Command } from 'commander';

import { runtimeProgramBeside } from '../../lib/runtime-program.ts';
import { entryRows } from '../output.ts';
import type { CommandContext, RuntimeOptions } from '../context.ts';
import { formatOf, withFormatOption } from '../remote.ts';

interface FormatOptions extends RuntimeOptions { readonly format?: string }

/** Adds `purser runtime …`. */
export function registerRuntime(program: Command, context: CommandContext): void {
  const runtime = program.command('runtime').description('the OCI runtime shim in the Docker Engine');
  const common = (command: Command): Command => withFormatOption(command
    .option('--daemon-json <file>', 'configuration of the engine', '/etc/docker/daemon.json')
    .option('--docker-socket <path>', 'the Docker Engine', '/run/docker.sock'));
  common(runtime.command('install').description('make purser the default runtime, by live reload'))
    .action(async (options: FormatOptions) => {
      const result = await (await context.programs.runtime()).installRuntime({ ...options, source: runtimeProgramBeside() });
      if (formatOf(options) === 'json') context.output.json(result);
      else context.output.line(result.changed ? 'the Docker Engine now starts containers through purser' : 'the Docker Engine already starts containers through purser');
    });
  common(runtime.command('uninstall').description('put the configuration back as it was')).option('--force', 'also when stopped containers still name the runtime')
    .action(async (options: FormatOptions & { readonly force?: boolean }) => {
      const result = await (await context.programs.runtime()).uninstallRuntime({ ...options, force: options.force === true });
      for (const warning of result.warnings) context.output.warn(warning);
      if (formatOf(options) === 'json') context.output.json(result);
      else context.output.line(!result.complete ? 'the Docker Engine starts new containers without purser; see the warning for what is left'
        : result.changed ? 'the Docker Engine starts containers without purser' : 'purser was not installed in the Docker Engine');
    });
  common(runtime.command('status').description('what is installed, configured and in force'))
    .action(async (options: FormatOptions) => {
      const status = await (await context.programs.runtime()).runtimeStatus({ ...options, source: runtimeProgramBeside() });
      if (formatOf(options) === 'json') context.output.json(status);
      else context.output.rows('table', ['key', 'value'], entryRows(status as Record<string, unknown>));
    });
}
