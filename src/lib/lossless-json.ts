// JSON that survives an edit: numbers keep their text (18446744073709551615 stays itself), keys keep their order, "__proto__" is
// a key like any other, and a duplicate key is an error because readers disagree about which one counts. RFC 8259, nothing more;
// nesting is bounded. Strings may be escaped differently when written again, which means the same.

/** A number by its text in the document. */
export class JsonNumber {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

export type LosslessValue = null | boolean | string | JsonNumber | LosslessValue[] | LosslessObject;
export type LosslessObject = Map<string, LosslessValue>;

/** True for an object of a parsed document. */
export function isLosslessObject(value: LosslessValue | undefined): value is LosslessObject {
  return value instanceof Map;
}

/**
 * Parses one JSON text.
 * @param maxDepth how deep arrays and objects may nest
 * @throws SyntaxError that names line and column and never quotes the text
 */
export function parseLossless(text: string, maxDepth = 128): LosslessValue {
  return new Parser(text, maxDepth).document();
}

/**
 * Writes a document.
 * @param indent what one level is indented by; empty: all on one line
 */
export function stringifyLossless(value: LosslessValue, indent = ''): string {
  return write(value, indent, indent === '' ? '' : '\n');
}

function write(value: LosslessValue, indent: string, newline: string): string {
  if (value instanceof JsonNumber) return value.text;
  if (Array.isArray(value)) return enclose('[', value.map((item) => write(item, indent, newline + indent)), ']', indent, newline);
  if (!isLosslessObject(value)) return JSON.stringify(value);
  const colon = indent === '' ? ':' : ': ';
  return enclose('{', [...value].map(([key, item]) => JSON.stringify(key) + colon + write(item, indent, newline + indent)), '}', indent, newline);
}

function enclose(open: string, items: readonly string[], close: string, indent: string, newline: string): string {
  return items.length === 0 ? open + close : open + newline + indent + items.join(`,${newline}${indent}`) + newline + close;
}

const SPACE = ' \n\r\t';
/** What a string may hold only as an escape, and what begins one (RFC 8259 section 7). */
const SPECIAL = /[\\\u0000-\u001f]/;
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const WORD = /true|false|null/y;

class Parser {
  readonly #text: string;
  readonly #maxDepth: number;
  #at = 0;
  #depth = 0;

  constructor(text: string, maxDepth: number) {
    this.#text = text;
    this.#maxDepth = maxDepth;
  }

  document(): LosslessValue {
    const value = this.#value();
    if (this.#peek() !== undefined) throw this.#error('there is something after the end of the document');
    return value;
  }

  #value(): LosslessValue {
    switch (this.#peek()) {
      case '{': return this.#nested(() => this.#object());
      case '[': return this.#nested(() => this.#array());
      case '"': return this.#string();
      case undefined: throw this.#error('the document ends too early');
      default: return this.#scalar();
    }
  }

  #scalar(): null | boolean | JsonNumber {
    const word = this.#match(WORD);
    if (word !== '') return word === 'null' ? null : word === 'true';
    const number = this.#match(NUMBER);
    if (number === '') throw this.#error('a value was expected');
    return new JsonNumber(number);
  }

  #nested<T>(read: () => T): T {
    if (++this.#depth > this.#maxDepth) throw this.#error('the document is nested too deeply');
    this.#at++;
    const value = read();
    this.#depth--;
    return value;
  }

  #object(): LosslessObject {
    const object: LosslessObject = new Map();
    if (this.#take('}')) return object;
    do {
      if (this.#peek() !== '"') throw this.#error('a key was expected');
      const key = this.#string();
      if (object.has(key)) throw this.#error('a key appears twice in one object');
      if (!this.#take(':')) throw this.#error('a colon was expected');
      object.set(key, this.#value());
    } while (this.#take(','));
    if (!this.#take('}')) throw this.#error('a comma or the end of the object was expected');
    return object;
  }

  #array(): LosslessValue[] {
    const array: LosslessValue[] = [];
    if (this.#take(']')) return array;
    do array.push(this.#value()); while (this.#take(','));
    if (!this.#take(']')) throw this.#error('a comma or the end of the array was expected');
    return array;
  }

  #string(): string {
    let end = this.#text.indexOf('"', this.#at + 1);
    const plain = this.#text.slice(this.#at + 1, end);
    // Nearly all: found and judged by the engine, not a character at a time, which takes long in code that seldom runs.
    if (end >= 0 && !SPECIAL.test(plain)) {
      this.#at = end + 1;
      return plain;
    }
    while (end >= 0 && this.#isEscaped(end)) end = this.#text.indexOf('"', end + 1);
    if (end < 0) throw this.#error('a string is not closed');
    const raw = this.#text.slice(this.#at, end + 1);
    try {
      // Escapes and control characters are judged by the engine's own parser, whose message would quote the text.
      const value = JSON.parse(raw) as string;
      this.#at = end + 1;
      return value;
    } catch {
      throw this.#error('a string is not valid');
    }
  }

  /** By an odd number of backslashes before it. */
  #isEscaped(at: number): boolean {
    let first = at;
    while (this.#text[first - 1] === '\\') first--;
    return (at - first) % 2 === 1;
  }

  #peek(): string | undefined {
    while (SPACE.includes(this.#text[this.#at] ?? '-')) this.#at++;
    return this.#text[this.#at];
  }

  #take(char: string): boolean {
    if (this.#peek() !== char) return false;
    this.#at++;
    return true;
  }

  #match(pattern: RegExp): string {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0] ?? '';
    this.#at += found.length;
    return found;
  }

  #error(what: string): SyntaxError {
    const lines = this.#text.slice(0, this.#at).split('\n');
    return new SyntaxError(`${what} (line ${lines.length}, column ${(lines.at(-1)?.length ?? 0) + 1})`);
  }
}
