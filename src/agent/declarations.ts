// What a container declares, read from its labels and variables (DESIGN.md section 2): which secret file goes where, with
// which owner and mode. Pure: no I/O, no core. Strict: an unknown `purser.*` label, a bad name or two files on one target
// is an error that names the label, because a container that starts without a secret it asked for has failed open.

import { posix } from 'node:path';
import { PurserError } from '../lib/errors.ts';
import { MAX_REFERENCES } from '../wire/node-protocol.ts';
import { formatReference, isReference, parseReference } from '../wire/reference.ts';
import type { Reference } from '../wire/reference.ts';
import { invalidDeclaration as invalid, located } from './declaration-error.ts';
import { ENVIRONMENT_LABEL, environmentMode, isFileVariable, readVariables, referencesOf } from './environment-variables.ts';
import type { DeclaredVariable, EnvironmentMode, Variable } from './environment-variables.ts';
import { IDENTITY_LABEL, readIdentity } from './identity-declaration.ts';
import type { DeclaredIdentity } from './identity-declaration.ts';
import { JITTER_LABEL, ON_ROTATE_LABEL, readOnRotate } from './on-rotate.ts';
import type { OnRotate } from './on-rotate.ts';
import { parseTemplateText } from './template.ts';
import type { Template } from './template.ts';
import { templateTextOf } from './variable-template.ts';

/** Where Docker, and therefore every image, expects secret files. */
export const SECRETS_DIRECTORY = '/run/secrets';

/** What the declarations are read from. */
export interface ContainerSpec {
  readonly labels: Readonly<Record<string, string>>;
  /** The variables of config.json, those of the image included. */
  readonly env: readonly Variable[];
  /** The container's process user: the default owner of its files. */
  readonly uid: number;
  readonly gid: number;
  /** Destinations of the mounts the container already has. */
  readonly mountTargets: readonly string[];
  /** What references in variables become when no label says so. */
  readonly environment: EnvironmentMode;
}

export interface Declarations {
  readonly files: readonly DeclaredFile[];
  readonly templates: readonly DeclaredTemplate[];
  /** Variables that get values, or lose an escape. */
  readonly variables: readonly DeclaredVariable[];
  /** Values stay out of the environment blocks of child processes too. */
  readonly isStrict: boolean;
  /** The token that says who the container is. */
  readonly identity: DeclaredIdentity | undefined;
  /** What is done after files changed in place. */
  readonly onRotate: OnRotate | undefined;
}

export interface DeclaredFile {
  readonly name: string;
  /** Absolute path in the container. */
  readonly target: string;
  /** The reference as it was written, for the core. Its default may be a secret: messages use describeReference(). */
  readonly text: string;
  readonly reference: Reference;
  readonly uid: number;
  readonly gid: number;
  readonly mode: number;
  /** Where it was declared, such as `label purser.file.db`. */
  readonly origin: string;
  /** The variable that must hold `target`, when the file was declared by one. */
  readonly variable?: string;
  /** The variable that the file stands for, which is removed (`files-only`). */
  readonly replaces?: string;
}

/** A file that is rendered from several secrets. */
export interface DeclaredTemplate extends Pick<DeclaredFile, 'name' | 'target' | 'uid' | 'gid' | 'mode' | 'origin' | 'variable' | 'replaces'> {
  /** The text as it stands in the label, or where it is in the core. */
  readonly source: { readonly text: string; readonly template: Template } | { readonly reference: Reference };
}

const FILE_LABEL = 'purser.file.';
const TEMPLATE_LABEL = 'purser.template.';
/** Labels that stand alone. */
const SINGLE_LABELS: readonly string[] = [ENVIRONMENT_LABEL, IDENTITY_LABEL, ON_ROTATE_LABEL, JITTER_LABEL];
const OPTIONS = ['path', 'uid', 'gid', 'mode'] as const;
type Option = (typeof OPTIONS)[number];
/** Where a file is declared whose name may be a misspelt option of another one. */
const MAYBE_OPTION = /^label purser\.file\..+\./;

