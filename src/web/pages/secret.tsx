// One secret: who holds it in which version, how its rotation goes on, who read it, its versions, what happened, and setting a new
// value — also for who may not read the old one.

import type { JSX } from 'preact';
import { describe, type SecretInfo } from '../kv.ts';
import type { Entry, Holding, Holdings, Reader, Rotation } from '../model.ts';
import { Holders } from '../parts/holders.tsx';
import { Readers } from '../parts/readers.tsx';
import { Loading, Problem, RotationBar, Time } from '../parts/show.tsx';
import { Table } from '../parts/table.tsx';
import { Timeline } from '../parts/timeline.tsx';
import { useRotations } from '../live.ts';
import { useApi } from '../session.ts';
import { useLoaded, type Loaded } from '../use-loaded.ts';
import { NewValue, Reveal } from './secret-value.tsx';

export function Secret({ path }: { readonly path: string }): JSX.Element {
  const api = useApi();
  const concerns = (changed: string | undefined): boolean => changed === undefined || changed === path;
  const usage = `sys/usage/secret/${path}`;
  const rotation = useLoaded(() => api.read<Rotation & { behind: readonly Holding[] }>(usage, { view: 'rotation' }), path, concerns);
  const holdings = useLoaded(() => api.read<Holdings>(usage, { released: true }), path, concerns);
  const readers = useLoaded(() => api.read<{ processes: readonly Reader[] }>(usage, { view: 'processes' }), path, concerns);
  const history = useLoaded(() => api.read<{ entries: readonly Entry[] }>(usage, { view: 'history', limit: 400 }), path, concerns);
  const info = useLoaded(() => describe(api, path), path, concerns);
  useRotations((step) => { if (step.path === path) rotation.amend((before) => ({ ...before, ...step })); });
  const rows = holdings.data?.holdings ?? [];
  const held = rows.filter(({ released_time: released }) => released === null);
  const reload = (...all: readonly Pick<Loaded<unknown>, 'reload'>[]): void => { for (const each of all) each.reload(); };
  return (
    <>
      <h1 class="path">{path}</h1>
      <Problem error={holdings.error} />
      {rotation.data !== undefined && rotation.data.total > 0 && (
        <section class="rotation" aria-label="rotation"><p>Version <strong>{rotation.data.version}</strong> is the current one.</p><RotationBar rotation={rotation.data} />
          {rotation.data.behind.length > 0 && <details><summary>who holds an old version</summary><Holders label="holders of an old version" rows={rotation.data.behind} without={['secret', 'state']} empty="nobody" /></details>}</section>)}
      <section aria-labelledby="new-value"><h2 id="new-value">Set a new value</h2>
        <NewValue path={path} current={info.data?.current} onWritten={() => { reload(info, rotation, holdings, history); }} />
      </section>
      <section aria-labelledby="holders"><h2 id="holders">Held now</h2>
        {holdings.data === undefined ? holdings.error === undefined && <Loading /> : <Holders label="holders" rows={held} without={['secret', 'state']} empty="no container holds this secret now" />}
      </section>
      <section aria-labelledby="versions"><h2 id="versions">Versions</h2>
        {info.error?.status === 404 ? <p class="empty">there is no such secret yet</p> : <Problem error={info.error} />}
        {info.data !== undefined && <Versions info={info.data} held={held} />}
        {info.error?.status !== 404 && <Reveal path={path} />}
      </section>
      <section aria-labelledby="readers"><h2 id="readers">Read by</h2><Problem error={readers.error} /><Readers label="reading programs" rows={readers.data?.processes ?? []} empty="no program has read it" /></section>
      <section aria-labelledby="history"><h2 id="history">History</h2><Problem error={history.error} /><Timeline entries={history.data?.entries ?? []} /></section>
      <section aria-labelledby="past"><h2 id="past">Held before</h2>
        <Holders label="former holders" rows={rows.filter(({ released_time: released }) => released !== null)} without={['secret', 'since']} empty="nobody held it before" order={-1} />
      </section>
    </>
  );
}

function Versions({ info, held }: { readonly info: SecretInfo; readonly held: readonly Holding[] }): JSX.Element {
  return (
    <>
      <Table label="versions" rows={info.versions} keyOf={({ version }) => String(version)} empty="there is no version"
        columns={[
          { name: 'version', value: ({ version }) => version },
          { name: 'made', value: ({ created }) => created, show: ({ created }) => <Time value={created} /> },
          { name: 'state', value: ({ version, deleted, isDestroyed }) => (isDestroyed ? 'destroyed' : deleted !== '' ? 'deleted' : version === info.current ? 'current' : 'kept') },
          { name: 'containers', value: ({ version }) => new Set(held.filter((row) => row.version === version).map(({ container_id: id }) => id)).size },
        ]} />
      {Object.keys(info.custom).length > 0 && <dl class="metadata">{Object.entries(info.custom).map(([name, value]) => <div key={name}><dt>{name}</dt><dd>{value}</dd></div>)}</dl>}
    </>
  );
}
