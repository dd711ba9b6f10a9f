// `purser.env=strict` with the real runc, the real warden and a fake agent: what a process inherits it has, and the kernel's environment blocks of
// all of them show references. The warden and its workers may die at any moment: no exec fails. Built with AddressSanitizer and UBSan.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { BundleLab, payload, skip } from './bundle.ts';
import type { Config } from './bundle.ts';

const REFERENCE = 'purser://secret/db/prod#password';
const CANARY = 'canary-7f3a';
const LONG = `canary-${'long-'.repeat(20)}`;

/** Starts `show` in a way of its own: `spawn WAY`. */
const SPAWN = String.raw`
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
extern char **environ;
static char *arguments[] = { "show", NULL };
static void *run(void *unused) { execve("/bin/show", arguments, environ); return unused; }
static int run_child(void *unused) { run(unused); _exit(9); }
static char stack[1 << 16];
static void forbid_prctl(void) {
	struct sock_filter code[] = { BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_prctl, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW) };
	struct sock_fprog filter = { 4, code };
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter)) _exit(8);
}
int main(int argc, char **argv) {
	const char *way = argc > 1 ? argv[1] : "";
	pthread_t thread;
	pid_t pid = 0;
	int status;
	if (!strcmp(way, "thread")) { pthread_create(&thread, NULL, run, NULL); pause(); }
	if (!strcmp(way, "fexecve")) { int fd = open("/bin/show", O_RDONLY | O_CLOEXEC); fexecve(fd, arguments, environ); return 9; }
	if (!strcmp(way, "filter")) { forbid_prctl(); run(NULL); }
	if (!strcmp(way, "vfork")) { if (!(pid = vfork())) { run(NULL); _exit(9); } }
	if (!strcmp(way, "posix_spawn")) { if (posix_spawn(&pid, "/bin/show", NULL, NULL, arguments, environ)) return 9; }
	if (!strcmp(way, "clone_vm")) pid = clone(run_child, stack + sizeof(stack), CLONE_VM | SIGCHLD, NULL);
	if (!strcmp(way, "traced")) {
		if (!(pid = fork())) { ptrace(PTRACE_TRACEME, 0, 0, 0); run(NULL); _exit(9); }
		waitpid(pid, &status, 0);
		printf("stopped by %s\n", WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP ? "its tracer" : "nobody");
		fflush(stdout);
		ptrace(PTRACE_DETACH, pid, 0, 0);
	}
	if (!strcmp(way, "missing")) { execve("/bin/none", arguments, environ); execve("/none", arguments, environ); usleep(300000); run(NULL); }
	if (!strcmp(way, "changed")) { setenv("DB", "own", 1); run(NULL); }
	if (!strcmp(way, "twice")) { char *both[] = { getenv("DB") - 3, "A=b", getenv("DB") - 3, NULL }; execve("/bin/show", arguments, both); }
	if (!strcmp(way, "large")) { char *big = malloc(1 << 17); memset(big, 'x', 1 << 17); memcpy(big, "BIG=", 4); big[(1 << 17) - 1] = 0; putenv(big); run(NULL); }
	if (pid) return waitpid(pid, &status, 0) == pid ? WEXITSTATUS(status) : 7;
	return 6;
}`;
/** What the program has, then what the kernel shows of it, then whether somebody traces it. */
const SHOW = String.raw`
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
extern char **environ;
int main(void) {
	static char block[1 << 18];
	FILE *file = fopen("/proc/self/environ", "r");
	size_t n = fread(block, 1, sizeof(block), file);
	for (char **e = environ; *e; e++) if (!strncmp(*e, "DB=", 3)) printf("has %s\n", *e);
	for (size_t i = 0; i < n; i += strlen(block + i) + 1) if (!strncmp(block + i, "DB=", 3)) printf("shows %s\n", block + i);
	printf("uid %d %d, %zu in PATH\n", getuid(), geteuid(), getenv("PATH") ? strlen(getenv("PATH")) : 0);
	file = fopen("/proc/self/status", "r");
	while (fgets(block, sizeof(block), file)) if (!strncmp(block, "TracerPid:", 10)) printf("tracer %d\n", atoi(block + 10));
	return 0;
}`;

