// The life of a container, over real bundles, real records of Docker on disk and the real preparer; the core and the
// filesystem are hand-written stand-ins that remember what they were told.

import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, test } from 'node:test';
import { Containers } from '../../src/agent/containers.ts';
import type { ContainerTree } from '../../src/agent/fuse/plan.ts';
import { Ledger } from '../../src/agent/ledger.ts';
import type { NewUsageEntry } from '../../src/agent/ledger-spool.ts';
import { Lifecycle } from '../../src/agent/lifecycle.ts';
import { Preparer } from '../../src/agent/prepare.ts';
import { PurserError } from '../../src/lib/errors.ts';
import type { ResolveRequest, ResolveResult } from '../../src/wire/node-protocol.ts';
import { recordedLog } from '../fakes/silent-log.ts';

const ID = 'ab'.repeat(32);
const REF = 'purser://secret/db/prod#password';
const cleanups: (() => unknown)[] = [];
afterEach(async () => { for (const cleanup of cleanups.splice(0).reverse()) await cleanup(); });

interface World {
  labels?: Record<string, string>;
  env?: string[];
  mounts?: object[];
  secrets?: readonly object[];
}

async function world({ labels = {}, env = [], mounts = [], secrets = [] }: World = {}) {
  const directory = mkdtempSync(join(tmpdir(), 'purser-lifecycle-'));
  const dockerRoot = join(directory, 'docker');
  const own = join(dockerRoot, 'containers', ID);
  const bundle = join(directory, 'bundle');
  mkdirSync(join(own, 'mounts', 'secrets'), { recursive: true });
  mkdirSync(bundle);
  const state = { Running: false, StartedAt: '0001-01-01T00:00:00Z', Pid: 0 };
  const writeRecord = (): void => writeFileSync(join(own, 'config.v2.json'), JSON.stringify({ ID, Name: '/web', Image: `sha256:${'1'.repeat(64)}`, Config: { Image: 'busybox', Labels: { team: 'a', ...labels } }, State: state, SecretReferences: secrets }));
  writeRecord();
  writeFileSync(join(bundle, 'config.json'), JSON.stringify({
    ociVersion: '1.0.2', process: { user: { uid: 1000, gid: 1000 }, env: ['PATH=/bin', ...env] },
    mounts: [{ destination: '/etc/hostname', type: 'bind', source: join(own, 'hostname'), options: ['rbind'] }, ...mounts], linux: { cgroupsPath: `/docker/${ID}` },
  }), { mode: 0o644 });
  const { log, text } = recordedLog();
  const containers = await Containers.open(join(directory, 'state'), log);
  const trees = {
    served: new Map<string, ContainerTree>(), failNext: false,
    containers: () => [...trees.served.keys()].map((id) => ({ id })),
    async add(tree: ContainerTree) { trees.served.set(tree.id, { ...tree, files: tree.files.map((file) => ({ ...file, content: new Uint8Array(file.content) })) }); },
    async remove(id: string) { trees.served.delete(id); },
  };
  const core = {
    asked: [] as ResolveRequest[], isDown: false,
    result: { outcome: 'value', value: Buffer.from('canary').toString('base64'), path: 'secret/db/prod', field: 'password', version: 3 } as ResolveResult,
    async resolve(request: ResolveRequest) {
      core.asked.push(request);
      if (core.isDown) throw new PurserError('ERR_CLIENT_UNREACHABLE', 'the core at https://core cannot be reached: connection refused');
      return { workloads: request.workloads.map((one) => ({ id: one.id, results: one.references.map(() => core.result), swarm_secrets: one.swarm_secrets?.map((name) => name === 'plain' ? { outcome: 'foreign' as const } : core.result) })) };
    },
  };
  const entries: NewUsageEntry[] = [];
  const ledger = new Ledger((entry) => { entries.push(entry); }, log);
  const rotation = { epoch: 0, admitted: () => undefined };
  const docker = { running: [] as string[], listed: async () => undefined, runningIds: async () => docker.running, info: async () => ({ dockerRoot, swarmNodeId: undefined }) };
  const preparer = new Preparer({ trees, core, docker, containers, rotation, ledger, log, mountRoot: '/run/purser/ro', isCoreAway: () => core.isDown });
  const swarmLive = { attach: async () => undefined, mount: async () => undefined, detach: async () => undefined };
  const lifecycle = new Lifecycle({ trees, containers, preparer, swarmLive, rotation, ledger, docker, log, startGraceMs: 1000 });
  cleanups.push(() => rmSync(directory, { recursive: true, force: true }), () => containers.flush());
  const config = () => JSON.parse(readFileSync(join(bundle, 'config.json'), 'utf8')) as { process: { env: string[] }; mounts: { destination: string; source: string; options: string[] }[] };
  return { directory, bundle, config, state, writeRecord, trees, core, entries, docker, lifecycle, containers, text, create: () => lifecycle.request({ v: 1, verb: 'create', id: ID, bundle }) };
}

