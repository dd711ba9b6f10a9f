// Values for the environment without a trace, with the real runc and a fake agent: the program sees values, the kernel's environment block
// shows references, and whatever goes wrong ends the process before its first instruction. Built with AddressSanitizer and UBSan.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { eventually } from '../eventually.ts';
import { BundleLab, environment, payload, skip } from './bundle.ts';
import type { Config } from './bundle.ts';

const REFERENCE = 'purser://secret/db/prod#password';
const CANARY = 'canary-7f3a';
const PRINT_ENV = 'extern char **environ; int puts(const char *); int main(void) { for (char **e = environ; *e; e++) puts(*e); }';
const PRINT_IDS = '#include <stdio.h>\n#include <stdlib.h>\n#include <unistd.h>\nint main(void) { printf("%d %d %s\\n", getuid(), geteuid(), getenv("DB")); }';

let lab: BundleLab;
before(() => { if (skip === false) lab = new BundleLab('sanitize'); });
after(() => skip === false && lab.close());
afterEach(() => skip === false && lab.stopAgent());

const shell = (command: string, more: Partial<Config> = {}): Config =>
  ({ env: ['PATH=/bin', `DB=${REFERENCE}`, 'LAST=x'], args: ['sh', '-c', `${command}; echo ready; sleep 60; true`], ...more });

/** Starts a container and expects it to begin; returns what `script` printed. */
async function started(config: Config, values: Record<string, string | null>, script: string): Promise<string> {
  await lab.startAgent({ start: environment(values), exec: environment(values) });
  lab.prepare(config);
  const result = await lab.script(`set -e; X start $ID\n${script}`);
  assert.equal(result.stderr, '');
  assert.equal(result.status, 0, readOr(lab.log));
  return result.stdout;
}

function readOr(path: string): string {
  return existsSync(path) ? readFileSync(path, 'utf8') : '';
}

/** Expects `start` to be refused for `reason`, the program never to run and its process to be gone. */
async function refused(reason: RegExp, script = '', gone = true): Promise<void> {
  const result = await lab.script(`${script}\nX start $ID; echo "status $?"; ${gone ? 'gone;' : ''} cat $D/out`);
  assert.equal(result.stdout, 'status 1\n', result.stderr);
  assert.match(result.stderr, reason);
  const last = readFileSync(lab.log, 'utf8').trim().split('\n').at(-1) ?? '';
  assert.deepEqual(Object.keys(JSON.parse(last) as object), ['level', 'msg', 'time']);
  assert.match((JSON.parse(last) as { msg: string }).msg, reason);
  assert.doesNotMatch(result.stderr + readFileSync(lab.log, 'utf8'), new RegExp(CANARY));
}

