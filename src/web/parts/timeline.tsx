// What happened when: a strip with a mark per entry, and the newest of them in words.

import type { JSX } from 'preact';
import { detailOf, type Entry } from '../model.ts';
import { ContainerLink, Empty, Time } from './show.tsx';

const MARKS = 400;
const LINES = 30;
const WIDTH = 1000;

/** @param entries newest first */
export function Timeline({ entries }: { readonly entries: readonly Entry[] }): JSX.Element {
  const [newest, oldest] = [entries[0], entries.at(-1)];
  if (newest === undefined || oldest === undefined) return <Empty>nothing has happened yet</Empty>;
  const [from, to] = [Date.parse(oldest.time), Date.parse(newest.time)];
  const x = (time: string): number => 8 + (WIDTH - 16) * (to === from ? 1 : (Date.parse(time) - from) / (to - from));
  return (
    <>
      <svg class="timeline" viewBox={`0 0 ${String(WIDTH)} 40`} preserveAspectRatio="none" role="img" aria-label={`${String(entries.length)} entries from ${oldest.time} to ${newest.time}`}>
        <line x1="0" y1="20" x2={WIDTH} y2="20" />
        {entries.slice(0, MARKS).map(({ time, type, container }, index) => <rect key={index} class={type} x={x(time) - 1.5} y="6" width="3" height="28"><title>{`${time} ${type} ${container}`}</title></rect>)}
      </svg>
      <ol class="moments">
        {entries.slice(0, LINES).map((entry, index) => (
          <li key={index}><Time value={entry.time} /> <span class={`tag ${entry.type}`}>{entry.type}</span> {entry.container_id === undefined ? entry.container : <ContainerLink id={entry.container_id} name={entry.container} />} <span class="quiet">{detailOf(entry)}</span></li>))}
      </ol>
      {entries.length > LINES && <p class="quiet count">the newest {LINES} of {entries.length}</p>}
    </>
  );
}
