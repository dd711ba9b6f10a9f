// Nothing is lost when a process dies: an agent killed under a read loop fails no read, also while the core is away; a core
// killed during writes has every acknowledged one after its restart.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { docker, eventually, run } from './command.ts';
import { Installation, PURSER } from './installation.ts';
import { readLoop } from './rotation-values.ts';

describe('survival', () => {
  let purser: Installation;
  before(async () => { purser = await Installation.start(); });
  after(() => purser.stop());

  test('kill -9 of the agent under a read loop: no failed read, and rotation goes on', async () => {
    await purser.put('secret/db/prod', { password: 'before' });
    const id = await docker('run', '-d', '-l', 'purser.file.pw=purser://secret/db/prod#password', 'busybox', 'sleep', '600');
    const loop = await readLoop(id, '/run/secrets/pw');
    for (let round = 0; round < 3; round++) {
      await sleep(200);
      await purser.end('agent', 'SIGKILL');
      await sleep(round * 200);
      await purser.startAgent();
    }
    await purser.put('secret/db/prod', { password: 'after' });
    await eventually('the rotation', async () => (await docker('exec', id, 'cat', '/run/secrets/pw')) === 'after');
    await loop.sees('after');
    assert.deepEqual(await loop.stop(), ['before', 'after']);
    await docker('rm', '-f', id);
  });

  test('a planned restart of the agent: no failed read', async () => {
    await purser.put('secret/db/prod', { password: 'steady' });
    const id = await docker('run', '-d', '-l', 'purser.file.pw=purser://secret/db/prod#password', 'busybox', 'sleep', '600');
    const loop = await readLoop(id, '/run/secrets/pw');
    for (let round = 0; round < 3; round++) {
      await sleep(100);
      await purser.end('agent', 'SIGTERM');
      await purser.startAgent();
    }
    assert.deepEqual(await loop.stop(), ['steady']);
    await docker('rm', '-f', id);
  });

  test('an agent that starts while the core is away serves what runs', async () => {
    await purser.put('secret/db/prod', { password: 'kept' });
    const id = await docker('run', '-d', '-l', 'purser.file.pw=purser://secret/db/prod#password', 'busybox', 'sleep', '600');
    await purser.end('core', 'SIGTERM');
    await purser.end('agent', 'SIGKILL');
    await purser.startAgent();
    assert.equal(await docker('exec', id, 'cat', '/run/secrets/pw'), 'kept');
    await purser.startCore();
    await purser.put('secret/db/prod', { password: 'caught-up' });
    await eventually('the rotation', async () => (await docker('exec', id, 'cat', '/run/secrets/pw')) === 'caught-up');
    await docker('rm', '-f', id);
  });

  test('what rotated while the agent was away is there when it is back', async () => {
    await purser.put('secret/db/prod', { password: 'one' });
    const id = await docker('run', '-d', '-l', 'purser.file.pw=purser://secret/db/prod#password', 'busybox', 'sleep', '600');
    await purser.end('agent', 'SIGKILL');
    await purser.put('secret/db/prod', { password: 'two' });
    await purser.startAgent();
    await eventually('the rotation', async () => (await docker('exec', id, 'cat', '/run/secrets/pw')) === 'two');
    await docker('rm', '-f', id);
  });

  test('kill -9 of the core during writes: every acknowledged write is there', async () => {
    const acknowledged: string[] = [];
    let stopped = false;
    const writers = Array.from({ length: 4 }, async (_, writer) => {
      for (let count = 0; !stopped; count++) {
        const path = `secret/crash/${String(writer)}-${String(count)}`;
        if ((await run(PURSER, ['kv', 'put', path, '-'], { input: '{"v":"x"}' })).status === 0) acknowledged.push(path);
      }
    });
    await eventually('some writes', () => acknowledged.length >= 12, 60_000);
    await purser.end('core', 'SIGKILL');
    stopped = true;
    await Promise.all(writers);
    await purser.startCore();
    const listed = new Set((await purser.purser('kv', 'list', 'secret/crash')).split('\n'));
    assert.deepEqual(acknowledged.filter((path) => !listed.has(path.slice('secret/crash/'.length))), []);
    for (const path of acknowledged.slice(-4)) assert.equal(await purser.purser('kv', 'get', path, '--field', 'v'), 'x');
  });
});