const DB = { labels: { 'purser.file.db': REF } };

test('create prepares tree, bundle, record and ledger', async () => {
  const { create, config, trees, core, entries, containers, bundle } = await world({ ...DB, env: [`PW_FILE=${REF}`] });
  await create();
  const { mounts, process } = config();
  assert.deepEqual(mounts.at(-1), { destination: '/run/secrets', type: 'bind', source: `/run/purser/ro/${ID}/files`, options: ['bind', 'ro', 'nosuid', 'nodev', 'noexec', 'rprivate'] });
  assert.deepEqual(process.env, ['PATH=/bin', 'PW_FILE=/run/secrets/PW']);
  assert.equal(statSync(join(bundle, 'config.json')).mode & 0o777, 0o644);
  assert.deepEqual(trees.served.get(ID)?.files.map(({ name, uid, mode, content }) => [name, uid, mode, Buffer.from(content).toString()]), [['db', 1000, 0o400, 'canary'], ['PW', 1000, 0o400, 'canary']]);
  assert.equal(trees.served.get(ID)?.cgroupPath, `/docker/${ID}`);
  assert.deepEqual(core.asked[0]?.workloads[0], { id: ID, name: 'web', image: 'busybox', image_digest: `sha256:${'1'.repeat(64)}`, labels: { team: 'a' }, references: [REF, REF] });
  assert.deepEqual(entries.map(({ type }) => type), ['granted']);
  assert.equal(containers.get(ID)?.files.length, 2);
});

test('create lets a container without declarations through without asking the core', async () => {
  const { create, config, core, trees, bundle } = await world({ labels: { other: 'x' }, env: ['A=b'] });
  const before = readFileSync(join(bundle, 'config.json'), 'utf8');
  core.isDown = true;
  await create();
  assert.equal(core.asked.length, 0);
  assert.equal(trees.served.size, 0);
  assert.equal(readFileSync(join(bundle, 'config.json'), 'utf8'), before);
  assert.equal(config().mounts.length, 1);
});

