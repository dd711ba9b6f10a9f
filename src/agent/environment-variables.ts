// References in the values of variables: which variables have them, and what the process sees in their place. Pure: no I/O,
// no core. A text that only looks like one (`$${purser://`) is a variable without references here, and loses its escape.

import { Buffer } from 'node:buffer';
import { PurserError } from '../lib/errors.ts';
import { formatReference, isReference } from '../wire/reference.ts';
import type { Reference } from '../wire/reference.ts';
import { isTemplate, parseTemplate } from '../wire/template.ts';
import type { Part } from '../wire/template.ts';
import { invalidDeclaration, located } from './declaration-error.ts';

export type Variable = readonly [name: string, value: string];

/**
 * What references in variables become. `strict`: values, which child processes inherit without having them in their blocks in the kernel;
 * `files-only`: what a variable names becomes a file, and only its path is in the environment.
 */
export const ENVIRONMENT_MODES = ['values', 'strict', 'files-only'] as const;
export type EnvironmentMode = (typeof ENVIRONMENT_MODES)[number];

export const ENVIRONMENT_LABEL = 'purser.env';

/** Targets of the ledger that are variables, not paths. */
const TARGET = 'env:';

/**
 * Largest sum of `NAME=value` and its final NUL over the variables with references. The kernel maps 128 KiB of stack at an
 * exec (fs/exec.c, setup_arg_pages), and what is there already needs a share.
 */
export const MAX_ENVIRONMENT_BYTES = 96 * 1024;

export interface DeclaredVariable {
  readonly name: string;
  readonly parts: readonly Part[];
}

export interface VariableReference {
  readonly variable: string;
  readonly reference: Reference;
}

/** @throws ERR_WORKLOAD_INVALID for a mode that does not exist */
export function environmentMode(labels: Readonly<Record<string, string>>, otherwise: EnvironmentMode): EnvironmentMode {
  const text = labels[ENVIRONMENT_LABEL];
  if (text === undefined) return otherwise;
  const mode = ENVIRONMENT_MODES.find((one) => one === text);
  if (mode === undefined) throw invalidDeclaration(`label ${ENVIRONMENT_LABEL}`, 'there is no such mode', `write ${ENVIRONMENT_MODES.join(', ')}`);
  return mode;
}

/** `NAME_FILE=purser://…` asks for a file; every other reference in a variable for its value. */
export function isFileVariable(name: string, text: string): boolean {
  return name.endsWith('_FILE') && isReference(text);
}

/**
 * The variables with references or escapes, in order, without those that ask for a file.
 * @throws ERR_REFERENCE_SYNTAX, ERR_WORKLOAD_INVALID
 */
export function readVariables(env: readonly Variable[]): DeclaredVariable[] {
  const variables = new Map<string, DeclaredVariable>();
  for (const [name, text] of env) {
    // getenv(3) gives the first.
    if (variables.has(name) || isFileVariable(name, text) || !isTemplate(text)) continue;
    const parts = located(`variable ${name}`, () => parseTemplate(text));
    if (name === 'PATH' && parts.some(({ kind }) => kind === 'reference')) {
      throw invalidDeclaration('variable PATH', 'it cannot have a reference: the runtime looks for the command in it before the value is there', 'set PATH in the image or in the entrypoint');
    }
    variables.set(name, { name, parts });
  }
  return [...variables.values()];
}

/** Every reference of the variables, each once per variable. */
export function referencesOf(variables: readonly DeclaredVariable[]): VariableReference[] {
  return variables.flatMap(({ name, parts }) => {
    const references = parts.flatMap((part) => part.kind === 'reference' ? [part.reference] : []);
    return [...new Map(references.map((reference) => [formatReference(reference), { variable: name, reference }])).values()];
  });
}

/** The text of a variable without references; undefined when it has one. */
export function literalOf({ parts }: DeclaredVariable): string | undefined {
  return parts.every((part) => part.kind === 'literal') ? parts.map((part) => part.text).join('') : undefined;
}

/** Where the ledger says that the value of a reference went. */
export function targetOfVariable(name: string): string {
  return TARGET + name;
}

export function isVariableTarget(target: string): boolean {
  return target.startsWith(TARGET);
}

/** A variable as the process must see it; undefined: not at all. The value belongs to the caller, who erases it. */
export type RenderedVariable = readonly [name: string, value: Uint8Array | undefined];

/**
 * @param valueOf the bytes of a reference; undefined when it is optional and not there: alone it takes the variable away, inside a longer
 *   text it is the empty text
 * @throws ERR_WORKLOAD_INVALID for a value with a NUL byte, or for more than fits
 */
export function renderVariables(variables: readonly DeclaredVariable[], valueOf: (wanted: VariableReference) => Uint8Array | undefined): RenderedVariable[] {
  const rendered = variables.map(({ name, parts }): RenderedVariable => {
    const pieces = parts.map((part) => part.kind === 'literal' ? Buffer.from(part.text) : valueOf({ variable: name, reference: part.reference }));
    return [name, pieces.length === 1 && pieces[0] === undefined ? undefined : joined(pieces)];
  });
  try {
    rendered.forEach(checkValue);
    checkSize(rendered);
  } catch (error) {
    eraseRendered(rendered);
    throw error;
  }
  return rendered;
}

export function eraseRendered(rendered: readonly RenderedVariable[]): void {
  for (const [, value] of rendered) value?.fill(0);
}

/** In memory of its own, so that it can be erased. */
function joined(pieces: readonly (Uint8Array | undefined)[]): Uint8Array {
  const value = Buffer.allocUnsafeSlow(pieces.reduce((sum, piece) => sum + (piece?.length ?? 0), 0));
  let at = 0;
  for (const piece of pieces) {
    value.set(piece ?? [], at);
    at += piece?.length ?? 0;
  }
  return value;
}

function checkValue([name, value]: RenderedVariable): void {
  if (value?.includes(0) !== true) return;
  throw invalidDeclaration(`variable ${name}`, 'the value has a NUL byte, which a variable cannot carry', `use a file: -e ${name}_FILE=purser://… or the label purser.file.<name>`);
}

function checkSize(rendered: readonly RenderedVariable[]): void {
  const size = rendered.reduce((sum, [name, value]) => sum + (value === undefined ? 0 : Buffer.byteLength(name) + value.length + 2), 0);
  if (size <= MAX_ENVIRONMENT_BYTES) return;
  throw new PurserError('ERR_WORKLOAD_INVALID', `the variables with references come to ${size} bytes, the limit is ${MAX_ENVIRONMENT_BYTES}`,
    { hint: 'deliver the large ones as files: -e NAME_FILE=purser://…' });
}
