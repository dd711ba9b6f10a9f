import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { Assignments } from '../../../src/server/node/assignments.ts';
import type { ResolveResult } from '../../../src/wire/node-protocol.ts';
import { MemoryView } from '../../fakes/memory-view.ts';
import { TestCore, textOf, valueText, workload, type TestNode } from './test-core.ts';

let core: TestCore;
let driver: TestNode;
let worker: TestNode;
let other: TestNode;

before(async () => {
  core = await TestCore.start();
  driver = await core.join('manager', { driver: true, swarmNodeId: 'swarmmanager' });
  worker = await core.join('worker', { swarmNodeId: 'swarmworker' });
  other = await core.join('other', { swarmNodeId: 'swarmother' });
  await core.policy('shop', 'path "secret/data/shop/*" { capabilities = ["read"] }');
  await core.role('shop', { policies: ['shop'], selectors: { service: ['shop_web'], stack: ['shop'], label: { tier: ['front'] }, image: ['nginx*'] } });
  await core.put('shop/db', { password: 'pw-1' });
});
after(() => core.close());

function request(changes: object = {}): object {
  return {
    secret_name: 'shop_db', secret_labels: { 'purser.ref': 'purser://secret/shop/db#password' },
    service_id: 'svc1', service_name: 'shop_web', service_labels: { tier: 'front', 'com.docker.stack.namespace': 'shop' },
    task_id: 'task1', task_name: 'shop_web.1.task1', task_image: 'nginx:1', node_id: 'swarmworker', ...changes,
  };
}

const ask = (changes: object = {}) => driver.client.write('node/swarm-secret', request(changes));

async function follow(node: TestNode, names: string[], facts: object = {}): Promise<ResolveResult[]> {
  const data = await node.client.write('node/resolve', { workloads: [workload([], { image: 'claimed:1', task_id: 'task1', swarm_secrets: names, ...facts })] });
  return (data['workloads'] as unknown as { swarm_secrets: ResolveResult[] }[])[0]?.swarm_secrets ?? [];
}

test('swarm-secret gives the value to a driver, and lets the agent of that node follow it by what the driver said', async () => {
  assert.deepEqual(await ask(), { value: Buffer.from('pw-1').toString('base64'), version: 1, path: 'secret/shop/db', scope: 'service' });
  const [mine, foreign] = await follow(worker, ['shop_db', 'unrelated']);
  assert.equal(valueText(mine), 'pw-1');
  assert.deepEqual(foreign, { outcome: 'foreign' });
  await core.put('shop/db', { password: 'pw-2' });
  assert.equal(valueText((await follow(worker, ['shop_db']))[0]), 'pw-2');
});

test('a task of another Swarm node opens nothing, neither its secrets nor its references', async () => {
  await ask();
  for (const node of [other, driver]) {
    const [stolen] = await follow(node, ['shop_db']);
    assert.equal(stolen?.outcome === 'error' && stolen.code, 'ERR_RESOLVE_DENIED');
  }
  await core.role('everything', { policies: ['shop'], selectors: {}, any: true });
  const data = await other.client.write('node/resolve', { workloads: [workload(['purser://secret/shop/db'], { task_id: 'task1' })] });
  assert.equal((data['workloads'] as unknown as { results: ResolveResult[] }[])[0]?.results[0]?.outcome, 'error');
  const [claimed] = await follow(worker, ['shop_db'], { service: 'shop_admin' });
  assert.equal(claimed?.outcome, 'error');
  await core.root.delete('auth/node/role/everything');
});

test('a follower is checked against the roles of now', async () => {
  await ask();
  await core.role('shop', { policies: ['shop'], selectors: { service: ['nobody'] } });
  const [denied] = await follow(worker, ['shop_db'], { service: 'shop_web' });
  assert.equal(denied?.outcome === 'error' && denied.code, 'ERR_RESOLVE_DENIED');
  await core.role('shop', { policies: ['shop'], selectors: { service: ['shop_web'] } });
});

