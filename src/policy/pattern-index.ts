// Finds the rule for a path without looking at every rule: exact paths in a Map, prefixes in a Map probed once per
// distinct prefix length, `+` patterns in a trie of segments. The cost of a lookup grows with the length of the path and
// the shapes of the rules, not with their number.

import type { PathPattern } from './path-pattern.ts';
import { compareSpecificity } from './path-pattern.ts';

export interface Indexed {
  readonly pattern: PathPattern;
}

/** Finds the rules of one ACL. */
export interface RuleLookup<R extends Indexed> {
  exact(path: string): R | undefined;
  /** The most specific prefix or `+` rule that matches `path`. */
  bestNonExact(path: string): R | undefined;
}

/** Every pattern text is added once. */
export class PatternIndex<R extends Indexed> implements RuleLookup<R> {
  readonly #exact = new Map<string, R>();
  readonly #prefixes = new PrefixMap<R>();
  readonly #segments = new SegmentNode<R>();

  constructor(rules: Iterable<R>) {
    for (const rule of rules) {
      const { kind, literal } = rule.pattern;
      if (kind === 'exact') this.#exact.set(literal, rule);
      else if (kind === 'prefix') this.#prefixes.set(literal, rule);
      else addToTrie(this.#segments, rule);
    }
  }

  exact(path: string): R | undefined {
    return this.#exact.get(path);
  }

  bestNonExact(path: string): R | undefined {
    const prefix = this.#prefixes.longest(path);
    return this.#segments.isLeaf ? prefix : bestInTrie(this.#segments, path.split('/'), prefix);
  }
}

/** Few rules in front of many: a rule of `upper` stands in for the one of `lower` with the same pattern. */
export class LayeredIndex<R extends Indexed> implements RuleLookup<R> {
  readonly #upper: RuleLookup<R>;
  readonly #lower: RuleLookup<R>;

  constructor(upper: RuleLookup<R>, lower: RuleLookup<R>) {
    this.#upper = upper;
    this.#lower = lower;
  }

  exact(path: string): R | undefined {
    return this.#upper.exact(path) ?? this.#lower.exact(path);
  }

  bestNonExact(path: string): R | undefined {
    return moreSpecific(this.#lower.bestNonExact(path), this.#upper.bestNonExact(path));
  }
}

/** Longest-prefix lookup: one probe per distinct length of a stored prefix. */
class PrefixMap<R> {
  readonly #values = new Map<string, R>();
  /** Longest first. */
  #lengths: readonly number[] = [];

  set(prefix: string, value: R): void {
    this.#values.set(prefix, value);
    if (!this.#lengths.includes(prefix.length)) this.#lengths = [...this.#lengths, prefix.length].sort((a, b) => b - a);
  }

  longest(text: string): R | undefined {
    for (const length of this.#lengths) {
      const value = length > text.length ? undefined : this.#values.get(text.slice(0, length));
      if (value !== undefined) return value;
    }
    return undefined;
  }
}

/** A node of the trie. Parts appear when needed: an ACL may hold hundreds of thousands of nodes. */
class SegmentNode<R> {
  children: Map<string, SegmentNode<R>> | undefined;
  /** The child behind a `+`. */
  any: SegmentNode<R> | undefined;
  /** The rule whose last segment led here. */
  rule: R | undefined;
  /** Rules that end here with a glob, by the literal start of their last segment. */
  globs: PrefixMap<R> | undefined;

  get isLeaf(): boolean {
    return this.children === undefined && this.any === undefined;
  }

  child(segment: string): SegmentNode<R> {
    if (segment === '+') return this.any ??= new SegmentNode();
    this.children ??= new Map();
    let node = this.children.get(segment);
    if (node === undefined) this.children.set(segment, node = new SegmentNode());
    return node;
  }
}

function addToTrie<R extends Indexed>(root: SegmentNode<R>, rule: R): void {
  const segments = rule.pattern.literal.split('/');
  // `+*` is refused when a policy is written, so the last segment before a glob is always a literal.
  const start = rule.pattern.endsInGlob ? segments.pop() : undefined;
  const node = segments.reduce((parent, segment) => parent.child(segment), root);
  if (start === undefined) node.rule = rule;
  else (node.globs ??= new PrefixMap()).set(start, rule);
}

/** Walks all matching branches at once, a segment at a time; of globs at one node the longest is the most specific. */
function bestInTrie<R extends Indexed>(root: SegmentNode<R>, segments: readonly string[], best: R | undefined): R | undefined {
  let level = [root];
  for (const segment of segments) {
    const next: SegmentNode<R>[] = [];
    for (const node of level) {
      best = moreSpecific(best, node.globs?.longest(segment));
      const literal = node.children?.get(segment);
      if (literal !== undefined) next.push(literal);
      if (node.any !== undefined) next.push(node.any);
    }
    if (next.length === 0) return best;
    level = next;
  }
  for (const node of level) best = moreSpecific(best, node.rule);
  return best;
}

/** Of two with the same pattern, `b`. */
function moreSpecific<R extends Indexed>(a: R | undefined, b: R | undefined): R | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return compareSpecificity(a.pattern, b.pattern) > 0 ? a : b;
}
