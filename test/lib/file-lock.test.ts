import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, it } from 'node:test';

import { lockFile } from '../../src/lib/file-lock.ts';

const directory = mkdtempSync(join(tmpdir(), 'purser-lock-'));
after(() => rmSync(directory, { recursive: true, force: true }));
const held = { code: 'ERR_STORAGE_LOCKED', message: 'taken', hint: 'wait' } as const;

it('lockFile() refuses a second holder with the words of the caller, until release()', () => {
  const path = join(directory, 'a');
  const lock = lockFile(path, held);
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.throws(() => lockFile(path, held), held);
  lock.release();
  lock.release();
  lockFile(path, held).release();
});

it('lockFile() leaves the content of the file alone', () => {
  const path = join(directory, 'b');
  writeFileSync(path, 'content');
  lockFile(path, held).release();
  assert.equal(statSync(path).size, 7);
});

it('lockFile() is released by the kernel when the holder is killed, and not inherited by its children', async () => {
  const path = join(directory, 'c');
  const script = `import { lockFile } from ${JSON.stringify(new URL('../../src/lib/file-lock.ts', import.meta.url).href)};
    import { spawn } from 'node:child_process';
    lockFile(${JSON.stringify(path)}, ${JSON.stringify(held)});
    const child = spawn('sleep', ['60'], { stdio: 'ignore', detached: true });
    process.stdout.write(String(child.pid));
    setInterval(() => {}, 1000);`;
  const holder = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [pid] = await once(holder.stdout, 'data') as [Buffer];
  try {
    assert.throws(() => lockFile(path, held), held);
    holder.kill('SIGKILL');
    await once(holder, 'exit');
    lockFile(path, held).release();
  } finally {
    process.kill(Number(pid.toString()), 'SIGKILL');
  }
});

it('lockFile() says so when the file cannot be opened', () => {
  assert.throws(() => lockFile(join(directory, 'none', 'lock'), held), { code: 'ERR_STATE_LOCK' });
});
