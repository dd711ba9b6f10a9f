// The completion scripts in the shells themselves; zsh and fish where this machine has them.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';

import { temporaryDirectory } from '../server/running.ts';
import { run } from './run.ts';

const files = temporaryDirectory();
after(() => files.remove());

async function scriptOf(shell: string): Promise<string> {
  const path = join(files.path, shell);
  const { status, out } = await run('completion', shell);
  assert.equal(status, 0);
  writeFileSync(path, out);
  return path;
}

const has = (shell: string): boolean => spawnSync(shell, ['-c', 'true']).status === 0;

describe('purser completion', () => {
  test('bash follows the command line to the words that fit', async () => {
    const path = await scriptOf('bash');
    const complete = (...words: readonly string[]): string[] => {
      const program = `source ${path}; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _purser; printf '%s\\n' "\${COMPREPLY[@]}"`;
      const { status, stdout, stderr } = spawnSync('bash', ['-c', program, 'bash', 'purser', ...words], { encoding: 'utf8' });
      assert.deepEqual([status, stderr], [0, '']);
      return stdout.split('\n').filter((word) => word !== '');
    };
    assert.deepEqual(complete('rek'), ['rekey']);
    assert.deepEqual(complete('rekey', ''), ['init', 'share', 'verify', 'status', 'cancel', '--help']);
    assert.deepEqual(complete('--some', 'thing', 'kv', 'metadata', 'g'), ['get']);
    assert.ok(complete('kv', 'get', '--').includes('--version'));
    assert.deepEqual(complete('kv', 'get', 'secret/a'), []);
  });

  test('zsh and fish take their scripts', { skip: !has('zsh') && !has('fish') && 'neither zsh nor fish is installed' }, async () => {
    for (const shell of ['zsh', 'fish']) {
      const path = await scriptOf(shell);
      if (has(shell)) assert.equal(spawnSync(shell, ['-n', path]).status, 0, shell);
    }
    if (!has('fish')) return;
    const { stdout } = spawnSync('fish', ['-c', `source ${join(files.path, 'fish')}; complete -C 'purser rekey '`], { encoding: 'utf8' });
    assert.match(stdout, /^cancel\t/m);
    assert.doesNotMatch(stdout, /package\.json/);
  });

  test('knows no other shell', async () => {
    const { status, err } = await run('completion', 'tcsh');
    assert.deepEqual([status, /purser: hint: one of bash, zsh, fish/.test(err)], [2, true]);
  });
});
