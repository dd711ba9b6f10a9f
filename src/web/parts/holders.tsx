// The table of who holds what: the same columns wherever rows of the ledger are shown.

import type { JSX } from 'preact';
import type { Holding } from '../model.ts';
import { ContainerLink, NodeLink, SecretLink, Time } from './show.tsx';
import { Table, type Column } from './table.tsx';

const COLUMNS: Readonly<Record<'secret' | 'container' | 'target' | 'service' | 'image' | 'node' | 'version' | 'since' | 'opens' | 'opened' | 'state', Column<Holding>>> = {
  secret: { name: 'secret', value: ({ path, field = '' }) => `${path}#${field}`, show: ({ path, field }) => <SecretLink path={path} field={field} /> },
  container: { name: 'container', value: ({ container }) => container, show: ({ container, container_id: id }) => <ContainerLink id={id} name={container} /> },
  target: { name: 'as', value: ({ field = '', target }) => `${field} ${target}`, show: ({ field, target }) => <>{field !== undefined && `#${field} `}<span class="quiet">{target}</span></> },
  service: { name: 'service', value: ({ service = '' }) => service },
  image: { name: 'image', value: ({ image }) => image },
  node: { name: 'node', value: ({ node }) => node, show: ({ node }) => <NodeLink name={node} /> },
  version: { name: 'version', value: ({ version }) => version, isNumber: true, show: ({ version, pinned }) => <>{version}{pinned === true && <span class="quiet"> pinned</span>}</> },
  since: { name: 'since', value: ({ rotated_time: rotated, granted_time: granted }) => rotated ?? granted ?? '', show: ({ rotated_time: rotated, granted_time: granted }) => <Time value={rotated ?? granted} /> },
  opens: { name: 'reads', value: ({ opens }) => opens, isNumber: true, show: ({ opens, target }) => (target.startsWith('env:') ? <span class="quiet">variable</span> : opens === 0 ? <span class="tag warn">never read</span> : opens) },
  opened: { name: 'last read', value: ({ last_opened_time: time }) => time ?? '', show: ({ last_opened_time: time, processes }) => <><Time value={time} /> <span class="quiet">{processes.at(-1)?.executable}</span></> },
  state: { name: 'state', value: ({ released_time: time }) => time ?? 'held', show: ({ released_time: time, released_reason: reason }) => (time === null ? 'held' : <>{reason} <Time value={time} /></>) },
};

export function Holders({ label, rows, without = [], empty, order = 0 }: { readonly label: string; readonly rows: readonly Holding[]; readonly without?: readonly (keyof typeof COLUMNS)[]; readonly empty: string; readonly order?: number }): JSX.Element {
  const columns = (Object.keys(COLUMNS) as (keyof typeof COLUMNS)[]).filter((name) => !without.includes(name)).map((name) => COLUMNS[name]);
  return <Table label={label} columns={columns} rows={rows} keyOf={(row) => `${row.container_id} ${row.target} ${row.path} ${row.field ?? ''} ${row.granted_time ?? ''}`} empty={empty} order={order} />;
}
