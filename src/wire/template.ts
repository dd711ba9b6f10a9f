// References inside a longer string: `postgres://app:${purser://secret/db/prod#password}@db/app`. A text without
// `${purser://` or `${se://` is nobody's template and stays as it is; in a template `$${` stands for a literal `${`.

import { PurserError } from '../lib/errors.ts';
import type { Reference } from './reference.ts';
import { isReference, parseReference } from './reference.ts';

export type Part =
  | { readonly kind: 'literal'; readonly text: string }
  | { readonly kind: 'reference'; readonly reference: Reference };

const OPENING = /\$\{(?=(?:purser|se):\/\/)/i;

/** True when parseTemplate() would find a reference, an escaped one, or an error. */
export function isTemplate(text: string): boolean {
  return isReference(text) || OPENING.test(text);
}

/**
 * The parts of `text` in order, without empty literals; a text that is one reference gives that reference.
 * @throws ERR_REFERENCE_SYNTAX
 */
export function parseTemplate(text: string): Part[] {
  if (isReference(text)) return [{ kind: 'reference', reference: parseReference(text) }];
  if (!OPENING.test(text)) return text === '' ? [] : [{ kind: 'literal', text }];
  const parts: Part[] = [];
  let literal = '';
  let position = 0;
  // `$${` is tried first, so that it never opens a reference.
  for (const match of text.matchAll(/\$\$\{|\$\{(?=(?:purser|se):\/\/)/gi)) {
    literal += text.slice(position, match.index);
    position = match.index + match[0].length;
    if (match[0] === '$${') {
      literal += '${';
      continue;
    }
    const end = text.indexOf('}', position);
    if (end < 0) throw new PurserError('ERR_REFERENCE_SYNTAX', `the reference at character ${position + 1} is not closed`, { hint: 'close it with }, or write $${ for a literal ${' });
    if (literal !== '') parts.push({ kind: 'literal', text: literal });
    literal = '';
    parts.push({ kind: 'reference', reference: parseReference(text.slice(position, end)) });
    position = end + 1;
  }
  literal += text.slice(position);
  if (literal !== '') parts.push({ kind: 'literal', text: literal });
  return parts;
}

