// The holder and launcher of purser-runtime with the real /dev/fuse: mounts appear, successive agents get the same connection and state
// files, kill -9 of an agent keeps the mount, release leaves nothing. Each case is a shell script in its own mount and
// process namespaces, so whatever it leaves behind ends with it.

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { buildShim } from './shim.ts';

// Root may still lack the right to mount (an ordinary container), so that is tried and not guessed.
const mayMount = existsSync('/dev/fuse') && process.getuid?.() === 0 && spawnSync('unshare', ['-m', 'true']).status === 0;
const skip = mayMount ? false : 'needs root, /dev/fuse and the right to mount';

let dir: string;
before(() => {
  dir = mkdtempSync(join(tmpdir(), 'purser-holder-'));
  if (mayMount) buildShim(join(dir, 'purser-runtime'), 'release');
});
after(() => rmSync(dir, { recursive: true, force: true }));

/** Runs a script with $X (the program) and $R (a run directory on a fresh tmpfs). */
function sandbox(script: string): { status: number | null; stdout: string; stderr: string } {
  const prelude = `set -e; mount -t tmpfs -o mode=755 none ${dir}; mkdir ${dir}/t; cd /; R=${dir}/r; mkdir -m 0711 $R;
    holder() { pgrep -x purser-holder; }; mounts() { grep -c " $R/" /proc/self/mountinfo || true; };`;
  // The tmpfs would hide the program, so it is opened first.
  const result = spawnSync('unshare', ['-m', '-p', '-f', '--kill-child', '--mount-proc', 'bash', '-c',
    `exec 9<${dir}/purser-runtime; ${prelude} cp /proc/self/fd/9 ${dir}/x; chmod 755 ${dir}/x; exec 9<&-; X=${dir}/x\n${script}`], { encoding: 'utf8', timeout: 300_000 });
  return { status: result.status, stdout: result.stdout, stderr: result.stderr };
}

function expectOutput(script: string, stdout: string): void {
  const result = sandbox(script);
  assert.equal(result.stderr, '');
  assert.equal(result.stdout, stdout);
  assert.equal(result.status, 0);
}