/** Labels of later versions: known, so the message can say that they are not misspelt. */
const LATER_LABEL = /^purser\.env\..+$/;
const NAME = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;
/** Kernel filesystems: a secret there would shadow the container's own view of the machine. */
const FORBIDDEN_TREES = ['/proc', '/sys', '/dev'];
/** 2^32 - 1 means "no user" to the kernel. */
const MAX_ID = 0xffff_fffe;

/**
 * @returns the files and variables that the labels and the environment ask for, in the order declared
 * @throws ERR_WORKLOAD_INVALID or ERR_REFERENCE_SYNTAX, naming the label or variable
 */
export function readDeclarations(spec: ContainerSpec): Declarations {
  const mode = environmentMode(spec.labels, spec.environment);
  const variables = readVariables(spec.env);
  const instead = mode === 'files-only' ? filesInstead(variables, spec) : { files: [], templates: [] };
  const files = [...labelFiles(spec), ...variableFiles(spec), ...instead.files];
  const values = mode === 'files-only' ? variables.filter((one) => referencesOf([one]).length === 0) : variables;
  const templates = [...templateFiles(spec), ...instead.templates];
  const count = files.length + referencesOf(values).length + templates.reduce((sum, { source }) => sum + ('reference' in source ? 1 : source.template.secrets.length), 0);
  if (count > MAX_REFERENCES) {
    throw new PurserError('ERR_WORKLOAD_INVALID', `${count} references are declared, the limit is ${MAX_REFERENCES}`,
      { hint: 'name a whole secret as one JSON file instead of each of its fields' });
  }
  const identity = readIdentity(spec.labels, SECRETS_DIRECTORY, spec);
  refuseConflicts([...files, ...templates, ...identity === undefined ? [] : [identity]], spec.mountTargets);
  return { files, templates, variables: values, isStrict: mode === 'strict', identity, onRotate: readOnRotate(spec.labels) };
}

/** True when the file appears in the directory mounted on /run/secrets, false when it needs a mount of its own. */
export function isInSecretsDirectory(target: string): boolean {
  return posix.dirname(canonical(target)) === SECRETS_DIRECTORY;
}

function labelFiles(spec: ContainerSpec): DeclaredFile[] {
  for (const label of Object.keys(spec.labels)) {
    if (label.startsWith('purser.') && ![FILE_LABEL, TEMPLATE_LABEL].some((prefix) => label.startsWith(prefix)) && !SINGLE_LABELS.includes(label)) throw unknownLabel(label);
  }
  return labelled(FILE_LABEL, spec).map(({ text, ...file }) => ({ ...file, text, reference: referenceOf(text, file.origin) }));
}

function templateFiles(spec: ContainerSpec): DeclaredTemplate[] {
  return labelled(TEMPLATE_LABEL, spec).map(({ text, ...file }) => ({
    ...file, source: isReference(text) ? { reference: referenceOf(text, file.origin) } : { text, template: parseTemplateText(text, file.origin) },
  }));
}

/** The labels `<prefix><name>` with their options. */
function labelled(prefix: string, spec: ContainerSpec): (Omit<DeclaredTemplate, 'source'> & { readonly text: string })[] {
  const options = new Map<string, Map<Option, string>>();
  const texts = new Map<string, string>();
  for (const [label, value] of Object.entries(spec.labels)) {
    if (!label.startsWith(prefix)) continue;
    const { name, option } = splitFileLabel(label, prefix);
    if (option === undefined) texts.set(name, value);
    else options.set(name, (options.get(name) ?? new Map<Option, string>()).set(option, value));
  }
  for (const [name, given] of options) {
    if (!texts.has(name)) {
      const option = [...given.keys()][0] ?? '';
      throw invalid(`label ${prefix}${name}.${option}`, `there is no label ${prefix}${name}`, `add -l ${prefix}${name}=${prefix === FILE_LABEL ? 'purser://…' : '…'}`);
    }
  }
  return [...texts].map(([name, text]) => ({ ...labelFile(name, `label ${prefix}${name}`, options.get(name) ?? new Map<Option, string>(), spec), text }));
}

