// Where each resolved file of a container goes: the directory mounted on /run/secrets, a single-file mount elsewhere, or in
// place of Docker's own mount of a Swarm secret. Pure: from declarations and results to the tree, the mounts, the variables
// and the record.

import { posix } from 'node:path';
import { PurserError } from '../lib/errors.ts';
import { describeReference } from '../wire/reference.ts';
import { hostId } from './bundle.ts';
import type { IdMapping } from './bundle.ts';
import type { GrantedFile } from './container-record.ts';
import { SECRETS_DIRECTORY, isInSecretsDirectory } from './declarations.ts';
import type { DeclaredFile, DeclaredTemplate } from './declarations.ts';
import { literalOf, targetOfVariable } from './environment-variables.ts';
import type { DeclaredVariable, VariableReference } from './environment-variables.ts';
import type { SwarmSecretReference } from './container-facts.ts';
import type { SecretFile } from './fuse/plan.ts';
import { IDENTITY_FILE, IDENTITY_PATH } from './identity-declaration.ts';
import type { DeclaredIdentity } from './identity-declaration.ts';
import { refreshAt } from './identity-refresh.ts';
import type { Delivery } from './resolve-outcome.ts';
import type { Rendering } from './template-files.ts';
import { bytesOfValue } from '../lib/secret-bytes.ts';

export interface ContainerWish {
  readonly declared: readonly { readonly file: DeclaredFile; readonly result: Delivery }[];
  readonly templates: readonly { readonly file: DeclaredTemplate; readonly rendering: Rendering }[];
  /** Variables with references or escapes; `environment` has what the references come to. */
  readonly variables: readonly DeclaredVariable[];
  readonly environment: readonly { readonly wanted: VariableReference; readonly result: Delivery }[];
  readonly swarm: readonly { readonly secret: SwarmSecretReference; readonly result: Delivery }[];
  /** The token that says who the container is, and its life in seconds. */
  readonly identity?: { readonly declared: DeclaredIdentity; readonly token: string; readonly ttl: number } | undefined;
  /** The container's own mounts directly in /run/secrets, Docker's mounts of Swarm secrets included. */
  readonly mountsBelow: readonly { readonly destination: string; readonly isDirectory: boolean }[];
  readonly uidMappings: readonly IdMapping[];
  readonly gidMappings: readonly IdMapping[];
}

export interface Placement {
  /** What the container's tree holds. */
  readonly files: readonly SecretFile[];
  /** New mounts: destination → path below the container's tree. */
  readonly mounts: ReadonlyMap<string, string>;
  /** Docker's mounts that get another source: destination → path below the container's tree. */
  readonly swaps: ReadonlyMap<string, string>;
  /** Changes of the environment that hold no value; undefined: removed. */
  readonly variables: ReadonlyMap<string, string | undefined>;
  readonly granted: readonly GrantedFile[];
}

/** Not possible in a declared name, so that a name says which kind it is. */
const BOUND_MARK = '@';
const HIDDEN_MARK = '$';
const TEMPLATE_MARK = '@';
const FIRST_RENDERING = 1;
/** As long as the ledger takes a field. */
const MAX_FIELD = 1024;

/** @throws ERR_WORKLOAD_INVALID when an owner is not mapped or a mount cannot be kept */
export function placeFiles(wish: ContainerWish): Placement {
  const files: SecretFile[] = [];
  const mounts = new Map<string, string>();
  const variables = new Map<string, string | undefined>();
  const granted: GrantedFile[] = [];
  for (const { file, result } of wish.declared) {
    const isInDirectory = isInSecretsDirectory(file.target);
    const name = isInDirectory ? posix.basename(file.target) : BOUND_MARK + file.name;
    // An image takes an empty NAME_FILE for "not given", and a path that does not exist for an error.
    if (file.variable !== undefined) variables.set(file.variable, result.outcome === 'absent' ? '' : file.target);
    if (file.replaces !== undefined) variables.set(file.replaces, undefined);
    granted.push({
      name, kind: result.outcome === 'absent' ? 'absent' : isInDirectory ? 'versioned' : 'bound', target: file.target,
      // Without its default, which may be a secret and only counts at the start.
      source: { type: 'reference', text: describeReference(file.reference) },
      ...(file.variable === undefined ? {} : { variable: file.variable }), ...(file.replaces === undefined ? {} : { replaces: file.replaces }), ...heldOf(result), isPinned: file.reference.version !== undefined,
    });
    if (result.outcome === 'absent') continue;
    files.push(secretFile(name, isInDirectory ? 'versioned' : 'bound', file, valueOf(result), file.origin, wish));
    if (!isInDirectory) mounts.set(file.target, `bound/${name}`);
  }
  placeTemplates(wish, files, mounts, variables, granted);
  for (const variable of wish.variables) {
    const literal = literalOf(variable);
    if (literal !== undefined) variables.set(variable.name, literal);
  }
  placeIdentity(wish, files, granted);
  placeVariables(wish.environment, files, granted);
  const swaps = placeSwarm(wish, files, granted);
  if (files.some((file) => file.kind === 'versioned')) {
    mounts.set(SECRETS_DIRECTORY, 'files');
    files.push(...wish.mountsBelow.map(placeholder));
  }
  return { files, mounts, swaps, variables, granted };
}

