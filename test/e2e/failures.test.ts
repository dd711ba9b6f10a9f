// What must not start does not start, with one line that says why; and a container without references always starts.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { docker, eventually, run } from './command.ts';
import { Installation } from './installation.ts';

async function refused(expected: RegExp, ...flags: string[]): Promise<string> {
  const name = `refused-${String(Math.random()).slice(2, 10)}`;
  const { status, stderr } = await run('docker', ['run', '--name', name, ...flags, 'busybox', 'echo', 'started']);
  await run('docker', ['rm', '-f', name]);
  assert.notEqual(status, 0, `${flags.join(' ')} must not start`);
  const line = stderr.split('\n').find((text) => text.includes('purser'));
  assert.ok(line, `docker run says why: ${stderr}`);
  assert.match(line, expected);
  assert.match(line, new RegExp(name), 'the line names the container');
  return line;
}

async function startsWithout(): Promise<void> {
  assert.equal(await docker('run', '--rm', 'busybox', 'echo', 'started'), 'started', 'a container without references starts');
}

describe('refusals', () => {
  let purser: Installation;
  before(async () => {
    purser = await Installation.start();
    await purser.put('secret/db/prod', { password: 'value-of-the-secret' });
    await purser.put('secret/other/x', { password: 'value-of-the-secret' });
  });
  after(() => purser.stop());

  for (const [what, reference, expected] of [
    ['denied', 'purser://secret/other/x#password', /secret\/other\/x.*no workload role grants/],
    ['missing', 'purser://secret/db/none#password', /secret\/db\/none.*(no such secret|does not exist|there is no)/],
    ['a missing version', 'purser://secret/db/prod?version=99#password', /secret\/db\/prod.*version/],
    ['a wrong field', 'purser://secret/db/prod#nofield', /nofield/],
    ['a malformed reference', 'purser://secret//prod#password', /reference/],
    ['an unknown query key', 'purser://secret/db/prod?verison=1#password', /unknown query key/],
    ['no encoding of that name', 'purser://secret/db/prod?encoding=base32#password', /encoding/],
    ['a value that is not base64', 'purser://secret/db/prod?encoding=base64#password', /base64/],
    ['a default does not hide a denial', 'purser://secret/other/x?default=x#password', /no workload role grants/],
  ] as const) {
    test(`${what}: the container does not start`, async () => {
      const line = await refused(expected, '-l', `purser.file.x=${reference}`);
      assert.doesNotMatch(line, /value-of-the-secret/);
      await refused(expected, '-e', `X_FILE=${reference}`);
      await startsWithout();
    });
  }

  for (const [what, expected, ...labels] of [
    ['an unknown label', /purser\.fiel\.x/, 'purser.fiel.x=purser://secret/db/prod#password'],
    ['a bad mode', /mode/, 'purser.file.x=purser://secret/db/prod#password', 'purser.file.x.mode=4777'],
    ['a relative path', /path/, 'purser.file.x=purser://secret/db/prod#password', 'purser.file.x.path=etc/x'],
    ['a path through ..', /path/, 'purser.file.x=purser://secret/db/prod#password', 'purser.file.x.path=/etc/../x'],
    ['two files at one path', /y/, 'purser.file.x=purser://secret/db/prod#password', 'purser.file.y=purser://secret/db/prod#password', 'purser.file.y.path=/run/secrets/x'],
    ['a literal value instead of a reference', /reference/, 'purser.file.x=hunter2'],
  ] as const) {
    test(`${what}: the container does not start`, async () => {
      await refused(expected, ...labels.flatMap((label) => ['-l', label]));
    });
  }

  test('the agent is down: refused, at exec too, and others start', async () => {
    const id = await docker('run', '-d', '-e', 'X_FILE=purser://secret/db/prod#password', 'busybox', 'sleep', '600');
    await purser.end('agent', 'SIGTERM');
    const name = 'agent-down';
    const { status, stderr } = await run('docker', ['run', '--name', name, '-l', 'purser.file.x=purser://secret/db/prod#password', 'busybox', 'true']);
    assert.notEqual(status, 0);
    assert.match(stderr, /agent/);
    assert.notEqual((await run('docker', ['exec', id, 'true'])).status, 0, 'an exec that would see the reference is refused');
    await startsWithout();
    await purser.startAgent();
    await docker('start', name);
    assert.equal(await docker('exec', id, 'sh', '-c', 'cat $X_FILE'), 'value-of-the-secret');
    await docker('rm', '-f', id, name);
  });

  test('the core is sealed: refused with the reason, and others start', async () => {
    const id = await docker('run', '-d', '-l', 'purser.file.x=purser://secret/db/prod#password', 'busybox', 'sleep', '600');
    await purser.purser('seal');
    await refused(/sealed/, '-l', 'purser.file.x=purser://secret/db/prod#password');
    await startsWithout();
    assert.equal(await docker('exec', id, 'cat', '/run/secrets/x'), 'value-of-the-secret', 'what runs keeps its value');
    await purser.end('core', 'SIGTERM');
    await refused(/cannot be reached|unreachable/, '-l', 'purser.file.x=purser://secret/db/prod#password');
    await startsWithout();
    assert.equal(await docker('exec', id, 'cat', '/run/secrets/x'), 'value-of-the-secret');
    await purser.startCore();
    await purser.put('secret/db/prod', { password: 'after-the-outage' });
    await eventually('the rotation after the outage', async () => (await docker('exec', id, 'cat', '/run/secrets/x')) === 'after-the-outage');
    await docker('rm', '-f', id);
  });
});
