// The life of a container, over real bundles, real records of Docker on disk and the real preparer; the core and the
// filesystem are hand-written stand-ins that remember what they were told.

import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, test } from 'node:test';
import { Containers } from '../../src/agent/containers.ts';
import type { ContainerTree } from '../../src/agent/fuse/plan.ts';
import { Environment } from '../../src/agent/environment.ts';
import { EnvironmentMarkers } from '../../src/agent/environment-markers.ts';
import type { EnvironmentMode } from '../../src/agent/environment-variables.ts';
import { Ledger } from '../../src/agent/ledger.ts';
import type { NewUsageEntry } from '../../src/agent/ledger-spool.ts';
import { Lifecycle } from '../../src/agent/lifecycle.ts';
import { Preparer } from '../../src/agent/prepare.ts';
import { PurserError } from '../../src/lib/errors.ts';
import type { IdentityRequest, IdentityResult, ResolveRequest, ResolveResult } from '../../src/wire/node-protocol.ts';
import { decodeEnvironment } from './decode-environment.ts';
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
  mode?: EnvironmentMode;
}

async function world({ labels = {}, env = [], mounts = [], secrets = [], mode = 'values' }: World = {}) {
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
    async values(id: string) {
      return (trees.served.get(id)?.files ?? []).filter(({ kind }) => kind === 'hidden').map(({ name, version, content }) => ({ name, version, content: new Uint8Array(content) }));
    },
  };
  const core = {
    asked: [] as ResolveRequest[], isDown: false,
    result: { outcome: 'value', value: Buffer.from('canary').toString('base64'), path: 'secret/db/prod', field: 'password', version: 3 } as ResolveResult,
    identityResult: { outcome: 'value', token: 'h.p.s', expire_time: new Date().toISOString(), ttl: 600 } as IdentityResult,
    identities: [] as IdentityRequest[],
    async identity(request: IdentityRequest) { core.identities.push(request); return request.workloads.map(() => core.identityResult); },
    async resolve(request: ResolveRequest) {
      core.asked.push(request);
      if (core.isDown) throw new PurserError('ERR_CLIENT_UNREACHABLE', 'the core at https://core cannot be reached: connection refused');
      return { workloads: request.workloads.map((one) => ({ id: one.id, results: one.references.map(() => core.result), swarm_secrets: one.swarm_secrets?.map((name) => name === 'plain' ? { outcome: 'foreign' as const } : core.result) })) };
    },
  };
  const entries: NewUsageEntry[] = [];
  const ledger = new Ledger((entry) => { entries.push(entry); }, log);
  const rotation = { epoch: 0, admitted: () => undefined, caughtUp: async () => undefined };
  const markers = await EnvironmentMarkers.open(join(directory, 'environment'));
  const isCoreAway = (): boolean => core.isDown;
  const docker = { running: [] as string[], listed: async () => undefined, imageLabels: async () => ({}), runningIds: async () => docker.running, info: async () => ({ dockerRoot, swarmNodeId: undefined }) };
  const warden = { listenerPath: '/run/purser/notices.sock', count: 0, fault: undefined as PurserError | undefined, async ensure() { warden.count++; if (warden.fault) throw warden.fault; } };
  const preparer = new Preparer({ trees, warden, core, docker, containers, rotation, ledger, log, mountRoot: '/run/purser/ro', isCoreAway, markers, environment: mode, identities: { wake: () => undefined } });
  const environment = new Environment({ trees, core, rotation, log, isCoreAway, warden });
  const swarmLive = { attach: async () => undefined, mount: async () => undefined, detach: async () => undefined };
  const lifecycle = new Lifecycle({ trees, containers, preparer, volumes: { isMount: () => false, recover: () => undefined, started: async () => undefined, ended: async () => false, tidy: async () => undefined }, environment, markers, swarmLive, rotation, ledger, docker, log, startGraceMs: 1000 });
  cleanups.push(() => rmSync(directory, { recursive: true, force: true }), () => containers.flush());
  const config = () => JSON.parse(readFileSync(join(bundle, 'config.json'), 'utf8')) as { process: { env: string[] }; mounts: { destination: string; source: string; options: string[] }[]; linux: { seccomp?: { defaultAction: string; syscalls: object[]; listenerPath?: string } } };
  return { directory, bundle, config, state, writeRecord, trees, core, entries, docker, lifecycle, containers, markers, warden, text, create: () => lifecycle.request({ v: 1, verb: 'create', id: ID, bundle }) };
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
  assert.deepEqual(config().mounts.at(-1), { destination: '/run/secrets/pw', type: 'bind', source: `/run/purser/ro/${ID}/bound/$swarm-0`, options: ['rbind', 'ro'] });
  assert.deepEqual(trees.served.get(ID)?.files.map(({ name, kind, uid, gid, mode }) => [name, kind, uid, gid, mode]), [['$swarm-0', 'bound', 7, 8, 0o440]]);
});