test('swarm-secret refuses, with the reason, whatever it must not give', async () => {
  await core.put('shop/empty', { v: '' });
  await core.put('shop/largest', { v: 'x'.repeat(511_999) });
  await core.put('shop/large', { v: 'x'.repeat(512_000) });
  await core.put('private', { v: 'x' });
  const ref = (reference: string) => ({ secret_labels: { 'purser.ref': reference } });
  const table: readonly (readonly [string, object, string, RegExp])[] = [
    ['no label', { secret_labels: {} }, 'ERR_WORKLOAD_INVALID', /no label purser.ref/],
    ['malformed', ref('purser://x'), 'ERR_REFERENCE_SYNTAX', /malformed/],
    ['denied', ref('purser://secret/private'), 'ERR_RESOLVE_DENIED', /no workload role grants secret\/private/],
    ['another service', { service_name: 'shop_db' }, 'ERR_RESOLVE_DENIED', /no workload role/],
    ['empty', ref('purser://secret/shop/empty'), 'ERR_RESOLVE_SIZE', /0 bytes/],
    ['too large', ref('purser://secret/shop/large'), 'ERR_RESOLVE_SIZE', /512000 bytes/],
    ['not there', ref('purser://secret/shop/none'), 'ERR_RESOLVE_NOT_FOUND', /does not exist/],
    ['absent', ref('purser://secret/shop/none?optional'), 'ERR_RESOLVE_NOT_FOUND', /cannot be left out/],
    ['a task id that is none', { task_id: '../x' }, 'ERR_REQUEST_INVALID', /not an id/],
    ['unknown key', { extra: 1 }, 'ERR_REQUEST_INVALID', /unknown field/],
  ];
  for (const [what, changes, serverCode, message] of table) await assert.rejects(ask({ task_id: 'task2', ...changes }), { serverCode, message }, what);
  assert.equal((await follow(worker, ['shop_db'], { task_id: 'task2' }))[0]?.outcome, 'foreign');
  assert.equal(Buffer.from(textOf((await ask({ task_id: 'task3', ...ref('purser://secret/shop/largest') }))['value']), 'base64').length, 511_999);
  assert.equal(Buffer.from(textOf((await ask({ task_id: 'task4', ...ref('purser://secret/shop/none?default=d') }))['value']), 'base64').toString(), 'd');
});

test('swarm-secret answers only nodes that joined as drivers, and moves no task', async () => {
  await assert.rejects(worker.client.write('node/swarm-secret', request()), { status: 403, message: /may not answer Swarm/ });
  await ask({ task_id: 'task5' });
  await assert.rejects(ask({ task_id: 'task5', node_id: 'swarmother' }), { status: 403, message: /another Swarm node/ });
});

test('asking again for the same assignment writes nothing', async () => {
  await ask({ task_id: 'task6' });
  core.view.failAfter(0);
  await ask({ task_id: 'task6' });
  core.view.failAfter(Infinity);
});

test('tidy() removes assignments after 30 days, unless a container follows them', async () => {
  let now = Date.now();
  const held = new Set(['container1']);
  const assignments = new Assignments({ view: new MemoryView(), now: () => now, holdsContainer: (_node, container) => held.has(container) });
  const service = { name: 's', task_name: 't', image: 'i', labels: {} };
  for (const task of ['kept', 'gone', 'released']) await assignments.record(task, { secret_name: 'x', swarm_node_id: 'n', reference: 'purser://a/b', service });
  assignments.follow('kept', 'node1', 'container1');
  assignments.follow('released', 'node1', 'container2');
  now += 29 * 24 * 3600_000;
  assert.equal(await assignments.tidy(), 0);
  now += 2 * 24 * 3600_000;
  assert.equal(await assignments.tidy(), 2);
  assert.equal((await assignments.ofTask('kept')).size, 1);
  assert.equal((await assignments.ofTask('gone')).size, 0);
});
