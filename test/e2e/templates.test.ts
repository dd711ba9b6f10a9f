// Templates in real containers: several secrets in one file, rendered again in one step with the container's other files, from a label or
// from the core, and refused at the start when they cannot be.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { docker, eventually, run } from './command.ts';
import { Installation } from './installation.ts';

const template = (name: string, text: string): string[] => ['-l', `purser.template.${name}=${text}`];

describe('templates', () => {
  let purser: Installation;
  before(async () => { purser = await Installation.start(); });
  after(() => purser.stop());

  test('a template has several secrets, its own path, owner and mode, and follows each of them in place', async () => {
    await purser.put('secret/db/one', { user: 'app', password: 'p<&"1' });
    await purser.put('secret/db/two', { b: '2', a: 'x y' });
    const text = 'user={{secret "secret/db/one" "user"}}\npassword={{json (secret "secret/db/one" "password")}} {{base64 (secret "secret/db/one" "password")}}\n'
      + '{{#each (secret "secret/db/two")}}\n{{@key}}={{this}}\n{{/each}}\nend';
    const id = await docker('run', '-d', ...template('app.conf', text), '-l', 'purser.template.app.conf.path=/etc/app/app.conf', '-l', 'purser.template.app.conf.mode=0440', '-l', 'purser.template.app.conf.uid=1000',
      ...template('short', '{{secret "secret/db/one" "user"}}'), 'busybox', 'sleep', '600');
    const started = await docker('inspect', id, '--format', '{{.State.StartedAt}}');
    const read = () => docker('exec', id, 'cat', '/etc/app/app.conf');
    const expected = (password: string, a: string) => `user=app\npassword=${JSON.stringify(password)} ${Buffer.from(password).toString('base64')}\nb=2\na=${a}\nend`;
    assert.equal(await read(), expected('p<&"1', 'x y'));
    assert.equal(await docker('exec', id, 'stat', '-c', '%u:%g %a', '/etc/app/app.conf'), '1000:0 440');
    assert.equal(await docker('exec', id, 'cat', '/run/secrets/short'), 'app');
    await purser.put('secret/db/one', { user: 'app', password: 'second' });
    await eventually('the first secret\'s new version', async () => await read() === expected('second', 'x y'));
    await purser.put('secret/db/two', { b: '2', a: 'z' });
    await eventually('the second secret\'s new version', async () => await read() === expected('second', 'z'));
    assert.equal(await docker('inspect', id, '--format', '{{.State.StartedAt}}'), started, 'the container was not restarted');

    const rows = await eventually('the ledger', async () => {
      const found = (JSON.parse(await purser.purser('usage', '--container', id, '--format', 'json')) as { path: string; field?: string; target: string; version: number; opens: number }[])
        .filter(({ target }) => target === '/etc/app/app.conf');
      return found.length === 3 && found.every(({ version, opens }) => version === 2 && opens > 0) && found;
    });
    assert.deepEqual(rows.map(({ path, field }) => `${path}#${field ?? ''}`).sort(), ['secret/db/one#password', 'secret/db/one#user', 'secret/db/two#']);
    await docker('rm', '-f', id);
  });

  test('a template and a file of one secret change in one step', async () => {
    await purser.put('secret/db/pair', { n: '0' });
    const id = await docker('run', '-d', '-l', 'purser.file.n=purser://secret/db/pair#n', ...template('t', '{{secret "secret/db/pair" "n"}}'), 'busybox', 'sh', '-c',
      'while :; do set -- $(cat /run/secrets/n /run/secrets/t | sed "s/../& /"); echo "$1 $2"; done > /tmp/seen');
    for (let version = 10; version < 30; version++) await purser.put('secret/db/pair', { n: String(version) });
    await eventually('the last version', async () => (await docker('exec', id, 'tail', '-n', '1', '/tmp/seen')) === '29 29');
    const pairs = new Set((await docker('exec', id, 'cat', '/tmp/seen')).split('\n'));
    const mixed = [...pairs].filter((pair) => /^\d\d \d\d$/.test(pair) && pair.slice(0, 2) !== pair.slice(3));
    assert.deepEqual(mixed, []);
    assert.ok(pairs.size > 3, 'several versions were seen');
    await docker('rm', '-f', id);
  });

  test('a template in the core is rendered again when its text changes, with secrets it did not name before', async () => {
    await purser.put('secret/db/one', { user: 'app', password: 'pw' });
    await purser.put('secret/db/three', { only: 'third' });
    await purser.put('secret/db/text', { text: 'u={{secret "secret/db/one" "user"}}' });
    const id = await docker('run', '-d', ...template('conf', 'purser://secret/db/text#text'), 'busybox', 'sleep', '600');
    const shows = (text: string) => eventually(text, async () => (await docker('exec', id, 'cat', '/run/secrets/conf')) === text);
    await shows('u=app');
    await purser.put('secret/db/text', { text: 'p={{secret "secret/db/one" "password"}} o={{secret "secret/db/three"}}' });
    await shows('p=pw o=third');
    await purser.put('secret/db/three', { only: 'moved' });
    await shows('p=pw o=moved');
    // What cannot be rendered leaves the last rendering, and what comes after it is followed again.
    await purser.put('secret/db/text', { text: '{{#if x}}{{/if}}' });
    await purser.put('secret/db/three', { only: 'unseen' });
    await eventually('the reason in the log', () => purser.log('agent').includes('the only block is'));
    await shows('p=pw o=moved');
    await purser.put('secret/db/text', { text: 'again {{secret "secret/db/three" "only"}}' });
    await shows('again unseen');
    const listed = JSON.parse(await purser.purser('usage', '--secret', 'secret/db/three', '--format', 'json')) as { target: string; unknown?: boolean }[];
    assert.ok(listed.some(({ target, unknown }) => target === '/run/secrets/conf' && unknown === undefined), 'the ledger knows the secret that came later as granted');
    await docker('rm', '-f', id);
  });

  test('a restarted agent goes on with templates', async () => {
    await purser.put('secret/db/one', { user: 'app', password: 'before' });
    const id = await docker('run', '-d', ...template('conf', '[{{secret "secret/db/one" "password"}}]'), 'busybox', 'sleep', '600');
    await purser.end('agent', 'SIGKILL');
    await purser.put('secret/db/one', { user: 'app', password: 'meanwhile' });
    await purser.startAgent();
    await eventually('what changed meanwhile', async () => (await docker('exec', id, 'cat', '/run/secrets/conf')) === '[meanwhile]');
    await docker('rm', '-f', id);
  });

  for (const [name, text, says] of [
    ['a field that is not there', 'x {{secret "secret/db/one" "nope"}}', /label purser\.template\.conf: purser:\/\/secret\/db\/one#nope: .*no field/],
    ['a secret that is not there', '{{secret "secret/db/absent" "x"}}', /label purser\.template\.conf: purser:\/\/secret\/db\/absent#x: /],
    ['a secret that is not granted', '{{secret "secret/other/one" "x"}}', /label purser\.template\.conf: purser:\/\/secret\/other\/one#x: no workload role/],
    ['a helper that does not exist', '{{lookup this "constructor"}}', /label purser\.template\.conf: line 1: /],
    ['a template too deep', `${'{{#each (secret "secret/db/one")}}'.repeat(5)}${'{{/each}}'.repeat(5)}`, /nested more than 4 deep/],
    ['brackets without end', `{{${'json ('.repeat(10_000)}`, /brackets are nested/],
    ['an explosion', `${'{{#each (secret "secret/db/many")}}'.repeat(4)}x${'{{/each}}'.repeat(4)}`, /more than 10000 iterations/],
  ] as const) {
    test(`a container does not start with ${name}`, async () => {
      await purser.put('secret/db/one', { user: 'app', password: 'CANARY' });
      await purser.put('secret/db/many', Object.fromEntries(Array.from({ length: 100 }, (_, index) => [`k${String(index)}`, 'CANARY'])));
      const result = await run('docker', ['run', '--rm', ...template('conf', text), 'busybox', 'true']);
      assert.notEqual(result.status, 0);
      assert.match(result.stderr, says);
      assert.doesNotMatch(result.stderr, /CANARY/);
    });
  }
});
