// For whom a mount is: told by Docker's list, by its event or by the container's record, in every order, and never twice for one.

import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, test } from 'node:test';
import { Containers } from '../../../src/agent/containers.ts';
import type { ContainerTree } from '../../../src/agent/fuse/plan.ts';
import { Ledger } from '../../../src/agent/ledger.ts';
import type { NewUsageEntry } from '../../../src/agent/ledger-spool.ts';
import { VolumeDefinitions } from '../../../src/agent/volume/definitions.ts';
import { Volumes } from '../../../src/agent/volume/volumes.ts';
import type { ResolveRequest, ResolveResult } from '../../../src/wire/node-protocol.ts';
import { recordedLog } from '../../fakes/silent-log.ts';

const [C1, C2] = ['1'.repeat(64), '2'.repeat(64)] as const;
const [M1, M2] = ['a'.repeat(64), 'b'.repeat(64)] as const;
const cleanups: (() => unknown)[] = [];
afterEach(async () => { for (const cleanup of cleanups.splice(0).reverse()) await cleanup(); });

async function setup() {
  const directory = mkdtempSync(join(tmpdir(), 'purser-volumes-'));
  const { log, text } = recordedLog();
  const containers = await Containers.open(join(directory, 'containers'), log);
  const definitions = await VolumeDefinitions.open(join(directory, 'volumes'), log);
  await definitions.create('db', { pw: 'purser://secret/db#pw', maybe: 'purser://secret/none?optional' });
  const served = new Map<string, { readerId: string | undefined; files: string[] }>();
  const trees = {
    async add(tree: ContainerTree) { served.set(tree.id, { readerId: tree.readerId, files: tree.files.map(({ name, content }) => `${name}=${Buffer.from(content).toString()}`) }); },
    async remove(id: string) { served.delete(id); },
    containers: () => [...served.keys()].map((id) => ({ id })),
  };
  const core = {
    asked: [] as ResolveRequest[], denies: new Set<string>(),
    async resolve(request: ResolveRequest) {
      core.asked.push(request);
      const give = (id: string, reference: string): ResolveResult => core.denies.has(id) ? { outcome: 'error', code: 'ERR_RESOLVE_DENIED', message: 'no workload role' }
        : reference.includes('none') ? { outcome: 'absent', path: 'secret/none', version: 0 } : { outcome: 'value', value: Buffer.from(`for ${id.slice(0, 1)}`).toString('base64'), path: 'secret/db', field: 'pw', version: 2 };
      return { workloads: request.workloads.map((one) => ({ id: one.id, results: one.references.map((reference) => give(one.id, reference)) })) };
    },
  };
  const users: { id: string; state: string; destination: string }[] = [];
  const entries: NewUsageEntry[] = [];
  const runs = (id: string, mounts: Record<string, string>): void => {
    mkdirSync(join(directory, 'containers', id), { recursive: true });
    const points = Object.fromEntries(Object.entries(mounts).map(([destination, mountId]) => [destination, { Destination: destination, Name: 'db', Driver: 'purser', ID: mountId }]));
    writeFileSync(join(directory, 'containers', id, 'config.v2.json'), JSON.stringify({ ID: id, Name: `/c${id.slice(0, 1)}`, Config: { Image: 'x', Labels: {} }, State: { Running: true, Pid: 1 }, MountPoints: points }));
  };
  for (const id of [C1, C2]) runs(id, {});
  const docker = { info: async () => ({ dockerRoot: directory, swarmNodeId: undefined }), listed: async () => undefined, imageLabels: async () => ({}), volumeUsers: async () => users };
  const options = {
    definitions, trees, core, containers, log, mountRoot: '/run/purser/ro', rotation: { epoch: 0, admitted: () => undefined }, ledger: new Ledger((entry) => { entries.push(entry); }, log),
    docker,
  };
  cleanups.push(() => rmSync(directory, { recursive: true }), () => containers.flush());
  const volumes = new Volumes(options);
  const user = (id: string, state = 'created'): void => { users.push({ id, state, destination: '/data' }); };
  return { volumes, served, core, user, users, entries, containers, runs, docker, text, again: () => new Volumes(options) };
}

test('mount() resolves for the only container that can be meant, before it answers', async () => {
  const { volumes, served, core, user, entries, containers } = await setup();
  user(C2, 'running');
  user(C1);
  assert.equal(await volumes.mount('db', M1), `/run/purser/ro/${M1}/files`);
  assert.deepEqual(served.get(M1), { readerId: C1, files: ['pw=for 1'] }, 'an optional file that does not exist is not there');
  assert.equal(core.asked[0]?.workloads[0]?.name, 'c1');
  assert.deepEqual(entries.map((entry) => entry.type === 'granted' && [entry.container.id, entry.secrets.map(({ target }) => target)]), [[C1, ['/data/pw']]]);
  assert.deepEqual(containers.get(M1)?.volume, { name: 'db', mountId: M1, uses: 1 });
  await volumes.mounted({ volume: 'db', container: C1, destination: '/data' });
  assert.equal(core.asked.length, 1, 'the event tells nothing new');
});

