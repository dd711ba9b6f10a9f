// Rotation logic: bursts, batches, outages, races with a start, and what must not move.

import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, test } from 'node:test';
import { Containers } from '../../src/agent/containers.ts';
import type { ContainerRecord, GrantedFile } from '../../src/agent/container-record.ts';
import type { ContainerUpdate } from '../../src/agent/fuse/plan.ts';
import { Rotation } from '../../src/agent/rotation.ts';
import { CoreResponseError } from '../../src/client/response.ts';
import { WatchFollower } from '../../src/client/node/watch-follower.ts';
import { PurserError } from '../../src/lib/errors.ts';
import type { ResolveRequest, ResolveResult, WatchFrame } from '../../src/wire/node-protocol.ts';
import { eventually } from '../eventually.ts';
import { recordedLog } from '../fakes/silent-log.ts';

const PATH = 'secret/db/prod';
const cleanups: (() => unknown)[] = [];
afterEach(async () => { for (const cleanup of cleanups.splice(0).reverse()) await cleanup(); });

function id(number: number): string {
  return number.toString(16).padStart(64, '0');
}

function file(part: Partial<GrantedFile> = {}): GrantedFile {
  return { name: 'pw', kind: 'versioned', target: '/run/secrets/pw', source: { type: 'reference', text: `purser://${PATH}#password` }, path: PATH, field: 'password', version: 1, isPinned: false, ...part };
}

function record(number: number, files: readonly GrantedFile[] = [file()], part: Partial<ContainerRecord> = {}): ContainerRecord {
  return { workload: { id: id(number), name: `c${number}`, image: 'x', labels: {} }, grantedAt: 1, files, overMounts: [], ...part };
}

interface Setup {
  /** Answers a question about one file; the default gives the current version of its path. */
  answer?: (reference: string, version: number) => ResolveResult;
}

