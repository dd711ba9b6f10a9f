// Which programs read, or were refused.

import type { JSX } from 'preact';
import type { Reader } from '../model.ts';
import { ContainerLink, Time } from './show.tsx';
import { Table } from './table.tsx';

export function Readers({ label, rows, empty }: { readonly label: string; readonly rows: readonly Reader[]; readonly empty: string }): JSX.Element {
  return <Table label={label} rows={rows} keyOf={({ executable, uid, outcome, container_id: id = '', container }) => `${id || container} ${executable} ${String(uid)} ${outcome}`} empty={empty}
    columns={[
      { name: 'executable', value: ({ executable, name }) => executable || name, show: ({ executable, name }) => <code>{executable || name}</code> },
      { name: 'outcome', value: ({ outcome }) => outcome, show: ({ outcome }) => <span class={outcome === 'read' ? 'tag good' : 'tag bad'}>{outcome}</span> },
      { name: 'container', value: ({ container }) => container, show: ({ container, container_id: id }) => (id === undefined ? container : <ContainerLink id={id} name={container} />) },
      { name: 'uid', value: ({ uid }) => uid, isNumber: true }, { name: 'last pid', value: ({ pid }) => pid, isNumber: true }, { name: 'times', value: ({ count }) => count, isNumber: true },
      { name: 'first', value: ({ first_time: time }) => time, show: ({ first_time: time }) => <Time value={time} /> }, { name: 'last', value: ({ last_time: time }) => time, show: ({ last_time: time }) => <Time value={time} /> },
    ]} />;
}
