// Paths with identity templates, `secret/data/{{identity.entity.name}}/*`: parsed when a policy is written, filled for one entity.
// A value is always one literal piece of one segment. One that could mean more (a slash, a wildcard, dots, an invisible
// character) is unsafe and fills nothing: the names of entities and aliases come from identity providers, so from anybody.

import { parsePathPattern } from './path-pattern.ts';
import type { PathPattern } from './path-pattern.ts';

/** Whom templates speak of. Immutable: a changed entity is another object. */
export interface TemplateSubject {
  readonly id: string;
  readonly name: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly aliases: readonly TemplateAlias[];
}

/** What the entity is called at one auth mount. */
export interface TemplateAlias {
  readonly id: string;
  readonly mountAccessor: string;
  readonly name: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly customMetadata: Readonly<Record<string, string>>;
}

type Read = (subject: TemplateSubject) => string | undefined;

export interface PathTemplate {
  /** Literal text and templates in turn. */
  readonly parts: readonly (string | Read)[];
  /** The literal start of every path it can become: up to the first template or `+` segment. */
  readonly prefix: string;
}

/** `absent`: there is no such entity, alias or metadata key, so the rule is about no path. `unsafe`: see above. */
export type Filled = PathPattern | 'absent' | 'unsafe';

const MAX_VALUE_LENGTH = 256;
const MAX_PATH_LENGTH = 1_024;
/** Separators of paths, wildcards, braces, controls, formats, unassigned, and blanks other than the plain space. */
const UNSAFE_VALUE = /[/\\*+{}\p{C}]|(?! )\p{Z}|\.\.|^ | $|^$/u;
const KEY = /^[^\p{C}{}]{1,256}$/u;

/** True for a value that a template takes: one literal piece of a segment. */
export function isSafeValue(value: string): boolean {
  return value.length <= MAX_VALUE_LENGTH && !UNSAFE_VALUE.test(value);
}

/** True when `path` has anything that looks like a template. */
export function isTemplate(path: string): boolean {
  return path.includes('{{') || path.includes('}}');
}

/**
 * Reads a rule's path that holds templates.
 * @returns the template, or why it is refused
 */
export function parsePathTemplate(path: string): PathTemplate | string {
  const text = path.startsWith('/') ? path.slice(1) : path;
  const pieces = text.split(/\{\{(.*?)\}\}/u);
  const parts: (string | Read)[] = [];
  for (const [index, piece] of pieces.entries()) {
    if (index % 2 === 0) {
      if (isTemplate(piece)) return 'template braces that do not pair up';
      if (index > 0 && piece.startsWith('*')) return "'*' right behind a template, which would also match longer names";
      if (index > 0 && index < pieces.length - 1 && !piece.includes('/')) return 'two templates in one segment, which two pairs of values could fill alike';
      parts.push(piece);
    } else {
      const read = readerOf(piece.trim());
      if (read === undefined) return 'a template that is not known';
      parts.push(read);
    }
  }
  const [first = ''] = pieces;
  return { parts, prefix: first.replace(/(?<=^|\/)\+(?=\/|$)[^]*/, '') };
}

/** The pattern for one entity; undefined stands for a caller without one. */
export function fillTemplate(template: PathTemplate, subject: TemplateSubject | undefined): Filled {
  if (subject === undefined) return 'absent';
  let text = '';
  for (const part of template.parts) {
    const value = typeof part === 'string' ? part : part(subject);
    if (value === undefined) return 'absent';
    if (typeof part !== 'string' && !isSafeValue(value)) return 'unsafe';
    text += value;
  }
  const isAmbiguous = text.length > MAX_PATH_LENGTH || /(?:^|\/)\.{1,2}(?:\/|$)/.test(text);
  return isAmbiguous ? 'unsafe' : parsePathPattern(text);
}

/** Vault's parameters (developer.hashicorp.com/vault/docs/concepts/policies, "Templated policies"), groups excepted. */
function readerOf(name: string): Read | undefined {
  if (name === 'identity.entity.id') return (subject) => subject.id;
  if (name === 'identity.entity.name') return (subject) => subject.name;
  const [, key] = /^identity\.entity\.metadata\.(.+)$/u.exec(name) ?? [];
  if (key !== undefined) return KEY.test(key) ? (subject) => own(subject.metadata, key) : undefined;
  const [, accessor, what = ''] = /^identity\.entity\.aliases\.([\w-]{1,256})\.(.+)$/u.exec(name) ?? [];
  return accessor === undefined ? undefined : aliasReader(accessor, what);
}

function aliasReader(accessor: string, what: string): Read | undefined {
  const read = aliasField(what);
  return read && (({ aliases }) => {
    const [alias, another] = aliases.filter(({ mountAccessor }) => mountAccessor === accessor);
    // Of two, neither may speak for the other (CVE-2021-43998); an empty value is unsafe.
    return alias === undefined ? undefined : another === undefined ? read(alias) : '';
  });
}

function aliasField(what: string): ((alias: TemplateAlias) => string | undefined) | undefined {
  if (what === 'id') return ({ id }) => id;
  if (what === 'name') return ({ name }) => name;
  const [, kind, key] = /^(metadata|custom_metadata)\.(.+)$/u.exec(what) ?? [];
  if (key === undefined || !KEY.test(key)) return undefined;
  return (alias) => own(kind === 'metadata' ? alias.metadata : alias.customMetadata, key);
}

function own(map: Readonly<Record<string, string>>, key: string): string | undefined {
  return Object.hasOwn(map, key) ? map[key] : undefined;
}
