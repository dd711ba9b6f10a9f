import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';

import { readJsonFile, writeFileAtomic } from '../../src/lib/atomic-file.ts';

const root = mkdtempSync(join(tmpdir(), 'purser-atomic-'));
after(() => rmSync(root, { recursive: true, force: true }));
let count = 0;
const newDirectory = (): string => {
  const directory = join(root, String(count++));
  mkdirSync(directory);
  return directory;
};

describe('writeFileAtomic()', () => {
  it('makes and replaces a file with exactly this mode, and leaves nothing else', async () => {
    const directory = newDirectory();
    const path = join(directory, 'state.json');
    const before = process.umask(0o077);
    try {
      await writeFileAtomic(path, 'first', { mode: 0o644 });
      assert.equal(statSync(path).mode & 0o777, 0o644);
      await writeFileAtomic(path, Buffer.from('second'), { mode: 0o600 });
    } finally {
      process.umask(before);
    }
    assert.equal(readFileSync(path, 'utf8'), 'second');
    assert.equal(statSync(path).mode & 0o777, 0o600);
    assert.deepEqual(readdirSync(directory), ['state.json']);
  });

  it('replaces the file, not its content: a reader that has it open keeps the old one', async () => {
    const path = join(newDirectory(), 'state');
    await writeFileAtomic(path, 'first', { mode: 0o600 });
    const inode = statSync(path).ino;
    await writeFileAtomic(path, 'second', { mode: 0o600 });
    assert.notEqual(statSync(path).ino, inode);
  });

  it('fails with a clear error and leaves no temporary file', async () => {
    const directory = newDirectory();
    mkdirSync(join(directory, 'taken'));
    await assert.rejects(writeFileAtomic(join(directory, 'taken'), 'x', { mode: 0o600 }), { code: 'ERR_STATE_WRITE' });
    await assert.rejects(writeFileAtomic(join(directory, 'none', 'file'), 'x', { mode: 0o600 }), { code: 'ERR_STATE_WRITE' });
    assert.deepEqual(readdirSync(directory), ['taken']);
  });
});

describe('readJsonFile()', () => {
  const parse = (value: unknown): { a: number } => {
    if (typeof value !== 'object' || value === null || !('a' in value) || typeof value.a !== 'number') throw new Error('it has no number a');
    return { a: value.a };
  };

  it('gives what parse() accepts, and undefined when there is no file', async () => {
    const path = join(newDirectory(), 'state.json');
    assert.equal(await readJsonFile(path, parse), undefined);
    await writeFileAtomic(path, '{"a":1}', { mode: 0o600 });
    assert.deepEqual(await readJsonFile(path, parse), { a: 1 });
  });

  for (const [what, content] of Object.entries({
    'empty': '', 'half written': '{"a":1', 'of another shape': '{"b":1}', 'not UTF-8': Buffer.from([0x22, 0xff, 0x22]), 'too large': ' '.repeat(200),
  })) {
    it(`refuses a file that is ${what}, without quoting it`, async () => {
      const path = join(newDirectory(), 'state.json');
      writeFileSync(path, content);
      await assert.rejects(readJsonFile(path, parse, 100), (error: Error & { code: string }) =>
        error.code === 'ERR_STATE_CORRUPT' && !error.message.includes('"a"'));
    });
  }

  it('refuses a directory and a FIFO without hanging', async () => {
    const directory = newDirectory();
    const fifo = join(directory, 'fifo');
    assert.equal(spawnSync('mkfifo', [fifo]).status, 0);
    for (const path of [directory, fifo]) await assert.rejects(readJsonFile(path, parse), { code: 'ERR_STATE_CORRUPT' });
  });
});
