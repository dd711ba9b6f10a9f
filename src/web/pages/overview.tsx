// The first view: is the core well, what is in use, what is changing, who was refused.

import type { JSX } from 'preact';
import { rotationProgress, secretsInUse, type Holding, type Usage } from '../model.ts';
import { ContainerLink, Empty, Figure, Loading, NodeLink, Problem, Progress, SecretLink, Time } from '../parts/show.tsx';
import { Table } from '../parts/table.tsx';
import { useApi } from '../session.ts';
import { useLoaded } from '../use-loaded.ts';
import type { NodeInfo } from './nodes.tsx';
import { loadNodes } from './nodes.tsx';

interface SealStatus { readonly sealed: boolean; readonly version: string; readonly cluster_name?: string; readonly storage_type: string }

export function Overview(): JSX.Element {
  const api = useApi();
  const seal = useLoaded(() => api.bare<SealStatus>('sys/seal-status'), 'seal');
  const usage = useLoaded(() => api.read<Usage>('sys/usage'), 'usage');
  const nodes = useLoaded(() => loadNodes(api), 'nodes');
  const holdings = usage.data?.holdings ?? [];
  const refused = refusedTries(holdings);
  const inFlight = secretsInUse(holdings).filter(({ containers, onNewest }) => onNewest < containers);
  return (
    <>
      <h1>Overview</h1>
      <Problem error={usage.error ?? seal.error} />
      <dl class="figures">
        <Figure label="core" value={seal.data === undefined ? '…' : seal.data.sealed ? 'sealed' : 'unsealed'} tone={seal.data === undefined ? undefined : seal.data.sealed ? 'bad' : 'good'} />
        <Figure label="nodes" value={nodes.data === undefined ? '–' : nodes.data.filter(({ revoked }) => !revoked).length} tone={(nodes.data ?? []).some(isLost) ? 'bad' : undefined} />
        <Figure label="secrets in use" value={secretsInUse(holdings).length} />
        <Figure label="containers" value={new Set(holdings.map(({ container_id: id }) => id)).size} />
        <Figure label="rotations in flight" value={inFlight.length} tone={inFlight.length > 0 ? 'warn' : undefined} />
        <Figure label="refused tries" value={refused.reduce((sum, { refused: count }) => sum + count, 0)} tone={refused.length > 0 ? 'bad' : undefined} />
      </dl>
      {usage.data?.truncated === true && <p class="note">There is more than fits one answer; the figures above are of the part shown.</p>}
      <section aria-labelledby="in-flight"><h2 id="in-flight">Rotations in flight</h2>
        {usage.data === undefined && usage.error === undefined ? <Loading /> : inFlight.length === 0 ? <Empty>every container holds the newest version</Empty>
          : <ul class="rotations">{inFlight.map(({ path, newest }) => <li key={path}><SecretLink path={path} /> <span class="quiet">to version {newest}</span>
            <Progress label={`rotation of ${path}`} {...rotationProgress(holdings.filter((row) => row.path === path), newest)} /></li>)}</ul>}
      </section>
      <section aria-labelledby="refused"><h2 id="refused">Refused tries</h2>
        <Table label="containers with refused tries" rows={refused} keyOf={({ container_id: id }) => id} empty="nobody tried to read what is another container's"
          columns={[
            { name: 'directory of', value: ({ container }) => container, show: ({ container, container_id: id }) => <ContainerLink id={id} name={container} /> },
            { name: 'node', value: ({ node }) => node, show: ({ node }) => <NodeLink name={node} /> },
            { name: 'tries', value: ({ refused: count }) => count, isNumber: true },
            { name: 'by', value: ({ refused_processes: all }) => all.map(({ executable, name }) => executable || name).join(' ') },
            { name: 'last', value: ({ refused_processes: all }) => all.at(-1)?.last_time ?? '', show: ({ refused_processes: all }) => <Time value={all.at(-1)?.last_time} /> },
          ]} />
      </section>
    </>
  );
}

function isLost({ revoked, last_seen: seen }: NodeInfo): boolean {
  return !revoked && (seen === null || Date.now() - Date.parse(seen) > 3_600_000);
}

/** One row a container: the count is the container's, not the holding's. */
function refusedTries(holdings: readonly Holding[]): Holding[] {
  return [...new Map(holdings.filter(({ refused }) => refused > 0).map((row) => [row.container_id, row])).values()];
}
