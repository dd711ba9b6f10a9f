// The OCI side of purser-runtime against a fake runc and a hand-written agent: which calls it acts on, what it asks, what it refuses,
// and that everything else reaches runc untouched. Built with AddressSanitizer and UBSan.

import assert from 'node:assert/strict';
import { existsSync, linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { unlessDelayed } from '../eventually.ts';
import { ShimLab } from './shim.ts';

const ID = '0123456789ab'.padEnd(64, 'c');
const OTHER = 'f'.repeat(64);
const WITH_REFERENCE = { process: { env: ['PATH=/bin', 'DB_FILE=purser://secret/db/prod#password'] } };
const WITHOUT = { process: { env: ['PATH=/bin'] } };
/** How long the shim waits for an agent that is being restarted: src/shim/agent.c. */
const RESTART_MS = 3000;

let lab: ShimLab;
before(() => { lab = new ShimLab(); });
after(() => lab.close());
afterEach(async () => {
  await lab.stopAgent();
  rmSync(lab.dockerRoot, { recursive: true, force: true });
  rmSync(lab.log, { force: true });
});

const bundle = (config: unknown, name = 'bundle'): string =>
  join(lab.write(`${name}/config.json`, typeof config === 'string' ? config : JSON.stringify(config)), '..');
const globals = (): string[] => ['--root', '/r', '--log', lab.log, '--log-format', 'json'];
const create = (dir: string, id = ID): string[] => [...globals(), 'create', '--bundle', dir, '--pid-file', join(dir, 'init.pid'), id];
const hostname = (owner = ID): object => ({ destination: '/etc/hostname', type: 'bind', source: `${lab.dockerRoot}/containers/${owner}/hostname` });
const record = (content: unknown, id = ID): string =>
  lab.write(`docker/containers/${id}/config.v2.json`, typeof content === 'string' ? content : JSON.stringify(content));

describe('purser-runtime create', () => {
  test('execs runc in place and asks nobody when no secret is named', async () => {
    await lab.startAgent('ok\n');
    const args = create(bundle(WITHOUT));
    const run = await lab.run(args, { exitWith: 7 });
    assert.deepEqual(run.runcArgs, args);
    assert.equal(run.status, 7, "runc's exit status is the caller's");
    assert.ok(run.inPlace, 'the same process became runc');
    assert.equal(lab.connections, 0);
  });

  test('asks the agent with one line and execs runc with the original arguments', async () => {
    await lab.startAgent('ok\n');
    const dir = bundle(WITH_REFERENCE);
    const run = await lab.run(create(dir));
    assert.deepEqual(run.runcArgs, create(dir));
    assert.deepEqual(lab.asked, [`{"v":1,"verb":"create","id":"${ID}","bundle":"${dir}"}\n`]);
  });

  const values: readonly [string, boolean][] = [
    ['A=purser://secret/x', true], ['A=se://secret/x', true], ['A=', false], ['A', false], ['purser://x', false],
    ['A=postgres://u:${purser://secret/db#p}@h', true], ['A=${se://a/b}', true], ['A= purser://x', false],
    ['A=http://h/?u=purser://x', false], ['A=PURSER://x', false], ['A=purser:/x', false], ['A=B=purser://x', false],
    ['A=${purser:/x}', false], ['=purser://x', true],
  ];
  for (const [entry, named] of values) {
    test(`${named ? 'asks' : 'does not ask'} the agent for the variable ${entry}`, async () => {
      await lab.startAgent('ok\n');
      const run = await lab.run(create(bundle({ process: { env: [entry] } })));
      assert.equal(run.status, 0);
      assert.equal(lab.connections, named ? 1 : 0);
    });
  }

  test('sees a reference through JSON escapes, and none outside of process.env', async () => {
    await lab.startAgent('ok\n');
    await lab.run(create(bundle('{"process":{"\\u0065nv":["A=purser:\\/\\/secret\\u002fx"]}}')));
    assert.equal(lab.connections, 1);
    await lab.run(create(bundle({ env: ['A=purser://x'], process: { args: ['A=purser://x'], user: { env: ['A=purser://x'] } }, x: '"env":["A=purser://x"]' })));
    assert.equal(lab.connections, 1);
  });

  test('asks for a label of its own in the record of Docker, also with the network of another container', async () => {
    await lab.startAgent('ok\n');
    record({ Config: { Labels: { 'purser.file.pw': 'purser://secret/x' } } });
    for (const owner of [ID, OTHER]) await lab.run(create(bundle({ ...WITHOUT, mounts: [hostname(owner)] })));
    assert.equal(lab.connections, 2);
  });

  test('finds the record when a user mounts over /etc/hostname', async () => {
    await lab.startAgent('ok\n');
    record({ Config: { Labels: { 'purser.file.pw': 'x' } } });
    const mounts = [
      { destination: '/etc/hostname', source: `${lab.dir}/elsewhere/containers/${OTHER}/hostname` },
      { destination: '/etc/hosts', source: `${lab.dockerRoot}/containers/${ID}/hosts` },
    ];
    await lab.run(create(bundle({ ...WITHOUT, mounts })));
    assert.equal(lab.connections, 1);
  });

  const labelsOfOthers: readonly unknown[] = [
    { Config: { Labels: { 'purserx': 'y', 'a.purser.file': 'purser://x' } } }, { Config: { Labels: null } }, { Config: null },
    { Labels: { 'purser.file.x': 'y' } }, { Config: { Env: ['purser.x'] } }, { SecretReferences: null }, { SecretReferences: [] }, [],
  ];
  test('is not misled by other labels or an empty list of secrets', async () => {
    await lab.startAgent('ok\n');
    for (const content of labelsOfOthers) {
      record(content);
      const run = await lab.run(create(bundle({ ...WITHOUT, mounts: [hostname()] })));
      assert.equal(run.status, 0);
    }
    assert.equal(lab.connections, 0);
  });

  test('refuses on the word of the agent, in the log that dockerd reads and on stderr', async () => {
    await lab.startAgent('error purser: container web: secret/db/prod: permission "denied" \u0007\n');
    writeFileSync(lab.log, '{"level":"debug","msg":"before"}\n');
    const run = await lab.run(create(bundle(WITH_REFERENCE)));
    const reason = 'purser: container web: secret/db/prod: permission "denied"  ';
    assert.equal(run.status, 1);
    assert.equal(run.runcArgs, undefined);
    assert.equal(run.stderr, `${reason}\n`);
    const lines = readFileSync(lab.log, 'utf8').trim().split('\n').map((line) => JSON.parse(line) as Record<string, string>);
    assert.equal(lines.length, 2);
    assert.equal(lines[1]?.['level'], 'error');
    assert.equal(lines[1]?.['msg'], reason);
    assert.match(lines[1]?.['time'] ?? '', /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
  });

  test('refuses a reference when no agent runs and says how to start one', async () => {
    const run = await lab.run(create(bundle(WITH_REFERENCE)));
    assert.equal(run.status, 1);
    assert.equal(run.runcArgs, undefined);
    assert.equal(run.stderr, 'purser: container 0123456789ab: the purser agent is not running on this host (start it with: purser agent)\n');
    assert.equal((JSON.parse(readFileSync(lab.log, 'utf8')) as Record<string, string>)['msg'], run.stderr.trim());
  });

  test('waits a moment for an agent that is being restarted, which a live holder tells', async () => {
    const holder = join(lab.runDir, 'holder.sock');
    writeFileSync(holder, '');
    try {
      const dir = bundle(WITH_REFERENCE);
      await unlessDelayed(RESTART_MS, async () => {
        await lab.stopAgent();
        const pending = lab.run(create(dir));
        await new Promise((resolve) => setTimeout(resolve, 300));
        await lab.startAgent('ok\n');
        assert.deepEqual((await pending).runcArgs, create(dir));
      });
    } finally {
      rmSync(holder);
    }
  });

  const broken: readonly [string, string | null, RegExp][] = [
    ['hangs up', null, /ended before it answered/],
    ['answers something else', 'yes\n', /not understood/],
    ['gives an empty reason', 'error \n', /not understood/],
    ['answers without end', 'ok'.repeat(4000), /too long/],
    ['answers half a line', 'ok', /ended before it answered/],
  ];
  for (const [what, answer, reason] of broken) {
    test(`refuses when the agent ${what}`, async () => {
      await lab.startAgent(answer);
      const run = await lab.run(create(bundle(WITH_REFERENCE)));
      assert.equal(run.status, 1);
      assert.equal(run.runcArgs, undefined);
      assert.match(run.stderr, reason);
    });
  }

  test('starts a task with Swarm secrets when no agent runs, and obeys one that does', async () => {
    record({ SecretReferences: [{ SecretID: 'x' }] });
    const args = create(bundle({ ...WITHOUT, mounts: [hostname()] }));
    assert.deepEqual((await lab.run(args)).runcArgs, args);
    await lab.startAgent(null);
    assert.deepEqual((await lab.run(args)).runcArgs, args);
    await lab.stopAgent();
    await lab.startAgent('error purser: no\n');
    assert.equal((await lab.run(args)).status, 1);
  });

  test('asks an agent about a record that does not read, and starts without one', async () => {
    for (const content of ['{"Config":{"Labels":{', 'x'.repeat(17 << 20), '']) {
      record(content);
      const args = create(bundle({ ...WITHOUT, mounts: [hostname()] }));
      assert.deepEqual((await lab.run(args)).runcArgs, args);
      await lab.startAgent('ok\n');
      assert.deepEqual((await lab.run(args)).runcArgs, args);
      assert.equal(lab.connections, 1);
      await lab.stopAgent();
    }
  });

  test('leaves complaints about a broken bundle to runc, but honours a reference seen before the fault', async () => {
    for (const config of ['', '{', '[]', '{"process":{"env":["A=x"]}', 'x'.repeat(17 << 20)]) {
      const args = create(bundle(config));
      assert.deepEqual((await lab.run(args)).runcArgs, args);
    }
    const absent = create(join(lab.dir, 'absent'));
    assert.deepEqual((await lab.run(absent)).runcArgs, absent);
    assert.equal((await lab.run(create(bundle('{"process":{"env":["A=purser://x"],')))).status, 1);
  });

  test('does not leave the container directory for a strange id', async () => {
    lab.write('docker/config.v2.json', JSON.stringify({ Config: { Labels: { 'purser.file.x': 'y' } } }));
    const args = create(bundle({ ...WITHOUT, mounts: [hostname()] }), '..');
    assert.deepEqual((await lab.run(args)).runcArgs, args);
  });
});

describe('purser-runtime arguments', () => {
  // As in the tests of nvidia's runtime: a verb's name may stand anywhere as a value.
  const cases: readonly [string, (dir: string) => string[], 'create' | 'exec' | 'deleted' | undefined][] = [
    ['--bundle=DIR', (dir) => ['create', `--bundle=${dir}`, ID], 'create'],
    ['-b DIR', (dir) => ['create', '-b', dir, ID], 'create'],
    ['-b=DIR', (dir) => ['create', `-b=${dir}`, ID], 'create'],
    ['-bundle DIR', (dir) => ['create', '-bundle', dir, ID], 'create'],
    ['the id before the options', (dir) => ['create', ID, '--bundle', dir], 'create'],
    ['the last bundle of two', (dir) => ['create', '--bundle', '/nowhere', '--bundle', dir, ID], 'create'],
    ['-- before the id', (dir) => ['create', '--bundle', dir, '--', ID], 'create'],
    ['switches between', (dir) => ['--debug', '--systemd-cgroup', 'create', '--no-pivot', '--no-new-keyring', '--bundle', dir, ID], 'create'],
    ['--rootless=false and --root=X', (dir) => ['--rootless=false', '--root=create', 'create', '--bundle', dir, ID], 'create'],
    ['a root called create', () => ['--root', 'create', 'state', ID], undefined],
    ['a log called create', () => ['--log', 'create', 'list'], undefined],
    ['an unknown switch before the verb', (dir) => ['--brand-new', 'create', '--bundle', dir, ID], 'create'],
    ['an unknown option with a value before the verb', (dir) => ['--brand-new', 'x', 'create', '--bundle', dir, ID], 'create'],
    ['a container called create', () => ['start', 'create'], undefined],
    ['a bundle called create for another verb', () => ['run', '--bundle', 'create', ID], undefined],
    ['--version', () => ['--version'], undefined],
    ['features', () => ['features'], undefined],
    ['start', () => ['start', ID], undefined],
    ['state', () => ['state', ID], undefined],
    ['kill', () => ['kill', '--all', ID, 'KILL'], undefined],
    ['nothing at all', () => [], undefined],
    ['create without an id', (dir) => ['create', '--bundle', dir], undefined],
    ['an option that lacks its value', () => ['create', ID, '--bundle'], undefined],
    ['a dash', () => ['-'], undefined],
    ['dashes only', () => ['--'], undefined],
    ['delete --force', () => ['delete', '--force', ID], 'deleted'],
    ['delete', () => ['delete', ID], 'deleted'],
    ['-v create', () => ['-v', 'create', ID], undefined],
  ];
  for (const [name, argsFor, expected] of cases) {
    test(`understands ${name}`, async () => {
      await lab.startAgent('ok\n');
      const args = argsFor(bundle(WITH_REFERENCE, 'create'));
      const run = await lab.run(args);
      assert.deepEqual(run.runcArgs, args);
      if (expected !== undefined) await lab.untilAsked(1);
      const verbs = lab.asked.map((line) => (JSON.parse(line) as Record<string, string>)['verb']);
      assert.deepEqual(verbs, expected === undefined ? [] : [expected]);
      if (lab.asked[0] !== undefined) assert.equal((JSON.parse(lab.asked[0]) as Record<string, string>)['id'], ID);
    });
  }

  test('takes the bundle from the current directory as runc does', async () => {
    await lab.startAgent('ok\n');
    const dir = bundle(WITH_REFERENCE);
    await lab.run(['create', ID], { cwd: dir });
    await lab.run(['create', '--bundle', 'bundle', ID]);
    assert.deepEqual(lab.asked.map((line) => (JSON.parse(line) as Record<string, string>)['bundle']), [dir, dir]);
  });

  test('skips itself and relative directories in the search for runc', async () => {
    const shadow = join(lab.dir, 'shadow');
    mkdirSync(shadow);
    linkSync(lab.binary, join(shadow, 'runc'));
    const run = await lab.run(['state', ID], { path: `bin::${shadow}:${lab.dir}/bin:/usr/bin` });
    assert.deepEqual(run.runcArgs, ['state', ID]);
  });
});

describe('purser-runtime exec', () => {
  const exec = (file: string): string[] => [...globals(), 'exec', '--process', file, '--detach', '--pid-file', '/p', ID];

  test('asks the agent about a process file that names a secret', async () => {
    await lab.startAgent('ok\n');
    const file = lab.write('runc-process1', JSON.stringify(WITH_REFERENCE.process));
    assert.deepEqual((await lab.run(exec(file))).runcArgs, exec(file));
    assert.deepEqual(lab.asked, [`{"v":1,"verb":"exec","id":"${ID}","process":"${file}"}\n`]);
  });

  test('becomes runc for every other process file', async () => {
    await lab.startAgent('ok\n');
    for (const content of [JSON.stringify({ env: ['A=b'], args: ['A=purser://x'] }), '{"process":{"env":["A=purser://x"]}}', '{', '']) {
      const file = lab.write('runc-process2', content);
      assert.deepEqual((await lab.run(exec(file))).runcArgs, exec(file));
    }
    const plain = ['exec', '--tty', '-e', 'A=b', ID, 'create', '--process', 'x'];
    assert.deepEqual((await lab.run(plain)).runcArgs, plain);
    assert.equal(lab.connections, 0);
  });

  test('refuses without an agent', async () => {
    const file = lab.write('runc-process3', JSON.stringify(WITH_REFERENCE.process));
    const run = await lab.run(exec(file));
    assert.equal(run.status, 1);
    assert.match(run.stderr, /^purser: container 0123456789ab: the purser agent is not running/);
  });
});

describe('purser-runtime delete', () => {
  test('tells the agent and never waits for it', async () => {
    await lab.startAgent(undefined);
    const run = await lab.run(['delete', ID]);
    assert.deepEqual(run.runcArgs, ['delete', ID]);
    await lab.untilAsked(1);
    assert.deepEqual(lab.asked, [`{"v":1,"verb":"deleted","id":"${ID}"}\n`]);
    assert.ok(run.elapsedMs < 25_000, 'before the 30 s of a question');
  });

  test('works without an agent', async () => {
    assert.ok(!existsSync(join(lab.runDir, 'agent.sock')));
    assert.deepEqual((await lab.run(['delete', '--force', ID])).runcArgs, ['delete', '--force', ID]);
  });
});
