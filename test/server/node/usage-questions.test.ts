// The questions about usage through the server's API: what was refused, which processes read, who is behind after a rotation, which
// roles are too wide, and the live updates.

import assert from 'node:assert/strict';
import { get } from 'node:http';
import { after, before, test } from 'node:test';

import { eventually } from '../../eventually.ts';
import { batch, container, granted, opened, refused, released, rotated, type NewEntry } from '../../ledger/entries.ts';
import { TestCore, UsageReports, workload, type TestNode } from './test-core.ts';

let core: TestCore;
let node: TestNode;
before(async () => {
  core = await TestCore.start();
  node = await core.join('n1', { driver: true, swarmNodeId: 'swarmnode1' });
  for (const name of ['x', 'y', 'z']) await core.put(name, { f: '1' });
  await core.policy('wide', 'path "secret/data/*" { capabilities = ["read", "list"] }');
  await core.policy('exact', 'path "secret/data/x" { capabilities = ["read"] }');
  await core.role('wide', { policies: ['wide'], selectors: { name: ['web*'] } });
  await core.role('exact', { policies: ['exact'], selectors: { name: ['web*'] } });
});
after(() => core.close());

type Json = Record<string, unknown>;
const reports = new UsageReports(() => node.client);
const add = (...entries: NewEntry[]): Promise<void> => reports.add(...entries);
const read = async (path: string, query: Record<string, string> = {}): Promise<Json> => core.root.read(`sys/usage/${path}`, query);
const resolve = (name: string, ...references: string[]) => node.client.write('node/resolve', { workloads: [workload(references, { name })] });

test('a refused resolve is on record with the container and the reason, at once, and its repeats are counted together', async () => {
  for (let count = 0; count < 5; count++) await resolve('intruder', 'purser://secret/x?default=do-not-keep#f');
  const denied = async () => (await read('denied', { secret: 'secret/x' }))['entries'] as Json[];
  const [entry] = await eventually('refusal', async () => ((await denied()).length > 0 ? denied() : undefined));
  assert.ok(entry);
  assert.deepEqual([entry['type'], entry['source'], entry['path'], entry['code'], entry['container'], entry['node'], entry['count']],
    ['denied', 'resolve', 'secret/x', 'ERR_RESOLVE_DENIED', 'intruder', 'n1', 1]);
  assert.match(String(entry['reason']), /no workload role/);
  assert.equal(JSON.stringify(entry).includes('do-not-keep'), false, 'a default may be a secret');
  assert.equal((await denied()).length, 1);
  core.clockOffset += 11 * 60_000;
  await core.services.usage.sweep();
  const counted = await eventually('counted repeats', async () => { const all = await denied(); return all.length === 2 ? all : undefined; });
  assert.equal(counted[0]?.['count'], 4);
  core.clockOffset = 0;
});

test('a refused Swarm secret is on record with its service', async () => {
  await assert.rejects(node.client.write('node/swarm-secret', {
    secret_name: 'db', secret_labels: { 'purser.ref': 'purser://secret/x#f' }, service_name: 'shop_api', service_labels: { 'com.docker.stack.namespace': 'shop' },
    task_id: 'task1', task_name: 'shop_api.1', task_image: 'api:1', node_id: 'swarmnode1',
  }));
  const entries = await eventually('refusal', async () => { const all = (await read('service/shop_api', { view: 'denied' }))['entries'] as Json[]; return all.length > 0 ? all : undefined; });
  assert.deepEqual([entries[0]?.['source'], entries[0]?.['swarm_secret'], entries[0]?.['service'], entries[0]?.['stack'], entries[0]?.['path'], entries[0]?.['task_id']], ['swarm-secret', 'db', 'shop_api', 'shop', 'secret/x', 'task1']);
});

test('names with HTML and control characters in them come back as they are, as JSON', async () => {
  const name = '<script>alert(1)</script>\u001b[2J"\'&';
  const { workloads } = await resolve(name, 'purser://secret/x#f') as unknown as { workloads: { results: Json[] }[] };
  assert.equal(workloads[0]?.results[0]?.['outcome'], 'error');
  const entry = await eventually('refusal', async () => ((await read('denied', { container: name }))['entries'] as Json[])[0]);
  assert.equal(entry['container'], name);
});

