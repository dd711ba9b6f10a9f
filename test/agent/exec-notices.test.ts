// The seccomp profile of a strict container: what Docker's profile denies stays denied, and what cannot be told of is refused.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { notifyOfExecs } from '../../src/agent/exec-notices.ts';
import { isLosslessObject, parseLossless, stringifyLossless } from '../../src/lib/lossless-json.ts';

const PATH = '/run/purser/notices.sock';

function edited(linux: object, architecture?: string): { seccomp: Record<string, unknown> } {
  const parsed = parseLossless(JSON.stringify(linux));
  assert.ok(isLosslessObject(parsed));
  notifyOfExecs(parsed, PATH, architecture);
  return JSON.parse(stringifyLossless(parsed)) as { seccomp: Record<string, unknown> };
}

const allow = (...names: string[]) => ({ names, action: 'SCMP_ACT_ALLOW' });
const profile = (defaultAction: string, ...syscalls: object[]) => ({ seccomp: { defaultAction, architectures: ['SCMP_ARCH_X86_64'], flags: ['SECCOMP_FILTER_FLAG_LOG'], syscalls } });

test('a container without a profile gets one that allows everything, 32-bit programs too', () => {
  for (const [architecture, first] of [['x64', 'SCMP_ARCH_X86_64'], ['arm64', 'SCMP_ARCH_AARCH64']] as const) {
    const { seccomp } = edited({ namespaces: [] }, architecture);
    assert.equal((seccomp['architectures'] as string[])[0], first);
    assert.ok((seccomp['architectures'] as string[]).length > 1);
    assert.deepEqual({ ...seccomp, architectures: 0 }, { defaultAction: 'SCMP_ACT_ALLOW', architectures: 0, syscalls: [{ names: ['execve', 'execveat'], action: 'SCMP_ACT_NOTIFY' }], listenerPath: PATH });
  }
});

test("Docker's profile keeps every rule; the two calls move from allowed to told", () => {
  const denied = { names: ['mount'], action: 'SCMP_ACT_ERRNO', errnoRet: 1 };
  const { seccomp } = edited(profile('SCMP_ACT_ERRNO', allow('read', 'execve', 'prctl', 'execveat', 'rt_sigreturn'), allow('execve'), denied));
  assert.deepEqual(seccomp, {
    defaultAction: 'SCMP_ACT_ERRNO', architectures: ['SCMP_ARCH_X86_64'], flags: ['SECCOMP_FILTER_FLAG_LOG'],
    syscalls: [allow('read', 'prctl', 'rt_sigreturn'), denied, { names: ['execve', 'execveat'], action: 'SCMP_ACT_NOTIFY' }], listenerPath: PATH,
  });
});

test('a call that the profile denies stays denied', () => {
  const { seccomp } = edited(profile('SCMP_ACT_ERRNO', allow('execve', 'rt_sigreturn')));
  assert.deepEqual((seccomp['syscalls'] as unknown[]).at(-1), { names: ['execve'], action: 'SCMP_ACT_NOTIFY' });
});

for (const [what, linux, reason] of [
  ['has a rule with conditions', profile('SCMP_ACT_ERRNO', allow('rt_sigreturn'), { ...allow('execve'), args: [{ index: 0, value: 1, op: 'SCMP_CMP_EQ' }] }), /a rule of its own for execve/],
  ['denies execveat explicitly', profile('SCMP_ACT_ALLOW', { names: ['execveat'], action: 'SCMP_ACT_ERRNO' }), /a rule of its own for execveat/],
  ['logs every call', profile('SCMP_ACT_LOG'), /SCMP_ACT_LOG for execve/],
  ['has a listener', { seccomp: { ...profile('SCMP_ACT_ALLOW').seccomp, listenerPath: '/x' } }, /listener of its own/],
  ['tells of other calls', profile('SCMP_ACT_ALLOW', { names: ['mount'], action: 'SCMP_ACT_NOTIFY' }), /listener of its own/],
  ['kills for prctl by default', profile('SCMP_ACT_KILL_PROCESS', allow('execve', 'execveat')), /ends programs that call prctl/],
  ['denies rt_sigreturn', profile('SCMP_ACT_ERRNO', allow('execve', 'prctl')), /denies rt_sigreturn/],
  ['kills for prctl by a rule', profile('SCMP_ACT_ALLOW', { names: ['prctl'], action: 'SCMP_ACT_KILL' }), /ends programs that call prctl/],
  ['allows prctl with conditions only', profile('SCMP_ACT_TRAP', allow('execve'), { ...allow('prctl'), args: [{ index: 0, value: 1, op: 'SCMP_CMP_EQ' }] }), /ends programs that call prctl/],
] as const) {
  test(`a profile that ${what} is refused`, () => {
    assert.throws(() => edited(linux), { code: 'ERR_WORKLOAD_INVALID', message: reason });
  });
}

test('a profile that is no profile is refused as a bundle', () => {
  for (const linux of [{ seccomp: 1 }, { seccomp: {} }, { seccomp: { defaultAction: 'SCMP_ACT_ALLOW', syscalls: [1] } }, { seccomp: { defaultAction: 'SCMP_ACT_ALLOW', syscalls: [{ names: [1], action: 'x' }] } }]) {
    assert.throws(() => edited(linux), { code: 'ERR_RUNTIME_BUNDLE' });
  }
});
