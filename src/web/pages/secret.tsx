// One secret: who holds it in which version, how its rotation goes on, its versions, what happened, and setting a new value —
// also for who may not read the old one.

import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import { describe, type SecretInfo } from '../kv.ts';
import { isVariable, momentsOf, rotationProgress, type Holding, type Usage } from '../model.ts';
import { Holders } from '../parts/holders.tsx';
import { Loading, Problem, Progress, Time } from '../parts/show.tsx';
import { Table } from '../parts/table.tsx';
import { Timeline } from '../parts/timeline.tsx';
import { useApi } from '../session.ts';
import { useLoaded } from '../use-loaded.ts';
import { NewValue, Reveal } from './secret-value.tsx';

export function Secret({ path }: { readonly path: string }): JSX.Element {
  const api = useApi();
  const concerns = (changed: string | undefined): boolean => changed === undefined || changed === path;
  const usage = useLoaded(() => api.read<Usage>('sys/usage', { secret: path, released: true }), path, concerns);
  const info = useLoaded(() => describe(api, path), path, concerns);
  const [written, setWritten] = useState<number>();
  const rows = usage.data?.holdings ?? [];
  const held = rows.filter(({ released_time: released }) => released === null);
  const newest = Math.max(written ?? 0, info.data?.current ?? 0, ...held.map(({ version }) => version));
  return (
    <>
      <h1 class="path">{path}</h1>
      <Problem error={usage.error} />
      {held.length > 0 && newest > 0 && <RotationState held={held} newest={newest} />}
      <section aria-labelledby="holders"><h2 id="holders">Held now</h2>
        {usage.data === undefined ? usage.error === undefined && <Loading /> : <Holders label="holders" rows={held} without={['secret', 'state']} empty="no container holds this secret now" />}
      </section>
      <section aria-labelledby="new-value"><h2 id="new-value">Set a new value</h2>
        <NewValue path={path} current={info.data?.current} onWritten={(version) => { setWritten(version); info.reload(); usage.reload(); }} />
      </section>
      <section aria-labelledby="versions"><h2 id="versions">Versions</h2>
        {info.error?.status === 404 ? <p class="empty">there is no such secret yet</p> : <Problem error={info.error} />}
        {info.data !== undefined && <Versions info={info.data} held={held} />}
        {info.error?.status !== 404 && <Reveal path={path} />}
      </section>
      <section aria-labelledby="history"><h2 id="history">History</h2><Timeline moments={momentsOf(rows)} /></section>
      <section aria-labelledby="past"><h2 id="past">Held before</h2>
        <Holders label="former holders" rows={rows.filter(({ released_time: released }) => released !== null)} without={['secret', 'since']} empty="nobody held it before" />
      </section>
    </>
  );
}

/** The bar that fills as containers take the new version. Variables of a main process keep theirs until a restart, and say so. */
function RotationState({ held, newest }: { readonly held: readonly Holding[]; readonly newest: number }): JSX.Element {
  const fixed = held.filter((row) => isVariable(row) && row.version < newest);
  return (
    <section class="rotation" aria-label="rotation">
      <p>Version <strong>{newest}</strong> is the newest.</p>
      <Progress label="containers on the newest version" {...rotationProgress(held, newest)} />
      {fixed.length > 0 && <p class="quiet">{new Set(fixed.map(({ container_id: id }) => id)).size} of them have it in a variable, which changes at their next restart (or exec).</p>}
    </section>
  );
}

function Versions({ info, held }: { readonly info: SecretInfo; readonly held: readonly Holding[] }): JSX.Element {
  return (
    <>
      <Table label="versions" rows={info.versions} keyOf={({ version }) => String(version)} empty="there is no version"
        columns={[
          { name: 'version', value: ({ version }) => version, isNumber: true },
          { name: 'made', value: ({ created }) => created, show: ({ created }) => <Time value={created} /> },
          { name: 'state', value: ({ version, deleted, isDestroyed }) => (isDestroyed ? 'destroyed' : deleted !== '' ? 'deleted' : version === info.current ? 'current' : 'kept') },
          { name: 'holders', value: ({ version }) => new Set(held.filter((row) => row.version === version).map(({ container_id: id }) => id)).size, isNumber: true },
        ]} />
      {Object.keys(info.custom).length > 0 && <dl class="metadata">{Object.entries(info.custom).map(([name, value]) => <div key={name}><dt>{name}</dt><dd>{value}</dd></div>)}</dl>}
    </>
  );
}