const refusals: [string, World, Partial<{ result: ResolveResult; isDown: boolean }>, RegExp][] = [
  ['a denied reference', DB, { result: { outcome: 'error', code: 'ERR_RESOLVE_DENIED', message: 'no workload role grants this reference' } }, /^purser: container web \(abababababab\): purser:\/\/secret\/db\/prod#password: no workload role grants this reference$/],
  ['two missing ones', { labels: { 'purser.file.a': REF, 'purser.file.b': REF } }, { result: { outcome: 'error', code: 'ERR_RESOLVE_NOT_FOUND', message: 'there is no such secret' } }, /there is no such secret \(and 1 more\)$/],
  ['a core that is away', DB, { isDown: true }, /^purser: container web \(abababababab\): the core at https:\/\/core cannot be reached/],
  ['a bad label', { labels: { 'purser.file.db': REF, 'purser.file.db.mode': '9' } }, {}, /^purser: container web \(abababababab\): label purser\.file\.db\.mode: /],
  ['a result of no known kind', DB, { result: { outcome: 'foreign' } }, /gave no answer/],
];
for (const [name, given, failing, says] of refusals) {
  test(`create refuses ${name} and leaves nothing behind`, async () => {
    const made = await world(given);
    Object.assign(made.core, failing);
    const before = readFileSync(join(made.bundle, 'config.json'), 'utf8');
    await assert.rejects(made.create(), (error: Error) => says.test(error.message));
    assert.equal(readFileSync(join(made.bundle, 'config.json'), 'utf8'), before);
    assert.deepEqual([made.trees.served.size, made.entries.length, made.containers.all().length], [0, 0, 0]);
  });
}

test('create takes the tree away again when the bundle cannot be written', async () => {
  const { create, trees, bundle, entries } = await world({ labels: { 'purser.file.db': REF, 'purser.file.db.path': '/etc/app/db' }, mounts: [] });
  const real = trees.add.bind(trees);
  trees.add = async (tree) => {
    await real(tree);
    rmSync(bundle, { recursive: true });
  };
  await assert.rejects(create(), /purser: container web .*config\.json cannot be written/);
  assert.deepEqual([trees.served.size, entries.length], [0, 0]);
});

test('create refuses when the labels of a container of Docker cannot be known', async () => {
  const made = await world(DB);
  rmSync(join(made.directory, 'docker', 'containers', ID, 'config.v2.json'));
  await assert.rejects(made.create(), /^PurserError: purser: container abababababab: the record of the container in Docker's data root cannot be read/);
});

const SECRET = { SecretID: 'sec1', SecretName: 'db', File: { Name: 'pw', UID: '7', GID: '8', Mode: 0o440 } };
const swarm = (target = 'pw'): World => ({ secrets: [{ ...SECRET, File: { ...SECRET.File, Name: target } }], mounts: [{ destination: `/run/secrets/${target}`, type: 'bind', source: '/d/mounts/secrets/sec1', options: ['rbind', 'ro'] }] });

test('create swaps the source of a Swarm secret that is Purser\'s, with its owner and mode', async () => {
  const { create, config, trees } = await world(swarm());
  await create();
  assert.deepEqual(config().mounts.at(-1), { destination: '/run/secrets/pw', type: 'bind', source: `/run/purser/ro/${ID}/bound/@swarm-0`, options: ['rbind', 'ro'] });
  assert.deepEqual(trees.served.get(ID)?.files.map(({ name, kind, uid, gid, mode }) => [name, kind, uid, gid, mode]), [['@swarm-0', 'bound', 7, 8, 0o440]]);
});

test('create gives a Swarm secret and a label\'s file a place each', async () => {
  const { create, config, trees } = await world({ ...swarm(), ...DB });
  await create();
  assert.deepEqual(config().mounts.slice(1).map(({ destination }) => destination), ['/run/secrets', '/run/secrets/pw']);
  assert.deepEqual(trees.served.get(ID)?.files.map(({ name, kind }) => [name, kind]), [['db', 'versioned'], ['@swarm-0', 'bound'], ['pw', 'placeholder']]);
});

test('create leaves Docker\'s own Swarm secrets alone, and starts with Docker\'s value when the core is away or refuses', async () => {
  for (const [change, part] of [[{}, { secrets: [{ ...SECRET, SecretName: 'plain' }] }], [{ isDown: true }, {}], [{ result: { outcome: 'error', code: 'ERR_RESOLVE_DENIED', message: 'no' } }, {}]] as const) {
    const made = await world({ ...swarm(), ...part });
    Object.assign(made.core, change);
    await made.create();
    assert.equal(made.config().mounts.at(-1)?.source, '/d/mounts/secrets/sec1');
    assert.equal(made.trees.served.size, 0);
  }
});

test('deleted tells a run that ended from one that never began', async () => {
  for (const started of [true, false]) {
    const { create, lifecycle, entries, state, writeRecord, trees, containers } = await world(DB);
    await create();
    if (started) state.StartedAt = new Date().toISOString();
    writeRecord();
    await lifecycle.request({ v: 1, verb: 'deleted', id: ID });
    assert.deepEqual(entries.at(-1), { type: 'released', time: entries.at(-1)?.time, container_id: ID, reason: started ? 'exited' : 'start-failed' });
    assert.deepEqual([trees.served.size, containers.get(ID)], [0, undefined]);
    await lifecycle.request({ v: 1, verb: 'deleted', id: ID });
    await lifecycle.event({ action: 'die', id: ID, time: Date.now() + 1000 });
    assert.equal(entries.length, 2, 'an end that is told again changes nothing');
  }
});

test('event ignores the end of an earlier run', async () => {
  const { create, lifecycle, trees } = await world(DB);
  await create();
  await lifecycle.event({ action: 'die', id: ID, time: Date.now() - 60_000 });
  assert.equal(trees.served.size, 1);
  await lifecycle.event({ action: 'die', id: ID, time: Date.now() + 1 });
  assert.equal(trees.served.size, 0);
});

test('create after an end that nobody told closes the earlier grant first', async () => {
  const { create, entries, bundle } = await world(DB);
  const config = readFileSync(join(bundle, 'config.json'));
  await create();
  writeFileSync(join(bundle, 'config.json'), config);
  await create();
  assert.deepEqual(entries.map(({ type }) => type), ['granted', 'released', 'granted']);
});

test('reconcile releases what ended unseen and keeps what runs or is just starting', async () => {
  const { create, lifecycle, entries, trees, docker, containers } = await world(DB);
  await create();
  const orphan = 'cd'.repeat(32);
  trees.served.set(orphan, { id: orphan, cgroupPath: '/docker/x', files: [] });
  await lifecycle.reconcile();
  assert.deepEqual([...trees.served.keys()], [ID], 'just granted: it may be on its way');
  assert.deepEqual(entries.filter(({ type }) => type === 'released').length, 1);
  docker.running = [ID];
  containers.put({ ...containers.get(ID)!, grantedAt: 1 });
  await lifecycle.reconcile();
  assert.equal(trees.served.size, 1);
  docker.running = [];
  await lifecycle.reconcile();
  assert.equal(trees.served.size, 0);
  assert.equal((entries.at(-1) as { reason?: string }).reason, 'lost');
});

test('exec rewrites declared variables in place and refuses others', async () => {
  const { create, lifecycle, directory } = await world({ env: [`PW_FILE=${REF}`] });
  await create();
  const process = join(directory, 'process.json');
  const exec = async (env: string[]): Promise<string> => {
    writeFileSync(process, JSON.stringify({ args: ['sh'], env }), { mode: 0o600 });
    await lifecycle.request({ v: 1, verb: 'exec', id: ID, process });
    return readFileSync(process, 'utf8');
  };
  assert.deepEqual((JSON.parse(await exec(['A=b', `PW_FILE=${REF}`])) as { env: string[] }).env, ['A=b', 'PW_FILE=/run/secrets/PW']);
  assert.equal(statSync(process).mode & 0o777, 0o600);
  await assert.rejects(exec([`OTHER_FILE=${REF}`]), /^PurserError: purser: container web \(abababababab\): variable OTHER_FILE: only references/);
  await assert.rejects(exec([`PW=${REF}`]), /variable PW/);
  assert.equal(await exec(['A=b']), JSON.stringify({ args: ['sh'], env: ['A=b'] }));
});

test('no value reaches the log, the record or the bundle', async () => {
  const { create, text, containers, directory, bundle } = await world({ ...DB, labels: { 'purser.file.db': 'purser://secret/db/prod?default=hunter2#password' } });
  await create();
  await containers.flush();
  for (const place of [text(), readFileSync(join(directory, 'state', `${ID}.json`), 'utf8'), readFileSync(join(bundle, 'config.json'), 'utf8')]) assert.doesNotMatch(place, /canary|Y2FuYXJ5|hunter2/);
});
