// `purser.env=strict` on the real engine: what a process inherits it has, and no environment block of the host shows a value, whatever
// starts the process. Hardening stays in force; a warden or agent that dies takes no exec with it.

import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { docker, eventually, must, run } from './command.ts';
import { Installation } from './installation.ts';

const REF = 'purser://secret/db/prod#password';
const STRICT = ['-l', 'purser.env=strict', '-e', `PW=${REF}`];
const FOLDER = '/run/tmp/strict';

/** The processes of the machine in whose blocks the variable or the value stands, with their blocks. */
function blocks(): Map<string, string> {
  return new Map(readdirSync('/proc').filter((name) => /^\d+$/.test(name)).flatMap((pid): [string, string][] => {
    try { return [[pid, readFileSync(`/proc/${pid}/environ`, 'utf8')]]; } catch { return []; }
  }).filter(([, text]) => /PW=|(?:first|second)-value/.test(text)));
}

/** Every process that has the variable shows exactly the reference, and there are at least `count`. One that is being started has a moment. */
async function assertHidden(count: number): Promise<void> {
  const isHidden = (block: string): boolean => block.split('\0').includes(`PW=${REF}`) && !/(?:first|second)-value/.test(block);
  const found = await eventually('the processes', () => { const all = blocks(); return all.size >= count && all; });
  await eventually('that they show the reference', () => {
    const later = blocks();
    for (const [pid, block] of found) if (!isHidden(block)) assert.ok(isHidden(later.get(pid) ?? `PW=${REF}`), JSON.stringify(later.get(pid)));
    return true;
  }, 5_000);
}

const wardens = async (): Promise<string[]> => (await must('sh', ['-c', 'pgrep -x purser-warden || true'])).split('\n').filter((pid) => pid !== '');