function labelFile(name: string, origin: string, options: ReadonlyMap<Option, string>, spec: ContainerSpec): Omit<DeclaredTemplate, 'source'> {
  const path = options.get('path');
  const mode = options.get('mode');
  return {
    name, origin,
    target: path === undefined ? `${SECRETS_DIRECTORY}/${name}` : targetOf(path, `${origin}.path`),
    uid: numericId(options.get('uid'), spec.uid, `${origin}.uid`),
    gid: numericId(options.get('gid'), spec.gid, `${origin}.gid`),
    mode: mode === undefined ? 0o400 : modeOf(mode, `${origin}.mode`),
  };
}

/** A trailing `.path`, `.uid`, `.gid` or `.mode` is always an option, so a file cannot be called `tls.mode`. */
function splitFileLabel(label: string, prefix: string): { name: string; option?: Option } {
  const rest = label.slice(prefix.length);
  const option = OPTIONS.find((one) => rest.endsWith(`.${one}`));
  const name = option === undefined ? rest : rest.slice(0, -option.length - 1);
  requireName(name, `label ${label}`);
  return option === undefined ? { name } : { name, option };
}

function variableFiles(spec: ContainerSpec): DeclaredFile[] {
  const files = new Map<string, DeclaredFile>();
  for (const [variable, text] of spec.env) {
    if (!isFileVariable(variable, text)) continue;
    const origin = `variable ${variable}`;
    files.set(variable, variableFile(variable.slice(0, -'_FILE'.length), referenceOf(text, origin), origin, spec));
  }
  return [...files.values()];
}

/** What `files-only` makes of variables with references: NAME goes, NAME_FILE comes, and its file has the reference's value or the whole text. */
function filesInstead(variables: readonly DeclaredVariable[], spec: ContainerSpec): { readonly files: DeclaredFile[]; readonly templates: DeclaredTemplate[] } {
  const files: DeclaredFile[] = [];
  const templates: DeclaredTemplate[] = [];
  for (const { name, parts } of variables) {
    const origin = `variable ${name}`;
    const [part] = parts;
    if (parts.every(({ kind }) => kind === 'literal')) continue;
    if (spec.env.some(([other]) => other === `${name}_FILE`)) throw invalid(origin, `the variable ${name}_FILE, which would name its file, is taken`, `remove -e ${name}_FILE=… or -e ${name}=…`);
    if (part?.kind === 'reference' && parts.length === 1) files.push({ ...variableFile(name, part.reference, origin, spec), replaces: name });
    else templates.push({ ...fileOfVariable(name, origin, spec), replaces: name, source: longerText(parts, origin) });
  }
  return { files, templates };
}

function longerText(parts: DeclaredVariable['parts'], origin: string): DeclaredTemplate['source'] {
  const text = templateTextOf(parts);
  if (text === undefined) throw invalid(origin, 'a reference with options, or beside {{, inside a longer value cannot become a file', 'put the whole text into one secret, or render a file with the label purser.template.<name>');
  return { text, template: parseTemplateText(text, origin) };
}

function fileOfVariable(name: string, origin: string, spec: ContainerSpec): Omit<DeclaredFile, 'text' | 'reference'> {
  requireName(name, origin);
  return { name, origin, variable: `${name}_FILE`, target: `${SECRETS_DIRECTORY}/${name}`, uid: spec.uid, gid: spec.gid, mode: 0o400 };
}

function variableFile(name: string, reference: Reference, origin: string, spec: ContainerSpec): DeclaredFile {
  return { ...fileOfVariable(name, origin, spec), text: formatReference(reference), reference };
}

function referenceOf(text: string, origin: string): Reference {
  if (!isReference(text)) throw invalid(origin, 'the value is not a reference', `write purser://<path>#<field>${MAYBE_OPTION.test(origin) ? `; options of a file are ${OPTIONS.map((option) => `.${option}`).join(', ')}` : ''}`);
  return located(origin, () => parseReference(text));
}

