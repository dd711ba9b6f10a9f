// The templates of `purser.template.<name>`: Handlebars syntax with `secret`, `each`, `base64` and `json` and nothing else. The parser is
// Handlebars' own (4.7); its tree is translated, node by node, into the few kinds below, and whatever is not expected there is refused.
// Nothing is compiled to code. Which secrets a template needs is known from its text: their names are literals.
//
// Messages give lines and the four names, never text of the template, which may come from the core.

import { z } from 'zod';
import { PurserError } from '../lib/errors.ts';
import { formatReference, parseReference } from '../wire/reference.ts';
import type { Reference } from '../wire/reference.ts';
import { TreeError, parseTree } from './template-tree.ts';

/** `secret` by number, `this` and `@key` of the innermost `each`, or one of the two conversions. */
export type Expression =
  | { readonly kind: 'secret'; readonly index: number }
  | { readonly kind: 'this' | 'key' }
  | { readonly kind: 'base64' | 'json'; readonly of: Expression };

export type Statement =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'value'; readonly value: Expression; readonly line: number }
  | { readonly kind: 'each'; readonly value: Expression; readonly body: readonly Statement[]; readonly line: number };

export interface Template {
  readonly body: readonly Statement[];
  /** What to ask the core for, as JSON, each secret once; an expression names them by number. */
  readonly secrets: readonly Reference[];
}

// Only what is read below; a node that lacks it is refused like one of an unknown kind.
const line = z.object({ start: z.object({ line: z.number() }) });
const nodeSchema = z.object({ type: z.string(), loc: line });
const pathSchema = z.object({ type: z.literal('PathExpression'), data: z.boolean().optional(), depth: z.number(), parts: z.array(z.string()), original: z.string() });
const callSchema = z.object({ path: z.unknown(), params: z.array(z.unknown()), hash: z.unknown().optional(), loc: line });
const blockSchema = callSchema.extend({ program: z.unknown().optional(), inverse: z.unknown().optional() });
const programSchema = z.object({ type: z.literal('Program'), body: z.array(z.unknown()), blockParams: z.unknown().optional() });
const contentSchema = z.object({ value: z.string() });
const literalSchema = z.object({ type: z.literal('StringLiteral'), value: z.string() });
type Call = z.infer<typeof callSchema>;

/**
 * @param origin where the template was declared, such as `label purser.template.conf`
 * @throws ERR_TEMPLATE_SYNTAX naming the origin and the line
 */
export function parseTemplateText(text: string, origin: string): Template {
  try {
    return new Translator(origin).template(parseTree(text));
  } catch (error) {
    if (error instanceof TreeError) throw refuse(origin, error.line, error.reason);
    throw error;
  }
}

class Translator {
  readonly #origin: string;
  readonly #secrets = new Map<string, { readonly index: number; readonly reference: Reference }>();

  constructor(origin: string) {
    this.#origin = origin;
  }

