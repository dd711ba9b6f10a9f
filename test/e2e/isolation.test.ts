// Attacks on the files of a running container: by other containers, by root on the host, and by the container itself. Nobody
// but its own processes reads a value by ordinary means, and nothing of the agent is inside.

import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';

import { docker, eventually, run, type Result } from './command.ts';
import { Installation } from './installation.ts';

const CANARY = 'canary-isolation-7f3a';
const REFERENCE = 'purser://secret/db/iso#password';

describe('isolation', () => {
  let purser: Installation;
  let victim = '';
  let pid = '';
  const inVictim = (script: string): Promise<Result> => run('docker', ['exec', 'victim', 'sh', '-c', script]);
  const onHost = (script: string): Promise<Result> => run('sh', ['-c', script]);

  before(async () => {
    purser = await Installation.start();
    await purser.put('secret/db/iso', { password: CANARY });
    victim = await docker('run', '-d', '--name', 'victim', '-e', `PW_FILE=${REFERENCE}`, '-l', `purser.file.script=${REFERENCE}`, '-l', 'purser.file.script.mode=0777', 'busybox', 'sleep', '600');
    pid = await docker('inspect', '-f', '{{.State.Pid}}', 'victim');
    // Another container that sees all processes of the host, with every right over them that Docker gives without --privileged.
    await docker('run', '-d', '--name', 'neighbour', '--pid', 'host', '--userns', 'host', '--cap-add', 'SYS_PTRACE', '--cap-add', 'DAC_READ_SEARCH', 'busybox', 'sleep', '600');
    await docker('exec', '-d', 'victim', 'sh', '-c', 'exec 7</run/secrets/PW; exec sleep 599');
    assert.equal((await inVictim('cat /run/secrets/PW')).stdout, CANARY, 'the owner reads');
  });
  after(() => purser.stop());

  test('nobody else reads the files: not root on the host, not through /proc, not another container', async () => {
    const holder = await eventually('a process with the file open', async () =>
      (await onHost(`for link in /proc/[0-9]*/fd/7; do case "$(readlink $link)" in */PW) echo $link; esac; done`)).stdout.trim().split('\n')[0]);
    const paths = [`/run/purser/fs/${victim}/files/PW`, `/run/purser/ro/${victim}/files/PW`, `/proc/${pid}/root/run/secrets/PW`, holder];
    const attempts = [
      ...paths.flatMap((path) => [onHost(`cat ${path}`), onHost(`dd if=${path} bs=1`), onHost(`cp ${path} /dev/stdout`)]),
      onHost(`ls /run/purser/fs`), onHost(`ls /proc/${pid}/root/run/secrets`),
      onHost(`nsenter -t ${pid} -m cat /run/secrets/PW`), onHost(`nsenter -t ${pid} -a cat /run/secrets/PW`), onHost(`chroot /proc/${pid}/root cat /run/secrets/PW`),
      ...paths.slice(2).map((path) => run('docker', ['exec', 'neighbour', 'cat', path])),
    ];
    for (const { status, stdout, stderr } of await Promise.all(attempts)) {
      assert.notEqual(status, 0, stderr);
      assert.doesNotMatch(stdout, new RegExp(CANARY));
    }
    assert.equal((await inVictim('cat /run/secrets/PW')).stdout, CANARY, 'and the owner still does');
    const rows = await eventually('the refusals in the ledger', async () => {
      const all = JSON.parse(await purser.purser('usage', '--container', 'victim', '--format', 'json')) as { refused: number }[];
      return all.every((row) => row.refused >= 10) ? all : undefined;
    });
    assert.ok(rows.length > 0);
  });

  test('an image gets nothing by labels of its own, and what its container was given by labels counts', async () => {
    const wish = ['-l', `purser.file.x=${REFERENCE}`, '-l', 'com.docker.swarm.service.name=payments', '-l', 'team=shop'];
    await purser.purser('workload', 'delete', 'everything');
    try {
      await docker('create', '--name', 'maker', 'busybox', 'cat', '/run/secrets/x');
      await docker('commit', '--change', `LABEL team=shop com.docker.swarm.service.name=payments purser.file.x=${REFERENCE}`, 'maker', 'hostile:1');
      for (const selector of [['--label', 'team=shop'], ['--service', 'payments']]) {
        await purser.purser('workload', 'write', 'trap', '--policy', 'db', ...selector);
        const { status, stdout, stderr } = await run('docker', ['run', '--rm', 'hostile:1']);
        assert.notEqual(status, 0, stdout);
        assert.match(stderr, /no workload role selects this container/);
        assert.equal((await run('docker', ['run', '--rm', ...wish, 'busybox', 'cat', '/run/secrets/x'])).stdout, CANARY, selector.join(' '));
      }
      await purser.purser('workload', 'write', 'trap', '--policy', 'db', '--label', 'team=shop', '--image', 'hostile:*');
      assert.equal((await run('docker', ['run', '--rm', 'hostile:1'])).stdout, CANARY, 'the operator trusts this image');
    } finally {
      await purser.purser('workload', 'delete', 'trap');
      await purser.purser('workload', 'write', 'everything', '--policy', 'db', '--any');
    }
  });

  test('the container itself cannot change, replace, run or unmount its files', async () => {
    for (const script of [
      'echo x > /run/secrets/PW', 'rm -f /run/secrets/PW', 'mv /run/secrets/script /run/secrets/PW', 'touch /run/secrets/new', 'mv /run/secrets/.purser-1 /run/secrets/PW',
      'chmod 777 /run/secrets/PW', 'chown 5 /run/secrets/PW', 'ln /run/secrets/PW /run/secrets/link', 'mkdir /run/secrets/d', 'mknod /run/secrets/c c 1 3', 'truncate -s 0 /run/secrets/PW',
      '/run/secrets/script', 'mount -o remount,rw /run/secrets', 'umount /run/secrets', 'ls /run/secrets/../purser', 'cat /run/secrets/../../files/PW',
    ]) assert.notEqual((await inVictim(script)).status, 0, script);
    assert.equal((await inVictim('cat /run/secrets/PW')).stdout, CANARY);
    assert.equal((await inVictim('dd if=/run/secrets/PW bs=1 skip=4000000000 count=1')).stdout, '', 'far behind the end there is nothing');
  });

  test('no descriptor, socket or variable of the agent is in the container', async () => {
    const inside = await inVictim('ls -l /proc/1/fd /proc/self/fd; find / -xdev \\( -name agent.sock -o -name holder.sock \\); cat /proc/1/environ');
    assert.doesNotMatch(inside.stdout, /fuse|memfd|agent\.sock|holder\.sock|PURSER_AGENT|purser:\/\//);
    const descriptors = await onHost(`for file in /proc/${pid}/fd/*; do readlink $file; done`);
    assert.doesNotMatch(descriptors.stdout, /fuse|memfd|agent\.sock/);
  });

  test('a path through a link of the image stays in the container, and never lands on /proc', async () => {
    await docker('run', '--name', 'links', 'busybox', 'sh', '-c', 'mkdir /opt; ln -s ../../../../../../etc /opt/out; ln -s /proc /opt/proc; ln -s /proc/sys/kernel /opt/kernel');
    await docker('commit', 'links', 'links');
    const start = (path: string): Promise<Result> => run('docker', ['run', '--rm', '-l', `purser.file.x=${REFERENCE}`, '-l', `purser.file.x.path=${path}`, 'links', 'cat', path]);
    assert.equal((await start('/opt/out/purser-outside')).stdout, CANARY);
    assert.equal(existsSync('/etc/purser-outside'), false, 'nothing on the host');
    for (const path of ['/opt/proc/version', '/opt/proc/1/x', '/opt/kernel/hostname', '/proc/x', '/sys/x', '/dev/x']) {
      const result = await start(path);
      assert.notEqual(result.status, 0, path);
      assert.doesNotMatch(result.stdout + result.stderr, new RegExp(CANARY));
    }
  });

  test('a container that opens its files without end hinders no other one, and costs bounded memory', async () => {
    await docker('run', '-d', '--name', 'flood', '-e', `PW_FILE=${REFERENCE}`, 'busybox', 'sh', '-c',
      'for i in $(seq 64); do (while :; do cat /run/secrets/PW > /dev/null; done) & done; sleep 600');
    const memory = (): number => Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${String(purser.pid('agent'))}/status`, 'utf8'))?.[1]) / 1024;
    const before = memory();
    for (let count = 0; count < 10; count++) {
      const start = Date.now();
      assert.equal((await inVictim('cat /run/secrets/PW')).stdout, CANARY);
      assert.ok(Date.now() - start < 30_000, 'another container reads in time');
    }
    assert.ok(memory() - before < 256, `${String(before)} MiB became ${String(memory())} MiB`);
    await docker('rm', '-f', 'flood');
    const opens = await eventually('the opens that were counted together', async () => {
      const [row] = JSON.parse(await purser.purser('usage', '--container', 'flood', '--all', '--format', 'json')) as { opens: number; released_time: string | null }[];
      return row?.released_time !== null && row !== undefined && row.opens > 500 ? row.opens : undefined;
    });
    assert.ok(opens > 500);
  });

  test('SIGUSR1 opens no debugger in core or agent', async () => {
    for (const name of ['core', 'agent']) process.kill(purser.pid(name), 'SIGUSR1');
    assert.equal((await inVictim('cat /run/secrets/PW')).stdout, CANARY);
    const listening = await onHost(`cat /proc/net/tcp /proc/net/tcp6`);
    assert.doesNotMatch(listening.stdout, /:240D /, 'port 9229');
    for (const name of ['core', 'agent']) assert.doesNotMatch(purser.log(name), /Debugger|canary-/);
  });
});
