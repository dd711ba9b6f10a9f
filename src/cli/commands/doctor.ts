// `purser doctor`: what is wrong and what to do about it, a line for each check. Exit code 0 when nothing fails, 1 when something does;
// warnings do not count.

import type { Command } from 'commander';

import { runtimeProgramBeside } from '../../lib/runtime-program.ts';
import { EXIT, type CommandContext } from '../context.ts';
import type { Finding } from '../doctor/finding.ts';
import { readConnection } from '../environment.ts';
import { clientFor, formatOf, withRemoteOptions, type RemoteOptions } from '../remote.ts';

interface DoctorOptions extends RemoteOptions { readonly dataDir: string; readonly stateDir: string; readonly runDir: string; readonly dockerSocket: string; readonly daemonJson: string; readonly service?: string }

/** Adds `purser doctor`. */
export function registerDoctor(program: Command, context: CommandContext): void {
  withRemoteOptions(program.command('doctor').description('check the core and this machine, and say what to do'))
    .option('--data-dir <directory>', 'of a core on this machine', '/var/lib/purser/server')
    .option('--state-dir <directory>', 'of the agent', '/var/lib/purser/agent').option('--run-dir <directory>', 'of the agent', '/run/purser')
    .option('--docker-socket <path>', 'the Docker Engine', '/run/docker.sock').option('--daemon-json <file>', 'configuration of the engine', '/etc/docker/daemon.json')
    .option('--service <name>', 'look at this Swarm service instead of this machine (on a manager)')
    .action((options: DoctorOptions) => doctor(context, options));
}

async function doctor(context: CommandContext, options: DoctorOptions): Promise<void> {
  const format = formatOf(options);
  const [{ runChecks }, { coreChecks }, { nodeChecks }] = await Promise.all([import('../doctor/finding.ts'), import('../doctor/core-checks.ts'), import('../doctor/node-checks.ts')]);
  const connection = readConnection(options);
  const client = clientFor(connection);
  const here = options.service === undefined
    ? nodeChecks({ ...options, runtime: context.programs.runtime, builtShim: runtimeProgramBeside(), stateDirectory: options.stateDir, runDirectory: options.runDir })
    : (await import('../doctor/service-checks.ts')).serviceChecks({ service: options.service, swarm: await context.programs.swarm(options.dockerSocket), client });
  const findings = await runChecks([...coreChecks({ connection, client, dataDirectory: options.dataDir }), ...here]);
  client.close();
  if (findings.some(({ status }) => status === 'fail')) context.exit(EXIT.failed);
  context.output.rows(format, ['status', 'check', 'message', ...(format === 'json' ? ['hint'] : [])], findings.map((finding) => ({ ...finding })));
  if (format === 'table') findings.forEach((finding) => { advise(context, finding); });
}

function advise({ output }: CommandContext, { check, hint }: Finding): void {
  if (hint !== undefined) output.note(`purser: hint: ${check}: ${hint}`);
}
