// From the text of a policy to a small tree, the same for HCL and JSON. Keys may repeat here, because HCL stanzas do; what
// repetition means is decided in parse.ts. Size and depth are bounded.

import { Buffer } from 'node:buffer';
import type { JsonValue } from '../lib/json.ts';
import type { PurserError } from '../lib/errors.ts';
import type { Notation, Token } from './hcl-lexer.ts';
import { Lexer, policyError } from './hcl-lexer.ts';

export interface ObjectNode { readonly kind: 'object'; readonly items: readonly ItemNode[]; readonly line: number }
export interface ListNode { readonly kind: 'list'; readonly values: readonly Node[]; readonly line: number }
export interface LiteralNode { readonly kind: 'literal'; readonly value: string | number | boolean | null; readonly line: number }
export type Node = ObjectNode | ListNode | LiteralNode;
/** `path "x" { … }` has the keys `path` and `x`. */
export interface ItemNode { readonly keys: readonly string[]; readonly value: Node; readonly line: number }

export interface Document { readonly notation: Notation; readonly root: ObjectNode }

export const MAX_POLICY_BYTES = 512 * 1024;
const MAX_DEPTH = 16;
const MAX_KEYS = 8;

/** @throws ERR_POLICY_SYNTAX with the line; values are not quoted */
export function parseDocument(text: string): Document {
  if (Buffer.byteLength(text) > MAX_POLICY_BYTES) throw policyError(`the text is larger than ${MAX_POLICY_BYTES} bytes`);
  const body = text.startsWith('\uFEFF') ? text.slice(1) : text;
  return /^\s*\{/.test(body) ? { notation: 'json', root: parseJson(new Lexer(body, 'json')) } : { notation: 'hcl', root: parseHcl(new Lexer(body, 'hcl')) };
}

/** What a node is as plain data; objects get no prototype. Used for parameter values only. */
export function valueOf(node: Node): JsonValue {
  if (node.kind === 'literal') return node.value;
  if (node.kind === 'list') return node.values.map(valueOf);
  const object = Object.create(null) as Record<string, JsonValue>;
  for (const item of node.items) {
    const [key] = item.keys;
    if (key === undefined || item.keys.length > 1 || key in object) throw policyError(`object with a repeated or compound key on line ${item.line}`);
    object[key] = valueOf(item.value);
  }
  return object;
}

function parseJson(lexer: Lexer): ObjectNode {
  const root = jsonValue(lexer, 0);
  const rest = lexer.next();
  if (root.kind !== 'object' || rest.kind !== 'end') throw unexpected(rest, 'the end');
  return root;
}

function jsonValue(lexer: Lexer, depth: number): Node {
  const token = lexer.next();
  if (isPunctuation(token, '[')) return { kind: 'list', values: [...commaSeparated(lexer, ']', depth, () => jsonValue(lexer, depth + 1))], line: token.line };
  if (isPunctuation(token, '{')) return { kind: 'object', items: [...commaSeparated(lexer, '}', depth, () => jsonItem(lexer, depth + 1))], line: token.line };
  if (token.kind === 'identifier' && token.text === 'null') return { kind: 'literal', value: null, line: token.line };
  return literal(token);
}

function jsonItem(lexer: Lexer, depth: number): ItemNode {
  const key = lexer.next();
  if (key.kind !== 'string') throw unexpected(key, 'a key');
  expect(lexer, ':');
  return { keys: [key.text], value: jsonValue(lexer, depth), line: key.line };
}

function* commaSeparated<T>(lexer: Lexer, close: string, depth: number, element: () => T): Generator<T> {
  checkDepth(lexer, depth);
  if (isPunctuation(lexer.peek(), close)) {
    lexer.next();
    return;
  }
  for (;;) {
    yield element();
    const token = lexer.next();
    if (isPunctuation(token, close)) return;
    if (!isPunctuation(token, ',')) throw unexpected(token, `"," or "${close}"`);
  }
}

function parseHcl(lexer: Lexer): ObjectNode {
  const items = hclItems(lexer, 0);
  const rest = lexer.next();
  if (rest.kind !== 'end') throw unexpected(rest, 'a key');
  return { kind: 'object', items, line: 1 };
}

/** Items up to a `}` or the end; HCL 1 lets one comma follow each item, and line breaks mean nothing. */
function hclItems(lexer: Lexer, depth: number): ItemNode[] {
  checkDepth(lexer, depth);
  const items: ItemNode[] = [];
  for (;;) {
    const token = lexer.peek();
    if (token.kind === 'end' || isPunctuation(token, '}')) return items;
    items.push(hclItem(lexer, depth));
    if (isPunctuation(lexer.peek(), ',')) lexer.next();
  }
}

function hclItem(lexer: Lexer, depth: number): ItemNode {
  const keys: string[] = [];
  const { line } = lexer.peek();
  for (;;) {
    const token = lexer.peek();
    if (token.kind === 'identifier' || token.kind === 'string') {
      lexer.next();
      keys.push(token.text);
      if (keys.length > MAX_KEYS) throw unexpected(token, '"{"');
    } else if (keys.length === 1 && isPunctuation(token, '=')) {
      lexer.next();
      return { keys, value: hclValue(lexer, depth + 1), line };
    } else if (keys.length > 0 && isPunctuation(token, '{')) {
      return { keys, value: hclValue(lexer, depth + 1), line };
    } else {
      throw unexpected(token, keys.length === 0 ? 'a key' : keys.length === 1 ? '"=" or "{"' : '"{"');
    }
  }
}

function hclValue(lexer: Lexer, depth: number): Node {
  const token = lexer.next();
  if (isPunctuation(token, '{')) {
    const items = hclItems(lexer, depth);
    expect(lexer, '}');
    return { kind: 'object', items, line: token.line };
  }
  if (isPunctuation(token, '[')) return { kind: 'list', values: hclList(lexer, depth), line: token.line };
  return literal(token);
}

/** As a JSON list, but a comma may follow the last element. */
function hclList(lexer: Lexer, depth: number): Node[] {
  checkDepth(lexer, depth);
  const values: Node[] = [];
  for (;;) {
    if (isPunctuation(lexer.peek(), ']')) break;
    values.push(hclValue(lexer, depth + 1));
    if (isPunctuation(lexer.peek(), ']')) break;
    expect(lexer, ',');
  }
  lexer.next();
  return values;
}

function literal(token: Token): LiteralNode {
  if (token.kind === 'string') return { kind: 'literal', value: token.text, line: token.line };
  if (token.kind === 'number') return { kind: 'literal', value: token.value, line: token.line };
  if (token.kind === 'identifier' && (token.text === 'true' || token.text === 'false')) return { kind: 'literal', value: token.text === 'true', line: token.line };
  throw unexpected(token, 'a value');
}

function isPunctuation(token: Token, text: string): boolean {
  return token.kind === 'punctuation' && token.text === text;
}

function expect(lexer: Lexer, text: string): void {
  const token = lexer.next();
  if (!isPunctuation(token, text)) throw unexpected(token, `"${text}"`);
}

function checkDepth(lexer: Lexer, depth: number): void {
  if (depth > MAX_DEPTH) throw policyError(`nested deeper than ${MAX_DEPTH} on line ${lexer.peek().line}`);
}

function unexpected(token: Token, wanted: string): PurserError {
  return policyError(token.kind === 'end' ? `expected ${wanted} but the text ends on line ${token.line}` : `expected ${wanted} on line ${token.line}`);
}
