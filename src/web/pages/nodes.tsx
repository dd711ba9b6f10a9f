// The nodes: which are heard, and what each holds.

import type { JSX } from 'preact';
import { grouped, type Entry, type Holdings } from '../model.ts';
import { Holders } from '../parts/holders.tsx';
import { Loading, NodeLink, Problem, Time } from '../parts/show.tsx';
import { Table } from '../parts/table.tsx';
import { Timeline } from '../parts/timeline.tsx';
import { useApi } from '../session.ts';
import { useLoaded } from '../use-loaded.ts';

interface NodeInfo { readonly id: string; readonly name: string; readonly version: string; readonly is_connected: boolean; readonly is_revoked: boolean; readonly last_seen_time: string | null }

export function Nodes(): JSX.Element {
  const api = useApi();
  const overview = useLoaded(() => api.read<{ nodes: readonly NodeInfo[] }>('sys/usage/overview'), 'overview');
  const usage = useLoaded(() => api.read<Holdings>('sys/usage'), 'usage');
  const held = grouped(usage.data?.holdings ?? [], ({ node }) => node);
  const count = (name: string, of: 'container_id' | 'path'): number => new Set(held.get(name)?.map((row) => row[of])).size;
  return (
    <>
      <h1>Nodes</h1>
      <Problem error={overview.error} />
      {overview.data === undefined ? overview.error === undefined && <Loading /> : <Table label="nodes" rows={overview.data.nodes} keyOf={({ id }) => id} empty="no host has joined"
        columns={[
          { name: 'node', value: ({ name }) => name, show: ({ name }) => <NodeLink name={name} /> },
          { name: 'state', value: stateOf, show: (node) => <span class={stateOf(node) === 'connected' ? 'tag good' : 'tag bad'}>{stateOf(node)}</span> },
          { name: 'last seen', value: ({ last_seen_time: time }) => time ?? '', show: ({ last_seen_time: time }) => <Time value={time} /> },
          { name: 'agent', value: ({ version }) => version },
          { name: 'containers', value: ({ name }) => count(name, 'container_id'), isNumber: true },
          { name: 'secrets', value: ({ name }) => count(name, 'path'), isNumber: true },
        ]} />}
    </>
  );
}

function stateOf({ is_revoked: isRevoked, is_connected: isConnected }: NodeInfo): string {
  return isRevoked ? 'revoked' : isConnected ? 'connected' : 'not heard';
}

export function Node({ name }: { readonly name: string }): JSX.Element {
  const api = useApi();
  const usage = useLoaded(() => api.read<Holdings>(`sys/usage/node/${name}`), name);
  const history = useLoaded(() => api.read<{ entries: readonly Entry[] }>(`sys/usage/node/${name}`, { view: 'history', limit: 400 }), name);
  return (
    <>
      <h1 class="path">{name}</h1>
      <p class="quiet">If this host is lost, these are the secrets to rotate.</p>
      <Problem error={usage.error} />
      {usage.data === undefined ? usage.error === undefined && <Loading /> : <section aria-labelledby="held"><h2 id="held">Held now</h2><Holders label="secrets on this node" rows={usage.data.holdings} without={['node', 'state']} empty="no container on it holds a secret" /></section>}
      <section aria-labelledby="history"><h2 id="history">History</h2><Problem error={history.error} /><Timeline entries={history.data?.entries ?? []} /></section>
    </>
  );
}
