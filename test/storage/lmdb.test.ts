import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';

import { LmdbStorage } from '../../src/storage/lmdb.ts';
import { storageConformance } from '../conformance/storage.ts';

const root = mkdtempSync(join(tmpdir(), 'purser-lmdb-'));
after(() => rmSync(root, { recursive: true, force: true }));
let count = 0;
const newDirectory = (): string => join(root, String(count++));
const bytes = (text: string): Uint8Array => Buffer.from(text);
const child = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

storageConformance('lmdb', async () => LmdbStorage.open({ directory: newDirectory() }));

/** The number of the last committed transaction, from the two meta pages (see lmdb-file.ts). */
function lastTransaction(directory: string): bigint {
  const file = readFileSync(join(directory, 'data.mdb'));
  return [0, 4096].map((page) => file.readBigUInt64LE(page + 152)).reduce((a, b) => a > b ? a : b);
}

function lastPage(file: string): number {
  const content = readFileSync(file);
  return Math.max(...[0, 4096].map((page) => Number(content.readBigUInt64LE(page + 144))));
}

/** A store with pages of every kind, closed. */
async function populated(): Promise<string> {
  const directory = newDirectory();
  const storage = await LmdbStorage.open({ directory });
  await Promise.all(Array.from({ length: 200 }, async (_, i) => storage.put(`k/${i}`, new Uint8Array(2_000).fill(i))));
  await storage.put('big', new Uint8Array(300_000).fill(7));
  await storage.close();
  return directory;
}

describe('LmdbStorage', () => {
  it('open() finds what was stored before close()', async () => {
    const directory = await populated();
    const storage = await LmdbStorage.open({ directory });
    assert.equal((await storage.list('k/')).length, 200);
    assert.equal((await storage.get('big'))?.length, 300_000);
    await storage.close();
  });

  it('close() commits the writes that still wait', async () => {
    const directory = newDirectory();
    const storage = await LmdbStorage.open({ directory });
    const done = storage.put('late', bytes('x'));
    await storage.close();
    await done;
    const again = await LmdbStorage.open({ directory });
    assert.ok(await again.get('late'));
    await again.close();
  });

  it('put() calls of one turn share one commit', async () => {
    const directory = newDirectory();
    const storage = await LmdbStorage.open({ directory });
    await storage.put('first', bytes('x'));
    const before = lastTransaction(directory);
    await Promise.all(Array.from({ length: 1_000 }, async (_, i) => storage.put(`p/${i}`, bytes('x'))));
    assert.equal(lastTransaction(directory) - before, 1n);
    await storage.close();
  });

  it('list() steps over what a child folder holds', async () => {
    const storage = await LmdbStorage.open({ directory: newDirectory() });
    await storage.transaction(Array.from({ length: 50_000 }, (_, i) => ({ kind: 'put', key: `top/child/${i}`, value: bytes('') })));
    await storage.put('top/z', bytes('x'));
    const fastest = async (prefix: string): Promise<number> => {
      const times: number[] = [];
      for (let i = 0; i < 5; i++) {
        const start = process.hrtime.bigint();
        await storage.list(prefix);
        times.push(Number(process.hrtime.bigint() - start));
      }
      return Math.min(...times);
    };
    assert.deepEqual(await storage.list('top/'), ['child/', 'z']);
    assert.ok(await fastest('top/') * 10 < await fastest('top/child/'), 'listing the parent costs as much as listing the child');
    await storage.close();
  });

  it('open() keeps directory and files private, whatever the umask', async () => {
    const before = process.umask(0);
    try {
      const directory = await populated();
      assert.equal(statSync(directory).mode & 0o777, 0o700);
      for (const name of readdirSync(directory)) assert.equal(statSync(join(directory, name)).mode & 0o777, 0o600, name);
    } finally {
      process.umask(before);
    }
  });

  it('open() refuses a directory that others may enter, but takes an empty one over', async () => {
    const empty = newDirectory();
    mkdirSync(empty, { mode: 0o755 });
    await (await LmdbStorage.open({ directory: empty })).close();
    assert.equal(statSync(empty).mode & 0o777, 0o700);
    chmodSync(empty, 0o750);
    await assert.rejects(LmdbStorage.open({ directory: empty }), { code: 'ERR_STORAGE_FAILED', message: /open to other users/, hint: /chmod 0700/ });
  });

  it('open() refuses a path that is no directory', async () => {
    const file = newDirectory();
    writeFileSync(file, '');
    await assert.rejects(LmdbStorage.open({ directory: file }), { code: 'ERR_STORAGE_FAILED' });
  });

  it('open() refuses a directory in use, in this process and in another, until it is closed', async () => {
    const directory = newDirectory();
    const storage = await LmdbStorage.open({ directory });
    await assert.rejects(LmdbStorage.open({ directory }), { code: 'ERR_STORAGE_LOCKED', hint: /stop the other server/ });
    const other = spawnSync(process.execPath, ['--import', 'tsx', child('lmdb-open.child.ts'), directory], { encoding: 'utf8' });
    assert.equal(other.stdout.trim(), 'ERR_STORAGE_LOCKED');
    await storage.close();
    await (await LmdbStorage.open({ directory })).close();
  });

  it('open() does not follow a symbolic link in place of the lock', async () => {
    const directory = newDirectory();
    mkdirSync(directory, { mode: 0o700 });
    symlinkSync('/etc/hostname', join(directory, 'lock'));
    await assert.rejects(LmdbStorage.open({ directory }), { code: 'ERR_STATE_LOCK' });
  });
});

