// Rotation in place: same container, the new value within a second, a real inotify event, and never a mixed or empty read.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { after, before, describe, test } from 'node:test';

import { docker, eventually } from './command.ts';
import { Installation } from './installation.ts';
import { readLoop, VALUES } from './rotation-values.ts';

describe('rotation', () => {
  let purser: Installation;
  before(async () => { purser = await Installation.start(); });
  after(() => purser.stop());

  test('five rotations reach a running container in place', async () => {
    await purser.put('secret/db/prod', { password: VALUES[0] });
    const id = await docker('run', '-d', '-l', 'purser.file.pw=purser://secret/db/prod#password', '-l', 'purser.file.elsewhere=purser://secret/db/prod#password',
      '-l', 'purser.file.elsewhere.path=/etc/app/pw', 'busybox', 'sleep', '600');
    const started = await docker('inspect', id, '--format', '{{.State.StartedAt}}');
    const directory = await readLoop(id, '/run/secrets/pw');
    const watcher = spawn('docker', ['exec', id, 'inotifywait', '-q', '-m', '-e', 'moved_to', '--format', '%f', '/run/secrets']);
    const fileWatcher = spawn('docker', ['exec', id, 'inotifywait', '-q', '-m', '-e', 'close_write', '/etc/app/pw']);
    const [events, fileEvents] = [watcher, fileWatcher].map((child) => {
      const lines: string[] = [];
      child.stdout.on('data', (chunk: Buffer) => { lines.push(...chunk.toString().trim().split('\n')); });
      return lines;
    }) as [string[], string[]];
    await eventually('the watches', async () => (await docker('exec', id, 'sh', '-c', 'cat /proc/[0-9]*/fdinfo/* 2>/dev/null | grep -c "^inotify" || true')) === '2');

    for (const [index, value] of VALUES.slice(1).entries()) {
      await purser.put('secret/db/prod', { password: value });
      await eventually(`version ${String(index + 2)} in the container`, async () => (await docker('exec', id, 'cat', '/run/secrets/pw')) === value
        && (await docker('exec', id, 'cat', '/etc/app/pw')) === value);
      await directory.sees(value);
      // A reader that opened the file just then is told once more, a second later.
      await eventually('an event in the directory', () => events.filter((name) => name === 'pw').length >= index + 1);
      await eventually('an event on the single file', () => fileEvents.length >= index + 1);
    }
    const seen = await directory.stop();
    assert.deepEqual(seen, VALUES, 'every version was read, in order, each whole');
    assert.equal(await docker('inspect', id, '--format', '{{.State.StartedAt}}'), started, 'the container was not restarted');
    watcher.kill();
    fileWatcher.kill();
    await docker('rm', '-f', id);
  });

  test('an open descriptor keeps its version', async () => {
    await purser.put('secret/db/prod', { password: 'old-version' });
    const id = await docker('run', '-d', '-l', 'purser.file.pw=purser://secret/db/prod#password', 'busybox', 'sh', '-c',
      'exec 5< /run/secrets/pw; while [ ! -e /tmp/go ]; do sleep 0.05; done; cat <&5 > /tmp/out; echo done >> /tmp/done; sleep 600');
    await eventually('the container', async () => (await docker('exec', id, 'sh', '-c', 'readlink /proc/1/fd/5')).includes('pw'));
    await purser.put('secret/db/prod', { password: 'new-version' });
    await eventually('the new version', async () => (await docker('exec', id, 'cat', '/run/secrets/pw')) === 'new-version');
    await docker('exec', id, 'touch', '/tmp/go');
    await eventually('the old descriptor', async () => (await docker('exec', id, 'cat', '/tmp/done')) === 'done');
    assert.equal(await docker('exec', id, 'cat', '/tmp/out'), 'old-version');
    await docker('rm', '-f', id);
  });

  test('a reference with a version does not move', async () => {
    await purser.put('secret/db/pinned', { password: 'one' });
    const id = await docker('run', '-d', '-l', 'purser.file.pinned=purser://secret/db/pinned?version=1#password', '-l', 'purser.file.free=purser://secret/db/pinned#password', 'busybox', 'sleep', '600');
    await purser.put('secret/db/pinned', { password: 'two' });
    await eventually('the free one', async () => (await docker('exec', id, 'cat', '/run/secrets/free')) === 'two');
    assert.equal(await docker('exec', id, 'cat', '/run/secrets/pinned'), 'one');
    await docker('rm', '-f', id);
  });

  test('a deleted secret leaves the running container its last value', async () => {
    await purser.put('secret/db/gone', { password: 'last' });
    const id = await docker('run', '-d', '-l', 'purser.file.pw=purser://secret/db/gone#password', 'busybox', 'sleep', '600');
    await purser.purser('kv', 'metadata', 'delete', 'secret/db/gone');
    await purser.put('secret/db/prod', { password: 'marker' });
    assert.equal(await docker('exec', id, 'cat', '/run/secrets/pw'), 'last');
    await purser.put('secret/db/gone', { password: 'back' });
    await eventually('the value again', async () => (await docker('exec', id, 'cat', '/run/secrets/pw')) === 'back');
    await docker('rm', '-f', id);
  });
});
