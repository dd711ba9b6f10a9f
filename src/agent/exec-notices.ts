// `purser.env=strict`: the container's seccomp profile makes the kernel tell of each execve before it happens (OCI runtime specification,
// config-linux.md, "Seccomp"; SCMP_ACT_NOTIFY). Pure: edits `linux.seccomp` of a parsed config.json. Nothing that the profile denies
// is allowed by it: only an execve that it allows as it is becomes one that is told of. What cannot be added so is refused.

import { PurserError } from '../lib/errors.ts';
import type { LosslessObject, LosslessValue } from '../lib/lossless-json.ts';
import { arrayOf, objectOf, stringOf } from './bundle-document.ts';

const EXECS = ['execve', 'execveat'];
/** What a program would die of when it moves its environment block (src/shim/bounds.c). */
const FATAL = new Set(['SCMP_ACT_KILL', 'SCMP_ACT_KILL_THREAD', 'SCMP_ACT_KILL_PROCESS', 'SCMP_ACT_TRAP']);
const PASSES = new Set(['SCMP_ACT_ALLOW', 'SCMP_ACT_LOG']);
const ALLOW = 'SCMP_ACT_ALLOW';
const NOTIFY = 'SCMP_ACT_NOTIFY';
/** For containers without a profile. Without its 32-bit relatives libseccomp would kill 32-bit programs. */
const ARCHITECTURES: Readonly<Record<string, readonly string[]>> = {
  x64: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86', 'SCMP_ARCH_X32'],
  arm64: ['SCMP_ARCH_AARCH64', 'SCMP_ARCH_ARM'],
};

interface Rule {
  readonly names: readonly string[];
  readonly action: string;
  readonly isConditional: boolean;
  readonly source: LosslessObject;
}

/**
 * @param linux the object `linux` of config.json; edited in place
 * @param listenerPath the socket that runc hands the listener to
 * @param architecture as `process.arch` names it
 * @throws ERR_WORKLOAD_INVALID for a profile that decides about execve by itself, ERR_RUNTIME_BUNDLE for one that is not valid
 */
export function notifyOfExecs(linux: LosslessObject, listenerPath: string, architecture: string = process.arch): void {
  const profile = linux.get('seccomp') ?? undefined;
  if (profile === undefined) {
    const seccomp: LosslessObject = new Map<string, LosslessValue>([['defaultAction', ALLOW], ['architectures', [...ARCHITECTURES[architecture] ?? []]]]);
    linux.set('seccomp', seccomp);
    return addNotices(seccomp, [], EXECS, listenerPath);
  }
  const seccomp = objectOf(profile, 'linux.seccomp');
  const otherwise = stringOf(seccomp.get('defaultAction'), 'linux.seccomp.defaultAction');
  const rules = arrayOf(seccomp.get('syscalls'), 'linux.seccomp.syscalls').map(readRule);
  if ((seccomp.get('listenerPath') ?? '') !== '' || rules.some(({ action }) => action === NOTIFY)) throw unfit('it has a listener of its own');
  if (actionsOf(rules, 'prctl', otherwise).some((action) => FATAL.has(action))) throw unfit('it ends programs that call prctl');
  if (!actionsOf(rules, 'rt_sigreturn', otherwise).every((action) => PASSES.has(action))) throw unfit('it denies rt_sigreturn');
  const told = EXECS.filter((name) => isAllowed(rules, name, otherwise));
  addNotices(seccomp, rules.flatMap((rule) => without(rule, told)), told, listenerPath);
}

function addNotices(seccomp: LosslessObject, rules: readonly LosslessObject[], names: readonly string[], listenerPath: string): void {
  seccomp.set('syscalls', [...rules, new Map<string, LosslessValue>([['names', [...names]], ['action', NOTIFY]])]);
  seccomp.set('listenerPath', listenerPath);
}

function readRule(value: LosslessValue): Rule {
  const source = objectOf(value, 'linux.seccomp.syscalls');
  return {
    names: arrayOf(source.get('names'), 'linux.seccomp.syscalls.names').map((name) => stringOf(name, 'linux.seccomp.syscalls.names')),
    action: stringOf(source.get('action'), 'linux.seccomp.syscalls.action'),
    isConditional: arrayOf(source.get('args'), 'linux.seccomp.syscalls.args').length > 0,
    source,
  };
}

/** True when the profile lets the call through as it is, false when it denies it. */
function isAllowed(rules: readonly Rule[], name: string, otherwise: string): boolean {
  const own = rules.filter(({ names }) => names.includes(name));
  if (own.some(({ action, isConditional }) => isConditional || action !== ALLOW)) throw unfit(`it has a rule of its own for ${name}`);
  if (own.length > 0 || otherwise === ALLOW) return true;
  if (otherwise === 'SCMP_ACT_LOG' || otherwise === 'SCMP_ACT_TRACE') throw unfit(`it has ${otherwise} for ${name}`);
  return false;
}

/** What the profile may do about a call, depending on its arguments. */
function actionsOf(rules: readonly Rule[], name: string, otherwise: string): string[] {
  const own = rules.filter(({ names }) => names.includes(name));
  return [...own.map(({ action }) => action), ...own.every(({ isConditional }) => isConditional) ? [otherwise] : []];
}

function without({ names, source }: Rule, told: readonly string[]): LosslessObject[] {
  const others = names.filter((name) => !told.includes(name));
  if (others.length === names.length) return [source];
  return others.length === 0 ? [] : [new Map(source).set('names', others)];
}

function unfit(why: string): PurserError {
  return new PurserError('ERR_WORKLOAD_INVALID', `label purser.env: strict does not work with the seccomp profile of this container: ${why}`,
    { hint: 'use purser.env=files-only, or a profile that allows execve, execveat, prctl and rt_sigreturn' });
}
