// The files of a volume, from the options it was created with: `<file>=purser://…` and, on it, `.uid`, `.gid` and `.mode`. Pure and strict:
// anything else is refused when the volume is created, by the option's name. References only, no values.

import { PurserError, isPurserError } from '../../lib/errors.ts';
import { MAX_REFERENCES } from '../../wire/node-protocol.ts';
import { VOLUME_OPTIONS } from '../on-rotate.ts';
import { formatReference, isReference, parseReference } from '../../wire/reference.ts';

export interface VolumeFile {
  readonly name: string;
  /** The canonical reference, with its default. */
  readonly text: string;
  readonly uid: number;
  readonly gid: number;
  readonly mode: number;
}

const OPTIONS = ['uid', 'gid', 'mode'] as const;
type Option = (typeof OPTIONS)[number];

const NAME = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;
/** Docker's own rule (moby: volume/names), and room for a file's name. */
const VOLUME_NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,199}$/;
/** 2^32 - 1 means "no user" to the kernel. */
const MAX_ID = 0xffff_fffe;
/** As Swarm's own: the volume cannot know the container's user, and other containers are kept out by their cgroup. */
const DEFAULT_MODE = 0o444;

/** @throws ERR_WORKLOAD_INVALID */
export function requireVolumeName(name: string): void {
  if (!VOLUME_NAME.test(name)) throw new PurserError('ERR_WORKLOAD_INVALID', 'a volume name has letters, digits, ".", "_" and "-", at most 200');
}

/**
 * The files of a volume, by name.
 * @throws ERR_WORKLOAD_INVALID, ERR_REFERENCE_SYNTAX, naming the option
 */
export function readVolumeOptions(options: Readonly<Record<string, string>>): VolumeFile[] {
  const references = new Map<string, string>();
  const given = new Map<string, Map<Option, string>>();
  for (const [option, value] of Object.entries(options)) {
    if (option === VOLUME_OPTIONS.action || option === VOLUME_OPTIONS.jitter) continue;
    const suffix = OPTIONS.find((one) => option.endsWith(`.${one}`));
    const name = suffix === undefined ? option : option.slice(0, -suffix.length - 1);
    if (!NAME.test(name)) throw invalid(option, 'there is no such option', 'options are <file>=purser://… with <file>.uid, <file>.gid, <file>.mode, and on-rotate, on-rotate.jitter');
    if (suffix === undefined) references.set(name, value);
    else given.set(name, (given.get(name) ?? new Map<Option, string>()).set(suffix, value));
  }
  for (const [name, [[suffix]]] of [...given].map(([key, of]) => [key, [...of]] as [string, [[Option, string]]])) {
    if (!references.has(name)) throw invalid(`${name}.${suffix}`, `there is no option ${name}`, `add ${name}=purser://…`);
  }
  if (references.size === 0) throw new PurserError('ERR_WORKLOAD_INVALID', 'the volume has no file', { hint: 'add an option <file>=purser://… for each: docker volume create -d purser -o db_password=purser://secret/db/prod#password' });
  if (references.size > MAX_REFERENCES) throw new PurserError('ERR_WORKLOAD_INVALID', `the volume has more than ${MAX_REFERENCES} files`);
  return [...references].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, text]) => volumeFile(name, text, given.get(name)));
}

function volumeFile(name: string, text: string, options: ReadonlyMap<Option, string> | undefined): VolumeFile {
  if (!isReference(text)) throw invalid(name, 'the value is not a reference', `write ${name}=purser://<path>#<field>`);
  const mode = options?.get('mode');
  return {
    name, text: canonical(name, text), uid: numericId(`${name}.uid`, options?.get('uid')), gid: numericId(`${name}.gid`, options?.get('gid')),
    mode: mode === undefined ? DEFAULT_MODE : modeOf(`${name}.mode`, mode),
  };
}

function canonical(option: string, text: string): string {
  try {
    return formatReference(parseReference(text));
  } catch (error) {
    if (!isPurserError(error)) throw error;
    throw new PurserError(error.code, `option ${option}: ${error.message}`, error.hint === undefined ? {} : { hint: error.hint });
  }
}

function numericId(option: string, text: string | undefined): number {
  if (text === undefined) return 0;
  if (!/^(?:0|[1-9][0-9]{0,9})$/.test(text) || Number(text) > MAX_ID) throw invalid(option, 'the value is not a numeric id', 'write a number');
  return Number(text);
}

function modeOf(option: string, text: string): number {
  if (!/^0?[0-7]{3}$/.test(text)) throw invalid(option, 'the value is not an octal mode', 'write three octal digits such as 0440');
  return Number.parseInt(text, 8);
}

/** An option whose name is no name may be anything, a value in the wrong place too. */
function invalid(option: string, message: string, hint: string): PurserError {
  const shown = /^[A-Za-z0-9._-]{1,140}$/.test(option) ? `option ${option}` : 'an option';
  return new PurserError('ERR_WORKLOAD_INVALID', `${shown}: ${message}`, { hint });
}
