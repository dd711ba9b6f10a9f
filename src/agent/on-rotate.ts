// The labels `purser.on-rotate=signal:NAME | exec:COMMAND ARGUMENTS… | restart | none` and `purser.on-rotate.jitter=<duration>`: what is done
// once after the files of a container changed in place. Pure. What cannot work is refused at the start, not found out at a rotation.

import { z } from 'zod';
import type { PurserError } from '../lib/errors.ts';
import { parseDuration } from '../lib/duration.ts';
import { invalidDeclaration, located } from './declaration-error.ts';

export const ON_ROTATE_LABEL = 'purser.on-rotate';
export const JITTER_LABEL = 'purser.on-rotate.jitter';

export const onRotateSchema = z.strictObject({
  action: z.discriminatedUnion('type', [
    z.strictObject({ type: z.literal('signal'), signal: z.string() }),
    z.strictObject({ type: z.literal('exec'), command: z.array(z.string()).min(1) }),
    z.strictObject({ type: z.literal('restart') }),
  ]),
  /** Longest random pause before the action, in milliseconds. */
  jitterMs: z.number().int().min(0),
});
export type OnRotate = Readonly<z.infer<typeof onRotateSchema>>;
export type RotateAction = OnRotate['action'];

/** signal(7), the numbers of x86 and ARM; real-time signals are counted from glibc's SIGRTMIN, as Docker does. */
const SIGNALS: Readonly<Record<string, number>> = {
  HUP: 1, INT: 2, QUIT: 3, ILL: 4, TRAP: 5, ABRT: 6, IOT: 6, BUS: 7, FPE: 8, USR1: 10, SEGV: 11, USR2: 12, PIPE: 13, ALRM: 14, TERM: 15, STKFLT: 16,
  CHLD: 17, CLD: 17, CONT: 18, TSTP: 20, TTIN: 21, TTOU: 22, URG: 23, XCPU: 24, XFSZ: 25, VTALRM: 26, PROF: 27, WINCH: 28, IO: 29, POLL: 29, PWR: 30, SYS: 31,
};
const RTMIN = 34;
const RTMAX = 64;
const MAX_COMMAND_LENGTH = 4096;
const MAX_JITTER_MS = 24 * 3600_000;

/** Where an action is declared: on a container by labels, on a volume by options. */
interface Place {
  readonly word: 'label' | 'option';
  readonly action: string;
  readonly jitter: string;
}
const LABELS: Place = { word: 'label', action: ON_ROTATE_LABEL, jitter: JITTER_LABEL };
export const VOLUME_OPTIONS: Place = { word: 'option', action: 'on-rotate', jitter: 'on-rotate.jitter' };

/**
 * @param given the labels, or the options of a volume
 * @returns undefined when nothing is to be done
 * @throws ERR_WORKLOAD_INVALID or ERR_DURATION_SYNTAX, naming the label or option
 */
export function readOnRotate(given: Readonly<Record<string, string>>, place: Place = LABELS): OnRotate | undefined {
  const text = Object.hasOwn(given, place.action) ? given[place.action] as string : undefined;
  const jitter = Object.hasOwn(given, place.jitter) ? given[place.jitter] as string : undefined;
  if (text === undefined && jitter !== undefined) throw invalidDeclaration(`${place.word} ${place.jitter}`, `there is no ${place.word} ${place.action}`, hintFor(place));
  const jitterMs = jitter === undefined ? 0 : jitterOf(jitter, `${place.word} ${place.jitter}`);
  const action = text === undefined ? undefined : actionOf(text, place);
  return action && { action, jitterMs };
}

function refuse(place: Place, message: string, hint = hintFor(place)): PurserError {
  return invalidDeclaration(`${place.word} ${place.action}`, message, hint);
}

function hintFor({ action }: Place): string {
  return `write ${action}=signal:HUP, exec:COMMAND ARGUMENTS…, restart or none`;
}

