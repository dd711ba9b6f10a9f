// Volumes of the driver `purser` where the runtime is not installed: a directory of secret files for exactly the container that mounts it,
// with rotation, denial, restarts of the agent, and beside the Swarm driver on the same socket.

import assert from 'node:assert/strict';
import { lstatSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { docker, eventually, run } from './command.ts';
import { Installation } from './installation.ts';

const REF = 'purser://secret/db/prod#password';
const mount = (...options: readonly string[]): string[] => ['--mount', ['type=volume', 'dst=/secrets', 'volume-driver=purser', ...options].join(',')];
const DB = mount(`volume-opt=db_password=${REF}`);
const READ = ['cat', '/secrets/db_password'];

interface Holding { readonly container: string; readonly path: string; readonly version: number; readonly target: string; readonly opens: number; readonly refused: number; readonly released_time: string | null }

for (const driver of [false, true]) {
  describe(`volumes ${driver ? 'beside the Swarm driver' : 'without the Swarm driver'}`, () => {
    let purser: Installation;
    const usage = async (...args: string[]): Promise<Holding[]> => JSON.parse(await purser.purser('usage', '--format', 'json', ...args)) as Holding[];
    before(async () => {
      purser = await Installation.start({ runtime: false, driver });
      await purser.put('secret/db/prod', { user: 'app', password: 'one' });
      await purser.put('secret/other/x', { password: 'not for anyone' });
    });
    after(() => purser.stop());

    test('the socket belongs to whoever should answer', () => {
      assert.equal(lstatSync('/run/docker/plugins/purser.sock').isSymbolicLink(), !driver);
    });

    test('the first process of the container reads its file', async () => {
      assert.equal(await docker('run', '--rm', ...DB, 'busybox', ...READ), 'one');
      assert.equal(await docker('run', '--rm', '--user', '1000', '--read-only', '--cap-drop', 'ALL', ...DB, 'busybox', ...READ), 'one');
      assert.equal(await docker('run', '--rm', ...mount('src=read-only', `volume-opt=db_password=${REF}`, 'readonly'), 'busybox', ...READ), 'one');
      await docker('volume', 'rm', 'read-only');
    });

    if (driver) return;

    test('owner and mode are as the options say, root and 0444 otherwise', async () => {
      const options = mount(`volume-opt=a=${REF}`, `volume-opt=b=${REF}`, 'volume-opt=b.uid=1000', 'volume-opt=b.gid=50', 'volume-opt=b.mode=0440');
      assert.equal(await docker('run', '--rm', ...options, 'busybox', 'stat', '-c', '%n %u:%g %a', '/secrets/a', '/secrets/b'), '/secrets/a 0:0 444\n/secrets/b 1000:50 440');
      assert.equal(await docker('run', '--rm', ...options, 'busybox', 'ls', '/secrets'), 'a\nb');
      assert.notEqual((await run('docker', ['run', '--rm', '--user', '7', ...options, 'busybox', 'cat', '/secrets/b'])).status, 0);
    });

    test('a whole secret, a default and an optional file', async () => {
      const options = mount('volume-opt=all=purser://secret/db/prod', 'volume-opt=d=purser://secret/db/none?default=fallback', 'volume-opt=o=purser://secret/db/none?optional');
      assert.equal(await docker('run', '--rm', ...options, 'busybox', 'sh', '-c', 'ls /secrets; cat /secrets/d; echo; cat /secrets/all'), 'all\nd\nfallback\n{"user":"app","password":"one"}');
    });

    test('on-rotate of a volume: the container that mounts it is told once its file has changed', async () => {
      await purser.put('secret/db/told', { password: 'one' });
      const id = await docker('run', '-d', ...mount('volume-opt=db_password=purser://secret/db/told#password', 'volume-opt=on-rotate=signal:USR1'), 'busybox', 'sh', '-c', 'trap "cat /secrets/db_password >> /dev/shm/told" USR1; while :; do sleep 0.1; done');
      await eventually('the container', async () => await docker('exec', id, ...READ) === 'one');
      await purser.put('secret/db/told', { password: 'two' });
      await eventually('the signal', async () => (await run('docker', ['exec', id, 'cat', '/dev/shm/told'])).stdout === 'two');
      await docker('rm', '-f', '-v', id);
      assert.match((await run('docker', ['run', '--rm', ...mount(`volume-opt=db_password=${REF}`, 'volume-opt=on-rotate=signal:HOP'), 'busybox', 'true'])).stderr, /option on-rotate: there is no signal of this name/);
    });

    test('the container cannot write, and neither its host nor another container can read', async () => {
      const id = await docker('run', '-d', '--name', 'victim', ...DB, 'busybox', 'sleep', '600');
      for (const command of ['echo x > /secrets/db_password', 'rm /secrets/db_password', 'echo x > /secrets/new']) {
        assert.notEqual((await run('docker', ['exec', '--privileged', id, 'sh', '-c', command])).status, 0, command);
      }
      // Fields of mountinfo: id, parent, device, root below the filesystem, mount point.
      const tree = /^\S+ \S+ \S+ \/([0-9a-f]{64})\/files \/secrets /m.exec(await docker('exec', id, 'cat', '/proc/self/mountinfo'))?.[1];
      assert.ok(tree !== undefined && tree !== id, 'a tree of its own');
      const pid = await docker('inspect', id, '--format', '{{.State.Pid}}');
      for (const [who, program, args] of [
        ['root on the host', 'cat', [`/run/purser/fs/${tree}/files/db_password`]],
        ['root through /proc', 'cat', [`/proc/${pid}/root/secrets/db_password`]],
        ['another container with the tree bound', 'docker', ['run', '--rm', '-v', `/run/purser/fs/${tree}/files:/secrets`, 'busybox', ...READ]],
        ['docker cp', 'docker', ['cp', `${id}:/secrets/db_password`, '/run/tmp/copy']],
      ] as const) {
        const result = await run(program, args);
        assert.notEqual(result.status, 0, who);
        if (who !== 'docker cp') assert.match(result.stderr, /Permission denied/, who);
        assert.equal(result.stdout.includes('one'), false, who);
      }
      assert.equal(await docker('exec', id, ...READ), 'one', 'its own processes read on, also after docker cp');
      await eventually('the refusals in the ledger', async () => (await usage('--container', 'victim')).some(({ refused }) => refused >= 3));
      await docker('rm', '-f', '-v', id);
    });

    test('rotations reach the running container in place', async () => {
      const id = await docker('run', '-d', '--name', 'rotating', ...DB, 'busybox', 'sleep', '600');
      const watcher = docker('exec', id, 'inotifywait', '-q', '-e', 'moved_to', '--format', '%f', '/secrets');
      await eventually('the watch', async () => (await docker('exec', id, 'sh', '-c', 'cat /proc/[0-9]*/fdinfo/* 2>/dev/null | grep -c "^inotify" || true')) === '1');
      for (const value of ['two', 'three, and longer']) {
        await purser.put('secret/db/prod', { user: 'app', password: value });
        await eventually('the new value', async () => (await docker('exec', id, ...READ)) === value);
      }
      assert.equal(await watcher, 'db_password');
      const [holding] = await eventually('the ledger', async () => {
        const all = await usage('--container', 'rotating');
        return all[0]?.version === 3 && all[0].opens > 0 && all;
      });
      assert.deepEqual([holding?.path, holding?.target, holding?.released_time], ['secret/db/prod', '/secrets/db_password', null]);
      await docker('rm', '-f', '-v', id);
      await eventually('the end in the ledger', async () => (await usage('--container', 'rotating')).length === 0);
      await purser.put('secret/db/prod', { user: 'app', password: 'one' });
    });

    test('a named volume: create, inspect, two containers at once, rm', async () => {
      await docker('volume', 'create', '-d', 'purser', '-o', `db_password=${REF}`, 'shared');
      await docker('volume', 'create', '-d', 'purser', '-o', `db_password=${REF}`, 'shared');
      assert.match(await docker('volume', 'ls'), /purser +shared/);
      const inspected = await docker('volume', 'inspect', 'shared');
      assert.match(inspected, /"db_password": "purser:\/\/secret\/db\/prod#password"/);
      assert.equal(inspected.includes('"one"'), false);
      const names = ['both-1', 'both-2', 'both-3'];
      for (const name of names) await docker('create', '--name', name, '-v', 'shared:/secrets', 'busybox', 'sh', '-c', 'cat /secrets/db_password > /first; exec sleep 600');
      // Docker says for none of them which mount is whose until they run.
      await Promise.all(names.map((name) => docker('start', name)));
      for (const name of names) {
        assert.equal(await docker('exec', name, ...READ), 'one');
        assert.equal(await docker('exec', name, 'cat', '/first'), 'one', 'the first process, too');
      }
      await purser.put('secret/db/prod', { user: 'app', password: 'again' });
      for (const name of names) await eventually(`rotation in ${name}`, async () => (await docker('exec', name, ...READ)) === 'again');
      await docker('restart', '-t', '0', 'both-2');
      assert.equal(await docker('exec', 'both-2', ...READ), 'again');
      assert.deepEqual([...new Set((await usage('--secret', 'secret/db/prod')).map(({ container }) => container))].sort(), names);
      assert.notEqual((await run('docker', ['volume', 'rm', 'shared'])).status, 0, 'in use');
      await docker('rm', '-f', ...names);
      await docker('volume', 'rm', 'shared');
      assert.equal((await docker('volume', 'ls', '--quiet')).includes('shared'), false);
      await purser.put('secret/db/prod', { user: 'app', password: 'one' });
    });

    test('a container that no role allows does not start, with the reason', async () => {
      const { status, stderr } = await run('docker', ['run', '--rm', '--name', 'denied', ...mount('volume-opt=x=purser://secret/other/x#password'), 'busybox', 'true']);
      assert.notEqual(status, 0);
      assert.match(stderr, /container denied .*secret\/other\/x.*no workload role grants/);
    });

    test('where Docker does not say in time which container it is, a denied one runs and reads nothing', async () => {
      await docker('volume', 'create', '-d', 'purser', '-o', 'x=purser://secret/other/x#password', 'late');
      for (const name of ['late-1', 'late-2']) await docker('create', '--name', name, '-v', 'late:/secrets', 'busybox', 'sleep', '600');
      await docker('start', 'late-1');
      const { status, stderr } = await run('docker', ['exec', 'late-1', 'cat', '/secrets/x']);
      assert.notEqual(status, 0);
      assert.match(stderr, /Permission denied/);
      assert.match(purser.log('agent'), /late-1.*secret\/other\/x.*no workload role grants/);
      await docker('rm', '-f', 'late-1', 'late-2');
      await docker('volume', 'rm', 'late');
    });

    for (const [what, options, reason] of [
      ['no file', [], /the volume has no file/],
      ['an option that is none', ['-o', 'size=10'], /option size: the value is not a reference/],
      ['a reference that is malformed', ['-o', 'a=purser://x'], /option a: the reference is malformed/],
      ['a mode that is none', ['-o', `a=${REF}`, '-o', 'a.mode=rw'], /option a\.mode: the value is not an octal mode/],
      ['an option of no file', ['-o', `a=${REF}`, '-o', 'b.uid=1'], /option b\.uid: there is no option b/],
    ] as const) {
      test(`${what} is refused when the volume is created`, async () => {
        const { status, stderr } = await run('docker', ['volume', 'create', '-d', 'purser', ...options, 'refused']);
        assert.notEqual(status, 0);
        assert.match(stderr, reason);
        assert.equal(stderr.trim().split('\n').length, 1, 'in one line');
      });
    }

    test('an agent killed and started again serves on: mounts, rotation, definitions, new containers', async () => {
      await docker('volume', 'create', '-d', 'purser', '-o', `db_password=${REF}`, 'kept');
      const id = await docker('run', '-d', '--name', 'kept-1', '-v', 'kept:/secrets', 'busybox', 'sleep', '600');
      for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
        await purser.end('agent', signal);
        await purser.startAgent();
        assert.equal(await docker('exec', id, ...READ), 'one');
        await purser.put('secret/db/prod', { user: 'app', password: signal });
        await eventually('the rotation', async () => (await docker('exec', id, ...READ)) === signal);
        await purser.put('secret/db/prod', { user: 'app', password: 'one' });
        await eventually('the rotation back', async () => (await docker('exec', id, ...READ)) === 'one');
      }
      assert.equal(await docker('run', '--rm', '-v', 'kept:/secrets', 'busybox', ...READ), 'one');
      await docker('rm', '-f', '-v', id);
      await docker('volume', 'rm', 'kept');
    });

    test('without the core a container with a volume does not start, one without does', async () => {
      await purser.end('core', 'SIGTERM');
      const { status, stderr } = await run('docker', ['run', '--rm', ...DB, 'busybox', ...READ]);
      assert.notEqual(status, 0);
      assert.match(stderr, /cannot be reached/);
      assert.equal(await docker('run', '--rm', 'busybox', 'echo', 'started'), 'started');
      await purser.startCore();
    });

    test('a volume over a directory that the image has is not filled from it', async () => {
      await docker('run', '--name', 'full', 'busybox', 'sh', '-c', 'mkdir -p /usr/share && echo x > /usr/share/of-the-image');
      await docker('commit', 'full', 'full');
      await docker('rm', 'full');
      assert.equal(await docker('run', '--rm', '--mount', `type=volume,dst=/usr/share,volume-driver=purser,volume-opt=db_password=${REF}`, 'full', 'ls', '/usr/share'), 'db_password');
    });

    test('nothing is left when the containers are gone', async () => {
      await eventually('no records', () => readdirSync(join(purser.stateDirectory, 'containers')).length === 0);
      assert.deepEqual(readdirSync(join(purser.stateDirectory, 'volumes')), []);
      assert.equal(await docker('volume', 'ls', '--quiet', '--filter', 'driver=purser'), '', 'anonymous volumes went with --rm');
    });
  });
}