let lab: BundleLab;
before(() => {
  if (skip !== false) return;
  lab = new BundleLab('sanitize');
  lab.compile('spawn', SPAWN, 'cc', ['-static', '-w', '-pthread']);
  lab.compile('show', SHOW, 'cc', ['-static', '-w']);
});
after(() => skip === false && lab.close());
afterEach(() => skip === false && lab.stopAgent());

function strict(values: Readonly<Record<string, string>>, references: Readonly<Record<string, string>> = { DB: REFERENCE }): Buffer {
  const [first, second] = [payload(values), payload(references)];
  return Buffer.concat([Buffer.from(`strict ${first.length} ${second.length}\n`), first, second]);
}

/** What the agent makes of a container without a profile of its own. */
const seccomp = (...syscalls: object[]): object => ({
  seccomp: { defaultAction: 'SCMP_ACT_ALLOW', architectures: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86', 'SCMP_ARCH_X32', 'SCMP_ARCH_AARCH64'],
    listenerPath: join(lab.dir, 'run', 'notices.sock'), syscalls: [...syscalls, { names: ['execve', 'execveat'], action: 'SCMP_ACT_NOTIFY' }] },
});
const shell = (command: string, more: Partial<Config> = {}): Config =>
  ({ env: ['PATH=/bin', `DB=${REFERENCE}`, 'LAST=x'], args: ['sh', '-c', `${command}\necho ready; sleep 60; true`], linux: seccomp(), ...more });
const PRELUDE = 'W="$D/shim purser-warden --run-dir $D/run"; workers() { pgrep -P "$(pgrep -xo purser-warden)" -x purser-warden; }; $W || exit 98\n';
const shown = (value = CANARY, reference = REFERENCE, ids = '0 0'): string => `has DB=${value}\nshows DB=${reference}\nuid ${ids}, 4 in PATH\ntracer 0\n`;

async function started(config: Config, script: string, value = CANARY): Promise<string> {
  await lab.startAgent({ start: strict({ DB: value }), exec: strict({ DB: `${value}-of-exec` }) });
  lab.prepare(config);
  const result = await lab.script(`set -e; X start $ID\n${script}`, PRELUDE);
  assert.equal(result.stderr, '');
  assert.equal(result.status, 0);
  return result.stdout;
}

/** What a container prints before `ready`. */
const output = async (config: Config, value?: string): Promise<string> => (await started(config, 'out ready; cat $D/out', value)).replace('ready\n', '');

