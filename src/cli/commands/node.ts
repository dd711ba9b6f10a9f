// `purser node`: join tokens, the nodes that joined, and cutting one off.

import type { Command } from 'commander';

import { PurserError } from '../../lib/errors.ts';
import type { CoreClient } from '../../client/core-client.ts';
import type { CommandContext } from '../context.ts';
import { connectWithToken, formatOf, withRemoteOptions, type RemoteOptions } from '../remote.ts';

interface TokenOptions extends RemoteOptions { readonly ttl?: string; readonly driver?: boolean }
interface Node { readonly id: string; readonly name: string; readonly driver: boolean; readonly version: string; readonly last_seen: string | null; readonly revoked: boolean }

/** Adds `purser node …`. */
export function registerNode(program: Command, context: CommandContext): void {
  const node = program.command('node').description('hosts that run an agent');
  withRemoteOptions(node.command('token').description('a one-time token that a host joins with'))
    .option('--ttl <duration>', 'how long it is good (default 1h)').option('--driver', 'the node may also answer Swarm for secrets (managers)')
    .action(async (options: TokenOptions) => {
      const data = await connectWithToken(options).write('auth/node/join-token', {
        ...(options.ttl === undefined ? {} : { ttl: options.ttl }), ...(options.driver === true ? { driver: true } : {}),
      }) as { token: string; expire_time: string };
      if (formatOf(options) === 'json') { context.output.json(data); return; }
      context.output.line(data.token);
      context.output.note(`good once, until ${data.expire_time}`);
      context.output.note('purser: hint: on the host: purser agent join --token - (and paste it)');
    });
  withRemoteOptions(node.command('list')).action(async (options: RemoteOptions) => {
    const nodes = await listNodes(connectWithToken(options));
    context.output.rows(formatOf(options), ['name', 'id', 'driver', 'version', 'last_seen', 'revoked'], nodes.map((entry) => ({ ...entry })));
  });
  withRemoteOptions(node.command('revoke').description('cut a node off at once').argument('<name-or-id>')).action(async (wanted: string, options: RemoteOptions) => {
    const client = connectWithToken(options);
    const found = (await listNodes(client)).filter((entry) => !entry.revoked && (entry.id === wanted || entry.name === wanted));
    if (found[0] === undefined) throw new PurserError('ERR_CLI_USAGE', `there is no live node ${wanted}`, { hint: 'purser node list shows them' });
    await client.delete(`auth/node/nodes/${found[0].id}`);
    context.output.note(`revoked ${found[0].name} (${found[0].id})`);
  });
}

async function listNodes(client: CoreClient): Promise<Node[]> {
  const ids = await client.list('auth/node/nodes');
  return Promise.all(ids.map(async (id) => await client.read(`auth/node/nodes/${id}`) as unknown as Node));
}
