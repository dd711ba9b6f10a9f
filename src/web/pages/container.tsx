// Containers: what each holds, what it was granted and never read, which programs read, who was refused, what happened.

import type { JSX } from 'preact';
import { grouped, type Entry, type Holdings, type Reader } from '../model.ts';
import { Holders } from '../parts/holders.tsx';
import { Readers } from '../parts/readers.tsx';
import { ContainerLink, Loading, NodeLink, Problem } from '../parts/show.tsx';
import { Table } from '../parts/table.tsx';
import { Timeline } from '../parts/timeline.tsx';
import { useApi } from '../session.ts';
import { useLoaded } from '../use-loaded.ts';

export function Containers(): JSX.Element {
  const api = useApi();
  const usage = useLoaded(() => api.read<Holdings>('sys/usage'), 'usage');
  const rows = [...grouped(usage.data?.holdings ?? [], ({ container_id: id }) => id).values()];
  return (
    <>
      <h1>Containers</h1>
      <Problem error={usage.error} />
      {usage.data?.truncated === true && <p class="note">There are more than one answer holds.</p>}
      {usage.data === undefined ? usage.error === undefined && <Loading /> : <Table label="containers" rows={rows} keyOf={([first]) => first?.container_id ?? ''} empty="no container holds a secret now" order={0}
        columns={[
          { name: 'container', value: ([first]) => first?.container ?? '', show: ([first]) => <ContainerLink id={first?.container_id ?? ''} name={first?.container ?? ''} /> },
          { name: 'service', value: ([first]) => first?.service ?? '' },
          { name: 'image', value: ([first]) => first?.image ?? '' },
          { name: 'node', value: ([first]) => first?.node ?? '', show: ([first]) => <NodeLink name={first?.node ?? ''} /> },
          { name: 'secrets', value: (held) => new Set(held.map(({ path }) => path)).size, isNumber: true },
          { name: 'never read', value: (held) => held.filter(({ opens, target }) => opens === 0 && !target.startsWith('env:')).length, isNumber: true },
        ]} />}
    </>
  );
}

export function Container({ id }: { readonly id: string }): JSX.Element {
  const api = useApi();
  const about = `sys/usage/container/${id}`;
  const usage = useLoaded(() => api.read<Holdings>(about, { released: true }), id);
  const readers = useLoaded(() => api.read<{ processes: readonly Reader[] }>(about, { view: 'processes' }), id);
  const history = useLoaded(() => api.read<{ entries: readonly Entry[] }>(about, { view: 'history', limit: 400 }), id);
  const [first] = usage.data?.holdings ?? [];
  return (
    <>
      <h1 class="path">{first?.container ?? id.slice(0, 12)}</h1>
      <Problem error={usage.error} />
      {usage.data === undefined && usage.error === undefined && <Loading />}
      {first !== undefined && <p class="quiet">{first.image} on <NodeLink name={first.node} />{first.service !== undefined && <> · service {first.service}</>} · <code>{first.container_id.slice(0, 12)}</code></p>}
      <section aria-labelledby="holds"><h2 id="holds">Secrets</h2><Holders label="secrets of this container" rows={usage.data?.holdings ?? []} without={['container', 'image', 'node', 'service']} empty="this container holds no secret" /></section>
      <section aria-labelledby="readers"><h2 id="readers">Programs that read, or were refused</h2><Problem error={readers.error} /><Readers label="programs" rows={readers.data?.processes ?? []} empty="no program has tried" /></section>
      <section aria-labelledby="history"><h2 id="history">History</h2><Problem error={history.error} /><Timeline entries={history.data?.entries ?? []} /></section>
    </>
  );
}
