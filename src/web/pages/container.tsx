// One container: what it holds, what it was granted and never read, who was refused at its directory, what happened.

import type { JSX } from 'preact';
import { grouped, momentsOf, type ProcessCount, type Usage } from '../model.ts';
import { Holders } from '../parts/holders.tsx';
import { Loading, NodeLink, Problem, Time } from '../parts/show.tsx';
import { Table } from '../parts/table.tsx';
import { Timeline } from '../parts/timeline.tsx';
import { linkTo } from '../router.ts';
import { useApi } from '../session.ts';
import { useLoaded } from '../use-loaded.ts';

export function Containers(): JSX.Element {
  const api = useApi();
  const usage = useLoaded(() => api.read<Usage>('sys/usage'), 'usage');
  const rows = [...grouped(usage.data?.holdings ?? [], ({ container_id: id }) => id).values()];
  return (
    <>
      <h1>Containers</h1>
      <Problem error={usage.error} />
      {usage.data === undefined ? usage.error === undefined && <Loading /> : <Table label="containers" rows={rows} keyOf={([first]) => first?.container_id ?? ''} empty="no container holds a secret now"
        columns={[
          { name: 'container', value: ([first]) => first?.container ?? '', show: ([first]) => <a href={linkTo(['containers', first?.container_id ?? ''])}>{first?.container}</a> },
          { name: 'service', value: ([first]) => first?.service ?? '' },
          { name: 'image', value: ([first]) => first?.image ?? '' },
          { name: 'node', value: ([first]) => first?.node ?? '', show: ([first]) => <NodeLink name={first?.node ?? ''} /> },
          { name: 'secrets', value: (held) => new Set(held.map(({ path }) => path)).size, isNumber: true },
          { name: 'never read', value: (held) => held.filter(({ opens }) => opens === 0).length, isNumber: true },
          { name: 'refused tries', value: ([first]) => first?.refused ?? 0, isNumber: true },
        ]} />}
    </>
  );
}

export function Container({ id }: { readonly id: string }): JSX.Element {
  const api = useApi();
  const usage = useLoaded(() => api.read<Usage>('sys/usage', { container: id, released: true }), id);
  const rows = usage.data?.holdings ?? [];
  const [first] = rows;
  const readers = [...grouped(rows.flatMap(({ processes }) => processes), ({ executable, uid, pid }) => `${executable} ${String(uid)} ${String(pid)}`).values()].map(total);
  return (
    <>
      <h1 class="path">{first?.container ?? id.slice(0, 12)}</h1>
      <Problem error={usage.error} />
      {usage.data === undefined && usage.error === undefined && <Loading />}
      {first !== undefined && <p class="quiet">{first.image} on <NodeLink name={first.node} />{first.service !== undefined && <> · service {first.service}</>} · <code>{first.container_id.slice(0, 12)}</code></p>}
      <section aria-labelledby="holds"><h2 id="holds">Secrets</h2><Holders label="secrets of this container" rows={rows} without={['container', 'image', 'node', 'service']} empty="this container holds no secret" /></section>
      <section aria-labelledby="readers"><h2 id="readers">Read by</h2><Processes label="reading processes" rows={readers} empty="no process of it has read a secret" /></section>
      <section aria-labelledby="refusals"><h2 id="refusals">Refused at its directory</h2><Processes label="refused processes" rows={first?.refused_processes ?? []} empty="nobody else tried" /></section>
      <section aria-labelledby="history"><h2 id="history">History</h2><Timeline moments={momentsOf(rows)} /></section>
    </>
  );
}

function total(counts: readonly ProcessCount[]): ProcessCount {
  return counts.reduce((sum, one) => ({ ...sum, count: sum.count + one.count, first_time: sum.first_time < one.first_time ? sum.first_time : one.first_time, last_time: sum.last_time > one.last_time ? sum.last_time : one.last_time }));
}

function Processes({ label, rows, empty }: { readonly label: string; readonly rows: readonly ProcessCount[]; readonly empty: string }): JSX.Element {
  return <Table label={label} rows={rows} keyOf={({ executable, uid, pid }) => `${executable} ${String(uid)} ${String(pid)}`} empty={empty}
    columns={[
      { name: 'executable', value: ({ executable, name }) => executable || name, show: ({ executable, name }) => <code>{executable || name}</code> },
      { name: 'uid', value: ({ uid }) => uid, isNumber: true }, { name: 'pid', value: ({ pid }) => pid, isNumber: true }, { name: 'times', value: ({ count }) => count, isNumber: true },
      { name: 'first', value: ({ first_time: time }) => time, show: ({ first_time: time }) => <Time value={time} /> }, { name: 'last', value: ({ last_time: time }) => time, show: ({ last_time: time }) => <Time value={time} /> },
    ]} />;
}
