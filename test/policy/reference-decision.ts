// The slow, obvious twin of the whole decision, written from POLICY.md ("Decision" 1 to 5) and not from the code: every stanza is looked
// at again for every request.

import type { JsonObject, JsonValue } from '../../src/lib/json.ts';
import { decidingRule } from './reference-matcher.ts';

export interface Stanza {
  readonly path: string;
  readonly capabilities: readonly string[];
  readonly required_parameters?: readonly string[];
  readonly allowed_parameters?: Readonly<Record<string, readonly JsonValue[]>>;
  readonly denied_parameters?: Readonly<Record<string, readonly JsonValue[]>>;
  readonly min_wrapping_ttl?: number;
  readonly max_wrapping_ttl?: number;
}

export interface Request { readonly path: string; readonly operation: string; readonly data: JsonObject; readonly isSudoPath: boolean; readonly wrapTtlSeconds?: number | undefined }

/** True when the stanzas, of whatever policies, let the request pass. */
export function decides(stanzas: readonly Stanza[], request: Request): boolean {
  const isList = request.operation === 'list';
  const path = isList && request.path !== '' && !request.path.endsWith('/') ? `${request.path}/` : request.path;
  const same = stanzas.filter((stanza) => stanza.path === decidingRule(stanzas, path, isList));
  const has = (capability: string): boolean => same.some(({ capabilities }) => capabilities.includes(capability));
  if (has('deny') || !has(request.operation)) return false;
  if (request.isSudoPath && !has('sudo')) return false;
  return wrapping(same, request.wrapTtlSeconds) && (['list', 'delete'].includes(request.operation) || parameters(same, request.data));
}

function wrapping(same: readonly Stanza[], seconds: number | undefined): boolean {
  const least = (values: readonly (number | undefined)[]): number | undefined => values.filter((value) => value !== undefined && value > 0).sort((a, b) => a! - b!)[0];
  const [min, max] = [least(same.map((stanza) => stanza.min_wrapping_ttl)), least(same.map((stanza) => stanza.max_wrapping_ttl))];
  if (min === undefined && max === undefined) return true;
  return seconds !== undefined && seconds >= (min ?? 0) && seconds <= (max ?? Infinity);
}

function parameters(same: readonly Stanza[], data: JsonObject): boolean {
  for (const name of same.flatMap((stanza) => stanza.required_parameters ?? [])) if ((data[name.toLowerCase()] ?? null) === null) return false;
  for (const [sent, value] of Object.entries(data)) {
    const listed = (which: 'allowed_parameters' | 'denied_parameters', name: string): readonly (readonly JsonValue[])[] =>
      same.flatMap((stanza) => Object.entries(stanza[which] ?? {}).filter(([key]) => key.toLowerCase() === name).map(([, values]) => values));
    const fits = (lists: readonly (readonly JsonValue[])[]): boolean => lists.some((values) => values.length === 0 || values.some((wanted) => matches(wanted, value)));
    const name = sent.toLowerCase();
    if (listed('denied_parameters', '*').length > 0 || fits(listed('denied_parameters', name))) return false;
    const isLimited = same.some((stanza) => Object.keys(stanza.allowed_parameters ?? {}).length > 0);
    const allowed = listed('allowed_parameters', name);
    if (isLimited && (allowed.length > 0 ? !fits(allowed) : listed('allowed_parameters', '*').length === 0)) return false;
  }
  return true;
}

function matches(wanted: JsonValue, value: JsonValue): boolean {
  if (typeof wanted !== 'string' || typeof value !== 'string') return JSON.stringify(wanted) === JSON.stringify(value);
  const pattern = wanted.length < 2 ? escaped(wanted) : wanted.replace(/^(\*?)(.*?)(\*?)$/s, (_all, start: string, middle: string, end: string) => `${start && '[^]*'}${escaped(middle)}${end && '[^]*'}`);
  return new RegExp(`^${pattern}$`).test(value);
}

function escaped(text: string): string {
  return text.replace(/[^\w]/gu, '\\$&');
}
