// Bundle: what is read from config.json, what an edit changes, and that it changes nothing else.

import assert from 'node:assert/strict';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Bundle, ProcessFile, hostId } from '../../src/agent/bundle.ts';
import { expectedCgroupPath } from '../../src/agent/cgroup-path.ts';
import { isPurserError } from '../../src/lib/errors.ts';

const ID = 'ab'.repeat(32);
let dir: string;
before(() => { dir = mkdtempSync(join(tmpdir(), 'purser-bundle-')); });
after(() => rmSync(dir, { recursive: true, force: true }));

const refuses = (error: unknown): boolean => isPurserError(error, 'ERR_RUNTIME_BUNDLE') && error.hint !== undefined;
let count = 0;
async function bundleOf(config: unknown): Promise<Bundle> {
  return await Bundle.load(write(config));
}
function write(config: unknown): string {
  const directory = join(dir, String(count++));
  mkdirSync(directory);
  writeFileSync(join(directory, 'config.json'), typeof config === 'string' ? config : JSON.stringify(config));
  return directory;
}
const minimal = { process: { env: ['PATH=/bin'] } };
const mount = (destination: string): object => ({ destination, type: 'bind', source: `/src${destination}`, options: ['rbind'] });

describe('Bundle', () => {
  test('save() changes nothing but what was edited', async () => {
    const text = '{"ociVersion":"1.0.2-dev","process":{"env":["A=1","DB_FILE=purser://x"],"rlimits":[{"type":"RLIMIT_NOFILE","hard":18446744073709551615,"soft":1048576}]},'
      + '"linux":{"resources":{"memory":{"limit":9223372036854771712}},"unknownMember":{"x":[1.0,null]}},"hooks":null,"annotations":{"__proto__":"<&>"}}';
    const directory = write(text);
    const bundle = await Bundle.load(directory);
    bundle.env.set('DB_FILE', '/run/secrets/DB');
    await bundle.save();
    assert.equal(readFileSync(join(directory, 'config.json'), 'utf8'), text.replace('purser://x', '/run/secrets/DB'));
  });

  test('save() keeps mode and owner and leaves no temporary file', async () => {
    const directory = write(minimal);
    const path = join(directory, 'config.json');
    chmodSync(path, 0o640);
    if (process.getuid?.() === 0) chownSync(path, 12, 34);
    const before = statSync(path);
    await (await Bundle.load(directory)).save();
    const now = statSync(path);
    assert.deepEqual([now.mode, now.uid, now.gid], [before.mode, before.uid, before.gid]);
    assert.deepEqual(readdirSync(directory), ['config.json']);
  });

  test('save() reports a directory that is gone', async () => {
    const directory = write(minimal);
    const bundle = await Bundle.load(directory);
    rmSync(directory, { recursive: true });
    await assert.rejects(bundle.save(), refuses);
  });

  const broken: readonly [string, string][] = [
    ['is empty', ''], ['is truncated', '{"process":{'], ['is an array', '[]'], ['has a duplicate key', '{"process":{},"process":{}}'],
    ['has no process', '{}'], ['has a process that is a string', '{"process":"x"}'], ['has an env of numbers', '{"process":{"env":[1]}}'],
    ['has an env object', '{"process":{"env":{}}}'], ['is nested without end', '['.repeat(100_000)], ['is too large', `{"x":"${'x'.repeat(17 << 20)}"}`],
  ];
  for (const [what, text] of broken) {
    test(`load() refuses a file that ${what}`, async () => {
      await assert.rejects(bundleOf(text), refuses);
    });
  }

  test('load() refuses what is no regular file', async () => {
    await assert.rejects(Bundle.load(join(dir, 'absent')), refuses);
    const directory = write(minimal);
    rmSync(join(directory, 'config.json'));
    symlinkSync('/etc/passwd', join(directory, 'config.json'));
    await assert.rejects(Bundle.load(directory), refuses);
    const other = join(dir, String(count++));
    mkdirSync(join(other, 'config.json'), { recursive: true });
    await assert.rejects(Bundle.load(other), refuses);
  });

  const orders: readonly [string, string[], string, string[]][] = [
    ['at the end when unrelated', ['/proc', '/dev'], '/run/secrets', ['/proc', '/dev', '/run/secrets']],
    ['after its parent', ['/run', '/proc'], '/run/secrets', ['/run', '/proc', '/run/secrets']],
    ['before what is below it', ['/proc', '/run/secrets/a', '/run/secrets/b'], '/run/secrets', ['/proc', '/run/secrets', '/run/secrets/a', '/run/secrets/b']],
    ['between both', ['/run', '/run/secrets/a', '/z'], '/run/secrets', ['/run', '/run/secrets', '/run/secrets/a', '/z']],
    ['after a parent that comes late', ['/run/secrets/a', '/run'], '/run/secrets', ['/run/secrets/a', '/run', '/run/secrets']],
    ['beside a name with the same beginning', ['/run/secrets-old/x', '/ru'], '/run/secrets', ['/run/secrets-old/x', '/ru', '/run/secrets']],
    ['normalized', ['/run/'], '//run/./secrets/', ['/run', '/run/secrets']],
    ['when there is none', [], '/run/secrets', ['/run/secrets']],
  ];
  for (const [where, known, added, expected] of orders) {
    test(`addMount() puts a mount ${where}`, async () => {
      const bundle = await bundleOf({ ...minimal, mounts: known.map(mount) });
      bundle.addMount({ destination: added, type: 'bind', source: '/s', options: ['rbind', 'ro'] });
      assert.deepEqual(bundle.mounts.map(({ destination }) => destination), expected);
      assert.deepEqual(bundle.mounts.find(({ source }) => source === '/s')?.options, ['rbind', 'ro']);
    });
  }

  test('addMount() refuses a place that is taken', async () => {
    const bundle = await bundleOf({ ...minimal, mounts: [mount('/run/secrets/')] });
    assert.throws(() => { bundle.addMount({ destination: '/run/secrets', type: 'bind', source: '/s', options: [] }); }, refuses);
  });

  test('replaceMountSource() changes one source and keeps the options', async () => {
    const bundle = await bundleOf({ ...minimal, mounts: [mount('/run/secrets/a'), mount('/run/secrets/b')] });
    bundle.replaceMountSource('/run/secrets/a', '/fuse/a');
    assert.deepEqual(bundle.mounts.map(({ source }) => source), ['/fuse/a', '/src/run/secrets/b']);
    assert.deepEqual(bundle.mounts[0]?.options, ['rbind']);
    assert.throws(() => { bundle.replaceMountSource('/run/secrets/c', '/x'); }, refuses);
    const twice = await bundleOf({ ...minimal, mounts: [mount('/a'), mount('/a/')] });
    assert.throws(() => { twice.replaceMountSource('/a', '/x'); }, refuses);
  });

  for (const mounts of [{}, [1], [{ destination: 1 }], [{}], [{ destination: '/a', options: 'ro' }], [{ destination: '/a', source: 1 }], [{ destination: '/a', type: [] }]]) {
    test(`mounts refuses ${JSON.stringify(mounts)}`, async () => {
      const bundle = await bundleOf({ ...minimal, mounts });
      assert.throws(() => bundle.mounts, refuses);
    });
  }

  test('reads user, read-only root, mappings and cgroup', async () => {
    const bundle = await bundleOf({
      process: { user: { uid: 1000, gid: 4294967295, additionalGids: [1] } }, root: { path: 'rootfs', readonly: true },
      linux: { cgroupsPath: `/docker/${ID}`, uidMappings: [{ containerID: 0, hostID: 200000, size: 65536 }], gidMappings: null },
    });
    assert.deepEqual(bundle.user, { uid: 1000, gid: 4294967295 });
    assert.equal(bundle.isRootReadonly, true);
    assert.deepEqual(bundle.uidMappings, [{ containerId: 0, hostId: 200000, size: 65536 }]);
    assert.deepEqual(bundle.gidMappings, []);
    assert.equal(bundle.cgroupPath, `/docker/${ID}`);
    const bare = await bundleOf({ process: {} });
    assert.deepEqual([bare.user, bare.isRootReadonly, bare.uidMappings], [{ uid: 0, gid: 0 }, false, []]);
    assert.throws(() => bare.cgroupPath, refuses);
  });

  test('refuses ids and flags of another type', async () => {
    for (const uid of ['0', -1, 1.5, 4294967296, true, []]) {
      const bundle = await bundleOf({ process: { user: { uid } }, root: { readonly: 'yes' }, linux: { uidMappings: [{ containerID: uid, hostID: 0, size: 1 }] } });
      assert.throws(() => bundle.user, refuses, String(uid));
      assert.throws(() => bundle.uidMappings, refuses, String(uid));
      assert.throws(() => bundle.isRootReadonly, refuses);
    }
    const exponent = await bundleOf('{"process":{"user":{"uid":1e3}}}');
    assert.throws(() => exponent.user, refuses, 'Go does not read it as an id either');
    const missing = await bundleOf({ process: {}, linux: { uidMappings: [{ containerID: 0, hostID: 0 }] } });
    assert.throws(() => missing.uidMappings, refuses);
  });

  test('dockerRoots takes the roots of the files that Docker mounts, and the default last', async () => {
    const at = (destination: string, source: string): object => ({ destination, source });
    const table: readonly [object[], string[]][] = [
      [[at('/etc/hostname', `/data/docker/containers/${ID}/hostname`), at('/etc/hosts', `/data/docker/containers/${ID}/hosts`)], ['/data/docker', '/var/lib/docker']],
      [[at('/etc/hosts', `/x/containers/y/containers/${ID}/hosts`)], ['/x/containers/y', '/var/lib/docker']],
      [[at('/etc/hosts', `/containers/${ID}/hosts`)], ['/', '/var/lib/docker']],
      [[at('/etc/passwd', `/data/containers/${ID}/x`), at('/etc/hostname', '/home/me/hostname'), at('/etc/resolv.conf', `/d/containers/${'g'.repeat(64)}/x`)], ['/var/lib/docker']],
      [[], ['/var/lib/docker']],
    ];
    for (const [mounts, roots] of table) assert.deepEqual((await bundleOf({ ...minimal, mounts })).dockerRoots, roots);
  });
});

