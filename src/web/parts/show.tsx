// Small things every view shows: times, problems, emptiness, a bar that fills.

import type { ComponentChildren, JSX } from 'preact';
import type { ApiError } from '../api.ts';
import type { Rotation } from '../model.ts';
import { linkTo } from '../router.ts';

const relative = new Intl.RelativeTimeFormat('en', { numeric: 'auto' });
const STEPS: readonly (readonly [Intl.RelativeTimeFormatUnit, number])[] = [['day', 86_400], ['hour', 3_600], ['minute', 60], ['second', 1]];

/** A moment as people say it, with the exact one at hand. */
export function Time({ value }: { readonly value: string | null | undefined }): JSX.Element {
  if (value === null || value === undefined || value === '') return <span class="quiet">never</span>;
  const seconds = (Date.parse(value) - Date.now()) / 1000;
  const [unit, size] = STEPS.find(([, step]) => Math.abs(seconds) >= step) ?? ['second', 1];
  return <time dateTime={value} title={value}>{relative.format(Math.round(seconds / size), unit)}</time>;
}

/** 12,345 */
export function numberText(value: number): string {
  return value.toLocaleString('en');
}

export function Problem({ error }: { readonly error: ApiError | undefined }): JSX.Element | null {
  if (error === undefined) return null;
  return <div class="problem" role="alert"><strong>{error.message === 'permission denied' ? 'your policies do not allow this' : error.message}</strong>{error.hint !== undefined && <span> {error.hint}</span>}</div>;
}

export function Empty({ children }: { readonly children: ComponentChildren }): JSX.Element {
  return <p class="empty">{children}</p>;
}

export function Loading(): JSX.Element {
  return <p class="empty" role="status">loading…</p>;
}

/** A rotation's progress: the bar is full when no container is left that takes the new version by itself. */
export function RotationBar({ rotation: { path, total, current, need_restart: needRestart } }: { readonly rotation: Rotation }): JSX.Element {
  const all = total - needRestart;
  const percent = all === 0 ? 100 : Math.floor(100 * current / all);
  return (
    <div class={percent === 100 ? 'progress full' : 'progress'}>
      <progress aria-label={`containers with the newest version of ${path}`} max={Math.max(all, 1)} value={all === 0 ? 1 : current}>{percent} %</progress>
      <span class="figure">{percent} %</span><span class="quiet">{current} of {total} {total === 1 ? 'container' : 'containers'}{needRestart > 0 && `; ${String(needRestart)} hold it in a variable until their next restart`}</span>
    </div>
  );
}

export function Figure({ label, value, tone }: { readonly label: string; readonly value: ComponentChildren; readonly tone?: 'good' | 'bad' | 'warn' | undefined }): JSX.Element {
  return <div class={`figure-box ${tone ?? ''}`}><dt>{label}</dt><dd>{typeof value === 'number' ? numberText(value) : value}</dd></div>;
}

export const SecretLink = ({ path, field }: { readonly path: string; readonly field?: string | undefined }): JSX.Element =>
  <a href={linkTo(['secrets', path])}>{path}{field !== undefined && <span class="quiet">#{field}</span>}</a>;
export const ContainerLink = ({ id, name }: { readonly id: string; readonly name: string }): JSX.Element => <a href={linkTo(['containers', id])} title={id}>{name}</a>;
export const NodeLink = ({ name }: { readonly name: string }): JSX.Element => <a href={linkTo(['nodes', name])}>{name}</a>;
