// Handlebars' parser (4.7), bounded. By itself it takes time that grows with the square of the nesting and of runs of white space: half a
// minute for 64 KiB of opening brackets. So tokens are counted as they are read, and it is stopped at the first one too deep.

import { parse, parser } from 'handlebars/dist/cjs/handlebars/compiler/base.js';

export const MAX_TEMPLATE_BYTES = 64 * 1024;
export const MAX_EACH_DEPTH = 4;
export const MAX_BRACKET_DEPTH = 8;
const MAX_WHITE_SPACE = 256;

/** Why a text is no template; `reason` quotes nothing of it. */
export class TreeError extends Error {
  readonly reason: string;
  readonly line: number | undefined;

  constructor(reason: string, line?: number) {
    super(reason);
    this.reason = reason;
    this.line = line;
  }
}

/** Change of depth by token. Inverse blocks nest as well; they are refused anyway. */
const OPENING = new Set(['OPEN_BLOCK', 'OPEN_INVERSE', 'OPEN_INVERSE_CHAIN', 'OPEN_RAW_BLOCK', 'OPEN_PARTIAL_BLOCK'].map((name) => parser.symbols_[name]));
const CLOSING = new Set(['OPEN_ENDBLOCK', 'END_RAW_BLOCK'].map((name) => parser.symbols_[name]));
const { OPEN_SEXPR, CLOSE_SEXPR } = parser.symbols_;

/** The syntax tree, white space control applied. @throws TreeError */
export function parseTree(text: string): unknown {
  if (Buffer.byteLength(text) > MAX_TEMPLATE_BYTES) throw new TreeError('it is longer than 64 KiB');
  if (new RegExp(`\\s{${MAX_WHITE_SPACE + 1}}`).test(text)) throw new TreeError(`it has more than ${MAX_WHITE_SPACE} white space characters in a row`);
  if (/\p{Surrogate}/u.test(text)) throw new TreeError('it is not well-formed Unicode');
  const { lexer } = parser;
  const { next } = lexer;
  const depth = new Depth();
  // Parsing is one synchronous call, so nobody else meets the exchanged method.
  lexer.next = () => {
    const token = next.call(lexer);
    depth.count(token);
    return token;
  };
  try {
    return parse(text);
  } catch (error) {
    if (error instanceof TreeError) throw error;
    const at = /(?:on line |- )(\d+)/.exec(error instanceof Error ? error.message : '')?.[1];
    throw new TreeError('the syntax is not that of Handlebars', at === undefined ? undefined : Number(at));
  } finally {
    lexer.next = next;
  }
}

class Depth {
  #blocks = 0;
  #brackets = 0;

  count(token: number | string | undefined): void {
    if (typeof token !== 'number') return;
    if (OPENING.has(token) && ++this.#blocks > MAX_EACH_DEPTH) throw new TreeError(`each is nested more than ${MAX_EACH_DEPTH} deep`);
    if (CLOSING.has(token)) this.#blocks--;
    if (token === OPEN_SEXPR && ++this.#brackets > MAX_BRACKET_DEPTH) throw new TreeError(`brackets are nested more than ${MAX_BRACKET_DEPTH} deep`);
    if (token === CLOSE_SEXPR) this.#brackets--;
  }
}
