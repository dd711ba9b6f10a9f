// The path of a rule: exact, prefix (trailing `*`) or with `+` segments, and which of two matching patterns is more
// specific (POLICY.md, "Decision" 3). Positions and lengths count UTF-8 bytes, as in Vault.

import { Buffer } from 'node:buffer';

export interface PathPattern {
  /** Without the leading '/', with its wildcards: the identity of a rule when policies are merged. */
  readonly text: string;
  readonly kind: 'exact' | 'prefix' | 'segments';
  /** The text without a trailing glob. */
  readonly literal: string;
  readonly endsInGlob: boolean;
  readonly firstWildcard: number;
  readonly plusCount: number;
  readonly literalLength: number;
}

/** Reads a rule's path, which the policy parser has validated. A `+` counts only as a whole segment. */
export function parsePathPattern(path: string): PathPattern {
  const text = path.startsWith('/') ? path.slice(1) : path;
  const hasPlus = text === '+' || text.startsWith('+/') || text.includes('/+');
  const endsInGlob = text.endsWith('*');
  const literal = endsInGlob ? text.slice(0, -1) : text;
  const literalLength = Buffer.byteLength(literal);
  return {
    text,
    kind: hasPlus ? 'segments' : endsInGlob ? 'prefix' : 'exact',
    literal,
    endsInGlob,
    firstWildcard: hasPlus ? Buffer.byteLength(text.slice(0, text.indexOf('+'))) : literalLength,
    plusCount: hasPlus ? literal.split('/').filter((segment) => segment === '+').length : 0,
    literalLength,
  };
}

/** Positive when `a` is more specific than `b`: of two non-exact patterns that match a path, the more specific one decides. */
export function compareSpecificity(a: PathPattern, b: PathPattern): number {
  return a.firstWildcard - b.firstWildcard
    || Number(b.endsInGlob) - Number(a.endsInGlob)
    || b.plusCount - a.plusCount
    || a.literalLength - b.literalLength
    || Buffer.compare(Buffer.from(a.literal), Buffer.from(b.literal));
}
