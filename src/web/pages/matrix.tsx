// Secrets × services at one glance: who could leak what.

import type { JSX } from 'preact';
import { matrixOf, type Cell } from '../model.ts';
import { Empty, Loading, Problem, SecretLink } from '../parts/show.tsx';
import { useApi } from '../session.ts';
import { useLoaded } from '../use-loaded.ts';

/** More columns or rows than this are no picture any more. */
const MOST = 100;

export function MatrixView(): JSX.Element {
  const api = useApi();
  const usage = useLoaded(() => api.read<{ cells: readonly Cell[] }>('sys/usage/matrix'), 'matrix');
  if (usage.data === undefined) return <><h1>Matrix</h1><Problem error={usage.error} />{usage.error === undefined && <Loading />}</>;
  const { columns, rows, newest } = matrixOf(usage.data.cells);
  return (
    <>
      <h1>Matrix</h1>
      <p class="quiet">Services, or containers outside of one, by the secrets they hold. A cell names the versions; amber: not only the newest one held.</p>
      {rows.length === 0 ? <Empty>no container holds a secret now</Empty> : (
        <div class="scroll" tabIndex={0} role="region" aria-label="secrets by service">
          <table class="matrix">
            <thead><tr><th scope="col">service</th>{columns.slice(0, MOST).map((path) => <th key={path} scope="col" class="tall"><SecretLink path={path} /></th>)}</tr></thead>
            <tbody>{rows.slice(0, MOST).map(({ name, cells }) => <tr key={name}><th scope="row">{name}</th>{columns.slice(0, MOST).map((path) => <MatrixCell key={path} cell={cells.get(path)} newest={newest.get(path) ?? 0} />)}</tr>)}</tbody>
          </table>
        </div>)}
      {(rows.length > MOST || columns.length > MOST) && <p class="note">Only the first {MOST} of {rows.length} services and {columns.length} secrets are drawn.</p>}
    </>
  );
}

function MatrixCell({ cell, newest }: { readonly cell: Cell | undefined; readonly newest: number }): JSX.Element {
  if (cell === undefined) return <td />;
  const { versions, containers } = cell;
  return <td class={versions.every((version) => version === newest) ? 'held' : 'behind'} title={`${String(containers)} containers`}>{versions.map((version) => `v${String(version)}`).join(' ')}</td>;
}