test('stale names who holds an old version, and a variable needs a restart; pinned ones are left out', async () => {
  const container1 = granted('1', ['secret/y']);
  await add(
    container1,
    { ...granted('2', ['secret/y']), secrets: [{ path: 'secret/y', field: 'f', version: 1, target: 'env:Y' }] },
    { ...granted('3', ['secret/y']), secrets: [{ path: 'secret/y', field: 'f', version: 1, target: '/pinned', pinned: true }] },
  );
  assert.deepEqual((await read('stale', { secret: 'secret/y' }))['holdings'], []);
  await core.put('y', { f: '2' });
  const { holdings } = await read('stale', { secret: 'secret/y' }) as { holdings: Json[] };
  assert.deepEqual(holdings.map((one) => [one['container'], one['version'], one['current_version'], one['needs_restart']]), [['name-1', 1, 2, false], ['name-2', 1, 2, true]]);
  assert.equal(((await read('stale'))['holdings'] as Json[]).length, 2);
  const status = await read('secret/secret/y', { view: 'rotation' });
  assert.deepEqual([status['version'], status['total'], status['current'], status['need_restart']], [2, 2, 0, 1]);
  await add(rotated('1', 'secret/y', 2));
  const finished = await eventually('the end of the rotation', async () => ((await read('rotations'))['rotations'] as Json[]).find((one) => one['path'] === 'secret/y' && one['finished_time'] !== null));
  assert.deepEqual([finished['current'], finished['total'], finished['need_restart']], [1, 2, 1]);
  await assert.rejects(read('secret/secret/nothing', { view: 'rotation' }), { status: 404 });
});

test('processes names the readers of a secret, with the refused tries', async () => {
  await add(granted('5', ['secret/z']), opened('5', 'secret/z', 3), opened('5', 'secret/z', 2, { pid: 77 }), refused('5', 4));
  const { processes } = await read('processes', { secret: 'secret/z' }) as { processes: Json[] };
  assert.deepEqual(processes.map((one) => [one['outcome'], one['executable'], one['uid'], one['count'], one['container']]).sort(), [['read', '/bin/cat', 0, 5, 'name-5'], ['refused', '/bin/ls', 0, 4, 'name-5']]);
});

test('unread keeps what was granted and never read', async () => {
  await add(granted('6', ['secret/x', 'secret/z']), opened('6', 'secret/x'));
  const { holdings } = await read('container/name-6', { unread: 'true' }) as { holdings: Json[] };
  assert.deepEqual(holdings.map(({ path }) => path), ['secret/z']);
});

test('roles names those that grant more than was used, with a policy that parses and grants just that', async () => {
  await resolve('web-1', 'purser://secret/x#f');
  const { roles } = await read('roles') as { roles: Json[] };
  assert.deepEqual(roles.map((role) => [role['role'], role['granted'], role['used'], role['unused'], role['more_than_read']]), [['wide', 3, ['secret/x'], ['secret/y', 'secret/z'], true]]);
  await core.policy('suggested', String(roles[0]?.['suggested_policy']));
  const acl = core.policies.acl(['suggested']);
  assert.deepEqual(['x', 'y', 'z'].map((name) => acl.check({ path: `secret/data/${name}`, operation: 'read' }).allowed), [true, false, false]);
  assert.deepEqual(((await read('roles', { all: 'true' }))['roles'] as Json[]).map(({ role }) => role), ['exact', 'wide']);
  core.clockOffset += 40 * 24 * 3600_000;
  assert.deepEqual(((await read('roles', { role: 'exact' }))['roles'] as Json[]).map(({ used, unused }) => [used, unused]), [[[], ['secret/x']]], 'used longer ago than asked for');
  core.clockOffset -= 40 * 24 * 3600_000;
});

test('what a role gave is remembered over a restart', async () => {
  await resolve('web-1', 'purser://secret/x#f');
  await core.restart();
  const { roles } = await read('roles', { role: 'exact' }) as { roles: Json[] };
  assert.deepEqual(roles[0]?.['used'], ['secret/x']);
});

test('overview and matrix count what is held', async () => {
  const overview = await read('overview');
  assert.ok(Number(overview['holdings']) >= 5 && Number(overview['secrets']) === 3, JSON.stringify(overview));
  assert.equal(typeof (overview['history'] as Json)['bytes'], 'number');
  const { cells } = await read('matrix') as { cells: Json[] };
  assert.ok(cells.some((cell) => cell['secret'] === 'secret/z' && cell['container'] === 'name-5'));
});

test('activity counts what was read and refused, step by step, also of hours that became part of their day, and after a restart', async () => {
  const total = async (name: string, query: Record<string, string> = {}) => ((await read('activity', query))['steps'] as Json[]).reduce((sum, step) => sum + Number(step[name]), 0);
  const before = await total('opened');
  await add(granted('e', ['secret/z']), opened('e', 'secret/z', 7), opened('e', 'secret/z', 4), released('e'));
  assert.equal(await total('opened'), before + 11);
  assert.ok(await total('refused', { since: '1h' }) > 0);
  await eventually('a denial is counted', async () => await total('denied', { step: '1h' }) > 0);
  core.clockOffset += 2 * 3600_000;
  await core.services.usage.sweep();
  assert.equal(await total('opened', { step: '5m' }), before + 11);
  core.clockOffset = 0;
  await assert.rejects(read('activity', { step: '7m' }), { serverCode: 'ERR_REQUEST_INVALID' });
});

