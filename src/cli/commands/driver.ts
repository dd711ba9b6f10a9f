// `purser driver`: Docker Swarm's secret provider.

import type { Command } from 'commander';

import type { CommandContext } from '../context.ts';
import { AGENT_STATE_DIRECTORY } from './agent.ts';

/** Adds `purser driver`. */
export function registerDriver(program: Command, context: CommandContext): void {
  program.command('driver').description('answer docker secret create --driver purser on a Swarm manager')
    .option('--state-dir <directory>', 'identity of a node that joined with a driver token', AGENT_STATE_DIRECTORY)
    .option('--socket <path>', 'plugin socket', '/run/docker/plugins/purser.sock')
    .option('--managed', 'run as Docker\'s managed plugin: settings from docker plugin set, joins by itself')
    .option('--metrics <where>', 'serve /metrics, /health and /ready on unix:/PATH or 127.0.0.1:PORT')
    .option('--docker-socket <path>', 'the Docker Engine of this manager, for services with the label purser.on-rotate=update', '/run/docker.sock')
    .option('--updates-only', 'only those rolling updates, where the managed plugin answers Swarm')
    .option('--driver-name <name>', 'name of the driver in Docker (default: that of the socket)')
    .option('--log-level <level>', 'error, warn, info or debug', 'info')
    .action(async (options: object) => { context.exit(await context.programs.driver(options)); });
}