function placeTemplates(wish: ContainerWish, files: SecretFile[], mounts: Map<string, string>, variables: Map<string, string | undefined>, granted: GrantedFile[]): void {
  for (const { file, rendering } of wish.templates) {
    const { origin, source, target, variable, replaces } = file;
    const kind = isInSecretsDirectory(target) ? 'versioned' : 'bound';
    // A template may have the name of a file.
    const name = kind === 'versioned' ? posix.basename(target) : `${BOUND_MARK}${TEMPLATE_MARK}${file.name}`;
    files.push(secretFile(name, kind, file, { version: FIRST_RENDERING, content: rendering.content }, origin, wish));
    granted.push({
      name, kind, target, path: `template:${file.name}`, version: FIRST_RENDERING, isPinned: false,
      ...(variable === undefined ? {} : { variable }), ...(replaces === undefined ? {} : { replaces }),
      source: { type: 'template', origin, secrets: [...rendering.secrets], ...('text' in source ? { text: source.text } : {}) },
    });
    if (kind === 'bound') mounts.set(target, `bound/${name}`);
    if (variable !== undefined) variables.set(variable, target);
    if (replaces !== undefined) variables.set(replaces, undefined);
  }
}

/** Values for the environment, which are in no directory. A default is in the reference itself and needs no file. */
function placeVariables(environment: ContainerWish['environment'], files: SecretFile[], granted: GrantedFile[]): void {
  for (const [index, { wanted: { variable, reference }, result }] of environment.entries()) {
    const name = `${HIDDEN_MARK}${index}`;
    if (result.outcome === 'value') files.push({ name, kind: 'hidden', uid: 0, gid: 0, mode: 0, version: result.version, content: bytesOfValue(result.value) });
    granted.push({
      name, kind: result.outcome === 'value' ? 'hidden' : result.outcome, target: targetOfVariable(variable), source: { type: 'reference', text: describeReference(reference) },
      variable, ...heldOf(result), isPinned: reference.version !== undefined,
    });
  }
}

function placeIdentity({ identity, ...wish }: ContainerWish, files: SecretFile[], granted: GrantedFile[]): void {
  if (identity === undefined) return;
  const { declared, token, ttl } = identity;
  const result = { outcome: 'value', value: Buffer.from(token, 'latin1').toString('base64'), path: IDENTITY_PATH, field: declared.audiences.join(','), version: 1 } as const;
  files.push(secretFile(IDENTITY_FILE, 'versioned', declared, valueOf(result), declared.origin, wish));
  granted.push({
    name: IDENTITY_FILE, kind: 'versioned', target: declared.target, source: { type: 'identity', audiences: [...declared.audiences], refreshAt: refreshAt(ttl) },
    ...heldOf(result), field: result.field.slice(0, MAX_FIELD), isPinned: false,
  });
}

/** The files of Swarm secrets, in names that no declared one can have, and the name of each in the container's tree. */
export function placeSwarm(wish: Pick<ContainerWish, 'swarm' | 'uidMappings' | 'gidMappings'>, files: SecretFile[], granted: GrantedFile[]): Map<string, string> {
  const places = new Map<string, string>();
  for (const [index, { secret, result }] of wish.swarm.entries()) {
    // Docker's own file serves on when the core knows of no value to follow.
    if (result.outcome === 'absent') continue;
    const name = `${HIDDEN_MARK}swarm-${index}`;
    files.push(secretFile(name, 'bound', secret, valueOf(result), `secret ${secret.secretName}`, wish));
    granted.push({ name, kind: 'bound', target: secret.target, source: { type: 'swarm', name: secret.secretName }, ...heldOf(result), isPinned: false });
    places.set(secret.target, `bound/${name}`);
  }
  return places;
}

function heldOf(result: Delivery): { path: string; field?: string; version: number } {
  return { path: result.path, version: result.version, ...(result.field === undefined ? {} : { field: result.field }) };
}

function secretFile(
  name: string, kind: 'versioned' | 'bound', owner: { readonly uid: number; readonly gid: number; readonly mode: number },
  value: Pick<SecretFile, 'version' | 'content'>, origin: string, mappings: Pick<ContainerWish, 'uidMappings' | 'gidMappings'>,
): SecretFile {
  // The filesystem is mounted outside the container's user namespace, so its owners are ids of the host.
  const uid = hostId(mappings.uidMappings, owner.uid);
  const gid = hostId(mappings.gidMappings, owner.gid);
  if (uid === undefined || gid === undefined) {
    throw new PurserError('ERR_WORKLOAD_INVALID', `${origin}: the user namespace of the container has no user ${owner.uid} or no group ${owner.gid}`, { hint: 'choose an owner that is mapped, see /etc/subuid' });
  }
  return { name, kind, uid, gid, mode: owner.mode, ...value };
}

function valueOf({ version, value }: Exclude<Delivery, { outcome: 'absent' }>): Pick<SecretFile, 'version' | 'content'> {
  return { version, content: bytesOfValue(value) };
}

/** Something for runc to mount on: it cannot create mount points in a read-only directory. */
function placeholder(mount: { readonly destination: string; readonly isDirectory: boolean }): SecretFile {
  if (mount.isDirectory) {
    throw new PurserError('ERR_WORKLOAD_INVALID', `the container mounts a directory at ${mount.destination}, where its secret files are`,
      { hint: `mount it outside ${SECRETS_DIRECTORY}, or give the secret files a .path elsewhere` });
  }
  return { name: posix.basename(mount.destination), kind: 'placeholder', uid: 0, gid: 0, mode: 0, version: 0, content: new Uint8Array(0) };
}
