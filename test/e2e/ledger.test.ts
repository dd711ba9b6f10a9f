// The ledger of a node, seen through `purser usage`: who holds what in which version, who read it, and when it ended.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { docker, eventually, run } from './command.ts';
import { Installation } from './installation.ts';

interface Holding {
  readonly container_id: string; readonly container: string; readonly path: string; readonly field?: string; readonly version: number; readonly node: string; readonly image: string;
  readonly opens: number; readonly refused: number; readonly released_time: string | null; readonly processes: readonly { readonly executable: string; readonly name: string; readonly uid: number; readonly pid: number; readonly count: number }[];
}

describe('usage', () => {
  let purser: Installation;
  const usage = async (...args: string[]): Promise<Holding[]> => JSON.parse(await purser.purser('usage', '--format', 'json', ...args)) as Holding[];
  before(async () => {
    purser = await Installation.start();
    await purser.put('secret/db/prod', { user: 'app', password: 'one' });
    await purser.put('secret/db/spare', { password: 'never used' });
  });
  after(() => purser.stop());

  test('names exactly the containers that use a secret, with versions, readers and their end', async () => {
    const reader = await docker('run', '-d', '--name', 'reader', '--user', '1000', '-l', 'purser.file.pw=purser://secret/db/prod#password', 'busybox', 'sleep', '600');
    const idle = await docker('run', '-d', '--name', 'idle', '-l', 'purser.file.user=purser://secret/db/prod#user', 'busybox', 'sleep', '600');
    const other = await docker('run', '-d', '--name', 'other', 'busybox', 'sleep', '600');
    for (let count = 0; count < 3; count++) await docker('exec', reader, 'cat', '/run/secrets/pw');

    const holdings = await eventually('three reads in the ledger', async () => {
      const all = await usage('--secret', 'secret/db/prod');
      return all.find((holding) => holding.container_id === reader)?.opens === 3 ? all : undefined;
    });
    assert.deepEqual(holdings.map((holding) => holding.container_id).sort(), [reader, idle].sort());
    const read = holdings.find((holding) => holding.container_id === reader);
    assert.ok(read);
    assert.equal(read.version, 1);
    assert.equal(read.field, 'password');
    assert.equal(read.node, 'node-1');
    assert.equal(read.container, 'reader');
    assert.ok(read.processes.every((process) => process.name === 'cat' && process.executable === '/bin/busybox' && process.uid === 1000 && process.pid > 0));
    assert.equal(holdings.find((holding) => holding.container_id === idle)?.opens, 0, 'granted, never read');

    await purser.put('secret/db/prod', { user: 'app', password: 'two' });
    await eventually('the new version in the ledger', async () => (await usage('--secret', 'secret/db/prod')).every((holding) => holding.version === 2));
    assert.deepEqual((await usage('--container', 'reader')).map((holding) => holding.path), ['secret/db/prod']);
    assert.equal((await usage('--node', 'node-1')).length, 2);

    await docker('rm', '-f', reader);
    const left = await eventually('the end in the ledger', async () => {
      const all = await usage('--secret', 'secret/db/prod');
      return all.length === 1 ? all : undefined;
    });
    assert.equal(left[0]?.container_id, idle);
    const closed = (await usage('--secret', 'secret/db/prod', '--all')).find((holding) => holding.container_id === reader);
    assert.ok(closed?.released_time);
    assert.deepEqual(await usage('--container', other.slice(0, 12)), []);
    await docker('rm', '-f', idle, other);
  });

  test('--unused names the secrets that no container uses', async () => {
    const unused = JSON.parse(await purser.purser('usage', '--unused', '--format', 'json')) as { secret: string }[];
    assert.ok(unused.some(({ secret }) => secret === 'secret/db/spare'));
  });

  test('table and csv say the same', async () => {
    await docker('run', '-d', '--name', 'formats', '-l', 'purser.file.pw=purser://secret/db/prod#password', 'busybox', 'sleep', '600');
    const csv = await eventually('the grant', async () => {
      const text = await purser.purser('usage', '--container', 'formats', '--format', 'csv');
      return text.includes('formats') ? text : undefined;
    });
    assert.match(csv, /^secret,version,container,/);
    assert.match(await purser.purser('usage', '--container', 'formats'), /^SECRET +VERSION +CONTAINER.*\nsecret\/db\/prod#password/);
    await docker('rm', '-f', 'formats');
  });

  test('entries made while the core is away arrive once', async () => {
    const id = await docker('run', '-d', '--name', 'offline', '-l', 'purser.file.pw=purser://secret/db/prod#password', 'busybox', 'sleep', '600');
    await purser.end('core', 'SIGKILL');
    for (let count = 0; count < 5; count++) await docker('exec', id, 'cat', '/run/secrets/pw');
    await purser.end('agent', 'SIGTERM');
    await purser.startAgent();
    await purser.startCore();
    const holding = await eventually('the reads', async () => (await usage('--container', 'offline')).find((entry) => entry.opens >= 5));
    assert.equal(holding.opens, 5);
    await docker('rm', '-f', id);
  });

  test('nobody else reads a container\'s directory, and the try is in the ledger', async () => {
    const id = await docker('run', '-d', '--name', 'victim', '-l', 'purser.file.pw=purser://secret/db/prod#password', 'busybox', 'sleep', '600');
    const path = `/run/purser/fs/${id}/files/pw`;
    const pid = await docker('inspect', id, '--format', '{{.State.Pid}}');
    for (const [who, program, args] of [
      ['root on the host', 'cat', [path]],
      ['root through /proc', 'cat', [`/proc/${pid}/root/run/secrets/pw`]],
      ['root in the mount namespace', 'nsenter', ['-t', pid, '-m', '/bin/cat', '/run/secrets/pw']],
      ['a listing', 'ls', [`/run/purser/fs/${id}/files`]],
      ['a listing of all containers', 'ls', ['/run/purser/fs']],
      ['another container with the tree bound', 'docker', ['run', '--rm', '-v', '/run/purser/fs:/tree', 'busybox', 'cat', `/tree/${id}/files/pw`]],
      ['a container with SYS_ADMIN, SYS_PTRACE and host pids', 'docker', ['run', '--rm', '--cap-add', 'SYS_ADMIN', '--cap-add', 'SYS_PTRACE', '--security-opt', 'seccomp=unconfined', '--pid', 'host', '--userns', 'host', 'busybox', 'cat', `/proc/${pid}/root/run/secrets/pw`]],
    ] as const) {
      const result = await run(program, args);
      assert.notEqual(result.status, 0, who);
      assert.match(result.stderr, /Permission denied/, who);
      assert.equal(result.stdout.includes('two'), false, who);
    }
    assert.equal(await docker('exec', id, 'cat', '/run/secrets/pw'), 'two', 'its own processes read on');
    await eventually('the refusals in the ledger', async () => (await usage('--container', 'victim')).some((holding) => holding.refused >= 4));
    await docker('rm', '-f', id);
  });
});
