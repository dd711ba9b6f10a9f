import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, chownSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';

import { openCore } from '../../src/core/core.ts';
import { readUnsealFile, writeUnsealFile } from '../../src/core/unseal-file.ts';
import { MemoryStorage } from '../../src/storage/memory.ts';

const directory = mkdtempSync(join(tmpdir(), 'purser-unseal-'));
after(() => rmSync(directory, { recursive: true, force: true }));
let count = 0;
const newPath = (): string => join(directory, `key-${count++}`);
const share = (byte: number, length = 32): Uint8Array => new Uint8Array(length).fill(byte);
const refused = { code: 'ERR_SEAL_FILE' };

describe('the auto-unseal file', () => {
  it('is written privately and read back', async () => {
    const before = process.umask(0);
    try {
      const path = newPath();
      const shares = [share(1, 33), share(0xab, 33)];
      await writeUnsealFile(path, shares);
      assert.equal(statSync(path).mode & 0o7777, 0o600);
      assert.equal(readFileSync(path, 'utf8'), `purser-unseal-1\n${'01'.repeat(33)}\n${'ab'.repeat(33)}\n`);
      assert.deepEqual(await readUnsealFile(path), shares);
      assert.deepEqual(readdirSync(directory).filter((name) => name.endsWith('.tmp')), []);
    } finally {
      process.umask(before);
    }
  });

  for (const mode of [0o600, 0o400]) {
    it(`is accepted with mode ${mode.toString(8)}`, async () => {
      const path = newPath();
      await writeUnsealFile(path, [share(1)]);
      chmodSync(path, mode);
      assert.equal((await readUnsealFile(path)).length, 1);
    });
  }

  for (const mode of [0o640, 0o604, 0o644, 0o660, 0o700, 0o666, 0o4600]) {
    it(`is refused with mode ${mode.toString(8)}, with a hint`, async () => {
      const path = newPath();
      await writeUnsealFile(path, [share(1)]);
      chmodSync(path, mode);
      await assert.rejects(readUnsealFile(path), { ...refused, hint: /chmod 0600/ });
    });
  }

  it('is refused when it is a symbolic link, a directory, a FIFO or not there', async () => {
    const [target, link, fifo] = [newPath(), newPath(), newPath()];
    await writeUnsealFile(target, [share(1)]);
    symlinkSync(target, link);
    assert.equal(spawnSync('mkfifo', ['-m', '0600', fifo]).status, 0);
    await assert.rejects(readUnsealFile(link), { ...refused, message: /symbolic link/ });
    await assert.rejects(readUnsealFile(directory), refused);
    await assert.rejects(readUnsealFile(fifo), { ...refused, message: /not a regular file/ });
    await assert.rejects(readUnsealFile(newPath()), refused);
  });

  it('is refused when it belongs to another user', async (test) => {
    if (process.geteuid?.() !== 0) return test.skip('needs root to give a file away');
    const path = newPath();
    await writeUnsealFile(path, [share(1)]);
    chownSync(path, 12_345, 0);
    await assert.rejects(readUnsealFile(path), { ...refused, message: /another user/ });
  });

  const line = '01'.repeat(32);
  for (const [what, content] of Object.entries({
    'empty': '', 'without a share': 'purser-unseal-1\n', 'without its header': `${line}\n`, 'of another version': `purser-unseal-2\n${line}\n`,
    'without the last line end': `purser-unseal-1\n${line}`, 'with CRLF': `purser-unseal-1\r\n${line}\r\n`, 'with an empty line': `purser-unseal-1\n\n${line}\n`,
    'with a space': `purser-unseal-1\n ${line}\n`, 'with a short share': `purser-unseal-1\n${line.slice(2)}\n`, 'with half a byte': `purser-unseal-1\n${line}0\n`,
    'with a letter that is no digit': `purser-unseal-1\n${line.slice(1)}g\n`, 'with 256 shares': `purser-unseal-1\n${`${line}\n`.repeat(256)}`, 'far too large': 'x'.repeat(1_000_000),
  })) {
    it(`is refused ${what}, and not quoted`, async () => {
      const path = newPath();
      writeFileSync(path, content, { mode: 0o600 });
      await assert.rejects(readUnsealFile(path), (error: Error & { code: string; hint: string }) =>
        error.code === 'ERR_SEAL_FILE' && !`${error.message}${error.hint}`.includes('0101'));
    });
  }
});

describe('unsealFromFile()', () => {
  for (const [shares, threshold, given] of [[1, 1, 1], [5, 3, 3], [5, 3, 5], [255, 255, 255]] as const) {
    it(`unseals ${threshold} of ${shares} with ${given} shares`, async () => {
      const { seal, barrier } = openCore(new MemoryStorage());
      const path = newPath();
      await writeUnsealFile(path, (await seal.initialize({ shares, threshold })).slice(0, given));
      assert.equal((await seal.unsealFromFile(path)).sealed, false);
      assert.equal(barrier.isSealed, false);
    });
  }

  it('refuses too few shares and wrong ones, and leaves no attempt behind', async () => {
    const { seal } = openCore(new MemoryStorage());
    const shares = await seal.initialize({ shares: 3, threshold: 2 });
    const [few, wrong] = [newPath(), newPath()];
    await writeUnsealFile(few, [shares[0]!]);
    await assert.rejects(seal.unsealFromFile(few), { code: 'ERR_SEAL_FILE', message: /fewer shares/ });
    await writeUnsealFile(wrong, [shares[0]!, share(9, 33)]);
    await assert.rejects(seal.unsealFromFile(wrong), { code: 'ERR_SEAL_SHARE' });
    const status = await seal.status();
    assert.deepEqual([status.sealed, status.progress], [true, 0]);
  });
});
