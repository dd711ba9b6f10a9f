// Swarm secrets that cannot work. `docker service ps` shows what Docker allows, which is never the reason; purser doctor --service, purser usage
// --denied and the driver's log have it.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { docker, eventually, run } from './command.ts';
import { Installation } from './installation.ts';

interface Finding { readonly check: string; readonly status: string; readonly message: string; readonly hint?: string }
interface Denial { readonly service?: string; readonly reason?: string; readonly code?: string; readonly count?: number }

describe('a Swarm secret', () => {
  let purser: Installation;
  const services: string[] = [];
  before(async () => {
    await docker('swarm', 'init', '--advertise-addr', '10.213.0.1');
    purser = await Installation.start({ driver: true });
  });
  after(async () => {
    await run('docker', ['service', 'rm', ...services]);
    await eventually('the tasks to end', async () => (await docker('ps', '--quiet')) === '', 60_000);
    await purser.stop();
    await docker('swarm', 'leave', '--force');
  });

  const secret = (name: string, ...labels: string[]): Promise<string> => docker('secret', 'create', '--driver', 'purser', ...labels.flatMap((label) => ['--label', label]), name);
  const service = (name: string, ...options: string[]): string[] => {
    services.push(name);
    return ['service', 'create', '--quiet', '--detach', '--no-resolve-image', '--endpoint-mode', 'dnsrr', '--restart-condition', 'none', '--name', name, ...options, 'busybox:latest', 'sleep', '600'];
  };
  const failed = (name: string): Promise<string> => eventually(`${name} to fail`, async () => {
    const text = await docker('service', 'ps', name, '--no-trunc', '--format', '{{.CurrentState}} {{.Error}}');
    return /Failed|Rejected/.test(text) ? text : undefined;
  }, 60_000);
  const doctor = async (name: string): Promise<{ status: number; finding: (check: string) => Finding }> => {
    const { status, stdout } = await purser.tryPurser('doctor', '--service', name, '--format', 'json');
    const findings = JSON.parse(stdout) as Finding[];
    return { status, finding: (check) => findings.find((one) => one.check === check) ?? assert.fail(`no check ${check}`) };
  };
  const denied = (name: string): Promise<Denial> => eventually(`${name} in the ledger`, async () =>
    (JSON.parse(await purser.purser('usage', '--denied', '--service', name, '--format', 'json')) as Denial[])[0]);

  test('with a malformed reference: Docker says not found, doctor names the secret and the mistake, and the core has it on record', async () => {
    await secret('malformed', 'purser.ref=purser://secret/db/prod?nope=1#password');
    await docker(...service('malformed-app', '--secret', 'malformed'));
    assert.match(await failed('malformed-app'), /secret .* not found/);
    const { status, finding } = await doctor('malformed-app');
    assert.equal(status, 1);
    assert.deepEqual([finding('secret labels').status, finding('tasks').status], ['fail', 'fail']);
    assert.match(finding('secret labels').message, /^malformed: the reference to secret\/db\/prod is malformed at character 25: unknown query key/);
    assert.match(finding('secret labels').hint ?? '', /docker secret create/);
    assert.equal((await denied('malformed-app')).code, 'ERR_REFERENCE_SYNTAX');
    assert.match(purser.log('driver'), /"secret":"malformed".*is malformed at character 25/);
  });

  test('without a label: the same', async () => {
    await secret('unlabelled');
    await docker(...service('unlabelled-app', '--secret', 'unlabelled'));
    await failed('unlabelled-app');
    assert.match((await doctor('unlabelled-app')).finding('secret labels').message, /unlabelled has no label purser\.ref/);
    assert.match((await denied('unlabelled-app')).reason ?? '', /has no label purser\.ref/);
  });

  test('that no role grants: purser usage --service S --denied has the reason, and doctor repeats it', async () => {
    await purser.put('secret/other/x', { y: 'z' });
    await secret('forbidden', 'purser.ref=purser://secret/other/x#y');
    await docker(...service('forbidden-app', '--secret', 'forbidden'));
    await failed('forbidden-app');
    const { reason, service: name } = await denied('forbidden-app');
    assert.deepEqual([name, /no workload role grants secret\/other\/x/.test(reason ?? '')], ['forbidden-app', true]);
    const { finding } = await doctor('forbidden-app');
    assert.deepEqual([finding('secret labels').status, finding('refusals').status], ['ok', 'warn']);
    assert.match(finding('refusals').message, /no workload role grants/);
    assert.equal(finding('refusals').hint, 'purser usage --service forbidden-app --denied');
  });

  test('of 500 KiB is refused with its size, and of a byte less is delivered', async () => {
    await purser.put('secret/db/large', { most: 'x'.repeat(511_999), more: 'x'.repeat(512_000) });
    await secret('most', 'purser.ref=purser://secret/db/large#most');
    await secret('more', 'purser.ref=purser://secret/db/large#more');
    await docker(...service('most-app', '--secret', 'most'));
    const id = await eventually('the task', async () => await docker('ps', '--quiet', '--filter', 'label=com.docker.swarm.service.name=most-app') || undefined, 60_000);
    assert.equal(await docker('exec', id, 'sh', '-c', 'wc -c < /run/secrets/most'), '511999');
    await docker(...service('more-app', '--secret', 'more'));
    await failed('more-app');
    assert.match((await denied('more-app')).reason ?? '', /the value has 512000 bytes, Swarm takes 1 to 511999/);
    assert.match((await doctor('more-app')).finding('refusals').message, /512000 bytes/);
  });

  test('on the target of another one is refused by Docker itself, and by the agent when the other one is a label', async () => {
    await purser.put('secret/db/prod', { password: 'value' });
    for (const name of ['first', 'second']) await secret(name, 'purser.ref=purser://secret/db/prod#password');
    const both = await run('docker', service('both-app', '--secret', 'source=first,target=one', '--secret', 'source=second,target=one'));
    assert.notEqual(both.status, 0);
    assert.match(both.stderr, /duplicate secret target|conflicting target/);
    services.splice(services.indexOf('both-app'), 1);
    await docker(...service('label-app', '--secret', 'source=first,target=one', '--container-label', 'purser.file.one=purser://secret/db/prod#password'));
    assert.match(await failed('label-app'), /label purser\.file\.one: the container has a mount of its own at \/run\/secrets\/one/);
  });
});
