// Class 9, audit devices as a way to write files or run them (CVE-2025-6000, CVE-2025-54997): whoever may enable one can add a file of
// mode 0600 to the audit directory, and nothing else.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, linkSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { startUnsealed, type TestServer } from '../server/running.ts';

let server: TestServer;
let folder: string;
before(async () => { server = await startUnsealed(); folder = join(server.directory, 'audit'); });
after(() => server.stop());

const enable = async (options: object, name = 'evil'): Promise<number> => (await server.call('PUT', `sys/audit/${name}`, { body: { type: 'file', options } })).status;

test('a file goes nowhere but into the audit directory, whatever its path, and a refused one is not made', async () => {
  const before = readdirSync(folder);
  for (const path of ['/etc/cron.d/purser', '../up.log', 'sub/x.log', '.profile', '/proc/self/mem', '/dev/null', '/dev/stdout', 'stdout', 'discard', '.', '..', '', 'a\u0000b', 'a/../../b', `${folder}/../up.log`]) {
    const status = await enable({ file_path: path });
    if (path === 'stdout' || path === 'discard') { if (status === 204) await server.call('DELETE', 'sys/audit/evil'); continue; } // a plain name is a plain file
    assert.equal(status, 400, JSON.stringify(path));
  }
  assert.ok(!existsSync('/etc/cron.d/purser') && !existsSync(join(server.directory, 'up.log')));
  assert.deepEqual(readdirSync(folder).filter((name) => !before.includes(name) && name !== 'stdout' && name !== 'discard'), []);
});

test('no mode, prefix, format or raw values can be asked for', async () => {
  for (const options of [{ mode: '0777' }, { mode: '0755' }, { mode: '0' }, { prefix: '#!/bin/sh\n' }, { prefix: 'x' }, { format: 'jsonx' }, { log_raw: 'true' }, { log_raw: true }, { hmac_accessor: 'maybe' }]) {
    assert.equal(await enable({ file_path: 'x.sh', ...options }), 400, JSON.stringify(options));
  }
  assert.ok(!existsSync(join(folder, 'x.sh')));
});

test('links, folders, pipes and files of others in the directory are not written to', async () => {
  const victim = join(server.directory, 'victim');
  writeFileSync(victim, 'kept', { mode: 0o600 });
  symlinkSync(victim, join(folder, 'soft.log'));
  linkSync(victim, join(folder, 'hard.log'));
  symlinkSync('/nowhere/at/all', join(folder, 'dangling.log'));
  mkdirSync(join(folder, 'folder.log'));
  execFileSync('mkfifo', [join(folder, 'pipe.log')]);
  writeFileSync(join(folder, 'open.log'), 'kept', { mode: 0o644 });
  for (const name of ['soft.log', 'hard.log', 'dangling.log', 'folder.log', 'pipe.log', 'open.log']) assert.equal(await enable({ file_path: name }), 400, name);
  assert.deepEqual([readFileSync(victim, 'utf8'), readFileSync(join(folder, 'open.log'), 'utf8'), existsSync('/nowhere')], ['kept', 'kept', false]);
});

test('an enabled file is readable by its owner alone and not executable; two devices cannot share one', async () => {
  assert.equal(await enable({ file_path: 'fine.log' }, 'fine'), 204);
  assert.equal(statSync(join(folder, 'fine.log')).mode & 0o7777, 0o600);
  assert.equal(await enable({ file_path: 'fine.log' }), 400);
  assert.equal(await enable({ file_path: 'audit.log' }), 400);
  assert.equal((await server.call('DELETE', 'sys/audit/fine')).status, 204);
});

test('no program can be made a device', async () => {
  for (const body of [{ type: 'plugin' }, { type: 'exec', options: { command: 'id' } }, { type: 'file', options: { file_path: 'x.log', command: 'id' } }, { type: '../file', options: { file_path: 'x.log' } }]) {
    assert.equal((await server.call('PUT', 'sys/audit/evil', { body })).status, 400);
  }
});
