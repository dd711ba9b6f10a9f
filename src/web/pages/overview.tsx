// The first view: is the core well, what is in use, what is changing, who was refused.

import type { JSX } from 'preact';
import { useRotations } from '../live.ts';
import { detailOf, type Entry, type Rotation } from '../model.ts';
import { ActivityPlot, type Activity } from '../parts/activity.tsx';
import { ContainerLink, Empty, Figure, Loading, NodeLink, Problem, RotationBar, SecretLink, Time } from '../parts/show.tsx';
import { Table } from '../parts/table.tsx';
import { useApi } from '../session.ts';
import { useLoaded } from '../use-loaded.ts';

interface NodeSummary { readonly id: string; readonly name: string; readonly is_connected: boolean; readonly is_revoked: boolean }
interface OverviewData {
  readonly containers: number; readonly secrets: number; readonly never_read: number; readonly nodes: readonly NodeSummary[]; readonly rotations: readonly Rotation[]; readonly refused_last_day: number; readonly truncated?: boolean;
}

export function Overview(): JSX.Element {
  const api = useApi();
  const seal = useLoaded(() => api.bare<{ sealed: boolean }>('sys/seal-status'), 'seal');
  const overview = useLoaded(() => api.read<OverviewData>('sys/usage/overview'), 'overview');
  const denied = useLoaded(() => api.read<{ entries: readonly Entry[] }>('sys/usage/denied', { since: '24h', limit: 200 }), 'denied');
  const activity = useLoaded(() => api.read<Activity>('sys/usage/activity'), 'activity');
  useRotations((step) => { overview.amend((before) => ({ ...before, rotations: [step, ...before.rotations.filter(({ path }) => path !== step.path)] })); });
  const { data } = overview;
  const nodes = (data?.nodes ?? []).filter(({ is_revoked: isRevoked }) => !isRevoked);
  const lost = nodes.filter(({ is_connected: isConnected }) => !isConnected);
  const inFlight = (data?.rotations ?? []).filter(({ finished_time: finished }) => finished === null || finished === undefined);
  return (
    <>
      <h1>Overview</h1>
      <Problem error={overview.error ?? seal.error} />
      <dl class="figures">
        <Figure label="core" value={seal.data === undefined ? '…' : seal.data.sealed ? 'sealed' : 'unsealed'} tone={seal.data === undefined ? undefined : seal.data.sealed ? 'bad' : 'good'} />
        <Figure label="nodes" value={data === undefined ? '…' : lost.length === 0 ? nodes.length : `${String(nodes.length - lost.length)} of ${String(nodes.length)}`} tone={lost.length > 0 ? 'bad' : undefined} />
        <Figure label="secrets in use" value={data?.secrets ?? '…'} />
        <Figure label="containers" value={data?.containers ?? '…'} />
        <Figure label="granted, never read" value={data?.never_read ?? '…'} />
        <Figure label="rotations in flight" value={data === undefined ? '…' : inFlight.length} tone={inFlight.length > 0 ? 'warn' : undefined} />
        <Figure label="refused today" value={data?.refused_last_day ?? '…'} tone={(data?.refused_last_day ?? 0) > 0 ? 'bad' : undefined} />
      </dl>
      {data?.truncated === true && <p class="note">There is more than one answer holds; the figures are of a part.</p>}
      {lost.length > 0 && <p class="note">Not connected: {lost.map(({ id, name }) => <> <NodeLink key={id} name={name} /></>)}</p>}
      <section aria-labelledby="rotations"><h2 id="rotations">Rotations</h2>
        {data === undefined && overview.error === undefined ? <Loading /> : (data?.rotations.length ?? 0) === 0 ? <Empty>every container holds the newest version, and none changed in the last minutes</Empty>
          : <ul class="rotations">{data?.rotations.map((rotation) => <li key={rotation.path}><SecretLink path={rotation.path} /> <span class="quiet">to version {rotation.version}, <Time value={rotation.finished_time ?? rotation.started_time} /></span> <RotationBar rotation={rotation} /></li>)}</ul>}
      </section>
      <section aria-labelledby="activity"><h2 id="activity">The last day</h2>
        <Problem error={activity.error} />
        {activity.data === undefined ? activity.error === undefined && <Loading /> : <ActivityPlot activity={activity.data} />}
      </section>
      <section aria-labelledby="refused"><h2 id="refused">Refused in the last day</h2>
        <Problem error={denied.error} />
        <Table label="refusals" rows={denied.data?.entries ?? []} keyOf={(entry) => `${entry.time} ${entry.type} ${entry.container} ${detailOf(entry)}`} empty="nobody was refused"
          columns={[
            { name: 'time', value: ({ time }) => time, show: ({ time }) => <Time value={time} /> },
            { name: 'what', value: ({ type }) => type, show: ({ type }) => <span class="tag bad">{type}</span> },
            { name: 'container', value: ({ container }) => container, show: ({ container, container_id: id }) => (id === undefined ? container : <ContainerLink id={id} name={container} />) },
            { name: 'node', value: ({ node }) => node, show: ({ node }) => <NodeLink name={node} /> },
            { name: 'detail', value: detailOf },
          ]} />
      </section>
    </>
  );
}
