// Native Swarm secrets of the driver `purser`: the value at task start, and live rotation at the normal path, with the runtime
// installed and also without it.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { docker, eventually, run } from './command.ts';
import { Installation } from './installation.ts';
import { readLoop, VALUES } from './rotation-values.ts';

for (const runtime of [true, false]) {
  describe(`Swarm secrets ${runtime ? 'with' : 'without'} the runtime`, () => {
    let purser: Installation;
    before(async () => {
      await docker('swarm', 'init', '--advertise-addr', '10.213.0.1');
      purser = await Installation.start({ driver: true, runtime });
    });
    after(async () => {
      await run('docker', ['service', 'rm', 'app', 'both', 'denied']);
      await eventually('the tasks to end', async () => (await docker('ps', '--quiet')) === '');
      await purser.stop();
      await docker('swarm', 'leave', '--force');
    });

    test('five rotations reach the running task, with uid, gid, mode and target', async () => {
      await purser.put('secret/db/prod', { password: VALUES[0] });
      await docker('secret', 'create', '--driver', 'purser', '--label', 'purser.ref=purser://secret/db/prod#password', 'db_password');
      await docker('service', 'create', '--quiet', '--detach', '--no-resolve-image', '--endpoint-mode', 'dnsrr', '--stop-grace-period', '1s', '--name', 'app',
        '--secret', 'source=db_password,target=the_password,uid=1234,gid=4321,mode=0440', '--user', '1234', 'busybox:latest', 'sleep', '600');
      const id = await eventually('the task', async () => await docker('ps', '--quiet', '--no-trunc', '--filter', 'label=com.docker.swarm.service.name=app') || undefined, 60_000);
      assert.equal(await docker('exec', id, 'cat', '/run/secrets/the_password'), VALUES[0]);
      await eventually('the live file', async () => (await docker('exec', id, 'sh', '-c', 'grep " /run/secrets/the_password " /proc/self/mountinfo | tail -n 1')).includes('fuse'));
      assert.equal(await docker('exec', id, 'stat', '-c', '%u:%g %a', '/run/secrets/the_password'), '1234:4321 440');
      const loop = await readLoop(id, '/run/secrets/the_password');
      for (const value of VALUES.slice(1)) {
        await purser.put('secret/db/prod', { password: value });
        await eventually('the new value', async () => (await docker('exec', id, 'cat', '/run/secrets/the_password')) === value);
        await loop.sees(value);
      }
      assert.deepEqual(await loop.stop(), VALUES, 'every version was read, in order, each whole');
      assert.equal(await docker('ps', '--quiet', '--no-trunc', '--filter', 'label=com.docker.swarm.service.name=app'), id, 'the same container');
      const write = await run('docker', ['exec', '--user', '0', id, 'sh', '-c', 'echo x > /run/secrets/the_password']);
      assert.notEqual(write.status, 0, 'the task cannot write it');
    });

    test('purser usage names the service', async () => {
      await eventually('the ledger', async () => {
        const usage = JSON.parse(await purser.purser('usage', '--secret', 'secret/db/prod', '--format', 'json')) as { service?: string; version: number; released_time: string | null }[];
        return usage.some((holding) => holding.service === 'app' && holding.version === VALUES.length && holding.released_time === null);
      });
    });

    if (runtime) test('a task with references has them and the Swarm secret, and all follow rotations and the next agent', async () => {
      await purser.put('secret/db/both', { password: 'one' });
      await docker('secret', 'create', '--driver', 'purser', '--label', 'purser.ref=purser://secret/db/both#password', 'both');
      await docker('service', 'create', '--quiet', '--detach', '--no-resolve-image', '--endpoint-mode', 'dnsrr', '--stop-grace-period', '1s', '--name', 'both', '--secret', 'both',
        '--env', 'PW=purser://secret/db/both#password', '--container-label', 'purser.file.own=purser://secret/db/both#password', '--container-label', 'purser.file.away=purser://secret/db/both#password',
        '--container-label', 'purser.file.away.path=/etc/away', 'busybox:latest', 'sh', '-c', 'echo "$PW"; exec sleep 600');
      const id = await eventually('the task', async () => await docker('ps', '--quiet', '--no-trunc', '--filter', 'label=com.docker.swarm.service.name=both') || undefined, 60_000);
      const values = (): Promise<string> => docker('exec', id, 'sh', '-c', 'cat /run/secrets/both /run/secrets/own /etc/away; echo " $PW"');
      assert.equal(await values(), 'oneoneone one');
      assert.equal(await docker('logs', id), 'one');
      await eventually('the live file', async () => (await docker('exec', id, 'sh', '-c', 'grep " /run/secrets/both " /proc/self/mountinfo | tail -n 1')).includes('fuse'));
      await purser.put('secret/db/both', { password: 'two' });
      await eventually('the second value', async () => (await values()) === 'twotwotwo two');
      await purser.end('agent', 'SIGKILL');
      await purser.startAgent();
      await purser.put('secret/db/both', { password: 'three' });
      await eventually('the third value', async () => (await values()) === 'threethreethree three', 20_000);
      const held = JSON.parse(await purser.purser('usage', '--container', id, '--format', 'json')) as { target: string; version: number }[];
      assert.deepEqual(held.filter(({ target }) => target.startsWith('/')).map(({ target, version }) => [target, version]).sort(), [['/etc/away', 3], ['/run/secrets/both', 3], ['/run/secrets/own', 3]]);
      await docker('service', 'rm', 'both');
    });

    test('a reference that no role grants fails the task', async () => {
      await docker('secret', 'create', '--driver', 'purser', '--label', 'purser.ref=purser://secret/other/x#y', 'denied');
      await docker('service', 'create', '--quiet', '--detach', '--no-resolve-image', '--endpoint-mode', 'dnsrr', '--restart-condition', 'none', '--name', 'denied', '--secret', 'denied', 'busybox:latest', 'sleep', '600');
      await eventually('the failure', async () => (await docker('service', 'ps', 'denied', '--no-trunc', '--format', '{{.CurrentState}} {{.Error}}')).includes('Failed'), 60_000);
      assert.match(purser.log('driver'), /secret\/other\/x/, 'the driver\'s log names the reference');
    });

    test('nothing stays mounted when the task is gone', async () => {
      await docker('service', 'rm', 'app');
      await eventually('the task to end', async () => (await docker('ps', '--all', '--quiet', '--filter', 'label=com.docker.swarm.service.name=app')) === '');
      await eventually('the mounts to go', async () => !(await run('cat', ['/proc/self/mountinfo'])).stdout.includes('mounts/secrets'));
    });
  });
}