describe('EnvList', () => {
  test('set() replaces in place, appends what is new, and leaves one of two', async () => {
    const { env } = await bundleOf({ process: { env: ['A=1', 'B=2', 'A=3', 'FLAG', 'AB=4'] } });
    assert.equal(env.get('A'), '1');
    env.set('A', 'x=y');
    env.set('C', '');
    assert.deepEqual(env.entries(), [['A', 'x=y'], ['B', '2'], ['AB', '4'], ['C', '']]);
    assert.equal(env.get('FLAG'), undefined);
  });

  test('set() works where the process had no environment', async () => {
    const { env } = await bundleOf({ process: { env: null } });
    env.set('A', '1');
    assert.deepEqual(env.entries(), [['A', '1']]);
  });
});

describe('ProcessFile', () => {
  test('edits the process of an exec', async () => {
    const path = join(dir, 'runc-process1');
    writeFileSync(path, '{"terminal":true,"env":["A=purser://x"],"args":["sh"]}', { mode: 0o600 });
    const file = await ProcessFile.load(path);
    file.env.set('A', 'b');
    await file.save();
    assert.equal(readFileSync(path, 'utf8'), '{"terminal":true,"env":["A=b"],"args":["sh"]}');
    await assert.rejects(ProcessFile.load(join(dir, 'absent')), refuses);
  });
});