function targetOf(path: string, origin: string): string {
  const clean = path.startsWith('/') && path !== '/' && posix.normalize(path) === path && !path.endsWith('/')
    && !/[\u0000-\u001f\u007f]/.test(path) && Buffer.byteLength(path) <= 4095 && path.split('/').every((part) => Buffer.byteLength(part) <= 255);
  if (!clean) throw invalid(origin, 'the path is not absolute and normalised', 'write an absolute path without "..", "//" or a trailing slash');
  const tree = FORBIDDEN_TREES.find((one) => isAtOrBelow(path, one));
  if (tree !== undefined) throw invalid(origin, `a secret cannot be placed in ${tree}`, 'choose a path outside /proc, /sys and /dev');
  if (isAtOrBelow(canonical(path), SECRETS_DIRECTORY) && !isInSecretsDirectory(path)) {
    throw invalid(origin, `only files directly in ${SECRETS_DIRECTORY} are possible`, `write ${SECRETS_DIRECTORY}/<name>, or a path elsewhere`);
  }
  if (isInSecretsDirectory(path)) requireName(posix.basename(path), origin);
  return path;
}

function numericId(text: string | undefined, otherwise: number, origin: string): number {
  if (text === undefined) return otherwise;
  if (!/^(?:0|[1-9][0-9]{0,9})$/.test(text) || Number(text) > MAX_ID) throw invalid(origin, 'the value is not a numeric id', 'write a number, names are not looked up in the image');
  return Number(text);
}

function modeOf(text: string, origin: string): number {
  if (!/^0?[0-7]{3}$/.test(text)) throw invalid(origin, 'the value is not an octal mode', 'write three octal digits such as 0440; set-id bits are not possible');
  return Number.parseInt(text, 8);
}

function requireName(name: string, origin: string): void {
  if (!NAME.test(name)) {
    throw invalid(origin, 'the file name is not valid', 'use letters, digits, "_", "-" and "." (not first), at most 128 characters');
  }
}

/** A file at a place in the container. */
type Targeted = Pick<DeclaredFile, 'target' | 'origin'>;

function refuseConflicts(files: readonly Targeted[], mountTargets: readonly string[]): void {
  const taken = new Map<string, Targeted>();
  const mounts = new Set(mountTargets.map(canonical));
  const needsDirectory = files.find((file) => isInSecretsDirectory(file.target));
  for (const file of files) {
    const target = canonical(file.target);
    const other = taken.get(target);
    if (other !== undefined) throw invalid(file.origin, `${file.target} is also the target of ${other.origin}`, 'give one of them another name or .path');
    if (mounts.has(target)) throw invalid(file.origin, `the container has a mount of its own at ${file.target}`, 'remove that mount or choose another .path');
    taken.set(target, file);
  }
  for (const file of files) {
    const below = [...taken].find(([target]) => target !== canonical(file.target) && isAtOrBelow(target, canonical(file.target)));
    if (below !== undefined) throw invalid(below[1].origin, `${below[1].target} lies below the file ${file.target}`, 'choose another .path');
  }
  if (needsDirectory !== undefined) refuseSecretsMounts(needsDirectory, mounts);
}

/** The directory on /run/secrets is read-only, so runc cannot create mount points deeper than the placeholders in it. */
function refuseSecretsMounts(file: Targeted, mounts: ReadonlySet<string>): void {
  for (const mount of mounts) {
    if (!isAtOrBelow(mount, SECRETS_DIRECTORY) || isInSecretsDirectory(mount)) continue;
    throw invalid(file.origin, `the container has a mount of its own at ${mount}`,
      mount === SECRETS_DIRECTORY ? `remove that mount, or give the file a .path outside ${SECRETS_DIRECTORY}` : `mount directly in ${SECRETS_DIRECTORY}, or give the file a .path elsewhere`);
  }
}

function isAtOrBelow(path: string, tree: string): boolean {
  return path === tree || path.startsWith(`${tree}/`);
}

/** /var/run is a link to /run in nearly every image; two mounts that meet there must not hide each other. */
function canonical(path: string): string {
  const clean = posix.normalize(path).replace(/(?<=.)\/$/, '');
  return isAtOrBelow(clean, '/var/run') ? clean.slice('/var'.length) : clean;
}

function unknownLabel(label: string): PurserError {
  return LATER_LABEL.test(label)
    ? invalid(`label ${label}`, 'not supported by this version', `remove the label; files are declared with ${FILE_LABEL}<name>`)
    : invalid(`label ${label}`, 'there is no such label', `labels are ${FILE_LABEL}<name> and ${TEMPLATE_LABEL}<name> with .path, .uid, .gid, .mode, ${SINGLE_LABELS.slice(0, -1).join(', ')} and ${JITTER_LABEL}`);
}