test('create gives a Swarm secret and a label\'s file a place each', async () => {
  const { create, config, trees } = await world({ ...swarm(), ...DB });
  await create();
  assert.deepEqual(config().mounts.slice(1).map(({ destination }) => destination), ['/run/secrets', '/run/secrets/pw']);
  assert.deepEqual(trees.served.get(ID)?.files.map(({ name, kind }) => [name, kind]), [['db', 'versioned'], ['$swarm-0', 'bound'], ['pw', 'placeholder']]);
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

test('create keeps references in the bundle, marks the container, and start gives the values', async () => {
  const { create, lifecycle, config, directory, bundle, trees, core, entries, containers } = await world({ env: [`PW=${REF}`, `URL=db://\${${REF}}@x`, 'ESC=$${purser://x}'] });
  await create();
  assert.deepEqual(config().process.env, ['PATH=/bin', `PW=${REF}`, `URL=db://\${${REF}}@x`, 'ESC=${purser://x}']);
  assert.equal(config().mounts.length, 1, 'no file, no mount');
  const marker = join(directory, 'environment', ID);
  assert.equal(readFileSync(marker, 'utf8'), `${bundle}\n`);
  assert.deepEqual([statSync(marker).mode & 0o777, statSync(join(marker, '..')).mode & 0o777], [0o600, 0o700]);
  assert.equal(core.asked.length, 1, 'one question for everything');
  assert.deepEqual(trees.served.get(ID)?.files.map(({ name, kind }) => [name, kind]), [['$0', 'hidden'], ['$1', 'hidden']]);
  const grant = entries[0] as { secrets?: { target: string; version: number }[] };
  assert.deepEqual(grant.secrets?.map(({ target, version }) => [target, version]), [['env:PW', 3], ['env:URL', 3]]);
  const started = await lifecycle.request({ v: 1, verb: 'start', id: ID });
  assert.deepEqual(decodeEnvironment(started!.values), { PW: 'canary', URL: 'db://canary@x' });
  assert.equal(statSync(join(directory, 'state', `${ID}.json`)).isFile(), true, 'on disk before the answer');
  await lifecycle.request({ v: 1, verb: 'deleted', id: ID });
  assert.throws(() => statSync(marker), { code: 'ENOENT' });
  assert.equal(containers.get(ID), undefined);
});

test('start takes the version that came since create, and the ledger hears of it', async () => {
  const { create, lifecycle, trees, entries, containers } = await world({ env: [`PW=${REF}`] });
  await create();
  const tree = trees.served.get(ID)!;
  trees.served.set(ID, { ...tree, files: tree.files.map((file) => ({ ...file, version: 4, content: Buffer.from('newer') })) });
  assert.deepEqual(decodeEnvironment((await lifecycle.request({ v: 1, verb: 'start', id: ID }))!.values), { PW: 'newer' });
  assert.deepEqual(entries.slice(1).map((entry) => [entry.type, (entry as { target?: string }).target, (entry as { version?: number }).version]), [['rotated', 'env:PW', 4]]);
  assert.equal(containers.get(ID)?.files[0]?.version, 4);
});

test('purser.env=strict adds the listener to the profile, and start has the references to show', async () => {
  const { create, lifecycle, config, containers, warden } = await world({ labels: { 'purser.env': 'strict' }, env: [`PW=${REF}`, `URL=db://\${${REF}}@x`, 'GONE=purser://x/y?optional'] });
  await create();
  assert.equal(config().linux.seccomp?.listenerPath, warden.listenerPath);
  assert.deepEqual([warden.count, containers.get(ID)?.isStrict], [1, true]);
  const { references } = (await lifecycle.request({ v: 1, verb: 'start', id: ID }))!;
  assert.deepEqual(decodeEnvironment(references!), { PW: REF, URL: `db://\${${REF}}@x`, GONE: 'purser://x/y?optional' });
});

test('purser.env=strict without a reference in a variable changes nothing, and refuses where it does not work', async () => {
  const plain = await world({ ...DB, mode: 'strict', env: ['PW_FILE=' + REF] });
  await plain.create();
  assert.deepEqual([plain.config().linux.seccomp, plain.warden.count], [undefined, 0]);
  const without = await world({ mode: 'strict', env: [`PW=${REF}`] });
  without.warden.fault = new PurserError('ERR_RUNTIME_STRICT', 'strict is not possible on this host: Linux 5.9 or newer is needed');
  await assert.rejects(without.create(), { code: 'ERR_RUNTIME_STRICT', message: /Linux 5.9/ });
  assert.deepEqual([without.config().linux.seccomp, without.trees.served.size], [undefined, 0]);
});

test('start without a grant is refused', async () => {
  const { lifecycle } = await world({});
  await assert.rejects(lifecycle.request({ v: 1, verb: 'start', id: ID }), /^PurserError: purser: container abababababab: the grant of this container is lost/);
});

test('create refuses a value with a NUL byte and more than fits, before anything is there', async () => {
  for (const [content, says] of [['a\0b', /variable PW: the value has a NUL byte/], ['x'.repeat(100_000), /come to 100004 bytes, the limit is 98304/]] as const) {
    const { create, core, trees, entries, directory } = await world({ env: [`PW=${REF}`] });
    core.result = { outcome: 'value', value: Buffer.from(content).toString('base64'), path: 'secret/db/prod', version: 1 };
    await assert.rejects(create(), says);
    assert.deepEqual([trees.served.size, entries.length], [0, 0]);
    assert.throws(() => statSync(join(directory, 'environment', ID)), { code: 'ENOENT' });
  }
});

test('create makes files of variables for files-only, and exec follows', async () => {
  const { create, lifecycle, config, directory, trees } = await world({ mode: 'files-only', env: [`PW=${REF}`] });
  await create();
  assert.deepEqual(config().process.env, ['PATH=/bin', 'PW_FILE=/run/secrets/PW']);
  assert.deepEqual(trees.served.get(ID)?.files.map(({ name, kind }) => [name, kind]), [['PW', 'versioned']]);
  assert.throws(() => statSync(join(directory, 'environment', ID)), { code: 'ENOENT' });
  const process = join(directory, 'process.json');
  writeFileSync(process, JSON.stringify({ args: ['sh'], env: [`PW=${REF}`] }));
  assert.equal(await lifecycle.request({ v: 1, verb: 'exec', id: ID, process }), undefined);
  assert.deepEqual((JSON.parse(readFileSync(process, 'utf8')) as { env: string[] }).env, ['PW_FILE=/run/secrets/PW']);
});

test('reconcile removes marks of containers that are gone', async () => {
  const { lifecycle, directory, docker, markers } = await world({});
  const mark = async (id: string, ageMs: number): Promise<string> => {
    const path = join(directory, 'environment', id);
    await markers.put(id, '/b');
    utimesSync(path, new Date(), new Date(Date.now() - ageMs));
    return path;
  };
  const [old, young, running] = [await mark('1'.repeat(64), 5000), await mark('2'.repeat(64), 0), await mark('3'.repeat(64), 5000)];
  docker.running = ['3'.repeat(64)];
  await lifecycle.reconcile();
  assert.deepEqual([old, young, running].map((path) => existsSync(path)), [false, true, true]);
});

test('no value reaches the log, the record or the bundle', async () => {
  const { create, text, containers, directory, bundle } = await world({ ...DB, labels: { 'purser.file.db': 'purser://secret/db/prod?default=hunter2#password' }, env: ['PW=purser://secret/db/prod?default=hunter3#password'] });
  await create();
  await containers.flush();
  // The bundle holds the reference of the variable as it was written, its default too.
  for (const place of [text(), readFileSync(join(directory, 'state', `${ID}.json`), 'utf8'), readFileSync(join(bundle, 'config.json'), 'utf8').replace('hunter3', '')]) assert.doesNotMatch(place, /canary|Y2FuYXJ5|hunter/);
});

test('create gives a container its identity, alone and beside secrets, and refuses it with the reason', async () => {
  const alone = await world({ labels: { 'purser.identity': 'https://api, vault' } });
  await alone.create();
  assert.deepEqual(alone.core.identities[0]?.workloads[0], { id: ID, name: 'web', image: 'busybox', image_digest: `sha256:${'1'.repeat(64)}`, labels: { team: 'a' }, audiences: ['https://api', 'vault'] });
  assert.equal(alone.core.asked.length, 0, 'no references, no resolve');
  assert.deepEqual(alone.trees.served.get(ID)?.files.map(({ name, uid, mode, content }) => [name, uid, mode, Buffer.from(content).toString()]), [['identity.jwt', 1000, 0o400, 'h.p.s']]);
  const [held] = alone.containers.get(ID)?.files ?? [];
  assert.ok(held?.source.type === 'identity' && Math.abs(held.source.refreshAt - Date.now() - 400_000) < 60_000, 'due at two thirds');
  assert.equal(alone.entries[0]?.type === 'granted' && alone.entries[0].secrets[0]?.path, 'node/identity');
  const beside = await world({ labels: { 'purser.identity': 'a', ...DB.labels } });
  await beside.create();
  assert.deepEqual(beside.trees.served.get(ID)?.files.map(({ name }) => name), ['db', 'identity.jwt']);
  const denied = await world({ labels: { 'purser.identity': 'a', ...DB.labels } });
  denied.core.identityResult = { outcome: 'error', code: 'ERR_RESOLVE_DENIED', message: 'no workload role lets this container identify itself to a' };
  await assert.rejects(denied.create(), { message: /container web .*label purser\.identity: no workload role lets this container identify itself to a$/ });
  assert.equal(denied.trees.served.size, 0);
});
