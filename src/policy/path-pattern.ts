// The path of a rule: exact, prefix (trailing `*`) or with `+` segments, and which of two matching patterns is more
// specific (POLICY.md, "Decision" 3). Lengths count UTF-8 bytes and order is byte order, as in Vault.

import { Buffer } from 'node:buffer';

export interface PathPattern {
  /** Without the leading '/', with its wildcards: the identity of a rule when policies are merged. */
  readonly text: string;
  readonly kind: 'exact' | 'prefix' | 'segments';
  /** The text without a trailing glob. */
  readonly literal: string;
  readonly endsInGlob: boolean;
  /** Index in UTF-16 units; as good as bytes, because what is compared are prefixes of one path. */
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
  return {
    text,
    kind: hasPlus ? 'segments' : endsInGlob ? 'prefix' : 'exact',
    literal,
    endsInGlob,
    firstWildcard: hasPlus ? text.indexOf('+') : literal.length,
    plusCount: hasPlus ? literal.split('/').filter((segment) => segment === '+').length : 0,
    literalLength: Buffer.byteLength(literal),
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
