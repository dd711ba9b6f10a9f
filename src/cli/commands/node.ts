// `purser node`: join tokens, the nodes that joined, and cutting one off.

import type { Command } from 'commander';

import { PurserError } from '../../lib/errors.ts';
import type { CoreClient } from '../../client/core-client.ts';
import type { CommandContext } from '../context.ts';
import { connectWithToken, formatOf, withRemoteOptions, type RemoteOptions } from '../remote.ts';

interface TokenOptions extends RemoteOptions { readonly ttl?: string; readonly uses?: string; readonly driver?: boolean; readonly swarm?: boolean }
interface Node {
  readonly id: string; readonly name: string; readonly driver: boolean; readonly version: string; readonly last_seen: string | null; readonly revoked: boolean;
  readonly containers: number; readonly secrets: number;
}

/** Adds `purser node …`. */
export function registerNode(program: Command, context: CommandContext): void {
  const node = program.command('node').description('hosts that run an agent');
  withRemoteOptions(node.command('token').description('a one-time token that a host joins with'))
    .option('--ttl <duration>', 'how long it is good (default 1h)').option('--uses <number>', 'how many hosts may join with it (default 1)')
    .option('--driver', 'the node may also answer Swarm for secrets (managers)')
    .option('--swarm', 'print one line to paste on each host: joins, starts the agent (with --driver also the driver), installs the runtime')
    .action(async (options: TokenOptions) => {
      const data = await connectWithToken(options).write('auth/node/join-token', {
        ...(options.ttl === undefined ? {} : { ttl: options.ttl }), ...(options.driver === true ? { driver: true } : {}),
        ...(options.uses === undefined ? {} : { num_uses: usesOf(options.uses) }),
      }) as { token: string; expire_time: string };
      if (formatOf(options) === 'json') { context.output.json(data); return; }
      context.output.line(options.swarm === true ? hostLine(data.token, options.driver === true) : data.token);
      context.output.note(`good ${options.uses === undefined || options.uses === '1' ? 'once' : `for ${options.uses} hosts`}, until ${data.expire_time}`);
      context.output.note(options.swarm === true ? 'purser: hint: as root on each host where scripts/install.sh ran; the token in it is a secret'
        : 'purser: hint: on the host: purser agent join --token - (and paste it)');
    });
  withRemoteOptions(node.command('list').description('nodes, their versions, when they were last seen, and what they hold')).action(async (options: RemoteOptions) => {
    const nodes = await listNodes(connectWithToken(options));
    context.output.rows(formatOf(options), ['name', 'id', 'driver', 'version', 'last_seen', 'containers', 'secrets', 'revoked'], nodes.map((entry) => ({ ...entry })));
  });
  withRemoteOptions(node.command('revoke').description('cut a node off at once').argument('<name-or-id>')).action(async (wanted: string, options: RemoteOptions) => {
    const client = connectWithToken(options);
    const found = (await listNodes(client)).filter((entry) => !entry.revoked && (entry.id === wanted || entry.name === wanted));
    if (found[0] === undefined) throw new PurserError('ERR_REQUEST_NOT_FOUND', `there is no live node ${wanted}`, { hint: 'purser node list shows them' });
    await client.delete(`auth/node/nodes/${found[0].id}`);
    context.output.note(`revoked ${found[0].name} (${found[0].id})`);
  });
}

/** printf of a shell puts the token into no process's arguments. A host that has joined already goes on with what is left to do. */
function hostLine(token: string, isDriver: boolean): string {
  return `{ test -e /var/lib/purser/agent/node.json || printf %s '${token}' | purser agent join --token -; } && systemctl enable --now purser-agent${isDriver ? ' purser-driver' : ''} && purser runtime install`;
}

function usesOf(text: string): number {
  if (/^[1-9][0-9]{0,3}$/.test(text)) return Number(text);
  throw new PurserError('ERR_CLI_USAGE', '--uses is a number of hosts, from 1 to 1000');
}

async function listNodes(client: CoreClient): Promise<Node[]> {
  const ids = await client.list('auth/node/nodes');
  return Promise.all(ids.map(async (id) => await client.read(`auth/node/nodes/${id}`) as unknown as Node));
}