describe('purser.env=strict', () => {
  let purser: Installation;
  before(async () => {
    mkdirSync(FOLDER, { recursive: true });
    purser = await Installation.start();
    await purser.put('secret/db/prod', { password: 'first-value' });
  });
  after(() => purser.stop());

  const child = 'sh -c "echo [\\$PW]; sleep 300; true"; true';
  const script = join(FOLDER, 'entry.sh');
  for (const [name, flags, command] of [
    ['a shell\'s children', [], ['sh', '-c', child]],
    ['--init', ['--init'], ['sh', '-c', child]],
    ['a script with #!', ['-v', `${FOLDER}:/s:ro`], ['/s/entry.sh']],
    ['no-new-privileges, a user, no capabilities', ['--user', '1000', '--cap-drop', 'ALL', '--security-opt', 'no-new-privileges'], ['sh', '-c', child]],
    ['seccomp=unconfined', ['--security-opt', 'seccomp=unconfined'], ['sh', '-c', child]],
    ['a profile of its own', ['--security-opt', `seccomp=${FOLDER}/profile.json`], ['sh', '-c', child]],
    ['--pid host', ['--pid', 'host', '--userns', 'host'], ['sh', '-c', child]],
    ['SYS_ADMIN and SYS_PTRACE', ['--cap-add', 'SYS_ADMIN', '--cap-add', 'SYS_PTRACE'], ['sh', '-c', child]],
    ['--read-only', ['--read-only'], ['sh', '-c', child]],
  ] as const) {
    test(`children have the value and show the reference: ${name}`, async () => {
      writeFileSync(script, '#!/bin/sh\nsh -c \'echo "[$PW]"; sleep 300; true\'\ntrue\n', { mode: 0o755 });
      writeFileSync(join(FOLDER, 'profile.json'), JSON.stringify({ defaultAction: 'SCMP_ACT_ALLOW', syscalls: [{ names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_ERRNO' }] }));
      const id = await docker('run', '-d', ...STRICT, ...flags, 'busybox', ...command);
      await eventually('the value', async () => await docker('logs', id) === '[first-value]');
      await assertHidden(3);
      if (name === 'a profile of its own') assert.notEqual((await run('docker', ['exec', id, 'mkdir', '/tmp/x'])).status, 0, 'the profile is in force');
      // Docker's default denies what the profile adds nothing to.
      if (name === '--init') assert.notEqual((await run('docker', ['exec', id, 'unshare', '-U', 'true'])).status, 0, 'the default profile is in force');
      await docker('rm', '-f', id);
      await eventually('the worker to end', async () => (await wardens()).length === 1);
    });
  }

  test('docker exec and health checks: the current value, and the reference in the blocks of all that they start', async () => {
    const id = await docker('run', '-d', ...STRICT, '--health-interval', '200ms', '--health-cmd', 'echo "[$PW]" > /dev/shm/health; sleep 0.1; true', 'busybox', 'sh', '-c', child);
    await docker('exec', '-d', id, 'sh', '-c', 'sh -c "sleep 301; true"; true');
    await assertHidden(5);
    await purser.put('secret/db/prod', { password: 'second-value' });
    await eventually('the new value', async () => await docker('exec', id, 'sh', '-c', 'sh -c "echo \\$PW"') === 'second-value');
    await docker('exec', '-d', id, 'sh', '-c', 'sh -c "sleep 302; true"; true');
    await eventually('the health check', async () => await docker('exec', id, 'cat', '/dev/shm/health') === '[second-value]');
    await assertHidden(8);
    assert.equal((await run('docker', ['exec', id, 'sh', '-c', 'exit 7'])).status, 7);
    const missing = await run('docker', ['exec', id, 'no-such-command']);
    assert.match(missing.stdout + missing.stderr, /executable file not found/);
    await docker('rm', '-f', id);
    await purser.put('secret/db/prod', { password: 'first-value' });
  });

  test('a variable that a program sets itself stays as it is', async () => {
    const id = await docker('run', '-d', ...STRICT, 'busybox', 'sh', '-c', 'PW=own sh -c "sleep 303; true"; true');
    const own = await eventually('the child', async () => (await docker('exec', id, 'sh', '-c', 'cat /proc/$(pidof sleep | cut -d" " -f1)/environ')).split('\0').find((entry) => entry.startsWith('PW=')));
    assert.equal(own, 'PW=own');
    await docker('rm', '-f', id);
  });

  test('no exec fails while wardens and agents die; a new warden comes with the next container or exec', async () => {
    const id = await docker('run', '-d', ...STRICT, 'busybox', 'sh', '-c', 'i=0; while sh -c \'[ "$PW" = first-value ]\'; do i=$((i+1)); echo $i > /dev/shm/count; done; echo failed; sleep 300');
    const count = async (): Promise<number> => Number(await docker('exec', id, 'cat', '/dev/shm/count'));
    await eventually('the loop', async () => await count() > 20);
    for (let round = 0; round < 5; round++) await must('sh', ['-c', 'kill -9 $(pgrep -x purser-warden | tail -n +2) 2>/dev/null; sleep 0.1; true']);
    await purser.end('agent', 'SIGKILL');
    const main = (await wardens())[0] ?? '';
    await must('kill', ['-9', main]);
    const logs = await docker('logs', id);
    assert.equal(logs, '', 'the container goes on without warden and agent');
    await purser.startAgent();
    const before = await eventually('an exec with a new warden', count);
    await eventually('more rounds', async () => await count() > before + 20);
    assert.equal(await docker('logs', id), '');
    await assertHidden(1);
    await docker('rm', '-f', id);
    await eventually('the workers to end', async () => (await wardens()).length === 1);
  });

  for (const [what, profile, reason] of [
    ['decides about execve itself', { defaultAction: 'SCMP_ACT_ALLOW', syscalls: [{ names: ['execve'], action: 'SCMP_ACT_LOG' }] }, /strict does not work with the seccomp profile of this container: it has a rule of its own for execve/],
    ['kills for prctl', { defaultAction: 'SCMP_ACT_ALLOW', syscalls: [{ names: ['prctl'], action: 'SCMP_ACT_KILL' }] }, /it ends programs that call prctl.*purser\.env=files-only/],
  ] as const) {
    test(`a profile that ${what} refuses the start with the reason`, async () => {
      writeFileSync(join(FOLDER, 'refused.json'), JSON.stringify(profile));
      const { status, stderr } = await run('docker', ['run', '--rm', ...STRICT, '--security-opt', `seccomp=${FOLDER}/refused.json`, 'busybox', 'true']);
      assert.notEqual(status, 0);
      assert.match(stderr, reason);
    });
  }

  test('purser agent release ends the warden', async () => {
    assert.ok(existsSync('/run/purser/warden.sock'));
    const { status, stderr } = await purser.tryPurser('agent', 'release');
    assert.deepEqual([status, /the agent of this host runs/.test(stderr)], [1, true], 'not under a running agent');
    await purser.end('agent', 'SIGTERM');
    await purser.purser('agent', 'release');
    assert.deepEqual(await wardens(), []);
    assert.equal(existsSync('/run/purser/warden.sock') || existsSync('/run/purser/notices.sock'), false);
    await purser.startAgent();
  });
});
