// `purser agent`: the node's agent, how it joins, and how it is stopped for good.

import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';

import type { Command } from 'commander';

import { PurserError } from '../../lib/errors.ts';
import { runtimeProgramBeside } from '../../lib/runtime-program.ts';
import type { CommandContext } from '../context.ts';
import { formatOf, withFormatOption } from '../remote.ts';
import { readStdin } from '../secret-input.ts';
import { tryConnect } from '../try-connect.ts';

interface JoinOptions { readonly token: string; readonly name: string; readonly stateDir?: string; readonly force?: boolean; readonly swarmNodeId?: string; readonly format?: string }

/** Where the agent keeps its identity and spool unless told otherwise. */
export const AGENT_STATE_DIRECTORY = '/var/lib/purser/agent';

/** Adds `purser agent …`. */
export function registerAgent(program: Command, context: CommandContext): void {
  const agent = program.command('agent').description('run the agent of this node')
    .option('--state-dir <directory>', 'identity and ledger spool', AGENT_STATE_DIRECTORY)
    .option('--run-dir <directory>', 'sockets and the secret filesystem', '/run/purser')
    .option('--docker-socket <path>', 'the Docker Engine', '/run/docker.sock')
    .option('--env <mode>', 'what references in variables become unless a label purser.env says so: values, strict or files-only', 'values')
    .option('--metrics <where>', 'serve /metrics, /health and /ready on unix:/PATH or 127.0.0.1:PORT')
    .option('--log-level <level>', 'error, warn, info or debug', 'info')
    .action(async (options: object) => { context.exit(await context.programs.agent(options)); });
  withFormatOption(agent.command('join').description('make this host a node of a core'))
    .requiredOption('--token <token>', 'from purser node token; - reads it from standard input')
    .option('--state-dir <directory>', 'where the identity goes, if not where purser agent was told')
    .option('--name <name>', 'name of the node', hostname())
    .option('--swarm-node-id <id>', 'id of this node in Docker Swarm (found by itself when Docker runs)')
    .option('--force', 'replace an identity that is already here')
    .action(async (options: JoinOptions) => {
      const token = options.token === '-' ? (await readStdin()).trim() : options.token;
      const identity = await context.programs.joinNode({
        token, name: options.name, stateDirectory: options.stateDir ?? agent.opts<{ stateDir: string }>().stateDir, force: options.force === true, swarmNodeId: options.swarmNodeId,
      });
      if (formatOf(options) === 'json') context.output.json({ address: identity.address, name: identity.name });
      else context.output.line(`joined ${identity.address} as ${identity.name}`);
      context.output.note('purser: hint: run purser agent, then purser runtime install');
    });
  agent.command('keep').description('in a global Swarm service (deploy/agent-stack.yml): keep the agent of each node in a container')
    .argument('[options...]', 'after --: options of purser agent')
    .option('--host <directory>', 'where /run/docker.sock and /var/lib of the host are mounted', '/host')
    .option('--token-file <path>', 'what the node joins with, if it has not', '/run/secrets/purser_join_token')
    .option('--address <url>', 'the core, where it is not at the address in the token')
    .option('--log-level <level>', 'error, warn, info or debug', 'info')
    .action(async (agentArguments: readonly string[], options: object) => { context.exit(await context.programs.keeper({ ...options, agentArguments })); });
  agent.command('release').description('unmount the secret filesystem and end its holder; running containers lose their files')
    .option('--run-dir <directory>', 'where they are, if not where purser agent was told')
    .action(async ({ runDir = agent.opts<{ runDir: string }>().runDir }: { runDir?: string }) => {
      await release(runDir);
      context.output.note('released: nothing of the agent is left but its state directory');
    });
}

/** Under a running agent the filesystem would vanish, and with it the files of every container: it has to be stopped first. */
async function release(runDirectory: string): Promise<void> {
  if (await tryConnect(join(runDirectory, 'agent.sock')) === undefined) {
    throw new PurserError('ERR_STATE_LOCKED', 'the agent of this host runs', { hint: 'stop it first (systemctl stop purser-agent); running containers then lose their files' });
  }
  const beside = runtimeProgramBeside();
  const { status, error, stderr } = spawnSync(existsSync(beside) ? beside : 'purser-runtime', ['purser-holder-release', '--run-dir', runDirectory], { encoding: 'utf8' });
  if (status !== 0) {
    throw new PurserError('ERR_FUSE_UNAVAILABLE', `the holder could not be released: ${error?.message ?? stderr.trim().replace(/^purser: error: /, '').split('\n')[0] ?? ''}`, { hint: 'stop the agent first' });
  }
}
