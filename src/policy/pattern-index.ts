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

/** Holds one rule for each pattern. */
export class PatternIndex<R extends Indexed> implements RuleLookup<R> {
  readonly #exact = new Map<string, R>();
  readonly #prefixes = new PrefixMap<R>();
  readonly #segments = new SegmentNode<R>();

  constructor(rules: Iterable<R> = []) {
    for (const rule of rules) this.set(rule.pattern, rule);
  }

  /** Puts `rule` in the place of the one with this pattern; undefined takes that away. */
  set(pattern: PathPattern, rule: R | undefined): void {
    const { kind, literal } = pattern;
    if (kind === 'prefix') this.#prefixes.set(literal, rule);
    else if (kind === 'segments') setInTrie(this.#segments, pattern, literal.split('/'), 0, rule);
    else if (rule === undefined) this.#exact.delete(literal);
    else this.#exact.set(literal, rule);
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
  /** How many prefixes have a length. */
  readonly #counts = new Map<number, number>();
  /** Longest first. */
  #lengths: readonly number[] = [];

  get isEmpty(): boolean {
    return this.#values.size === 0;
  }

  set(prefix: string, value: R | undefined): void {
    const before = this.#values.size;
    if (value === undefined) this.#values.delete(prefix);
    else this.#values.set(prefix, value);
    if (this.#values.size !== before) this.#count(prefix.length, this.#values.size - before);
  }

  #count(length: number, more: number): void {
    const count = (this.#counts.get(length) ?? 0) + more;
    if (count === 0) this.#counts.delete(length);
    else this.#counts.set(length, count);
    if (count === 0 || count === more) this.#lengths = [...this.#counts.keys()].sort((a, b) => b - a);
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

  get isEmpty(): boolean {
    return this.isLeaf && this.rule === undefined && this.globs === undefined;
  }

  child(segment: string): SegmentNode<R> {
    if (segment === '+') return this.any ??= new SegmentNode();
    this.children ??= new Map();
    let node = this.children.get(segment);
    if (node === undefined) this.children.set(segment, node = new SegmentNode());
    return node;
  }

  drop(segment: string): void {
    if (segment === '+') this.any = undefined;
    else if (this.children?.delete(segment) === true && this.children.size === 0) this.children = undefined;
  }
}

/** Sets the rule for the `segments` from `depth` on below `node`; branches that hold nothing any more go. */
function setInTrie<R extends Indexed>(node: SegmentNode<R>, pattern: PathPattern, segments: readonly string[], depth: number, rule: R | undefined): void {
  const segment = segments[depth];
  // `+*` is refused when a policy is written, so the last segment before a glob is always a literal.
  if (segment === undefined) node.rule = rule;
  else if (pattern.endsInGlob && depth === segments.length - 1) {
    const globs = node.globs ??= new PrefixMap();
    globs.set(segment, rule);
    if (globs.isEmpty) node.globs = undefined;
  } else {
    const child = node.child(segment);
    setInTrie(child, pattern, segments, depth + 1, rule);
    if (child.isEmpty) node.drop(segment);
  }
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