describe('purser-agent', { skip }, () => {
  test('mounts, starts one holder and gives two successive agents the same descriptors', () => {
    expectOutput(`
      $X purser-agent --run-dir $R -- sh -c 'readlink /proc/$$/fd/3 /proc/$$/fd/4 /proc/$$/fd/5; echo $PURSER_AGENT_FDS; echo one >&4; printf two >&5'
      $X purser-agent --run-dir $R -- sh -c 'cat /proc/$$/fd/4 /proc/$$/fd/5; echo'
      holder | wc -l
      grep " $R/" /proc/self/mountinfo | cut -d' ' -f5,6 | sed "s,$R,,"`,
    '/dev/fuse\n/memfd:purser-state-a (deleted)\n/memfd:purser-state-b (deleted)\n3,4,5\none\ntwo\n1\n'
      + '/fs rw,nosuid,nodev,noexec,relatime\n/ro ro,nosuid,nodev,noexec,relatime\n');
  });

  test('forbids core dumps of the agent, to files and to crash handlers', () => {
    expectOutput(`ulimit -S -c 4096; $X purser-agent --run-dir $R -- sh -c 'grep "core file" /proc/$$/limits | tr -s " "'`, 'Max core file size 1 1 bytes \n');
  });

  test('keeps the connection and a waiting reader through kill -9 of an agent', () => {
    // The first agent answers INIT (opcode 26) and dies; a reader of the mount waits; the second agent gets its request (GETATTR, 3), not another INIT.
    const agent = (program: string): string => `$X purser-agent --run-dir $R -- '${process.execPath}' -e '${program}'`;
    const readOne = 'const fs=require("node:fs");const b=Buffer.alloc(2**20);const n=fs.readSync(3,b);';
    const reply = 'const r=Buffer.alloc(80);r.writeUInt32LE(80,0);b.copy(r,8,8,16);r.writeUInt32LE(7,16);r.writeUInt32LE(31,20);r.writeUInt32LE(4096,36);fs.writeSync(3,r);';
    expectOutput(`
      (${agent(`${readOne} console.log(b.readUInt32LE(4)); ${reply} process.kill(process.pid, "SIGKILL")`)} & wait $! || echo killed) 2>/dev/null
      mounts
      (stat $R/fs/x >/dev/null 2>&1 || echo reader done) & reader=$!
      sleep 0.2
      ${agent(`${readOne} console.log(b.readUInt32LE(4)); const r=Buffer.alloc(16);r.writeUInt32LE(16,0);r.writeInt32LE(-2,4);b.copy(r,8,8,16);fs.writeSync(3,r)`)}
      wait $reader; mounts`, '26\nkilled\n2\n3\nreader done\n2\n');
  });

  test('starts one holder when several agents start at once', () => {
    expectOutput('for i in 1 2 3 4 5 6 7 8; do $X purser-agent --run-dir $R -- true & done; wait; holder | wc -l; mounts', '1\n2\n');
  });

  test('leaves nothing of the caller open in the holder, and closes off its memory', () => {
    expectOutput(`
      exec 7</dev/null 8<$R; $X purser-agent --run-dir $R -- true secret-argument
      ls /proc/$(holder)/fd | wc -l; tr -d '\\0' </proc/$(holder)/cmdline; echo
      grep -E '^Max core' /proc/$(holder)/limits | tr -d ' '; readlink /proc/$(holder)/cwd
      grep PPid /proc/$(holder)/status | tr -d '\\t'; stat -c %a $R/holder.sock`,
    '7\npurser-holder\nMaxcorefilesize00bytes\n/\nPPid:1\n600\n');
  });

  test('does not pass the descriptors to what a Node agent starts', () => {
    expectOutput(`$X purser-agent --run-dir $R -- '${process.execPath}' -e 'require("node:child_process").execFileSync("sh", ["-c", "ls -l /proc/self/fd"], {stdio:["ignore","inherit","ignore"]})' | grep -cE 'fuse|memfd' || true`, '0\n');
  });

  test('replaces the dead mount of a holder that was killed', () => {
    expectOutput(`
      $X purser-agent --run-dir $R -- true; kill -9 $(holder); while holder >/dev/null; do sleep 0.01; done
      stat $R/fs 2>/dev/null || echo dead
      $X purser-agent --run-dir $R -- echo started; mounts; holder | wc -l`, 'dead\nstarted\n2\n1\n');
  });

  test('outlives every signal of a service stop', () => {
    expectOutput('$X purser-agent --run-dir $R -- true; for s in TERM HUP INT QUIT USR1 PIPE; do kill -$s $(holder); done; sleep 0.1; holder | wc -l', '1\n');
  });

  test('ends with its parent when asked to', () => {
    expectOutput(`
      bash -c "$X purser-agent --run-dir $R --parent-death TERM -- sh -c 'echo \\$\\$ >$R/pid; exec sleep 60' & while ! [ -s $R/pid ]; do sleep 0.01; done; sleep 0.1"
      for i in $(seq 1000); do kill -0 $(cat $R/pid) 2>/dev/null || break; sleep 0.02; done; kill -0 $(cat $R/pid) 2>/dev/null && echo alive || echo ended`, 'ended\n');
  });

  const refusals: readonly [string, string, number, RegExp][] = [
    ['without a command', '$X purser-agent --run-dir $R', 2, /^purser: error: no command to start was given\npurser: hint: purser-runtime purser-agent \[/],
    ['for an unknown option', '$X purser-agent --rundir $R -- true', 2, /unknown option: --rundir\n/],
    ['for an unknown signal', '$X purser-agent --parent-death 9 -- true', 2, /--parent-death takes TERM or KILL/],
    ['for a command that is not there', '$X purser-agent --run-dir $R -- /absent', 1, /^purser: error: \/absent cannot be started: No such file/],
    ['without /dev/fuse', 'mount -t tmpfs none /dev; $X purser-agent --run-dir $R -- true', 1, /dev\/fuse cannot be opened: No such file or directory\npurser: hint: load the fuse kernel module: modprobe fuse\n/],
    ['over a foreign mount', 'mkdir $R/fs; mount -t tmpfs none $R/fs; $X purser-agent --run-dir $R -- true', 1, /something else is mounted on .*\/fs\npurser: hint: unmount it/],
    ['in a directory that others can change', 'chmod 777 $R; $X purser-agent --run-dir $R -- true', 1, /can be changed by others than root/],
    ['beside a holder whose mount is gone', '$X purser-agent --run-dir $R -- true; umount -l $R/fs; $X purser-agent --run-dir $R -- true', 1, /purser-holder-release/],
  ];
  for (const [when, script, status, stderr] of refusals) {
    test(`refuses ${when}`, () => {
      const result = sandbox(`set +e; ${script}`);
      assert.match(result.stderr, stderr);
      assert.equal(result.status, status);
    });
  }

  test('refuses a holder that does not run as root', () => {
    const result = sandbox(`
      cat >$R/server.js <<'END'
      process.setuid(65534); require("node:net").createServer().listen(process.argv[2] + "/holder.sock");
END
      chmod 777 $R; '${process.execPath}' $R/server.js $R & while ! [ -S $R/holder.sock ]; do sleep 0.02; done; chmod 711 $R
      $X purser-agent --run-dir $R -- true`);
    assert.match(result.stderr, /cannot be asked: Operation not permitted/);
    assert.equal(result.status, 1);
  });
});

describe('purser-holder', { skip }, () => {
  test('is the holder itself: an agent that waits for it gets its descriptors, and SIGTERM releases everything', () => {
    expectOutput(`
      ($X purser-agent --run-dir $R --holder wait -- sh -c 'echo got $PURSER_AGENT_FDS') & agent=$!
      sleep 0.3; $X purser-holder --run-dir $R & h=$!
      wait $agent; mounts; holder | wc -l; for s in HUP INT USR1; do kill -$s $h; done; mounts
      kill -TERM $h; wait $h && echo ended; mounts; ls $R`, 'got 3,4,5\n2\n1\n2\nended\n0\nfs\nholder.lock\nro\n');
  });

  test('makes mounts whose copies in other mount namespaces are read-only too', () => {
    expectOutput(`
      mount --make-shared ${dir}; unshare -m --propagation unchanged sleep 60 & other=$!
      while [ $(readlink /proc/$other/ns/mnt) = $(readlink /proc/$$/ns/mnt) ]; do sleep 0.01; done
      $X purser-agent --run-dir $R -- true
      grep " $R/" /proc/$other/mountinfo | cut -d' ' -f5,6 | sed "s,$R,,"; kill $other`, '/fs rw,nosuid,nodev,noexec,relatime\n/ro ro,nosuid,nodev,noexec,relatime\n');
  });

  test('refuses where another holder runs, and leaves that one alone', () => {
    const result = sandbox('$X purser-agent --run-dir $R -- true; set +e; $X purser-holder --run-dir $R; echo $?; mounts');
    assert.match(result.stderr, /another holder listens on .*\npurser: hint: stop the agent that runs on this host/);
    assert.equal(result.stdout, '1\n2\n');
  });
});

describe('purser-holder-release', { skip }, () => {
  test('takes mounts, socket and process away, and is content when nothing runs', () => {
    expectOutput(`
      $X purser-holder-release --run-dir $R; $X purser-holder-release --run-dir $R/absent
      $X purser-agent --run-dir $R -- true
      $X purser-holder-release --run-dir $R; mounts; ls $R
      for i in $(seq 1000); do holder >/dev/null || break; sleep 0.01; done; holder || echo gone
      $X purser-holder-release --run-dir $R`, '0\nfs\nholder.lock\nro\ngone\n');
  });

  test('clears what a killed holder left', () => {
    expectOutput('$X purser-agent --run-dir $R -- true; kill -9 $(holder); while holder >/dev/null; do sleep 0.01; done; $X purser-holder-release --run-dir $R; mounts; ls $R', '0\nfs\nholder.lock\nro\n');
  });
});

describe('purser-version', { skip }, () => {
  test('names the program and its version, and the program is static', () => {
    assert.equal(execFileSync(join(dir, 'purser-runtime'), ['purser-version'], { encoding: 'utf8' }), 'purser-runtime 1.2.3\n');
    const ldd = spawnSync('ldd', [join(dir, 'purser-runtime')], { encoding: 'utf8' });
    assert.match(ldd.stdout + ldd.stderr, /statically linked|not a dynamic/);
    assert.equal(statSync(join(dir, 'purser-runtime')).mode & 0o777, 0o755);
  });
});
