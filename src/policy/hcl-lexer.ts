// Tokens of the two notations of a policy: HCL version 1 (the part policies use) and JSON. On demand, one at a time, so that
// a huge text costs nothing before its first error. Strings are decoded here; anything unclear is an error with its line.

import { PurserError } from '../lib/errors.ts';

export type Token =
  | { readonly kind: 'identifier' | 'string'; readonly text: string; readonly line: number }
  | { readonly kind: 'number'; readonly value: number; readonly line: number }
  | { readonly kind: 'punctuation'; readonly text: string; readonly line: number }
  | { readonly kind: 'end'; readonly line: number };

export type Notation = 'hcl' | 'json';

/** The error of everything in this folder that reads text, with Vault's prefix. */
export function policyError(message: string, hint = 'a stanza looks like path "secret/data/app/*" { capabilities = ["read"] }'): PurserError {
  return new PurserError('ERR_POLICY_SYNTAX', `failed to parse policy: ${message}`, { hint });
}

const IDENTIFIER = /[\p{L}_][\p{L}\p{N}_.-]*/uy;
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w.])/y;
const HEREDOC = /<<(-?)([\p{L}_][\p{L}\p{N}_]*)[ \t]*\r?\n/uy;
const ESCAPES = new Map([['"', '"'], ['\\', '\\'], ['/', '/'], ['b', '\b'], ['f', '\f'], ['n', '\n'], ['r', '\r'], ['t', '\t']]);
const UNICODE_ESCAPE = /u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})/y;

export class Lexer {
  readonly #text: string;
  readonly #notation: Notation;
  #position = 0;
  #line = 1;
  #peeked: Token | undefined;

  constructor(text: string, notation: Notation) {
    this.#text = text;
    this.#notation = notation;
  }

  peek(): Token {
    return this.#peeked ??= this.#read();
  }

  next(): Token {
    const token = this.peek();
    this.#peeked = undefined;
    return token;
  }

  #read(): Token {
    this.#skipBlank();
    const line = this.#line;
    const character = this.#text[this.#position];
    if (character === undefined) return { kind: 'end', line };
    if (character === '"') return { kind: 'string', text: this.#quoted(), line };
    if ((this.#notation === 'hcl' ? '{}[],=' : '{}[],:').includes(character)) {
      this.#position += 1;
      return { kind: 'punctuation', text: character, line };
    }
    const number = this.#match(NUMBER);
    if (number !== undefined) return { kind: 'number', value: this.#finite(Number(number[0])), line };
    const identifier = this.#match(IDENTIFIER);
    if (identifier !== undefined) return { kind: 'identifier', text: identifier[0], line };
    if (this.#notation === 'hcl' && character === '<') return { kind: 'string', text: this.#heredoc(), line };
    throw this.#error('unexpected character');
  }

  #skipBlank(): void {
    for (;;) {
      this.#advance(this.#match(/[ \t\r\n]+/y)?.[0] ?? '');
      if (this.#notation === 'json') return;
      if (this.#match(/(?:#|\/\/)[^\n]*/y) !== undefined) continue;
      if (!this.#text.startsWith('/*', this.#position)) return;
      const end = this.#text.indexOf('*/', this.#position + 2);
      if (end < 0) throw this.#error('comment not terminated');
      this.#advance(this.#text.slice(this.#position, end + 2));
      this.#position = end + 2;
    }
  }

  #quoted(): string {
    let value = '';
    let start = this.#position += 1;
    for (;;) {
      const character = this.#text[this.#position];
      if (character === undefined || character < ' ') throw this.#error('string not terminated, or with a control character');
      if (this.#notation === 'hcl' && this.#text.startsWith('${', this.#position)) throw this.#error('interpolation is not supported in policies');
      if (character !== '"' && character !== '\\') {
        this.#position += 1;
        continue;
      }
      value += this.#text.slice(start, this.#position);
      this.#position += 1;
      if (character === '"') return this.#wellFormed(value);
      value += this.#escape();
      start = this.#position;
    }
  }

  #escape(): string {
    const simple = ESCAPES.get(this.#text[this.#position] ?? '');
    if (simple !== undefined) {
      this.#position += 1;
      return simple;
    }
    const unicode = this.#match(UNICODE_ESCAPE);
    const codePoint = unicode === undefined ? NaN : parseInt(unicode[1] ?? unicode[2] as string, 16);
    if (!(codePoint <= 0x10ffff)) throw this.#error('unknown escape in a string');
    return String.fromCodePoint(codePoint);
  }

  /** HCL 1: lines up to the marker on a line of its own; `<<-` removes the marker's indentation from each. */
  #heredoc(): string {
    const opening = this.#match(HEREDOC);
    if (opening === undefined) throw this.#error('unexpected character');
    this.#line += 1;
    const [, dash, marker] = opening;
    const lines: string[] = [];
    for (;;) {
      const line = this.#match(/([^\n]*)(?:\n|$)/y)?.[1]?.replace(/\r$/, '') ?? '';
      this.#line += 1;
      if (line.trim() === marker) {
        const indent = dash === '-' ? line.length - line.trimStart().length : 0;
        return this.#wellFormed(lines.map((text) => `${text.slice(Math.min(indent, text.length - text.trimStart().length))}\n`).join(''));
      }
      if (this.#position >= this.#text.length) throw this.#error('heredoc not terminated');
      lines.push(line);
    }
  }

  #match(pattern: RegExp): RegExpExecArray | undefined {
    pattern.lastIndex = this.#position;
    const match = pattern.exec(this.#text);
    if (match === null) return undefined;
    this.#position = pattern.lastIndex;
    return match;
  }

  #advance(blank: string): void {
    for (let at = blank.indexOf('\n'); at >= 0; at = blank.indexOf('\n', at + 1)) this.#line += 1;
  }

  #finite(value: number): number {
    if (!Number.isFinite(value) || (Number.isInteger(value) && !Number.isSafeInteger(value))) throw this.#error('number out of range');
    return value;
  }

  #wellFormed(text: string): string {
    if (/\p{Surrogate}/u.test(text)) throw this.#error('string is not well-formed Unicode');
    return text;
  }

  #error(reason: string): PurserError {
    return policyError(`${reason} on line ${this.#line}`);
  }
}
