// How much was read and refused over time: a strip of bars for each, with its own scale, because a few refusals among a thousand reads are
// what one looks for. The same figures stand in a table for whoever cannot see the bars.

import type { JSX } from 'preact';
import { activitySeries, type ActivityStep, type Series } from '../model.ts';
import { numberText } from './show.tsx';
import { Table } from './table.tsx';

const HEIGHT = 40;
/** What is not nothing is seen. */
const LEAST = 2;
const MINUTE_SECONDS = 60;

export interface Activity { readonly step_seconds: number; readonly steps: readonly ActivityStep[] }

const clock = new Intl.DateTimeFormat('en', { weekday: 'short', hour: '2-digit', minute: '2-digit', hour12: false });
const momentOf = (time: string | undefined): string => (time === undefined ? '' : clock.format(Date.parse(time)));

export function ActivityPlot({ activity: { steps, step_seconds: seconds } }: { readonly activity: Activity }): JSX.Element {
  const each = `${String(seconds / MINUTE_SECONDS)} minutes`;
  const [first, last] = [momentOf(steps[0]?.time), momentOf(steps.at(-1)?.time)];
  return (
    <div class="activity">
      {activitySeries(steps).map((series) => <Bars key={series.name} series={series} steps={steps} each={each} span={`from ${first} to ${last}`} />)}
      <p class="axis quiet" aria-hidden="true"><span>{first}</span><span>each bar is {each}</span><span>{last}</span></p>
      <details><summary>the figures as a table</summary>
        <Table label="steps" rows={steps.filter(({ opened, refused, denied }) => opened + refused + denied > 0).toReversed()} keyOf={({ time }) => time} empty="nothing was read or refused"
          columns={[
            { name: 'from', value: ({ time }) => time, show: ({ time }) => <time dateTime={time} title={time}>{momentOf(time)}</time> },
            { name: 'reads', value: ({ opened }) => opened, isNumber: true },
            { name: 'refused reads', value: ({ refused }) => refused, isNumber: true },
            { name: 'refused containers', value: ({ denied }) => denied, isNumber: true },
          ]} />
      </details>
    </div>
  );
}

function Bars({ series: { name, values, total, most }, steps, each, span }: { readonly series: Series; readonly steps: readonly ActivityStep[]; readonly each: string; readonly span: string }): JSX.Element {
  const height = (value: number): number => Math.max(LEAST, HEIGHT * value / most);
  const [title, description] = [`plot-${name}`, `plot-${name}-description`];
  return (
    <figure>
      <figcaption>{name} <span class="quiet">{total === 0 ? 'none' : `${numberText(total)}, at most ${numberText(most)} in ${each}`}</span></figcaption>
      <svg viewBox={`0 0 ${String(values.length)} ${String(HEIGHT)}`} preserveAspectRatio="none" role="img" aria-labelledby={title} aria-describedby={description}>
        <title id={title}>{name} over time</title>
        <desc id={description}>{`${numberText(total)} ${name} ${span}, at most ${numberText(most)} in ${each}`}</desc>
        <line x1="0" y1={HEIGHT} x2={values.length} y2={HEIGHT} />
        {values.map((value, index) => value > 0 && <rect key={index} class={name} x={index + 0.1} y={HEIGHT - height(value)} width="0.8" height={height(value)}><title>{`${momentOf(steps[index]?.time)}: ${numberText(value)} ${name}`}</title></rect>)}
      </svg>
    </figure>
  );
}
