// With `purser.env=files-only` a variable whose references stand inside a longer text becomes a file that is rendered like a template
// (template.ts): literal text as it is, and {{secret "path" "field"}} for each reference. Pure.

import type { Part } from '../wire/template.ts';

/**
 * @returns the text of the template; undefined when a template cannot say it: a reference with options (version, default, optional, json, encoding), or text
 *   that Handlebars would read as its own
 */
export function templateTextOf(parts: readonly Part[]): string | undefined {
  const pieces = parts.map(pieceOf);
  if (pieces.includes(undefined)) return undefined;
  // Braces and backslashes that touch a mustache would become part of it.
  const isClear = parts.every((part, index) => part.kind === 'reference' || (!part.text.includes('{{')
    && (parts[index + 1] === undefined || !/[{\\]$/.test(part.text)) && (index === 0 || !part.text.startsWith('}'))));
  return isClear ? pieces.join('') : undefined;
}

function pieceOf(part: Part): string | undefined {
  if (part.kind === 'literal') return part.text;
  const { path, field, version, default: otherwise, isOptional, isJson, encoding } = part.reference;
  if (version !== undefined || otherwise !== undefined || isOptional || isJson === true || encoding !== 'raw' || /["\\]/.test(path + (field ?? ''))) return undefined;
  return field === undefined ? `{{secret "${path}"}}` : `{{secret "${path}" "${field}"}}`;
}
