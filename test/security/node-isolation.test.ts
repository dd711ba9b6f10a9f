// Class 12, what one node can do to another: a stolen node key reports, watches and resolves for itself alone. Whatever it
// says about containers of other nodes stands under its own name and changes nothing of theirs.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { resolve, TestCore, workload, type TestNode } from '../server/node/test-core.ts';

const CONTAINER = 'c'.repeat(64);
const SECRET = { path: 'secret/a', version: 1, target: '/run/secrets/a' };
let core: TestCore;
let victim: TestNode;
let thief: TestNode;

before(async () => {
  core = await TestCore.start();
  await core.policy('all', 'path "secret/data/*" { capabilities = ["read"] }');
  await core.role('all', { policies: ['all'], any: true });
  await core.put('a', { v: '1' });
  victim = await core.join('victim');
  thief = await core.join('thief');
});
after(() => core.close());

interface Row { readonly node: string; readonly version: number; readonly opens: number; readonly released_time: string | null; readonly container: string }

async function report(node: TestNode, spool: string, ...entries: object[]): Promise<unknown> {
  return (await node.client.write('node/usage', { spool, entries: entries.map((entry, index) => ({ seq: index + 1, time: new Date().toISOString(), ...entry })) }))['acknowledged'];
}

async function rowsOf(node: string): Promise<Row[]> {
  const { holdings } = await core.root.read('sys/usage', { container: CONTAINER, released: 'true' }) as unknown as { holdings: Row[] };
  return holdings.filter((row) => row.node === node);
}

const granted = { type: 'granted', container: { id: CONTAINER, name: 'shop', image: 'shop:1' }, secrets: [SECRET] };
const opened = { type: 'opened', container_id: CONTAINER, ...SECRET, process: { pid: 1, uid: 0, executable: '/x', name: 'x' }, count: 5, first_time: '2026-01-01T00:00:00Z', last_time: '2026-01-01T00:00:00Z' };

test('a node that reports for a container of another node neither closes nor changes its holdings', async () => {
  const spool = randomUUID();
  await report(victim, spool, granted);
  const before = await rowsOf('victim');
  assert.equal(before.length, 1);
  await report(thief, spool, { type: 'released', container_id: CONTAINER, reason: 'removed' }, { type: 'rotated', container_id: CONTAINER, ...SECRET, version: 9 }, opened);
  assert.deepEqual(await rowsOf('victim'), before);
  assert.ok((await rowsOf('thief')).every((row) => row.node === 'thief'));
  assert.equal(await report(victim, spool, granted, opened), 2, 'the same spool name of another node is another spool');
});

test('a node cannot take over the watch stream of another one', async () => {
  await victim.client.write('node/resolve', { workloads: [workload(['purser://secret/a'], { id: CONTAINER })] });
  const hello = async (node: TestNode, query: { stream?: string; after?: number }): Promise<{ stream: string; resumed: boolean }> => {
    for await (const frame of node.client.watch({ silenceMs: 3000, ...query })) {
      if (frame.type === 'hello') return frame;
    }
    throw new Error('the stream ended before it began');
  };
  const { stream } = await hello(victim, {});
  assert.equal((await hello(victim, { stream, after: 0 })).resumed, true, 'its owner can');
  const stolen = await hello(thief, { stream, after: 0 });
  assert.equal(stolen.resumed, false);
  assert.notEqual(stolen.stream, stream);
});

test('a node cannot speak for another one in its own name, nor act as operator', async () => {
  for (const call of [
    () => thief.client.read('secret/data/a'), () => thief.client.read('sys/usage'), () => thief.client.write('auth/node/join-token', {}),
    () => thief.client.write('auth/node/role/x', { policies: ['all'], any: true }), () => thief.client.read(`auth/node/nodes/${victim.id}`),
    () => thief.client.write('node/swarm-secret', { secret_name: 's', secret_labels: { 'purser.ref': 'purser://secret/a' }, task_id: 't', node_id: 'n' }),
  ]) await assert.rejects(call(), (error: { status?: number }) => error.status === 403);
});

test('a node cannot put another name than its own into the selector node', async () => {
  await core.put('b', { v: 'only for victim' });
  await core.policy('b', 'path "secret/data/b" { capabilities = ["read"] }');
  await core.policy('all', 'path "secret/data/a" { capabilities = ["read"] }');
  await core.role('b', { policies: ['b'], selectors: { node: ['victim'] } });
  assert.equal((await resolve(victim, ['purser://secret/b#v']))[0]?.outcome, 'value');
  for (const facts of [{ labels: { node: 'victim' } }, { name: 'victim' }, { service: 'victim', stack: 'victim' }]) {
    assert.equal((await resolve(thief, ['purser://secret/b#v'], facts))[0]?.outcome, 'error');
  }
  await assert.rejects(core.join('victim'), /name/, 'nor join under it');
});