/** The number of a signal by its name, as readOnRotate() accepts it. */
export function signalNumber(name: string): number | undefined {
  const real = /^RT(MIN|MAX)(?:([+-])(\d{1,2}))?$/.exec(name);
  if (real === null) return Object.hasOwn(SIGNALS, name) ? SIGNALS[name] : undefined;
  const [, base, sign, offset = '0'] = real;
  if (sign !== undefined && sign !== (base === 'MIN' ? '+' : '-')) return undefined;
  const number = base === 'MIN' ? RTMIN + Number(offset) : RTMAX - Number(offset);
  return number >= RTMIN && number <= RTMAX ? number : undefined;
}

/** For the ledger: the program of a command without its arguments, which may hold anything. */
export function describeAction(action: RotateAction): string {
  switch (action.type) {
    case 'signal': return `signal:${action.signal}`;
    case 'exec': return `exec:${(action.command[0] ?? '').slice(0, 200)}`;
    case 'restart': return 'restart';
  }
}

function actionOf(text: string, place: Place): RotateAction | undefined {
  if (text === 'none') return undefined;
  if (text === 'restart') return { type: 'restart' };
  if (text.startsWith('signal:')) return { type: 'signal', signal: signalOf(text.slice('signal:'.length), place) };
  if (text.startsWith('exec:')) return { type: 'exec', command: wordsOf(text.slice('exec:'.length), place) };
  if (text === 'update' || text.startsWith('update:')) throw refuse(place, 'update is for Swarm services, not for containers', `give it to the service (docker service create --label ${ON_ROTATE_LABEL}=update, or deploy: labels: in a stack file)`);
  throw refuse(place, 'the value is no action');
}

function signalOf(text: string, place: Place): string {
  const name = text.toUpperCase().replace(/^SIG/, '');
  if (name === 'KILL') throw refuse(place, 'the signal KILL ends the container without a chance to finish', `write ${place.action}=restart, which stops it in order and starts it again`);
  if (name === 'STOP') throw refuse(place, 'the signal STOP freezes the container for good');
  if (signalNumber(name) === undefined) throw refuse(place, 'there is no signal of this name', 'write a name of signal(7) such as HUP, USR1, USR2, WINCH or RTMIN+1');
  return name;
}

function jitterOf(text: string, origin: string): number {
  const milliseconds = located(origin, () => parseDuration(text));
  if (milliseconds > MAX_JITTER_MS) throw invalidDeclaration(origin, 'it is longer than a day', 'write a duration such as 30s or 5m');
  return milliseconds;
}

/**
 * Words as a shell splits them, and nothing else of a shell: white space separates; '…' keeps everything; "…" keeps everything but \" and \\;
 * a backslash outside quotes keeps the next character. No variables, no globs, no pipes: name a shell for these (exec:sh -c '…').
 */
function wordsOf(text: string, place: Place): string[] {
  if (text.length > MAX_COMMAND_LENGTH || text.includes('\0')) throw refuse(place, 'the command is longer than 4096 characters or has a NUL');
  const words: string[] = [];
  for (let rest = text.trimStart(); rest !== ''; rest = rest.trimStart()) {
    const word = /^(?:[^\s'"\\]|\\[\s\S]|'[^']*'|"(?:[^"\\]|\\[\s\S])*")+/.exec(rest)?.[0];
    if (word === undefined || !/^(?:\s|$)/.test(rest.slice(word.length))) throw refuse(place, 'a quote or a backslash of the command is not closed');
    words.push(unquoted(word));
    rest = rest.slice(word.length);
  }
  if (words[0] === undefined || words[0] === '') throw refuse(place, 'exec names no command');
  return words;
}

function unquoted(word: string): string {
  return word.replace(/'([^']*)'|"((?:[^"\\]|\\[\s\S])*)"|\\([\s\S])/g, (_, single: string | undefined, double: string | undefined, escaped: string | undefined) =>
    single ?? double?.replace(/\\(["\\])/g, '$1') ?? escaped ?? '');
}
