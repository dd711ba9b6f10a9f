// The slow, obvious twin of src/policy/acl.ts, written from POLICY.md and not from the code: every rule is tried as a
// regular expression, and the matches are sorted.

import { Buffer } from 'node:buffer';

export interface SimpleRule { readonly path: string; readonly capabilities: readonly string[] }

const isExact = (path: string) => !path.endsWith('*') && !hasPlus(path);
const hasPlus = (path: string) => /^\+$|^\+\/|\/\+/.test(path);

function matches(rulePath: string, path: string): boolean {
  const glob = rulePath.endsWith('*');
  const body = (glob ? rulePath.slice(0, -1) : rulePath).split('/')
    .map((segment) => segment === '+' ? '[^/]*' : segment.replace(/[^\w]/gu, '\\$&')).join('/');
  return new RegExp(`^${body}${glob ? '[^]*' : ''}$`).test(path);
}

function sortKey(rulePath: string): readonly [number, number, number, number, Buffer] {
  const literal = rulePath.endsWith('*') ? rulePath.slice(0, -1) : rulePath;
  const first = hasPlus(rulePath) ? literal.indexOf('+') : literal.length;
  const pluses = hasPlus(rulePath) ? literal.split('/').filter((segment) => segment === '+').length : 0;
  return [Buffer.byteLength(literal.slice(0, first)), rulePath.endsWith('*') ? 0 : 1, -pluses, Buffer.byteLength(literal), Buffer.from(literal)];
}

function isHigher(a: string, b: string): boolean {
  const [left, right] = [sortKey(a), sortKey(b)];
  for (const index of [0, 1, 2, 3] as const) if (left[index] !== right[index]) return left[index] > right[index];
  return Buffer.compare(left[4], right[4]) > 0;
}

/** The path of the rule that decides, or undefined. */
export function decidingRule(rules: readonly SimpleRule[], path: string, isList: boolean): string | undefined {
  const denies = (rulePath: string) => rules.some((rule) => rule.path === rulePath && rule.capabilities.includes('deny'));
  const exact = (wanted: string) => rules.find((rule) => isExact(rule.path) && rule.path === wanted)?.path;
  const best = (wanted: string) => rules.map((rule) => rule.path).filter((rulePath) => !isExact(rulePath) && matches(rulePath, wanted))
    .reduce<string | undefined>((highest, candidate) => highest === undefined || isHigher(candidate, highest) ? candidate : highest, undefined);
  const bare = path.replace(/\/$/, '');
  if (!isList || bare === path) return exact(path) ?? (isList ? exact(bare) : undefined) ?? best(path);
  const chosen = best(path) ?? best(bare);
  const bareBest = best(bare);
  const overruled = chosen !== undefined && bareBest !== undefined && denies(bareBest) && isHigher(bareBest, chosen);
  return exact(path) ?? exact(bare) ?? (overruled ? bareBest : chosen);
}

/** Union of the capabilities of all rules with the deciding path; deny erases. */
export function isAllowed(rules: readonly SimpleRule[], operation: string, path: string): boolean {
  const isList = operation === 'list';
  const deciding = decidingRule(rules, isList && path !== '' && !path.endsWith('/') ? `${path}/` : path, isList);
  const capabilities = rules.filter((rule) => rule.path === deciding).flatMap((rule) => rule.capabilities);
  return !capabilities.includes('deny') && capabilities.includes(operation);
}
