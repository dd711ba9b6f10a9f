// purser.on-rotate=update on a Swarm service, on a host without an agent: new tasks take the new value, as the service's own update configuration says.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { docker, eventually, run } from './command.ts';
import { Installation } from './installation.ts';

const REPLICAS = 3;

describe('rolling updates of a Swarm service', () => {
  let purser: Installation;
  const tasks = async (): Promise<string[]> => (await docker('ps', '--quiet', '--no-trunc', '--filter', 'label=com.docker.swarm.service.name=app')).split('\n').filter((id) => id !== '').sort();
  const read = (id: string): Promise<string> => docker('exec', id, 'cat', '/run/secrets/db_password').catch(() => '');
  /** All tasks read `value`; on the way there were never fewer than two of three. */
  const rolled = async (value: string): Promise<string[]> => {
    let fewest = REPLICAS;
    const ids = await eventually(`every task to read ${value}`, async () => {
      const found = await tasks();
      fewest = Math.min(fewest, found.length);
      return found.length === REPLICAS && (await Promise.all(found.map(read))).every((text) => text === value) && found;
    }, 60_000);
    assert.ok(fewest >= REPLICAS - 1, `${String(fewest)} tasks at the fewest`);
    return ids;
  };
  const label = (): Promise<string> => docker('service', 'inspect', '--format', '{{index .Spec.Labels "purser.versions"}}', 'app');

  before(async () => {
    await docker('swarm', 'init', '--advertise-addr', '10.213.0.1');
    purser = await Installation.start({ driver: true, runtime: false });
    await purser.end('agent', 'SIGTERM');
    await purser.put('secret/db/prod', { password: 'first' });
    await docker('secret', 'create', '--driver', 'purser', '--label', 'purser.ref=purser://secret/db/prod#password', 'db_password');
    await docker('service', 'create', '--quiet', '--detach', '--no-resolve-image', '--endpoint-mode', 'dnsrr', '--name', 'app', '--replicas', String(REPLICAS), '--label', 'purser.on-rotate=update',
      '--update-parallelism', '1', '--update-delay', '200ms', '--update-monitor', '500ms', '--stop-grace-period', '1s', '--secret', 'db_password', 'busybox:latest', 'sleep', '600');
  });
  after(async () => {
    await run('docker', ['service', 'rm', 'app']);
    await eventually('the tasks to end', async () => (await docker('ps', '--quiet')) === '');
    await purser.stop();
    await docker('swarm', 'leave', '--force');
  });

  test('a new service is left alone', async () => {
    await eventually('three tasks', async () => (await tasks()).length === REPLICAS, 60_000);
    const ids = await rolled('first');
    await eventually('the versions to be written down', async () => (await label()) === 'db_password=1');
    await sleep(6000);
    assert.deepEqual(await tasks(), ids);
  });

  test('two rotations in a row, and one while the driver was away, each make new tasks, one after the other', async () => {
    let ids = await tasks();
    for (const [index, value] of ['second', 'third', 'fourth'].entries()) {
      if (value === 'fourth') await purser.end('driver', 'SIGKILL');
      await purser.put('secret/db/prod', { password: value });
      if (value === 'fourth') await purser.startDriver();
      const now = await rolled(value);
      assert.ok(now.every((id) => !ids.includes(id)), 'all of them are new');
      await eventually('the versions to be written down', async () => (await label()) === `db_password=${String(index + 2)}`);
      ids = now;
    }
    await sleep(6000);
    assert.deepEqual(await tasks(), ids, 'and then nothing more happens');
  });

  test('a secret that is denied now stops no task', async () => {
    const ids = await tasks();
    await purser.purser('workload', 'delete', 'everything');
    await purser.put('secret/db/prod', { password: 'fifth' });
    await sleep(7000);
    assert.deepEqual(await tasks(), ids);
    await eventually('the word of the driver', () => purser.log('driver').includes('a service is not updated'));
  });
});
