// The nodes: when each was last heard, what it holds.

import type { JSX } from 'preact';
import type { Api } from '../api.ts';
import { secretsInUse, type Usage } from '../model.ts';
import { Holders } from '../parts/holders.tsx';
import { Loading, NodeLink, Problem, Time } from '../parts/show.tsx';
import { Table } from '../parts/table.tsx';
import { useApi } from '../session.ts';
import { useLoaded } from '../use-loaded.ts';

export interface NodeInfo { readonly id: string; readonly name: string; readonly driver: boolean; readonly version: string; readonly last_seen: string | null; readonly revoked: boolean }

/** Nodes are asked for one by one; past this many, only the first. */
const MOST_NODES = 200;

export async function loadNodes(api: Api): Promise<NodeInfo[]> {
  const ids = await api.list('auth/node/nodes');
  return Promise.all(ids.slice(0, MOST_NODES).map((id) => api.read<NodeInfo>(`auth/node/nodes/${id}`)));
}

export function Nodes(): JSX.Element {
  const api = useApi();
  const nodes = useLoaded(() => loadNodes(api), 'nodes');
  const usage = useLoaded(() => api.read<Usage>('sys/usage'), 'usage');
  const of = (name: string) => (usage.data?.holdings ?? []).filter(({ node }) => node === name);
  return (
    <>
      <h1>Nodes</h1>
      <Problem error={nodes.error} />
      {nodes.data === undefined ? nodes.error === undefined && <Loading /> : <Table label="nodes" rows={nodes.data} keyOf={({ id }) => id} empty="no host has joined"
        columns={[
          { name: 'node', value: ({ name }) => name, show: ({ name }) => <NodeLink name={name} /> },
          { name: 'state', value: ({ revoked }) => (revoked ? 'revoked' : 'joined'), show: ({ revoked }) => (revoked ? <span class="tag bad">revoked</span> : <span class="tag good">joined</span>) },
          { name: 'last seen', value: ({ last_seen: time }) => time ?? '', show: ({ last_seen: time }) => <Time value={time} /> },
          { name: 'agent', value: ({ version }) => version },
          { name: 'containers', value: ({ name }) => new Set(of(name).map(({ container_id: id }) => id)).size, isNumber: true },
          { name: 'secrets', value: ({ name }) => secretsInUse(of(name)).length, isNumber: true },
        ]} />}
    </>
  );
}

export function Node({ name }: { readonly name: string }): JSX.Element {
  const api = useApi();
  const usage = useLoaded(() => api.read<Usage>('sys/usage', { node: name }), name);
  return (
    <>
      <h1 class="path">{name}</h1>
      <p class="quiet">If this host is lost, these are the secrets to rotate.</p>
      <Problem error={usage.error} />
      {usage.data === undefined ? usage.error === undefined && <Loading /> : <Holders label="secrets on this node" rows={usage.data.holdings} without={['node', 'state']} empty="no container on it holds a secret" />}
    </>
  );
}
