// From a template and the values of its secrets to the bytes of a file. Ends in bounded time and memory whatever template and values are:
// each step, iteration and byte is counted, and past a limit nothing is delivered. Strict: what is missing, null or no text stops it.
//
// Bytes are written into buffers of this file's own, which are erased when they grow. Values are JavaScript texts before that, as in the
// core's answer, and these cannot be erased; they live no longer than the call.

import { PurserError } from '../lib/errors.ts';
import type { JsonValue } from '../lib/json.ts';
import { isJsonObject } from '../lib/json.ts';
import type { Expression, Statement, Template } from './template.ts';

export const MAX_OUTPUT_BYTES = 1024 * 1024;
export const MAX_ITERATIONS = 10_000;
/** Statements executed, so that a long body times many iterations ends as well. */
export const MAX_STEPS = 250_000;

/** What the innermost `each` is at. */
interface Frame { readonly key: string; readonly value: JsonValue }

/**
 * @param values of `template.secrets`, in that order
 * @param origin where the template was declared, for messages
 * @returns bytes for the caller to erase
 * @throws ERR_TEMPLATE_RENDER naming origin, line and what is wrong, never a value
 */
export function renderTemplate(template: Template, values: readonly JsonValue[], origin: string): Uint8Array {
  const renderer = new Renderer(template, values, origin);
  try {
    renderer.run(template.body, undefined);
    return renderer.output.take();
  } finally {
    renderer.output.erase();
  }
}

class Renderer {
  readonly output: Output;
  readonly #template: Template;
  readonly #values: readonly JsonValue[];
  readonly #origin: string;
  #steps = 0;
  #iterations = 0;

  constructor(template: Template, values: readonly JsonValue[], origin: string) {
    this.#template = template;
    this.#values = values;
    this.#origin = origin;
    this.output = new Output(() => this.#error('the result is larger than 1 MiB'));
  }

  run(body: readonly Statement[], frame: Frame | undefined): void {
    for (const statement of body) {
      if (++this.#steps > MAX_STEPS) throw this.#error(`it takes more than ${MAX_STEPS} steps`);
      if (statement.kind === 'text') this.output.write(statement.text);
      else if (statement.kind === 'value') this.output.write(this.#text(statement.value, frame, statement.line));
      else this.#each(statement, frame);
    }
  }

  #each({ value, body, line }: Extract<Statement, { kind: 'each' }>, frame: Frame | undefined): void {
    const list = this.#value(value, frame);
    if (!isJsonObject(list) && !Array.isArray(list)) throw this.#error(`each needs an object or a list, and ${this.#name(value)} is none`, line);
    for (const key of Object.keys(list)) {
      if (++this.#iterations > MAX_ITERATIONS) throw this.#error(`it has more than ${MAX_ITERATIONS} iterations`, line);
      this.run(body, { key, value: (list as Readonly<Record<string, JsonValue>>)[key] as JsonValue });
    }
  }

  #value(expression: Expression, frame: Frame | undefined): JsonValue {
    switch (expression.kind) {
      case 'secret': return this.#values[expression.index] as JsonValue;
      case 'this': return (frame as Frame).value;
      case 'key': return (frame as Frame).key;
      default: throw new TypeError('a conversion gives text');
    }
  }

  /** As a reference delivers it: a text itself, the only field of a secret, anything else as JSON. */
  #text(expression: Expression, frame: Frame | undefined, line: number): string {
    if (expression.kind === 'base64') return Buffer.from(this.#text(expression.of, frame, line), 'utf8').toString('base64');
    if (expression.kind === 'json') return JSON.stringify(isConversion(expression.of) ? this.#text(expression.of, frame, line) : this.#value(expression.of, frame));
    let value = this.#value(expression, frame);
    if (expression.kind === 'secret' && this.#template.secrets[expression.index]?.field === undefined && isJsonObject(value)) {
      const fields = Object.values(value);
      if (fields.length === 1) value = fields[0] as JsonValue;
    }
    if (value === null) throw this.#error(`${this.#name(expression)} is null`, line);
    const text = typeof value === 'string' ? value : JSON.stringify(value);
    if (/\p{Surrogate}/u.test(text)) throw this.#error(`${this.#name(expression)} is not well-formed Unicode`, line);
    return text;
  }

  #name(expression: Expression): string {
    if (expression.kind !== 'secret') return expression.kind === 'key' ? '@key' : 'this';
    const { path = '', field } = this.#template.secrets[expression.index] ?? {};
    return field === undefined ? path : `${path}#${field}`;
  }

  #error(reason: string, line?: number): PurserError {
    return new PurserError('ERR_TEMPLATE_RENDER', `${this.#origin}: ${line === undefined ? '' : `line ${line}: `}${reason}`,
      { hint: 'compare the template with the fields of the secret: purser kv get shows them' });
  }
}

function isConversion(expression: Expression): boolean {
  return expression.kind === 'base64' || expression.kind === 'json';
}

/** A buffer that grows up to the limit, and leaves no copy behind when it does. */
class Output {
  readonly #tooLarge: () => Error;
  #bytes = Buffer.alloc(4096);
  #length = 0;

  constructor(tooLarge: () => Error) {
    this.#tooLarge = tooLarge;
  }

  write(text: string): void {
    // Three bytes for each UTF-16 unit at most, so that a huge text is refused before it is measured.
    const length = text.length > MAX_OUTPUT_BYTES ? text.length : Buffer.byteLength(text);
    const needed = this.#length + length;
    if (needed > MAX_OUTPUT_BYTES) throw this.#tooLarge();
    if (needed > this.#bytes.length) this.#grow(needed);
    this.#length += this.#bytes.write(text, this.#length, 'utf8');
  }

  take(): Uint8Array {
    const taken = new Uint8Array(this.#bytes.subarray(0, this.#length));
    return taken;
  }

  erase(): void {
    this.#bytes.fill(0);
  }

  #grow(needed: number): void {
    const larger = Buffer.alloc(Math.min(MAX_OUTPUT_BYTES, Math.max(needed, 2 * this.#bytes.length)));
    this.#bytes.copy(larger, 0, 0, this.#length);
    this.erase();
    this.#bytes = larger;
  }
}