describe('purser.env=strict', { skip }, () => {
  for (const [what, value] of [['shorter', CANARY], ['longer', LONG], ['as long', 'x'.repeat(REFERENCE.length)], ['empty', '']] as const) {
    test(`a child has the value and shows the reference: a value that is ${what}`, async () => {
      assert.equal(await output(shell('show; sh -c "show; true"'), value), shown(value) + shown(value));
    });
  }

  for (const [way, expected] of [
    ['thread', shown()], ['fexecve', shown()], ['vfork', shown()], ['posix_spawn', shown()], ['clone_vm', shown()], ['missing', shown()],
    ['changed', shown('own', 'own')],
    ['twice', `has DB=${CANARY}\nhas DB=${CANARY}\nshows DB=${REFERENCE}\nshows DB=${REFERENCE}\nuid 0 0, 0 in PATH\ntracer 0\n`],
    // A debugger keeps its tracee, which then shows what any process shows.
    ['traced', `stopped by its tracer\n${shown(CANARY, CANARY)}`],
    // A filter of the container's own that would kill: the reference is cut to the value's length.
    ['filter', shown(CANARY, REFERENCE.slice(0, CANARY.length))],
    // No room for the block in full beside the old one.
    ['large', shown(CANARY, REFERENCE.slice(0, CANARY.length))],
  ] as const) {
    test(`a program started by way of "${way}"`, async () => {
      assert.equal(await output(shell(`spawn ${way}`)), expected);
    });
  }

  for (const [name, compiler, flags] of [
    ['static-pie', 'cc', ['-static-pie', '-fPIE']], ['glibc', 'cc', []], ['no-pie', 'cc', ['-no-pie']], ['musl', 'musl-gcc', []], ['musl-static', 'musl-gcc', ['-static']],
  ] as const) {
    test(`a ${name} program`, { skip: spawnSync(compiler, ['--version']).status === 0 ? false : `needs ${compiler}` }, async () => {
      lab.compile('linked', SHOW, compiler, [...flags, '-w']);
      assert.equal(await output(shell('linked; LONGER=than-before linked')), shown() + shown());
    });
  }

  test('a set-uid program keeps its rights, another user has none of them, and no-new-privileges is in force', async () => {
    lab.compile('show-uid', SHOW, 'cc', ['-static', '-w']);
    chmodSync(join(lab.rootfs, 'bin', 'show-uid'), 0o4755);
    const as = (process: object): Config => shell('show-uid', { process: { user: { uid: 1000, gid: 1000 }, ...process } });
    assert.equal(await output(as({ capabilities: { bounding: ['CAP_SETUID'] } })), shown(CANARY, REFERENCE, '1000 0'));
    assert.equal(await output(as({ noNewPrivileges: true, capabilities: {} })), shown(CANARY, REFERENCE, '1000 1000'));
  });

  test('a script with #!, and one that only its owner can read', async () => {
    writeFileSync(join(lab.rootfs, 'bin', 'script'), '#!/bin/sh\nshow\n');
    chmodSync(join(lab.rootfs, 'bin', 'script'), 0o700);
    assert.equal(await output(shell('script')), shown());
  });

  test('a profile that refuses prctl: no value in the block, the reference cut to its length', async () => {
    const config = shell('show', { linux: seccomp({ names: ['prctl'], action: 'SCMP_ACT_ERRNO', args: [{ index: 0, value: 35, op: 'SCMP_CMP_EQ' }] }) });
    assert.match(await output(config), new RegExp(`has DB=${CANARY}\nshows DB=purser://se\n`));
    assert.match(await output(config, LONG), new RegExp(`has DB=${LONG}\nshows DB=${REFERENCE}\n`));
  });

  test('a 32-bit program runs, and shows what any program shows', { skip: process.arch === 'x64' && spawnSync('as', ['--version']).status === 0 ? false : 'needs x86-64 and an assembler' }, async () => {
    const object = join(lab.dir, 'compat.o');
    spawnSync('as', ['--32', '-o', object], { input: '.globl _start\n_start: mov $1,%eax\nmov $7,%ebx\nint $0x80\n' });
    assert.equal(spawnSync('ld', ['-m', 'elf_i386', '-o', join(lab.rootfs, 'bin', 'compat'), object]).status, 0);
    assert.equal(await output(shell('compat; echo $?')), '7\n');
  });

  test('exec has its own value, in its children too, and leaves those of the main process alone', async () => {
    const config = shell('show');
    const path = lab.process({ env: config.env, args: ['sh', '-c', 'show; sh -c "show; true"'] });
    assert.equal(await started(config, `out ready; X exec --process ${path} $ID; cat $D/out`), shown(`${CANARY}-of-exec`).repeat(2) + shown() + 'ready\n');
  });

  test('an exec that fails is said by runc, and one that the shim has not given values is left alone', async () => {
    const config = shell('show');
    const missing = lab.process({ env: config.env, args: ['no-such-command'] });
    const stdout = await started(config, `out ready; X exec --process ${missing} $ID 2>&1 | grep -o "executable file not found"; R exec $ID sh -c 'show; true'`);
    assert.match(stdout, new RegExp(`^executable file not found\nhas DB=${REFERENCE}\nshows DB=${REFERENCE}\n`));
  });

  test('no exec fails while workers die, also those that are asked just then', async () => {
    const config = shell('i=0; while [ $i -lt 400 ] || [ ! -e /tmp/enough ]; do show > /dev/null || echo failed; i=$((i+1)); done; show');
    const stdout = await started(config, 'n=0; while ! grep -q ready $D/out; do kill -9 $(workers) 2>/dev/null && n=$((n+1)) || true; [ $n -le 10 ] || > $B/rootfs/tmp/enough; sleep 0.005; done; rm $B/rootfs/tmp/enough; cat $D/out');
    assert.equal(stdout.replace('ready\n', '').replace(`DB=${REFERENCE}`, '').replace(`DB=${CANARY}`, ''), shown('', '').replaceAll('DB=', ''));
  });

  test('a worker that is killed with execs waiting is followed by one that serves them', async () => {
    const script = `out first; kill -STOP $(workers); sleep 0.5; ! grep -q second $D/out; kill -9 $(workers); out ready; cat $D/out`;
    assert.equal(await started(shell('echo first; sleep 0.3; echo second; show'), script), `first\nsecond\n${shown()}ready\n`.replace('second\n', '').replace('first\n', 'first\nsecond\n'));
  });

  test('workers go on without the warden; exec needs one and works with the next', async () => {
    const config = shell('echo first; for i in 1 2 3 4 5 6 7 8; do sleep 0.1; done; show');
    const path = lab.process({ env: config.env, args: ['show'] });
    const exec = `X exec --process ${path} $ID`;
    const stdout = await started(config, `out first; kill -9 $(pgrep -xo purser-warden); out ready; cat $D/out; ! ${exec} > $D/refused 2>&1; grep -q . $D/refused; $W; ${exec}`);
    assert.equal(stdout, `first\n${shown()}ready\n${shown(`${CANARY}-of-exec`)}`);
  });

  test('start is refused when the warden does not know the container', async () => {
    await lab.startAgent({ start: strict({ DB: CANARY }) });
    lab.prepare(shell('true', { linux: {} }));
    const result = await lab.script('X start $ID; echo "status $?"; gone; cat $D/out', PRELUDE);
    assert.equal(result.stdout, 'status 1\n');
    assert.match(result.stderr, /the warden, which purser\.env=strict needs, did not get this process from runc/);
  });

  test('start is refused without a warden', async () => {
    await lab.startAgent({ start: strict({ DB: CANARY }) });
    lab.prepare(shell('true', { linux: {} }));
    const result = await lab.script('X start $ID; echo "status $?"; gone; cat $D/out');
    assert.equal(result.stdout, 'status 1\n');
    assert.match(result.stderr, /the warden, which purser\.env=strict needs, does not answer/);
  });

  test('one warden at a time, alone with the right to trace; a worker ends with its container, the warden by release', async () => {
    const script = `out ready; $W; pgrep -xc purser-warden; grep -E '^(CapPrm|NoNewPrivs)' /proc/$(pgrep -xo purser-warden)/status; runc --root $D/root delete --force $ID
      for i in $(seq 1000); do [ "$(pgrep -xc purser-warden)" = 1 ] && break; sleep 0.02; done; pgrep -xc purser-warden; $D/shim purser-holder-release --run-dir $D/run; pgrep -xc purser-warden || ls $D/run/*.sock | wc -l`;
    assert.equal(await started(shell('true'), script), '2\nCapPrm:\t0000000000080000\nNoNewPrivs:\t1\n1\n0\n1\n');
  });

  test('the warden does nothing for nonsense, and lives on', async () => {
    const script = `out ready; for line in '' x 'delivered\\n' 'delivered 1 1\\n' 'delivered x 1 1\\n' 'delivered 1 9999999 1\\n' 'delivered 1 1 1x\\n' 'delivered 99 1 1\\nab' 'delivered -1 0 0\\n'; do
        node -e 'const s=require("net").connect(process.argv[1]);s.on("error",()=>{});s.end(JSON.parse("\\""+process.argv[2]+"\\""));s.on("data",(d)=>process.stdout.write(d));s.on("close",()=>process.exit())' $D/run/warden.sock "$line"
        node -e 'const s=require("net").connect(process.argv[1]);s.on("error",()=>{});s.end(JSON.parse("\\""+process.argv[2]+"\\""));s.on("close",()=>process.exit());s.resume()' $D/run/notices.sock "$line"
      done; pgrep -xc purser-warden; $W; pgrep -xc purser-warden`;
    assert.equal(await started(shell('true'), script), `${'error not understood\n'.repeat(6)}error unknown\n2\n2\n`);
  });
});