test('mount() fails with the reason when that container is denied, and leaves nothing', async () => {
  const { volumes, served, core, user, containers, entries } = await setup();
  user(C1);
  core.denies.add(C1);
  await assert.rejects(volumes.mount('db', M1), { message: /^purser: container c1 \(1{12}\): purser:\/\/secret\/none\?optional: no workload role \(and 1 more\)$/ });
  assert.equal(served.size, 0);
  assert.deepEqual([volumes.isMount(M1), containers.all().length, entries.length], [false, 0, 0]);
  await assert.rejects(volumes.mount('none', M1), /there is no volume/);
});

test('where two can be meant nobody reads, until the event of a single waiting mount tells', async () => {
  const { volumes, served, user } = await setup();
  user(C1);
  user(C2);
  await volumes.mount('db', M1);
  assert.deepEqual(served.get(M1), { readerId: undefined, files: ['maybe=', 'pw='] });
  await volumes.mounted({ volume: 'other', container: C1, destination: '/data' });
  assert.equal(served.get(M1)?.readerId, undefined);
  await volumes.mounted({ volume: 'db', container: C2, destination: '/data' });
  assert.equal(served.get(M1)?.readerId, C2);
});

test('with two mounts waiting only the records tell whose is whose, and they correct what was assigned wrong', async () => {
  const { volumes, served, user, runs } = await setup();
  user(C1);
  user(C2);
  await volumes.mount('db', M1);
  await volumes.mount('db', M2);
  for (const container of [C1, C2]) await volumes.mounted({ volume: 'db', container, destination: '/data' });
  assert.deepEqual([served.get(M1)?.readerId, served.get(M2)?.readerId], [undefined, undefined]);
  runs(C1, { '/data': M2 });
  runs(C2, { '/data': M1 });
  await volumes.started(C1);
  assert.deepEqual([served.get(M1)?.readerId, served.get(M2)], [undefined, { readerId: C1, files: ['pw=for 1'] }]);
  await volumes.mounted({ volume: 'db', container: C2, destination: '/data' });
  assert.deepEqual(served.get(M1), { readerId: C2, files: ['pw=for 2'] });
  runs(C1, { '/data': M1 });
  await volumes.started(C1);
  assert.deepEqual(served.get(M1), { readerId: C1, files: ['pw=for 1'] });
});

test('a container that is denied late reads nothing, is named in log and ledger, and may be allowed later', async () => {
  const { volumes, served, core, user, text, runs, entries } = await setup();
  user(C1);
  user(C2);
  core.denies.add(C1);
  await volumes.mount('db', M1);
  await volumes.mounted({ volume: 'db', container: C1, destination: '/data' });
  assert.equal(served.get(M1)?.readerId, undefined);
  assert.match(text(), /gets nothing.*|no workload role/);
  core.denies.clear();
  runs(C1, { '/data': M1 });
  await volumes.started(C1);
  assert.equal(served.get(M1)?.readerId, C1);
  assert.equal(await volumes.ended(C1, Date.now() + 1), true);
  assert.equal(served.size, 0);
  assert.deepEqual(entries.map(({ type }) => type), ['action', 'granted']);
  const [denial] = entries as { action?: string; outcome?: string; message?: string }[];
  assert.deepEqual([denial?.action, denial?.outcome], ['volume:db', 'failed']);
  assert.match(denial?.message ?? '', /no workload role/);
});

test('a mount lives until its last use ends: docker cp mounts and unmounts the same one', async () => {
  const { volumes, served, user, entries } = await setup();
  user(C1);
  await volumes.mount('db', M1);
  await volumes.mount('db', M1);
  await volumes.unmount(M1);
  assert.equal(served.get(M1)?.readerId, C1);
  await assert.rejects(volumes.remove('db'), /is mounted/);
  await volumes.unmount(M1);
  assert.equal(served.size, 0);
  assert.deepEqual(entries.map(({ type }) => type), ['granted', 'released']);
  await volumes.unmount(M1);
  await volumes.remove('db');
  assert.throws(() => volumes.get('db'), /there is no volume/);
});

test('ended() leaves what was mounted for the next run', async () => {
  const { volumes, served, user } = await setup();
  user(C1);
  const before = Date.now() - 1;
  await volumes.mount('db', M1);
  assert.equal(await volumes.ended(C1, before), false);
  assert.equal(served.size, 1);
  assert.equal(await volumes.ended(C1, Date.now() + 1), true);
  assert.equal(served.size, 0);
});

test('recover() takes over mounts, assigned and waiting', async () => {
  const { volumes, served, user, users, runs, again } = await setup();
  user(C1);
  await volumes.mount('db', M1);
  user(C1);
  user(C2);
  users.push({ id: '3'.repeat(64), state: 'created', destination: '/data' });
  await volumes.mount('db', M2);
  const next = again();
  next.recover();
  assert.deepEqual([next.isMount(M1), next.isMount(M2), next.isMount(C1)], [true, true, false]);
  runs(C2, { '/data': M2 });
  await next.started(C2);
  assert.equal(served.get(M2)?.readerId, C2);
});

test('a Docker that does not answer leaves the mount waiting for the event', async () => {
  const { volumes, served, docker, text } = await setup();
  docker.volumeUsers = async () => { throw new Error('no answer'); };
  await volumes.mount('db', M1);
  assert.equal(served.get(M1)?.readerId, undefined);
  assert.match(text(), /no answer/);
  await volumes.mounted({ volume: 'db', container: C1, destination: '/data' });
  assert.equal(served.get(M1)?.readerId, C1);
});
