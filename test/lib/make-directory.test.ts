import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';

import { makeDirectory } from '../../src/lib/make-directory.ts';

let base = '';
beforeEach(() => { base = mkdtempSync(join(tmpdir(), 'purser-directory-')); });
afterEach(() => { rmSync(base, { recursive: true }); });

test('makeDirectory() makes what is missing with the mode, and leaves what is there', () => {
  makeDirectory(join(base, 'a', 'b', 'c'), 0o700);
  makeDirectory(join(base, 'a', 'b', 'c'), 0o711);
  for (const path of ['a', 'a/b', 'a/b/c']) assert.equal(statSync(join(base, path)).mode & 0o777, 0o700);
  symlinkSync(join(base, 'a'), join(base, 'link'));
  makeDirectory(join(base, 'link', 'd'));
  assert.ok(statSync(join(base, 'a', 'd')).isDirectory());
});

test('makeDirectory() ends with the error of the kernel where nothing can be made', () => {
  writeFileSync(join(base, 'file'), '');
  symlinkSync(join(base, 'nowhere'), join(base, 'dangling'));
  for (const [path, code] of [['/proc/purser/x', 'ENOENT'], [join(base, 'file'), 'EEXIST'], [join(base, 'file', 'x'), 'ENOTDIR'], ['', 'ENOENT']] as const) {
    assert.throws(() => makeDirectory(path), { code }, path);
  }
  assert.throws(() => makeDirectory(join(base, 'dangling')));
});
