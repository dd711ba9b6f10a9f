// What happened when: a strip with a mark per moment, and the newest of them in words.

import type { JSX } from 'preact';
import type { Moment } from '../model.ts';
import { Empty, Time } from './show.tsx';

const MARKS = 400;
const LINES = 25;
const WIDTH = 1000;

export function Timeline({ moments }: { readonly moments: readonly Moment[] }): JSX.Element {
  const [newest, oldest] = [moments[0], moments.at(-1)];
  if (newest === undefined || oldest === undefined) return <Empty>nothing has happened yet</Empty>;
  const [from, to] = [Date.parse(oldest.time), Date.parse(newest.time)];
  const x = (time: string): number => 8 + (WIDTH - 16) * (to === from ? 1 : (Date.parse(time) - from) / (to - from));
  return (
    <>
      <svg class="timeline" viewBox={`0 0 ${String(WIDTH)} 40`} preserveAspectRatio="none" role="img" aria-label={`${String(moments.length)} moments from ${oldest.time} to ${newest.time}`}>
        <line x1="0" y1="20" x2={WIDTH} y2="20" />
        {moments.slice(0, MARKS).map(({ time, what, who }, index) => <rect key={index} class={what} x={x(time) - 1.5} y="6" width="3" height="28"><title>{`${time} ${what} ${who}`}</title></rect>)}
      </svg>
      <ol class="moments">
        {moments.slice(0, LINES).map(({ time, what, who, detail }, index) => <li key={index}><Time value={time} /> <span class={`tag ${what}`}>{what}</span> {who} <span class="quiet">{detail}</span></li>)}
      </ol>
    </>
  );
}