describe('expectedCgroupPath()', () => {
  const table: readonly [string, string | undefined][] = [
    [`/docker/${ID}`, `/docker/${ID}`], [`/a//b/${ID}/`, `/a/b/${ID}`], [`/kubepods/x:y:z/${ID}`, `/kubepods/x:y:z/${ID}`],
    [`system.slice:docker:${ID}`, `/system.slice/docker-${ID}.scope`], [`:docker:${ID}`, `/system.slice/docker-${ID}.scope`],
    ['a-b.slice:docker:c', '/a.slice/a-b.slice/docker-c.scope'], ['a-b-c.slice:p:n', '/a.slice/a-b.slice/a-b-c.slice/p-n.scope'],
    ['-.slice:p:n', '/p-n.scope'], ['system.slice::n', '/system.slice/-n.scope'], ['system.slice:p:n.slice', '/system.slice/n.slice'],
    ['', undefined], ['/', undefined], ['docker/x', undefined], ['/docker/../x', undefined], ['a.slice:p', undefined], ['a:p:n', undefined], ['a--b.slice:p:n', undefined],
    ['-a.slice:p:n', undefined], ['a-.slice:p:n', undefined], ['a/b.slice:p:n', undefined], ['a.slice:p/q:n', undefined], ['a.slice:p:', undefined], ['.slice:p:n', undefined],
  ];
  for (const [given, expected] of table) {
    test(`${expected === undefined ? 'refuses' : 'expands'} ${JSON.stringify(given.replace(ID, 'ID'))}`, () => {
      if (expected === undefined) assert.throws(() => expectedCgroupPath(given), refuses);
      else assert.equal(expectedCgroupPath(given), expected);
    });
  }
});

test('hostId() maps through a user namespace', () => {
  const mappings = [{ containerId: 0, hostId: 200000, size: 1000 }, { containerId: 5000, hostId: 7, size: 1 }];
  const table: readonly [number, number | undefined][] = [[0, 200000], [999, 200999], [1000, undefined], [5000, 7], [5001, undefined]];
  for (const [inside, outside] of table) assert.equal(hostId(mappings, inside), outside);
  assert.equal(hostId([], 1234), 1234);
});
