// The variables of a process that is started in a running container (docker exec, HEALTHCHECK). Pure. Only what the container declared
// at its start counts: a reference that somebody adds to an exec was never granted to it.

import { describeReference, parseReference } from '../wire/reference.ts';
import type { Reference } from '../wire/reference.ts';
import type { GrantedFile } from './container-record.ts';
import { invalidDeclaration, located } from './declaration-error.ts';
import { isFileVariable, isVariableTarget, literalOf, readVariables, referencesOf, targetOfVariable } from './environment-variables.ts';
import type { DeclaredVariable, Variable } from './environment-variables.ts';
import { templateTextOf } from './variable-template.ts';

export interface ExecVariables {
  /** What changes in the process file, without any value: paths and literal texts; undefined removes a variable. */
  readonly edits: ReadonlyMap<string, string | undefined>;
  /** What gets values. */
  readonly variables: readonly DeclaredVariable[];
}

/**
 * @param files what the container was granted at its start
 * @throws ERR_WORKLOAD_INVALID, ERR_REFERENCE_SYNTAX
 */
export function execVariables(env: readonly Variable[], files: readonly GrantedFile[]): ExecVariables {
  const edits = new Map<string, string | undefined>();
  const variables: DeclaredVariable[] = [];
  for (const [variable, text] of env) {
    if (!isFileVariable(variable, text)) continue;
    const reference = located(`variable ${variable}`, () => parseReference(text));
    edits.set(variable, pathOf(find(files, reference, (file) => file.variable === variable && !isVariableTarget(file.target)) ?? undeclared(variable)));
  }
  for (const declared of readVariables(env)) {
    const { name } = declared;
    const literal = literalOf(declared);
    const [{ reference } = { reference: undefined }] = referencesOf([declared]);
    const file = reference === undefined ? undefined : insteadOf(declared, reference, files);
    if (literal !== undefined) edits.set(name, literal);
    else if (file?.variable !== undefined) edits.set(name, undefined).set(file.variable, pathOf(file));
    else variables.push(declared);
  }
  for (const { variable, reference } of referencesOf(variables)) grantOf(files, variable, reference);
  return { edits, variables };
}

/** The file that a variable became (`files-only`): of its one reference, or of its whole text. */
function insteadOf({ name, parts }: DeclaredVariable, reference: Reference, files: readonly GrantedFile[]): GrantedFile | undefined {
  if (parts.length === 1) return find(files, reference, ({ replaces }) => replaces === name);
  const text = templateTextOf(parts);
  return files.find(({ replaces, source }) => text !== undefined && replaces === name && source.type === 'template' && source.text === text);
}

/** The container's grant for a reference in a variable. @throws ERR_WORKLOAD_INVALID when it has none */
export function grantOf(files: readonly GrantedFile[], variable: string, reference: Reference): GrantedFile {
  return find(files, reference, ({ target }) => target === targetOfVariable(variable)) ?? undeclared(variable);
}

/** Grants are kept without their defaults, so a reference is compared without it. */
function find(files: readonly GrantedFile[], reference: Reference, isMeant: (file: GrantedFile) => boolean): GrantedFile | undefined {
  const text = describeReference(reference);
  return files.find((file) => isMeant(file) && file.source.type === 'reference' && file.source.text === text);
}

function pathOf(file: GrantedFile): string {
  return file.kind === 'absent' ? '' : file.target;
}

function undeclared(variable: string): never {
  throw invalidDeclaration(`variable ${variable}`, 'only references that the container declared at its start can be used in exec', `start the container with -e ${variable}=purser://…`);
}
