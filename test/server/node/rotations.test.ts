// Rotations under way over restarts of the core: who is behind is still told, and the clock of a rotation is not set back.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { eventually } from '../../eventually.ts';
import { granted, released, rotated, type NewEntry } from '../../ledger/entries.ts';
import { TestCore, UsageReports, type TestNode } from './test-core.ts';

let core: TestCore;
let node: TestNode;
before(async () => {
  core = await TestCore.start();
  node = await core.join('n1');
});
after(() => core.close());

type Json = Record<string, unknown>;
const reports = new UsageReports(() => node.client);
const add = (...entries: NewEntry[]): Promise<void> => reports.add(...entries);
const read = async (path: string, query: Record<string, string> = {}): Promise<Json> => core.root.read(`sys/usage/${path}`, query);

const createdTime = async (name: string, version: number) => ((await core.root.read(`secret/metadata/${name}`))['versions'] as Record<string, { created_time: string }>)[String(version)]?.created_time;

async function restart(): Promise<void> {
  await core.restart();
  node = { ...node, client: core.client(await core.logIn(node.id, node.key)) };
}

test('a rotation under way goes on after a restart of the core, with its beginning, and ends when the last container has the version', async () => {
  await core.put('r', { f: '1' });
  await add(granted('7', ['secret/r']), granted('8', ['secret/r']));
  await core.put('r', { f: '2' });
  await add(rotated('7', 'secret/r', 2));
  const half = async () => ((await read('rotations'))['rotations'] as Json[]).find((one) => one['path'] === 'secret/r' && one['current'] === 1);
  const before = await eventually('half of the rotation', half);
  await eventually('its record', async () => [...core.view.records.keys()].find((key) => key.startsWith('ledger/rotation/')));
  await restart();
  assert.deepEqual(await eventually('the rotation after the restart', half), before);
  const { holdings } = await read('stale', { secret: 'secret/r' }) as { holdings: Json[] };
  assert.deepEqual(holdings.map((one) => [one['container'], one['version'], one['current_version']]), [['name-8', 1, 2]]);
  const status = await read('secret/secret/r', { view: 'rotation' });
  assert.deepEqual([status['total'], status['current'], status['started_time']], [2, 1, before['started_time']]);
  await add(rotated('8', 'secret/r', 2));
  await eventually('the end of the rotation', async () => ((await read('rotations'))['rotations'] as Json[]).find((one) => one['path'] === 'secret/r' && one['finished_time'] !== null));
  await eventually('the end of its record', async () => ([...core.view.records.keys()].some((key) => key.startsWith('ledger/rotation/')) ? undefined : true));
  await restart();
  assert.deepEqual((await read('rotations'))['rotations'], []);
});

test('a rotation is followed to the current version when the record of it is older, and ends with its last holder', async () => {
  await core.put('s', { f: '1' });
  await add(granted('9', ['secret/s']));
  await core.put('s', { f: '2' });
  const record = () => [...core.view.records].find(([key]) => key.startsWith('ledger/rotation/'));
  const [key = '', value = Buffer.alloc(0)] = await eventually('the record', async () => record());
  await core.put('s', { f: '3' });
  await eventually('the record of version 3', async () => (record()?.[1].includes('"version":3') === true ? true : undefined));
  await core.view.put(key, value); // as if the core had stopped before it wrote that
  await restart();
  const [rotation] = await eventually('the rotation', async () => { const all = (await read('rotations'))['rotations'] as Json[]; return all.length > 0 ? all : undefined; });
  assert.deepEqual([rotation?.['version'], rotation?.['started_time']], [3, await createdTime('s', 3)]);
  await add(released('9'));
  await eventually('the end of its record', async () => (record() === undefined ? true : undefined));
});

test('a rotation without a record, because the core stopped at once, is found again with the time its version was made', async () => {
  for (const name of ['t', 'u']) await core.put(name, { f: '1' });
  await add(granted('a', ['secret/t']), { ...granted('b', []), secrets: [{ path: 'secret/u', field: 'f', version: 1, target: 'env:U' }, { path: 'secret/u', field: 'f', version: 1, target: '/pinned', pinned: true }] });
  core.clockOffset = -3600_000;
  for (const name of ['t', 'u']) await core.put(name, { f: '2' });
  core.clockOffset = 0;
  const key = await eventually('the record', async () => [...core.view.records.keys()].find((name) => name.startsWith('ledger/rotation/')));
  await core.view.delete(key); // as if the core had stopped before it wrote that
  await restart();
  const rotations = await eventually('the rotation', async () => { const all = (await read('rotations'))['rotations'] as Json[]; return all.length > 0 ? all : undefined; });
  assert.deepEqual(rotations.map((one) => [one['path'], one['version'], one['started_time'], one['finished_time']]), [['secret/t', 2, await createdTime('t', 2), null]], 'a variable keeps its value until a restart, which is no rotation under way');
  assert.ok(Date.now() - Date.parse(String(rotations[0]?.['started_time'])) > 3_500_000);
  await add(rotated('a', 'secret/t', 2));
  await eventually('the end', async () => ((await read('rotations'))['rotations'] as Json[]).find((one) => one['finished_time'] !== null));
});