describe('purser-runtime start', { skip }, () => {
  test('gives the program its values and the kernel only references', async () => {
    const config = shell('echo "$DB|$EMPTY|${GONE-unset}|$LAST"; cat /proc/1/environ | tr "\\0" "\\n"', {
      env: ['PATH=/bin', `DB=${REFERENCE}`, 'EMPTY=se://a/b', 'GONE=purser://secret/x?optional', 'LAST=x'],
    });
    const stdout = await started(config, { DB: CANARY, EMPTY: '', GONE: null }, 'out ready; cat $D/out; echo --; shown $PID');
    const block = `PATH=/bin\nDB=${REFERENCE}\nEMPTY=se://a/b\nGONE=purser://secret/x?optional\nLAST=x\nHOME=/root\n`.replace('HOME=/root', 'HOME=/');
    assert.equal(stdout, `${CANARY}||unset|x\n${block}ready\n--\n${block}`);
    assert.deepEqual(lab.asked, ['create', 'start']);
  });

  test('leaves nothing of its own: no tracer, no value in any file', async () => {
    const stdout = await started(shell('true'), { DB: CANARY }, `out ready; grep TracerPid /proc/$PID/status; pgrep -x shim; pgrep -x runc; grep -rla ${CANARY} $D || echo none`.replaceAll('pgrep -x shim; pgrep -x runc', '! pgrep -x shim; ! pgrep -x runc'));
    assert.equal(stdout, 'TracerPid:\t0\nnone\n');
  });

  const programs: readonly [string, string, readonly string[]][] = [
    ['static', 'cc', ['-static']], ['static-pie', 'cc', ['-static-pie', '-fPIE']], ['glibc', 'cc', []], ['no-pie', 'cc', ['-no-pie']],
    ['musl', 'musl-gcc', []], ['musl-static', 'musl-gcc', ['-static']],
  ];
  for (const [name, compiler, flags] of programs) {
    const missing = spawnSync(compiler, ['--version']).status === 0 ? false : `needs ${compiler}`;
    test(`works for a ${name} program`, { skip: missing }, async () => {
      lab.compile('print', PRINT_ENV, compiler, flags);
      const stdout = await started({ env: ['PATH=/bin', `DB=${REFERENCE}`, 'A=b'], args: ['print', 'an argument'] }, { DB: CANARY }, 'out HOME=; cat $D/out');
      assert.equal(stdout, `PATH=/bin\nDB=${CANARY}\nA=b\nHOME=/\n`);
    });
  }

  test('works for an entrypoint script, through its interpreter', async () => {
    const script = join(lab.rootfs, 'bin', 'entrypoint.sh');
    writeFileSync(script, '#!/bin/sh -e\necho "$0 $1 $DB"\ncat /proc/$$/environ | tr "\\0" "\\n"\necho ready\nsleep 60\n');
    chmodSync(script, 0o755);
    const stdout = await started({ env: ['PATH=/bin', `DB=${REFERENCE}`], args: ['entrypoint.sh', 'one'] }, { DB: CANARY }, 'out ready; cat $D/out');
    assert.equal(stdout, `/bin/entrypoint.sh one ${CANARY}\nPATH=/bin\nDB=${REFERENCE}\nHOME=/\nready\n`);
  });

  const allowed = ['execve', 'brk', 'mmap', 'munmap', 'arch_prctl', 'set_tid_address', 'set_robust_list', 'rseq', 'prlimit64', 'readlink', 'getrandom', 'mprotect',
    'write', 'writev', 'read', 'openat', 'close', 'exit_group', 'getuid', 'prctl', 'rt_sigaction', 'getpid', 'stat', 'newfstatat', 'fstat', 'ioctl', 'fcntl', 'sysinfo', 'sendfile', 'futex', 'capset',
    'capget', 'chdir', 'setgroups', 'setgid', 'setuid', 'geteuid', 'getgid', 'getegid', 'rt_sigprocmask', 'getdents64', 'getppid', 'gettid', 'nanosleep', 'rt_sigreturn', 'epoll_pwait',
    'fchown', 'sched_yield', 'tgkill', 'access', 'readlinkat', 'mknodat', 'statx', 'fstatfs', 'pread64', 'epoll_ctl', 'lseek', 'clock_nanosleep', 'wait4', 'sigaltstack', 'madvise', 'faccessat', 'faccessat2', 'exit'];
  const restrictions: readonly [string, Partial<Config>][] = [
    ['another user', { process: { user: { uid: 1000, gid: 1000 } } }],
    ['no-new-privileges and no capabilities', { process: { noNewPrivileges: true, capabilities: {} } }],
    ['a read-only root', { root: { path: 'rootfs', readonly: true } }],
    ['a seccomp profile that allows little', { process: { noNewPrivileges: true }, linux: { namespaces: ['pid', 'mount'].map((type) => ({ type })),
      seccomp: { defaultAction: 'SCMP_ACT_ERRNO', architectures: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_AARCH64'], syscalls: [{ names: allowed, action: 'SCMP_ACT_ALLOW' }] } } }],
    ['a stack limit of 256 KiB', { process: { rlimits: [{ type: 'RLIMIT_STACK', soft: 262_144, hard: 262_144 }] } }],
  ];
  for (const [name, more] of restrictions) {
    test(`works with ${name}`, async () => {
      const config = { env: ['PATH=/bin', `DB=${REFERENCE}`], args: ['sh', '-c', 'echo "<$DB>"'], ...more };
      assert.equal(await started(config, { DB: CANARY }, 'out ">"; cat $D/out'), `<${CANARY}>\n`);
    });
  }

  test('lets a set-uid program keep its rights', async () => {
    lab.compile('ids', PRINT_IDS, 'cc', ['-static']);
    chmodSync(join(lab.rootfs, 'bin', 'ids'), 0o4755);
    const config = { env: ['PATH=/bin', `DB=${REFERENCE}`], args: ['ids'], process: { user: { uid: 1000, gid: 1000 }, capabilities: { bounding: ['CAP_SETUID'] } } };
    assert.equal(await started(config, { DB: CANARY }, 'out canary; cat $D/out'), `1000 0 ${CANARY}\n`);
  });

  test('carries 100 variables, and one of 64 KiB', async () => {
    const names = Array.from({ length: 100 }, (_, i) => `V${i}`);
    const values = Object.fromEntries(names.map((name, i) => [name, i === 50 ? 'x'.repeat(65_536) : `value-${i}`]));
    const config = shell('for i in 0 1 49 51 99; do eval echo \\$V$i; done; echo ${#V50}; echo -n "$V50" | md5sum; cat /proc/1/environ | tr "\\0" "\\n" | tail -n 2', {
      env: ['PATH=/bin', ...names.map((name) => `${name}=${REFERENCE}`)],
    });
    const stdout = await started({ ...config, args: config.args.map((arg) => arg.replace('| tail -n 2', '')) }, values, 'out ready; cat $D/out');
    const lines = stdout.split('\n');
    assert.deepEqual(lines.slice(0, 6), ['value-0', 'value-1', 'value-49', 'value-51', 'value-99', '65536']);
    assert.equal(lines.filter((line) => line.endsWith(`=${REFERENCE}`)).length, 100);
  });

  test('replaces every occurrence of a name', async () => {
    // runc keeps the last of two; a program that is started by another one may see both, which the pure test of the layout covers.
    const stdout = await started({ env: ['PATH=/bin', 'DB=purser://a/b', `DB=${REFERENCE}`], args: ['env'] }, { DB: CANARY }, 'out HOME; cat $D/out');
    assert.equal(stdout.split('\n').filter((line) => line.startsWith('DB=')).join(), `DB=${CANARY}`);
  });

  test("leaves runc's own failures and exit status as they are", async () => {
    await lab.startAgent({ start: environment({ DB: CANARY }) });
    lab.prepare(shell('true'));
    const result = await lab.script('X start $ID; out ready; X start $ID; echo "status $?"; kill -0 $PID && echo alive');
    assert.equal(result.stdout, 'status 1\nalive\n');
    assert.match(result.stderr, /cannot start a container that is not in a created state|cannot start an already running container/);
    assert.doesNotMatch(result.stderr, /purser/);
  });

  test('leaves a program that cannot be executed to runc', async () => {
    writeFileSync(join(lab.rootfs, 'bin', 'broken'), 'not a program\n');
    chmodSync(join(lab.rootfs, 'bin', 'broken'), 0o755);
    await lab.startAgent({ start: environment({ DB: CANARY }) });
    lab.prepare({ env: ['PATH=/bin', `DB=${REFERENCE}`], args: ['broken'] });
    const result = await lab.script('X start $ID; echo "status $?"; gone; cat $D/out');
    assert.match(result.stdout, /^status 0\n.*exec format error/);
  });

  test('refuses more than fits on the stack, with the sizes', async () => {
    await lab.startAgent({ start: environment({ DB: CANARY.repeat(15_000) }) });
    lab.prepare(shell('true'));
    await refused(/^purser: container 0123456789ab: the values need 1650\d\d bytes of the program's stack, which has 1\d{5} \(use files for the large ones\)$/m);
  });

  test('refuses without an agent', async () => {
    await lab.startAgent({ start: environment({ DB: CANARY }) });
    lab.prepare(shell('true'));
    const stopped = eventually('the question at create', () => lab.asked.includes('create')).then(() => lab.stopAgent());
    await refused(/the purser agent is not running on this host/, 'while [ -S $D/run/agent.sock ]; do sleep 0.02; done', false);
    await stopped;
  });

  test('obeys an agent that refuses, or has nothing to say', async () => {
    await lab.startAgent({ start: 'error purser: container web: DB: no\n' });
    lab.prepare(shell('true'));
    await refused(/^purser: container web: DB: no$/m, '', false);
    await lab.stopAgent();
    await lab.startAgent({ start: 'ok\n' });
    lab.prepare(shell('echo "$DB"'));
    const result = await lab.script('X start $ID; out ready; cat $D/out');
    assert.equal(result.stdout, `${REFERENCE}\nready\n`);
  });

  const good = payload({ DB: CANARY });
  const number = (n: number): Buffer => { const b = Buffer.alloc(4); b.writeUInt32LE(n); return b; };
  const malformed: readonly [string, Buffer | string][] = [
    ['that ends early', Buffer.concat([Buffer.from(`environment ${good.length + 1}\n`), good])],
    ['that is too long', `environment 262145\n${CANARY}`],
    ['with a negative size', `environment -1\n${CANARY}`],
    ['with a size that is no number', 'environment 1x\n'],
    ['without a size', 'environment \n'],
    ['with half a head', Buffer.concat([Buffer.from('environment 7\n'), good.subarray(0, 7)])],
    ['with a name beyond its end', Buffer.concat([Buffer.from('environment 10\n'), number(3), number(0), Buffer.from('DB')])],
    ['with a value beyond its end', Buffer.concat([Buffer.from('environment 10\n'), number(2), number(0xffff_fffe), Buffer.from('DB')])],
    ['with an empty name', environment({ '': CANARY })],
    ['with "=" in a name', environment({ 'DB=': CANARY })],
    ['with NUL in a name', environment({ 'DB\0': CANARY })],
    ['with NUL in a value', environment({ DB: `${CANARY}\0` })],
    ['with a name twice', Buffer.concat([Buffer.from(`environment ${2 * good.length}\n`), good, good])],
    ['with too many variables', environment(Object.fromEntries(Array.from({ length: 1025 }, (_, i) => [`A${i}`, '']))),],
  ];
  for (const [what, answer] of malformed) {
    test(`refuses an answer ${what}`, async () => {
      await lab.startAgent({ start: answer });
      lab.prepare(shell('true'));
      await refused(/the purser agent (sent an answer that is not understood|ended before it answered)/, '', false);
    });
  }

  test('refuses when the program does not have the variable', async () => {
    await lab.startAgent({ start: environment({ OTHER: CANARY }) });
    lab.prepare(shell('true'));
    await refused(/a variable with a reference is missing in the program's environment/);
  });

  test('refuses a 32-bit program', { skip: process.arch === 'x64' && spawnSync('as', ['--version']).status === 0 ? false : 'needs x86-64 and an assembler' }, async () => {
    const object = join(lab.dir, 'compat.o');
    spawnSync('as', ['--32', '-o', object], { input: '.globl _start\n_start: mov $1,%eax\nmov $7,%ebx\nint $0x80\n' });
    assert.equal(spawnSync('ld', ['-m', 'elf_i386', '-o', join(lab.rootfs, 'bin', 'compat'), object]).status, 0);
    await lab.startAgent({ start: environment({ DB: CANARY }) });
    lab.prepare({ env: ['PATH=/bin', `DB=${REFERENCE}`], args: ['compat'] });
    await refused(/the program is a 32-bit one/);
  });

  test('never touches a process that is not the waiting init', async () => {
    await lab.startAgent({ start: environment({ DB: CANARY }) });
    for (const pid of ['$!', '1', '0', '-1', '999999', 'x', '', '$!x', '$BASHPID']) {
      lab.prepare(shell('true'));
      await refused(/its first process was not found/, `sleep 50 & printf '%s\\n' "${pid}" > $B/init.pid; trap 'kill %1 || echo "the stranger is dead" >&2; runc --root $D/root delete --force $ID' EXIT`, false);
    }
  });

  test('refuses a mark that the agent did not leave so', async () => {
    await lab.startAgent({ start: environment({ DB: CANARY }) });
    const marks: readonly [string, () => void][] = [
      ['a symbolic link', () => { rmSync(lab.marker); symlinkSync(join(lab.bundle, 'mark'), lab.marker); }],
      ['readable by others', () => { chmodSync(lab.marker, 0o644); }],
      ['a relative path', () => { writeFileSync(lab.marker, 'b\n'); }],
      ['two lines', () => { writeFileSync(lab.marker, `${lab.bundle}\n\n`); }],
      ['no end of line', () => { writeFileSync(lab.marker, lab.bundle); }],
      ['empty', () => { writeFileSync(lab.marker, ''); }],
      ['long', () => { writeFileSync(lab.marker, `/${'x'.repeat(5000)}\n`); }],
    ];
    for (const [, spoil] of marks) {
      lab.prepare(shell('true'));
      writeFileSync(join(lab.bundle, 'mark'), `${lab.bundle}\n`, { mode: 0o600 });
      spoil();
      await refused(/is not as the agent left it/, '', false);
      assert.deepEqual(lab.asked.filter((verb) => verb === 'start'), []);
    }
  });

  test('kills the waiting program when it is killed itself', async () => {
    // A startContainer hook runs between the word to go and the program's execve, which gives time to kill the shim.
    await lab.startAgent({ start: environment({ DB: CANARY }) });
    lab.prepare(shell('true', { hooks: { startContainer: [{ path: '/bin/sleep', args: ['sleep', '60'] }] } }));
    const result = await lab.script('X start $ID & for i in $(seq 1000); do pgrep -x sleep > /dev/null && break; sleep 0.02; done; kill -9 $(pgrep -x shim); gone; cat $D/out; echo end');
    assert.equal(result.stdout, 'end\n');
  });

  test('leaves no core dump, and holds values only in memory that would be in none', async () => {
    // The hook gives time to look. Root may read any memory: what smaps marks with dd (MADV_DONTDUMP) the kernel leaves out of every dump.
    const search = `const fs = require("node:fs"), pid = process.argv[1], at = "/proc/" + pid + "/";
      const memory = fs.openSync(at + "mem", "r+"), found = { dumped: 0, kept: 0 };
      for (const part of fs.readFileSync(at + "smaps", "latin1").split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m)) {
        const [, from, to] = /^([0-9a-f]+)-([0-9a-f]+) r/.exec(part) ?? [];
        if (from === undefined) continue;
        const bytes = Buffer.alloc(Number(BigInt("0x" + to) - BigInt("0x" + from)));
        try { fs.readSync(memory, bytes, 0, bytes.length, BigInt("0x" + from)); } catch { continue; }
        if (bytes.includes("${CANARY}")) found[/^VmFlags:.* dd/m.test(part) ? "kept" : "dumped"]++;
      }
      console.log(JSON.stringify(found));
      // It blocks every signal that can be sent, so its next return is made to fail.
      for (const [, from, to] of fs.readFileSync(at + "maps", "latin1").matchAll(/^([0-9a-f]+)-([0-9a-f]+) rw.*\\[stack\\]$/gm)) {
        const size = Number(BigInt("0x" + to) - BigInt("0x" + from));
        fs.writeSync(memory, Buffer.alloc(size, "A"), 0, size, Number("0x" + from));
      }`;
    // AddressSanitizer would mark all memory.
    const release = new BundleLab('release');
    after(() => release.close());
    await release.startAgent({ start: environment({ DB: CANARY }) });
    release.prepare(shell('true', { hooks: { startContainer: [{ path: '/bin/sleep', args: ['sleep', '120'] }] } }));
    const result = await release.script(`ulimit -c unlimited; mkdir $D/dumps; cd $D/dumps; (bash -c 'kill -ABRT $$'; true) 2> $D/control; grep -c 'core dumped' $D/control; ls | wc -l; rm -f *
      (X start $ID; true) 2> $D/crash & for i in $(seq 1000); do pgrep -x sleep > /dev/null && break; sleep 0.02; done; sleep 0.3; '${process.execPath}' -e '${search}' $(pgrep -ox shim)
      kill -USR1 $(pgrep -ox shim); wait; grep -cE 'Segmentation fault|Aborted' $D/crash; grep -c 'core dumped' $D/crash; ls | wc -l; rmdir $D/dumps`);
    assert.equal(result.stdout, '1\n1\n{"dumped":0,"kept":1}\n1\n0\n0\n', `a crash of bash leaves a dump, one of the shim none: ${result.stderr}`);
  });

  test('waits for a program that begins late', async () => {
    const config = shell('echo "$DB"', { hooks: { startContainer: [{ path: '/bin/sleep', args: ['sleep', '0.5'] }] } });
    assert.equal(await started(config, { DB: CANARY }, 'out ready; cat $D/out'), `${CANARY}\nready\n`);
  });
});

describe('purser-runtime exec', { skip }, () => {
  const env = ['PATH=/bin', `DB=${REFERENCE}`];
  const show = 'echo "$DB"; cat /proc/$$/environ | tr "\\0" "\\n"; true';
  const exec = (more = ''): string => `X exec --process $D/process.json ${more} $ID`;

  /** Runs `script` beside a container, with an agent that has `values` for exec. */
  async function beside(config: Config, values: Record<string, string | null> | string, script: string): ReturnType<BundleLab['script']> {
    await lab.startAgent({ start: environment({ DB: 'the-old-value' }), exec: typeof values === 'string' ? values : environment(values) });
    lab.prepare(shell('true'));
    lab.process(config);
    return lab.script(`X start $ID && out ready\n${script}`);
  }

  test('gives the process the current values and the kernel only references', async () => {
    const result = await beside({ env, args: ['sh', '-c', show] }, { DB: CANARY }, exec());
    assert.equal(result.stderr, '');
    assert.equal(result.stdout, `${CANARY}\nPATH=/bin\nDB=${REFERENCE}\nHOME=/\n`);
    assert.equal(result.status, 0);
    assert.doesNotMatch(readFileSync(join(lab.dir, 'process.json'), 'utf8'), new RegExp(CANARY));
  });

  test('leaves a detached process alone: no tracer, no parent of ours, its own pid file', async () => {
    const script = `${exec('--detach --pid-file $D/pid')} < /dev/null > $D/out2 2>&1; echo "status $?"; P=$(cat $D/pid); grep TracerPid /proc/$P/status
      ! pgrep -x shim; ! pgrep -x runc; out ${CANARY} $D/out2; kill -0 $P && shown $P; cat $D/out2`;
    const result = await beside({ env, args: ['sh', '-c', 'echo "$DB"; sleep 30; true'] }, { DB: CANARY }, script);
    assert.equal(result.stderr, '');
    assert.equal(result.stdout, `status 0\nTracerPid:\t0\nPATH=/bin\nDB=${REFERENCE}\nHOME=/\n${CANARY}\n`);
  });

  test('works for another user, an optional variable and many at once', async () => {
    const config = { env: [...env, 'GONE=purser://x?optional'], args: ['sh', '-c', 'echo "$(id -u) $DB ${GONE-unset}"'], process: { user: { uid: 1000, gid: 1000 }, noNewPrivileges: true } };
    const result = await beside(config, { DB: CANARY, GONE: null }, `for i in 1 2 3 4 5 6 7 8; do ${exec('--detach --pid-file $D/pid$i')} < /dev/null > $D/many$i 2>&1 & done; wait; for i in 1 2 3 4 5 6 7 8; do out unset $D/many$i; done; cat $D/many?`);
    assert.equal(result.stdout, `1000 ${CANARY} unset\n`.repeat(8), result.stderr);
  });

  test("passes the process's exit status, and signals to it", async () => {
    const failing = await beside({ env, args: ['sh', '-c', 'exit 7'] }, { DB: CANARY }, `${exec()}; echo "status $?"`);
    assert.equal(failing.stdout, 'status 7\n');
    const trapping = { env, args: ['sh', '-c', 'trap "echo $DB; exit 9" USR1; echo waiting; while :; do sleep 0.1; done'] };
    const script = `${exec()} > $D/out2 2>&1 & for i in $(seq 1000); do grep -q waiting $D/out2 && break; sleep 0.02; done; kill -USR1 $(pgrep -x shim); wait $!; echo "status $?"; cat $D/out2`;
    assert.equal((await beside(trapping, { DB: CANARY }, script)).stdout, `status 9\nwaiting\n${CANARY}\n`);
  });

  test("fails with runc's words when the command does not exist", async () => {
    const config = { env, args: ['no-such-command'] };
    const result = await beside(config, { DB: CANARY }, `${exec('--detach --pid-file $D/pid')}; echo "status $?"; runc --root $D/root exec --process $D/process.json $ID; echo "status $?"`);
    const [shimStatus, runcStatus] = result.stdout.trim().split('\n');
    assert.equal(shimStatus, runcStatus);
    assert.match(result.stderr, /executable file not found/);
    assert.doesNotMatch(result.stderr, /purser:/);
  });

  const faults: readonly [string, Config, Record<string, string | null> | string, RegExp][] = [
    ['the agent refuses', { env, args: ['sh', '-c', show] }, 'error purser: DB: denied\n', /^purser: DB: denied$/m],
    ['the values do not fit', { env, args: ['sh', '-c', show] }, { DB: CANARY.repeat(15_000) }, /the values need \d+ bytes/],
    ['the agent answers for a variable that is not there', { env, args: ['sh', '-c', show] }, { OTHER: CANARY }, /variables that the process file does not have/],
  ];
  for (const [what, config, values, reason] of faults) {
    test(`runs nothing when ${what}`, async () => {
      const result = await beside(config, values, `${exec('--detach --pid-file $D/pid')} > $D/out2 2>&1; echo "status $?"; sleep 0.2; cat $D/out2`);
      assert.match(result.stdout, /^status 1\n/);
      assert.match(result.stdout, reason);
      assert.doesNotMatch(result.stdout + readFileSync(lab.log, 'utf8'), new RegExp(`${CANARY}|${REFERENCE}`));
      assert.match((JSON.parse(readFileSync(lab.log, 'utf8').trim().split('\n').at(-1) ?? '') as { msg: string }).msg, reason);
    });
  }

  test('is plain runc for a process without references', async () => {
    const result = await beside({ env: ['PATH=/bin'], args: ['sh', '-c', 'echo plain'] }, { DB: CANARY }, exec());
    assert.equal(result.stdout, 'plain\n');
    assert.deepEqual(lab.asked.filter((verb) => verb === 'exec'), []);
  });
});