  template(tree: unknown): Template {
    const body = this.#program(tree, 0);
    return { body, secrets: [...this.#secrets.values()].map(({ reference }) => reference) };
  }

  #program(node: unknown, depth: number): Statement[] {
    const { body, blockParams } = this.#read(programSchema, node);
    if (blockParams !== undefined) throw refuse(this.#origin, undefined, 'block parameters (as |…|) are not possible');
    return body.flatMap((one) => this.#statement(one, depth));
  }

  #statement(node: unknown, depth: number): Statement[] {
    const { type, loc } = this.#read(nodeSchema, node);
    const at = loc.start.line;
    switch (type) {
      case 'CommentStatement': return [];
      case 'ContentStatement': {
        const { value } = this.#read(contentSchema, node);
        return value === '' ? [] : [{ kind: 'text', text: value }];
      }
      case 'MustacheStatement': return [{ kind: 'value', value: this.#call(this.#read(callSchema, node), depth, true), line: at }];
      case 'BlockStatement': return [this.#each(node, depth, at)];
      default: throw refuse(this.#origin, at, 'partials and decorators are not possible');
    }
  }

  #each(node: unknown, depth: number, at: number): Statement {
    const { path, params, hash, program, inverse } = this.#read(blockSchema, node);
    if (this.#name(path, at) !== 'each' || params.length !== 1 || hash !== undefined) throw refuse(this.#origin, at, 'the only block is {{#each (secret "path")}} or {{#each this}}');
    if (inverse !== undefined || program === undefined) throw refuse(this.#origin, at, 'an inverse block ({{else}} or {{^}}) is not possible');
    const value = this.#expression(params[0], depth);
    if (value.kind !== 'secret' && value.kind !== 'this') throw refuse(this.#origin, at, 'each takes (secret "path") or this');
    return { kind: 'each', value, body: this.#program(program, depth + 1), line: at };
  }

  #expression(node: unknown, depth: number): Expression {
    const { type, loc } = this.#read(nodeSchema, node);
    if (type === 'SubExpression') return this.#call(this.#read(callSchema, node), depth, false);
    if (type === 'PathExpression') return this.#variable(this.#name(node, loc.start.line), depth, loc.start.line);
    throw refuse(this.#origin, loc.start.line, 'a value is (secret "path" "field"), this or @key');
  }

  /** @param mayBeVariable a mustache without arguments names a variable; brackets always call */
  #call({ path, params, hash, loc }: Call, depth: number, mayBeVariable: boolean): Expression {
    const at = loc.start.line;
    const name = this.#name(path, at);
    if (hash !== undefined) throw refuse(this.#origin, at, 'named arguments are not possible');
    if (name === 'secret') return this.#secret(params, at);
    if (name === 'base64' || name === 'json') {
      if (params.length !== 1) throw refuse(this.#origin, at, `${name} takes one argument`);
      return { kind: name, of: this.#expression(params[0], depth) };
    }
    if (params.length > 0 || !mayBeVariable) throw refuse(this.#origin, at, 'the helpers are secret, each, base64 and json');
    return this.#variable(name, depth, at);
  }

  #secret(params: readonly unknown[], at: number): Expression {
    const [path, field, ...rest] = params.map((one) => literalSchema.safeParse(one).data?.value);
    if (path === undefined || rest.length > 0 || (params.length > 1 && field === undefined)) throw refuse(this.#origin, at, 'secret takes a path and perhaps a field, both in quotes');
    const text = formatReference({ path, isOptional: false, isJson: true, encoding: 'raw', ...(field === undefined ? {} : { field }) });
    let known = this.#secrets.get(text);
    if (known === undefined) {
      known = { index: this.#secrets.size, reference: this.#reference(text, at) };
      this.#secrets.set(text, known);
    }
    return { kind: 'secret', index: known.index };
  }

  #reference(text: string, at: number): Reference {
    try {
      return parseReference(text);
    } catch {
      throw refuse(this.#origin, at, 'the path or the field of a secret is malformed', 'write {{secret "secret/db/prod" "password"}}');
    }
  }

  #variable(name: string, depth: number, at: number): Expression {
    if (name !== 'this' && name !== '@key') throw refuse(this.#origin, at, 'there are no variables but this and @key, and no helpers but secret, each, base64 and json');
    if (depth === 0) throw refuse(this.#origin, at, `${name} has a meaning inside {{#each}} only`);
    return { kind: name === 'this' ? 'this' : 'key' };
  }

  /** The one name that a path is; nothing climbs (`../`), descends (`this.a`) or comes from elsewhere (`@root`). */
  #name(node: unknown, at: number): string {
    const path = pathSchema.safeParse(node).data;
    if (path === undefined || path.depth > 0 || path.parts.length > 1) throw refuse(this.#origin, at, 'paths such as a.b, this.a or ../a are not possible', 'pick the field in the call: (secret "path" "a.b")');
    if (path.parts.length === 0 && path.data !== true && (path.original === 'this' || path.original === '.')) return 'this';
    const [name = ''] = path.parts;
    const original = path.data === true ? `@${name}` : name;
    return original === path.original ? original : '';
  }

  #read<T>(schema: z.ZodType<T>, node: unknown): T {
    const parsed = schema.safeParse(node);
    if (parsed.success) return parsed.data;
    throw refuse(this.#origin, undefined, 'the syntax is not that of Handlebars');
  }
}

function refuse(origin: string, at: number | undefined, reason: string, hint = 'a template has {{secret "path" "field"}}, {{#each (secret "path")}}{{@key}} {{this}}{{/each}}, {{base64 …}} and {{json …}}'): PurserError {
  return new PurserError('ERR_TEMPLATE_SYNTAX', `${origin}: ${at === undefined ? '' : `line ${at}: `}${reason}`, { hint });
}