test('a policy for one question or one secret allows no other', async () => {
  await core.policy('look', 'path "sys/usage/secret/secret/x" { capabilities = ["read"] }\npath "sys/usage/rotations" { capabilities = ["read"] }');
  const { id } = await core.tokens.create({ policies: ['look'], path: 'p', displayName: 'd' });
  const client = core.client(id);
  await client.read('sys/usage/secret/secret/x');
  await client.read('sys/usage/rotations');
  for (const path of ['', '/history', '/denied', '/roles', '/overview', '/secret/secret/y', '/container/name-5', '/events']) await assert.rejects(client.read(`sys/usage${path}`), { status: 403 }, path);
});

test('a question that is not one is refused', async () => {
  for (const [path, query] of [['history', { tpye: 'opened' }], ['secret/secret/x', { view: 'everything' }], ['processes', { secret: 'a', node: 'b' }], ['history', { since: 'x' }], ['stale', { limit: '99999999' }], ['nonsense', {}]] as const) {
    await assert.rejects(read(path, query), /.*/, path);
  }
});

test('ten thousand rows come in pages, and none twice', async () => {
  const paths = Array.from({ length: 500 }, (_, index) => `secret/many/${String(index)}`);
  for (let digit = 0; digit < 20; digit++) {
    const id = digit.toString(16).padStart(2, '0').repeat(32);
    const entry = granted('a', paths);
    await add({ ...entry, container: { ...entry.container, id, name: `many-${String(digit)}` } });
  }
  const seen = new Set<string>();
  let pages = 0;
  for (let next: string | undefined; pages === 0 || next !== undefined; pages++) {
    const page = await read('node/n1', { limit: '3000', ...(next === undefined ? {} : { after: next }) });
    for (const { container_id: id, path } of page['holdings'] as Json[]) seen.add(`${String(id)} ${String(path)}`);
    next = page['next'] as string | undefined;
  }
  assert.ok(seen.size >= 10_000 && pages >= 4, `${String(seen.size)} in ${String(pages)}`);
  for (let digit = 0; digit < 20; digit++) await add({ type: 'released', container_id: digit.toString(16).padStart(2, '0').repeat(32), reason: 'exited' });
});

test('events tells of a rotation until all have it, and of a refused read; it ends with its token', async () => {
  await core.policy('follow', 'path "sys/usage/events" { capabilities = ["read"] }');
  const { id } = await core.tokens.create({ policies: ['follow'], path: 'p', displayName: 'd' });
  const frames: (readonly [string, Json])[] = [];
  const response = await new Promise<import('node:http').IncomingMessage>((done) => { get(`${core.address}/v1/sys/usage/events`, { headers: { 'X-Vault-Token': id } }, done); });
  assert.equal(response.headers['content-type'], 'text/event-stream; charset=utf-8');
  let text = '';
  response.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
    for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
      const match = /^event: (\S+)\ndata: (.*)$/.exec(text.slice(0, end));
      if (match !== null) frames.push([match[1] ?? '', JSON.parse(match[2] ?? '') as Json]);
      text = text.slice(end + 2);
    }
  });
  await add(granted('7', ['secret/z']), granted('8', ['secret/z']));
  await core.put('z', { f: '2' });
  const progress = () => frames.filter(([name, data]) => name === 'rotation' && data['path'] === 'secret/z').map(([, data]) => data);
  await eventually('the beginning', async () => progress()[0]);
  const total = Number(progress()[0]?.['total']);
  await add(rotated('7', 'secret/z', 2), refused('7', 1));
  await add(rotated('8', 'secret/z', 2), rotated('5', 'secret/z', 2), rotated('6', 'secret/z', 2));
  const last = await eventually('the end', async () => progress().find((data) => data['finished_time'] !== null));
  assert.deepEqual([last['current'], last['total'], last['version']], [total, total, 2]);
  await eventually('the refusal', async () => frames.find(([name]) => name === 'refused'));
  const touched = await eventually('what changed', async () => frames.find(([name]) => name === 'holdings'));
  assert.ok((touched[1]['secrets'] as string[]).includes('secret/z'));
  const ended = new Promise((done) => { response.once('end', done); });
  core.services.usage.streams.close();
  await ended;
});

test('a node that is revoked, and one that lies about its place, report nothing', async () => {
  const gone = await core.join('gone');
  await core.root.delete(`auth/node/nodes/${gone.id}`);
  await assert.rejects(gone.client.write('node/usage', batch(1, [released('a')], new Date())), { status: 403 });
  await assert.rejects(node.client.write('node/usage', batch(reports.sequence + 5, [released('a')], new Date())), { serverCode: 'ERR_NODE_LEDGER' });
  assert.deepEqual((await read(`container/${container('f')}`))['holdings'], []);
});
