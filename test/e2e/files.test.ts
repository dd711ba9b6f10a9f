// Secrets as files in real containers: declared by labels or by NAME_FILE variables, with every kind of container that hardens
// itself, and always with the current value at start.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { docker, run } from './command.ts';
import { Installation } from './installation.ts';

const LABEL = ['-l', 'purser.file.db_password=purser://secret/db/prod#password'];
const READ = ['cat', '/run/secrets/db_password'];

describe('files in containers', () => {
  let purser: Installation;
  before(async () => {
    purser = await Installation.start();
    await purser.put('secret/db/prod', { user: 'app', password: 'first-value' });
    await purser.put('secret/db/single', { only: 'single-field' });
    await purser.put('secret/db/binary', { keystore: 'AAECAwD/', hex: '00ff10' });
    await purser.put('secret/db/deep', { outer: { inner: 'nested-value', list: [1, 2] }, number: 5432 });
  });
  after(() => purser.stop());

  for (const [name, flags] of [
    ['plain', []],
    ['--user 1000', ['--user', '1000']],
    ['--user 1000:1000 without capabilities', ['--user', '1000:1000', '--cap-drop', 'ALL', '--security-opt', 'no-new-privileges']],
    ['--read-only', ['--read-only']],
    ['--cap-drop ALL', ['--cap-drop', 'ALL']],
    ['--network none', ['--network', 'none']],
    ['--network host', ['--network', 'host', '--userns', 'host']],
    ['--pid host', ['--pid', 'host', '--userns', 'host']],
    ['--init', ['--init']],
    ['a tmpfs on /run', ['--tmpfs', '/run']],
    ['everything at once', ['--user', '1000', '--read-only', '--cap-drop', 'ALL', '--network', 'none', '--init']],
  ] as const) {
    test(`a label makes a file: ${name}`, async () => {
      assert.equal(await docker('run', '--rm', ...flags, ...LABEL, 'busybox', ...READ), 'first-value');
    });
  }

  test('owner and mode default to the container\'s user and 0400', async () => {
    assert.equal(await docker('run', '--rm', ...LABEL, 'busybox', 'stat', '-c', '%u:%g %a', READ[1] ?? ''), '0:0 400');
    assert.equal(await docker('run', '--rm', '--user', '1000:1001', ...LABEL, 'busybox', 'stat', '-c', '%u:%g %a', READ[1] ?? ''), '1000:1001 400');
  });

  test('.path, .uid, .gid and .mode place a file anywhere', async () => {
    const output = await docker('run', '--rm', '-l', 'purser.file.key=purser://secret/db/prod#password', '-l', 'purser.file.key.path=/etc/app/key.txt',
      '-l', 'purser.file.key.uid=1234', '-l', 'purser.file.key.gid=4321', '-l', 'purser.file.key.mode=0440', 'busybox',
      'sh', '-c', 'cat /etc/app/key.txt; echo; stat -c "%u:%g %a" /etc/app/key.txt');
    assert.equal(output, 'first-value\n1234:4321 440');
  });

  test('NAME_FILE=purser://… becomes a file and a path, for the main process and for docker exec', async () => {
    const id = await docker('run', '-d', '-e', 'POSTGRES_PASSWORD_FILE=purser://secret/db/prod#password', 'busybox', 'sleep', '600');
    assert.equal(await docker('exec', id, 'sh', '-c', 'echo $POSTGRES_PASSWORD_FILE; cat $POSTGRES_PASSWORD_FILE'), '/run/secrets/POSTGRES_PASSWORD\nfirst-value');
    assert.equal(await docker('exec', id, 'sh', '-c', 'tr "\\0" "\\n" < /proc/1/environ | grep _FILE'), 'POSTGRES_PASSWORD_FILE=/run/secrets/POSTGRES_PASSWORD');
    await docker('rm', '-f', id);
  });

  for (const [reference, expected] of [
    ['purser://secret/db/prod#user', 'app'],
    ['purser://secret/db/single', 'single-field'],
    ['purser://secret/db/prod', '{"user":"app","password":"first-value"}'],
    ['purser://secret/db/deep#outer.inner', 'nested-value'],
    ['purser://secret/db/deep#number', '5432'],
    ['purser://secret/db/deep#outer', '{"inner":"nested-value","list":[1,2]}'],
    ['purser://secret/db/prod?version=1#password', 'first-value'],
    ['purser://secret/db/none?default=fallback', 'fallback'],
    ['purser://secret/db/prod?default=fallback#nofield', 'fallback'],
    ['se://secret/db/prod/password', 'first-value'],
  ] as const) {
    test(`the reference ${reference} delivers its value`, async () => {
      assert.equal(await docker('run', '--rm', '-l', `purser.file.x=${reference}`, 'busybox', 'cat', '/run/secrets/x'), expected);
    });
  }

  test('encoding=base64 and hex deliver bytes', async () => {
    const output = await docker('run', '--rm', '-l', 'purser.file.a=purser://secret/db/binary?encoding=base64#keystore', '-l', 'purser.file.b=purser://secret/db/binary?encoding=hex#hex',
      'busybox', 'sh', '-c', 'od -An -tx1 /run/secrets/a; od -An -tx1 /run/secrets/b');
    assert.equal(output.replaceAll(' ', ''), '0001020300ff\n00ff10');
  });

  test('an optional reference that does not exist leaves no file', async () => {
    const { status, stdout } = await run('docker', ['run', '--rm', '-l', 'purser.file.x=purser://secret/db/none?optional', ...LABEL, 'busybox', 'ls', '/run/secrets']);
    assert.equal(status, 0);
    assert.equal(stdout, 'db_password\n');
  });

  test('restart, and start after stop, give the current value', async () => {
    const id = await docker('run', '-d', ...LABEL, 'busybox', 'sleep', '600');
    await purser.put('secret/db/prod', { user: 'app', password: 'second-value' });
    await docker('restart', '-t', '0', id);
    assert.equal(await docker('exec', id, ...READ), 'second-value');
    await docker('stop', '-t', '0', id);
    await purser.put('secret/db/prod', { user: 'app', password: 'third-value' });
    await docker('start', id);
    assert.equal(await docker('exec', id, ...READ), 'third-value');
    await docker('rm', '-f', id);
    await purser.put('secret/db/prod', { user: 'app', password: 'first-value' });
  });

  test('two containers started at once each get their own', async () => {
    const [one, two] = await Promise.all([
      docker('run', '--rm', ...LABEL, 'busybox', ...READ),
      docker('run', '--rm', '-l', 'purser.file.db_password=purser://secret/db/single', 'busybox', ...READ),
    ]);
    assert.deepEqual([one, two], ['first-value', 'single-field']);
  });

  test('the files cannot be changed from inside, not even by root with every capability', async () => {
    for (const command of ['echo x > /run/secrets/db_password', 'rm /run/secrets/db_password', 'touch /run/secrets/new', 'chmod 777 /run/secrets/db_password', 'mv /run/secrets/db_password /run/secrets/y',
      'mount -o remount,rw,bind /run/secrets && echo x > /run/secrets/db_password']) {
      const result = await run('docker', ['run', '--rm', '--cap-add', 'SYS_ADMIN', '--cap-add', 'DAC_OVERRIDE', '--security-opt', 'seccomp=unconfined', ...LABEL, 'busybox', 'sh', '-c', command]);
      assert.notEqual(result.status, 0, command);
      assert.match(result.stderr, /Read-only file system|permission denied/i, command);
    }
  });

  test('a compose file\'s own secret below /run/secrets stays beside ours', async () => {
    const output = await docker('run', '--rm', ...LABEL, '-v', '/etc/hostname:/run/secrets/other:ro', 'busybox', 'sh', '-c', 'cat /run/secrets/db_password; echo; cat /run/secrets/other | wc -l');
    assert.equal(output, 'first-value\n1');
  });
});
