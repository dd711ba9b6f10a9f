// Secrets × services at one glance: who could leak what.

import type { JSX } from 'preact';
import { useMemo, useState } from 'preact/hooks';
import { matrixOf, type Cell } from '../model.ts';
import { Empty, Loading, numberText, Problem, SecretLink } from '../parts/show.tsx';
import { useApi } from '../session.ts';
import { useLoaded } from '../use-loaded.ts';

/** More columns or rows than these are no picture any more. */
const MOST_SECRETS = 40;
const MOST_HOLDERS = 100;

export function MatrixView(): JSX.Element {
  const api = useApi();
  const usage = useLoaded(() => api.read<{ cells: readonly Cell[] }>('sys/usage/matrix'), 'matrix');
  const [search, setSearch] = useState('');
  const matrix = useMemo(() => matrixOf(usage.data?.cells ?? [], search), [usage.data, search]);
  if (usage.data === undefined) return <><h1>Matrix</h1><Problem error={usage.error} />{usage.error === undefined && <Loading />}</>;
  const { columns, rows, newest } = matrix;
  const shown = columns.slice(0, MOST_SECRETS);
  const holders = rows.filter(({ cells }) => shown.some((path) => cells.has(path)));
  return (
    <>
      <h1>Matrix</h1>
      <p class="quiet">Who could leak what: services, and containers outside of one, by the secrets they hold. A cell names the versions; amber: not only the newest one held.</p>
      <label class="search"><span class="quiet">filter secrets and services</span><input type="search" value={search} onInput={(event) => { setSearch(event.currentTarget.value); }} /></label>
      {rows.length === 0 ? <Empty>{search === '' ? 'no container holds a secret now' : 'nothing has this name'}</Empty> : (
        <div class="scroll" tabIndex={0} role="region" aria-label="secrets by service">
          <table class="matrix">
            <thead><tr><th scope="col">service</th>{shown.map((path) => <th key={path} scope="col" class="tall"><div title={path}><SecretLink path={path} /></div></th>)}</tr></thead>
            <tbody>{holders.slice(0, MOST_HOLDERS).map(({ name, cells }) => <tr key={name}><th scope="row">{name}</th>{shown.map((path) => <MatrixCell key={path} cell={cells.get(path)} newest={newest.get(path) ?? 0} />)}</tr>)}</tbody>
          </table>
        </div>)}
      {(columns.length > shown.length || holders.length > MOST_HOLDERS) && <p class="note">Drawn are {shown.length} of {numberText(columns.length)} secrets, the most widely held first, and {Math.min(holders.length, MOST_HOLDERS)} of {numberText(rows.length)} services.</p>}
    </>
  );
}

function MatrixCell({ cell, newest }: { readonly cell: Cell | undefined; readonly newest: number }): JSX.Element {
  if (cell === undefined) return <td />;
  const { versions, containers } = cell;
  return <td class={versions.every((version) => version === newest) ? 'held' : 'behind'} title={`${String(containers)} containers`}>{versions.map((version) => `v${String(version)}`).join(' ')}</td>;
}