describe('LmdbStorage.open() on a damaged directory', () => {
  const damages: readonly (readonly [string, (file: string, size: number) => void])[] = [
    ['missing', (file) => rmSync(file)],
    ['empty', (file) => truncateSync(file, 0)],
    ['cut in the first header', (file) => truncateSync(file, 100)],
    ['cut in the second header', (file) => truncateSync(file, 4_100)],
    ['cut after the headers', (file) => truncateSync(file, 8_192)],
    ['cut in the middle', (file) => truncateSync(file, lastPage(file) * 2_048)],
    ['cut by one page in use', (file) => truncateSync(file, (lastPage(file) + 1) * 4_096 - 1)],
    ['overwritten with noise', (file, size) => writeFileSync(file, new Uint8Array(size).map((_, i) => i * 37 % 251))],
    ['of another version', (file) => patch(file, 28, 9)],
    ['with an absurd length in its header', (file) => { patch(file, 150, 0x7f); patch(file, 4_096 + 150, 0x7f); }],
  ];
  for (const [what, damage] of damages) {
    it(`refuses data.mdb ${what}, and leaves it as it is`, async () => {
      const directory = await populated();
      const file = join(directory, 'data.mdb');
      damage(file, statSync(file).size);
      const before = statSync(file, { throwIfNoEntry: false })?.size;
      await assert.rejects(LmdbStorage.open({ directory }), { code: 'ERR_STATE_CORRUPT', hint: /backup/ });
      assert.equal(statSync(file, { throwIfNoEntry: false })?.size, before);
    });
  }

  it('refuses a broken store.json', async () => {
    const directory = await populated();
    for (const text of ['', '{', '{"format":2,"driver":"lmdb"}', '{"format":1,"driver":"lmdb","x":1}']) {
      writeFileSync(join(directory, 'store.json'), text);
      await assert.rejects(LmdbStorage.open({ directory }), { code: 'ERR_STATE_CORRUPT' });
    }
  });

  it('takes a copy made while it was closed', async () => {
    const [from, to] = [await populated(), newDirectory()];
    mkdirSync(to, { mode: 0o700 });
    for (const name of ['data.mdb', 'store.json']) copyFileSync(join(from, name), join(to, name));
    const storage = await LmdbStorage.open({ directory: to });
    assert.equal((await storage.list('k/')).length, 200);
    await storage.close();
  });
});

function patch(file: string, offset: number, byte: number): void {
  const content = readFileSync(file);
  content[offset] = byte;
  writeFileSync(file, content);
}

describe('LmdbStorage under failure', () => {
  it('put() that was acknowledged survives SIGKILL', async () => {
    const directory = newDirectory();
    const writer = spawn(process.execPath, ['--import', 'tsx', child('lmdb-writer.child.ts'), directory], { stdio: ['ignore', 'pipe', 'inherit'] });
    const acknowledged: string[] = [];
    for await (const key of createInterface(writer.stdout)) {
      acknowledged.push(key);
      if (acknowledged.length === 500) writer.kill('SIGKILL');
    }
    assert.ok(acknowledged.length >= 500);
    const storage = await LmdbStorage.open({ directory });
    for (const key of acknowledged) assert.equal(Buffer.from((await storage.get(key))!).toString(), key);
    await storage.close();
  });

  // A mount namespace of its own: the small file system ends with the process, however it ends.
  const onSmallDisk = (script: string, childName: string): ReturnType<typeof spawnSync> | undefined => {
    const mountPoint = newDirectory();
    mkdirSync(mountPoint);
    const inNamespace = (commands: string): ReturnType<typeof spawnSync> => spawnSync('unshare', ['--mount', '--propagation', 'private', 'sh', '-ec', commands,
      'sh', mountPoint, process.execPath, child(childName)], { encoding: 'utf8' });
    const mount = 'mount -t tmpfs -o size=4m,mode=0700 tmpfs "$1"';
    return inNamespace(mount).status === 0 ? inNamespace(`${mount}; ${script}; exec "$2" --import tsx "$3" "$1"`) : undefined;
  };
  const SKIPPED = 'needs the right to mount a tmpfs in a mount namespace';

  it('a full disk refuses writes, loses nothing acknowledged, and passes', (test) => {
    const result = onSmallDisk(':', 'lmdb-full.child.ts');
    if (result === undefined) return test.skip(SKIPPED);
    assert.equal(result.status, 0, String(result.stderr));
    assert.deepEqual(JSON.parse(String(result.stdout)), {
      refusedWith: 'ERR_STORAGE_FULL', lost: 0, refusedAgain: 20, smallBesideLarge: 'stored', afterDelete: 'stored', lostAfterReopen: 0,
    });
  });

  it('open() of a new store on a full disk is refused', (test) => {
    const result = onSmallDisk('head -c 8m /dev/zero > "$1/filler" 2>&- || chmod 0600 "$1/filler"', 'lmdb-open.child.ts');
    if (result === undefined) return test.skip(SKIPPED);
    assert.equal(String(result.stdout).trim(), 'ERR_STORAGE_FULL', String(result.stderr));
  });
});