async function setup({ answer }: Setup = {}) {
  const directory = mkdtempSync(join(tmpdir(), 'purser-rotation-'));
  const { log, lines, text } = recordedLog();
  const containers = await Containers.open(join(directory, 'containers'), log);
  const core = {
    versions: new Map([[PATH, 1]]), asked: [] as ResolveRequest[], isDown: false, before: async () => {},
    async resolve(request: ResolveRequest) {
      core.asked.push(request);
      const versions = new Map(core.versions);
      await core.before();
      if (core.isDown) throw new PurserError('ERR_CLIENT_UNREACHABLE', 'the core cannot be reached');
      const give = (reference: string): ResolveResult => {
        const path = reference.replace(/^purser:\/\/|[#?].*$/g, '');
        const version = versions.get(path) ?? 0;
        return answer?.(reference, version) ?? { outcome: 'value', value: Buffer.from(`canary-${version}`).toString('base64'), path, field: 'password', version };
      };
      return { workloads: request.workloads.map((one) => ({ id: one.id, results: one.references.map(give), swarm_secrets: one.swarm_secrets?.map(() => give(`purser://${PATH}`)) })) };
    },
  };
  const replaced: { containerId: string; name: string; version: number; content: string }[][] = [];
  const shown = new Map<string, string>();
  const rotated: string[] = [];
  const rotation = new Rotation({
    containers, core, log, gatherMs: 1, jitterMs: 1, retryMs: 1,
    replace: async (updates: readonly ContainerUpdate[]) => { 
      const changes = updates.flatMap(({ containerId, files }) => files.map(({ name, version, content }) => ({ containerId, name, version, content: Buffer.from(content).toString() })))
        .filter((change) => shown.get(`${change.containerId}/${change.name}`) !== `${String(change.version)} ${change.content}`);
      for (const change of changes) shown.set(`${change.containerId}/${change.name}`, `${String(change.version)} ${change.content}`);
      if (changes.length > 0) replaced.push(changes);
      return changes;
    },
    ledger: { rotated: (one, files) => { rotated.push(...files.map(({ target, version }) => `${one.workload.name} ${target} ${version}`)); } },
  });
  cleanups.push(() => rmSync(directory, { recursive: true, force: true }), () => containers.flush(), () => rotation.stop());
  return { directory, containers, core, rotation, replaced, rotated, lines, text };
}

test('changed() replaces the files of all containers that hold the path in one step, and records it', async () => {
  const { containers, core, rotation, replaced, rotated } = await setup();
  for (let number = 0; number < 100; number++) containers.put(record(number));
  containers.put(record(200, [file({ path: 'secret/other', source: { type: 'reference', text: 'purser://secret/other' } })]));
  core.versions.set(PATH, 2);
  rotation.changed(PATH, 2);
  await rotation.settled();
  assert.equal(core.asked.length, 1);
  assert.equal(core.asked[0]?.workloads.length, 100);
  assert.deepEqual(core.asked[0]?.workloads[0]?.references, [`purser://${PATH}#password`]);
  assert.equal(replaced.length, 1);
  assert.equal(replaced[0]?.length, 100);
  assert.deepEqual(replaced[0]?.[0], { containerId: id(0), name: 'pw', version: 2, content: 'canary-2' });
  assert.equal(rotated.length, 100);
  assert.equal(containers.get(id(5))?.files[0]?.version, 2);
  assert.equal(containers.get(id(200))?.files[0]?.version, 1);
});

test('changed() costs one more round for a burst that arrives during a round, and ends at the newest version', async () => {
  const { containers, core, rotation, replaced } = await setup();
  containers.put(record(1));
  core.before = async () => {
    if (core.asked.length > 1) return;
    for (let version = 3; version <= 9; version++) {
      core.versions.set(PATH, version);
      rotation.changed(PATH, version);
    }
  };
  core.versions.set(PATH, 2);
  rotation.changed(PATH, 2);
  await rotation.settled();
  assert.equal(core.asked.length, 2);
  assert.deepEqual(replaced.flat().map(({ version }) => version), [2, 9]);
});

test('changed() asks about at most 256 workloads at once', async () => {
  const { containers, core, rotation, replaced } = await setup();
  for (let number = 0; number < 600; number++) containers.put(record(number));
  core.versions.set(PATH, 2);
  rotation.changed(PATH, 2);
  await rotation.settled();
  assert.deepEqual(core.asked.map(({ workloads }) => workloads.length), [256, 256, 88]);
  assert.equal(replaced.flat().length, 600);
});

test('changed() is idempotent: a frame that comes again changes nothing', async () => {
  const { containers, core, rotation, replaced, rotated } = await setup();
  containers.put(record(1));
  core.versions.set(PATH, 2);
  for (let time = 0; time < 3; time++) {
    rotation.changed(PATH, 2);
    await rotation.settled();
  }
  assert.equal(replaced.length, 1);
  assert.equal(rotated.length, 1);
});

test('changed() moves all fields of one secret in one replace and asks for nothing else', async () => {
  const { containers, core, rotation, replaced } = await setup();
  containers.put(record(1, [
    file({ name: 'user', field: 'user', source: { type: 'reference', text: `purser://${PATH}#user` } }), file(),
    file({ name: 'other', path: 'secret/other', source: { type: 'reference', text: 'purser://secret/other' } }),
    file({ name: '$swarm-0', kind: 'bound', source: { type: 'swarm', name: 'db' } }),
  ]));
  core.versions.set(PATH, 2);
  rotation.changed(PATH, 2);
  await rotation.settled();
  assert.deepEqual(core.asked[0]?.workloads[0]?.references, [`purser://${PATH}#user`, `purser://${PATH}#password`]);
  assert.deepEqual(core.asked[0]?.workloads[0]?.swarm_secrets, ['db']);
  assert.deepEqual(replaced.map((step) => step.map(({ name }) => name)), [['user', 'pw', '$swarm-0']]);
});

test('changed() does not move what is pinned to a version or absent', async () => {
  const { containers, core, rotation } = await setup();
  containers.put(record(1, [file({ isPinned: true }), file({ name: 'none', kind: 'absent', version: 0 })]));
  rotation.changed(PATH, 2);
  rotation.resync();
  await rotation.settled();
  assert.equal(core.asked.length, 0);
});

const kept: [string, ResolveResult][] = [
  ['denied', { outcome: 'error', code: 'ERR_RESOLVE_DENIED', message: 'no workload role grants this reference' }],
  ['deleted', { outcome: 'error', code: 'ERR_RESOLVE_NOT_FOUND', message: 'there is no such secret' }],
  ['given as its default', { outcome: 'default', value: 'eA==', path: PATH, version: 0 }],
  ['absent', { outcome: 'absent', path: PATH, version: 0 }],
  ['larger than 1 MiB', { outcome: 'value', value: Buffer.alloc(1_048_577).toString('base64'), path: PATH, version: 2 }],
];
for (const [name, result] of kept) {
  test(`changed() keeps the last value when the reference is ${name} now, and says so`, async () => {
    const { containers, rotation, replaced, rotated, lines } = await setup({ answer: () => result });
    containers.put(record(1));
    rotation.changed(PATH, 2);
    await rotation.settled();
    assert.equal(replaced.length, 0);
    assert.equal(rotated.length, 0);
    assert.equal(containers.get(id(1))?.files[0]?.version, 1);
    assert.match(JSON.stringify(lines()), /keeps its last value/);
  });
}

test('changed() tries again until the core answers, and loses nothing meanwhile', async () => {
  const { containers, core, rotation, replaced } = await setup();
  containers.put(record(1));
  core.isDown = true;
  core.versions.set(PATH, 2);
  rotation.changed(PATH, 2);
  await new Promise((resolve) => { setTimeout(resolve, 20); });
  core.versions.set(PATH, 3);
  rotation.changed(PATH, 3);
  core.isDown = false;
  await rotation.settled();
  assert.deepEqual(replaced.flat().map(({ version }) => version), [3]);
});

test('changed() reaches all other containers when the core refuses what one of them asks for', async () => {
  const { containers, core, rotation, replaced, text } = await setup();
  for (let number = 0; number < 100; number++) containers.put(record(number));
  core.versions.set(PATH, 2);
  let isTooMuch = true;
  core.before = async () => {
    if (isTooMuch && core.asked.at(-1)!.workloads.some((one) => one.id === id(37))) throw new CoreResponseError(413, { errors: ['http: request body too large'] }, undefined);
  };
  rotation.changed(PATH, 2);
  await rotation.settled();
  const reached = new Set(replaced.flat().map(({ containerId }) => containerId));
  assert.deepEqual([reached.size, reached.has(id(37))], [99, false]);
  assert.match(text(), /"container":"c37".*a rotation of one container is refused/);
  isTooMuch = false;
  await eventually('the last container', () => replaced.flat().some(({ containerId }) => containerId === id(37)));
});

test('changed() waits for a core that is sealed with all containers, and sets none of them aside', async () => {
  const { containers, core, rotation, replaced, text } = await setup();
  for (let number = 0; number < 100; number++) containers.put(record(number));
  core.versions.set(PATH, 2);
  let refusals = 3;
  core.before = async () => { if (refusals-- > 0) throw new CoreResponseError(503, { errors: ['sealed'] }, undefined); };
  rotation.changed(PATH, 2);
  await rotation.settled();
  assert.deepEqual(core.asked.map(({ workloads }) => workloads.length), [100, 100, 100, 100]);
  assert.equal(new Set(replaced.flat().map(({ containerId }) => containerId)).size, 100);
  assert.doesNotMatch(text(), /a rotation of one container is refused/);
});

test('resync() asks about everything held', async () => {
  const { containers, core, rotation, replaced } = await setup();
  for (let number = 0; number < 300; number++) containers.put(record(number));
  core.versions.set(PATH, 7);
  rotation.resync();
  await rotation.settled();
  assert.deepEqual(core.asked.map(({ workloads }) => workloads.length), [256, 44]);
  assert.equal(replaced.flat().length, 300);
});

test('admitted() catches a change and a resync that came while the container was being prepared', async () => {
  const { containers, core, rotation, replaced } = await setup();
  const { epoch } = rotation;
  core.versions.set(PATH, 2);
  rotation.changed(PATH, 2);
  containers.put(record(1));
  rotation.admitted(record(1), epoch);
  await rotation.settled();
  assert.deepEqual(replaced.flat().map(({ version }) => version), [2]);
  rotation.resync();
  core.versions.set(PATH, 3);
  containers.put(record(2));
  rotation.admitted(record(2), epoch);
  await rotation.settled();
  assert.ok(replaced.flat().some(({ containerId, version }) => containerId === id(2) && version === 3));
});

test('admitted() asks nothing when the container has the newest version', async () => {
  const { containers, core, rotation } = await setup();
  rotation.changed(PATH, 4);
  containers.put(record(1, [file({ version: 4 })]));
  rotation.admitted(record(1, [file({ version: 4 })]), rotation.epoch);
  await rotation.settled();
  assert.equal(core.asked.length, 0);
});

test('changed() leaves a container alone that ended or started anew while the core was asked', async () => {
  const { containers, core, rotation, replaced } = await setup();
  containers.put(record(1));
  containers.put(record(2));
  core.before = async () => {
    containers.delete(id(1));
    containers.put(record(2, [file({ version: 9 })], { grantedAt: 2 }));
  };
  core.versions.set(PATH, 2);
  rotation.changed(PATH, 2);
  await rotation.settled();
  assert.equal(replaced.length, 0);
  assert.equal(containers.get(id(1)), undefined);
  assert.equal(containers.get(id(2))?.files[0]?.version, 9);
});

test('Rotation writes no value to a log or a record on disk', async () => {
  const { directory, containers, core, rotation, text } = await setup();
  containers.put(record(1));
  core.versions.set(PATH, 2);
  rotation.changed(PATH, 2);
  await rotation.settled();
  await containers.flush();
  const stored = readFileSync(join(directory, 'containers', `${id(1)}.json`), 'utf8');
  assert.match(stored, /"version":2/);
  assert.equal(statSync(join(directory, 'containers', `${id(1)}.json`)).mode & 0o777, 0o600);
  for (const place of [stored, text()]) assert.doesNotMatch(place, /canary|Y2FuYXJ5/);
});

test('Containers.open() gives a successor every record, reports a damaged one and leaves it alone', async () => {
  const { directory, containers } = await setup();
  containers.put(record(1));
  containers.put(record(2));
  containers.put(record(3));
  containers.delete(id(3));
  await containers.flush();
  const damaged = join(directory, 'containers', `${id(2)}.json`);
  const { writeFileSync } = await import('node:fs');
  writeFileSync(damaged, '{"format":1,');
  const { log, lines } = recordedLog();
  const next = await Containers.open(join(directory, 'containers'), log);
  assert.deepEqual(next.all(), [record(1)]);
  assert.deepEqual(next.holding(PATH), [id(1)]);
  assert.match(JSON.stringify(lines()), /cannot be read/);
  assert.equal(readFileSync(damaged, 'utf8'), '{"format":1,');
});

test('WatchFollower resumes where it was, resyncs when it must, and survives every kind of end', async () => {
  const calls: { stream?: string | undefined; after?: number | undefined }[] = [];
  const heard: string[] = [];
  const scripts: (readonly WatchFrame[] | Error)[] = [
    new Error('refused'),
    [{ type: 'hello', stream: 's1', seq: 3, resumed: false }, { type: 'changed', seq: 4, path: 'a', version: 2 }, { type: 'heartbeat', seq: 4 }, { type: 'grants', seq: 4 }],
    [{ type: 'hello', stream: 's1', seq: 4, resumed: true }, { type: 'changed', seq: 5, path: 'b', version: 1 }],
    [{ type: 'hello', stream: 's2', seq: 0, resumed: false }, { type: 'revoked' }],
  ];
  const { log, lines } = recordedLog();
  const follower = new WatchFollower({
    log, retryMs: 1, maxRetryMs: 2, onLoss: 'so be it',
    listener: {
      changed: (path, version) => { heard.push(`${path}=${version}`); }, resync: () => { heard.push('resync'); },
      connected: () => { heard.push('connected'); }, disconnected: () => { heard.push('disconnected'); }, grantsChanged: () => { heard.push('grants'); },
    },
    async *open({ stream, after }) {
      calls.push({ stream, after });
      const script = scripts.shift();
      if (script instanceof Error) throw script;
      yield* script ?? [];
    },
  });
  follower.start();
  await eventually('the last loss', () => heard.filter((what) => what === 'disconnected').length === 3);
  await follower.stop();
  assert.deepEqual(heard, ['resync', 'connected', 'a=2', 'grants', 'disconnected', 'connected', 'b=1', 'disconnected', 'resync', 'connected', 'disconnected']);
  assert.deepEqual(calls, [{ stream: undefined, after: undefined }, { stream: undefined, after: undefined }, { stream: 's1', after: 4 }, { stream: 's1', after: 5 }]);
  assert.match(JSON.stringify(lines()), /this node was revoked/);
});

test('changed() moves the value for later processes, and the record keeps what the main process has', async () => {
  const { containers, core, rotation, replaced, rotated } = await setup();
  containers.put(record(1, [file({ name: '$0', kind: 'hidden', target: 'env:PW', variable: 'PW' }), file()]));
  containers.put(record(2, [file({ name: '$0', kind: 'default', target: 'env:PW', variable: 'PW', version: 0 })]));
  core.versions.set(PATH, 2);
  rotation.changed(PATH, 2);
  await rotation.settled();
  assert.deepEqual(replaced.flat().map(({ containerId, name, version }) => [containerId, name, version]), [[id(1), '$0', 2], [id(1), 'pw', 2]]);
  assert.deepEqual(containers.get(id(1))?.files.map(({ version }) => version), [1, 2]);
  assert.deepEqual(rotated, ['c1 /run/secrets/pw 2']);
});

test('changed() keeps the last value of a variable when the new one has a NUL byte', async () => {
  const { containers, rotation, replaced, lines } = await setup({ answer: (_reference, version) => ({ outcome: 'value', value: Buffer.from('a\0b').toString('base64'), path: PATH, version: version + 1 }) });
  containers.put(record(1, [file({ name: '$0', kind: 'hidden', target: 'env:PW', variable: 'PW' })]));
  rotation.changed(PATH, 2);
  await rotation.settled();
  assert.deepEqual(replaced, []);
  assert.match(JSON.stringify(lines()), /NUL byte, which a variable cannot carry; the container keeps its last value/);
});

test('caughtUp() waits for the changes of one container, not for those of others', async () => {
  const { containers, core, rotation, replaced } = await setup();
  containers.put(record(1));
  containers.put(record(2, [file({ path: 'secret/other', source: { type: 'reference', text: 'purser://secret/other' } })]));
  core.versions.set(PATH, 2);
  core.isDown = true;
  rotation.changed(PATH, 2);
  await rotation.caughtUp(id(2));
  assert.equal(replaced.length, 0);
  let isDone = false;
  const waiting = rotation.caughtUp(id(1)).then(() => { isDone = true; });
  await new Promise((resolve) => { setTimeout(resolve, 20); });
  assert.equal(isDone, false);
  core.isDown = false;
  await waiting;
  assert.equal(replaced.flat()[0]?.version, 2);
});
