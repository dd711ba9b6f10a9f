// The driver's memory against a real core: fast, and never longer than what the core would say.

import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, test } from 'node:test';

import { NodeSession } from '../../src/client/node/session.ts';
import { SecretAnswers } from '../../src/driver/secret-answers.ts';
import { WaitBudget } from '../../src/driver/wait-budget.ts';
import type { ResolveResult, SwarmSecretRequest } from '../../src/wire/node-protocol.ts';
import { eventually, unlessDelayed } from '../eventually.ts';
import { recordedLog } from '../fakes/silent-log.ts';
import { CLUSTER, TestCore, valueText, workload, type TestNode } from '../server/node/test-core.ts';

let core: TestCore;
let worker: TestNode;
let session: NodeSession;
let answers: SecretAnswers;
const { log } = recordedLog();
let tasks = 0;

before(async () => {
  core = await TestCore.start();
  await core.policy('shop', 'path "secret/data/shop/*" { capabilities = ["read"] }');
  worker = await core.join('worker', { swarmNodeId: 'nodea' });
  await core.join('other', { swarmNodeId: 'nodeb' });
  const { id, key } = await core.join('manager', { driver: true, swarmNodeId: 'manager' });
  session = new NodeSession({ node_id: id, cluster_id: CLUSTER, address: core.address, name: 'manager', key });
});
beforeEach(async () => {
  await core.role('shop', { policies: ['shop'], selectors: { service: ['shop_*'] } });
  await core.put('shop/db', { password: 'pw-1' });
  await start();
});
afterEach(() => answers.close());
after(async () => {
  session.close();
  await core.close();
});

/** An empty memory, to which the core has nothing to say of what was before. */
async function start(): Promise<void> {
  answers = new SecretAnswers(session, log);
  answers.start();
  await eventually('the stream', () => answers.isLive);
}

/** Steps for which the core must be heard all the time: three seconds of silence end the memory, and it speaks once a second. */
const whileHeard = (steps: () => Promise<void>): Promise<void> => unlessDelayed(1500, async () => {
  await answers.close();
  await start();
  await steps();
});

function request(changes: Partial<SwarmSecretRequest> = {}): SwarmSecretRequest {
  return {
    secret_name: 'shop_db', secret_labels: { 'purser.ref': 'purser://secret/shop/db#password' }, service_id: 'svc1', service_name: 'shop_web',
    service_labels: { 'com.docker.stack.namespace': 'shop' }, task_id: `task${String(++tasks)}`, task_name: 'shop_web.1', task_image: 'nginx:1', node_id: 'nodea', ...changes,
  };
}

async function give(changes: Partial<SwarmSecretRequest> = {}): Promise<readonly [string, boolean]> {
  const { value, isFromMemory } = await answers.give(request(changes));
  return [Buffer.from(value).toString(), isFromMemory];
}

async function follow(node: TestNode, taskId: string): Promise<ResolveResult | undefined> {
  const data = await node.client.write('node/resolve', { workloads: [workload([], { task_id: taskId, service: 'shop_web', swarm_secrets: ['shop_db'] })] });
  return (data['workloads'] as unknown as { swarm_secrets: ResolveResult[] }[])[0]?.swarm_secrets[0];
}

test('give() answers further tasks of a service from memory, on every node, and no other service', () => whileHeard(async () => {
  assert.deepEqual(await give(), ['pw-1', false]);
  assert.deepEqual(await give(), ['pw-1', true]);
  assert.deepEqual(await give({ node_id: 'nodeb' }), ['pw-1', true]);
  assert.deepEqual(await give({ service_name: 'shop_admin', service_id: 'svc2' }), ['pw-1', false]);
  assert.deepEqual(await give({ task_image: 'nginx:2' }), ['pw-1', false]);
  await assert.rejects(give({ service_name: 'strange' }), /no workload role/);
}));

test('a task that was answered from memory is recorded: its node may follow it at once, another may not', () => whileHeard(async () => {
  await give();
  const asked = request({ node_id: 'nodeb' });
  const early = follow(worker, asked.task_id);
  assert.equal((await answers.give(asked)).isFromMemory, true);
  assert.equal((await early)?.outcome, 'error', 'the core waited for the driver\'s word, and this node has not got the task');
  const mine = request();
  const following = follow(worker, mine.task_id);
  await answers.give(mine);
  assert.equal(valueText(await following), 'pw-1');
}));

test('give() has the new value as soon as the change is told, and again from memory', async () => {
  await give();
  for (const value of ['pw-2', 'pw-3', 'pw-4']) {
    await core.put('shop/db', { password: value });
    await eventually('the new value', async () => (await give())[0] === value);
    await eventually('an answer from memory', async () => (await give())[1]);
  }
});

const revocations: readonly (readonly [string, () => Promise<unknown>, () => Promise<unknown>])[] = [
  ['the role is removed', () => core.root.delete('auth/node/role/shop'), async () => undefined],
  ['the role is narrowed', () => core.role('shop', { policies: ['shop'], selectors: { service: ['nobody'] } }), async () => undefined],
  ['the policy is removed', () => core.policies.delete('shop'), () => core.policy('shop', 'path "secret/data/shop/*" { capabilities = ["read"] }')],
  ['the secret is removed', () => core.kv.handle({ operation: 'delete', path: 'data/shop/db', mountPoint: 'secret/', data: {}, remoteAddress: '' }), async () => undefined],
];
for (const [what, revoke, restore] of revocations) {
  test(`give() refuses soon after ${what}`, async () => {
    await eventually('an answer from memory', async () => (await give())[1]);
    await revoke();
    await eventually('a refusal', () => give().then(() => false, () => true)).finally(restore);
  });
}

test('give() asks per node while a role selects nodes, and per task while one selects names', async () => {
  await core.role('by-node', { policies: ['shop'], selectors: { node: ['worker'], service: ['elsewhere'] } });
  await whileHeard(async () => assert.deepEqual([(await give())[1], (await give())[1], (await give({ node_id: 'nodeb' }))[1]], [false, true, false]));
  await core.role('by-name', { policies: ['shop'], selectors: { name: ['x*'] } });
  await eventually('the end of the memory', async () => !(await give())[1]);
  assert.deepEqual([(await give())[1], (await give())[1]], [false, false]);
  for (const role of ['by-node', 'by-name']) await core.root.delete(`auth/node/role/${role}`);
});

test('a core that is away ends the memory, and holds the manager up for a bounded time; when it is back, so is the memory', async () => {
  await eventually('an answer from memory', async () => (await give())[1]);
  // It still listens and does not answer: the worst kind of away.
  const { restart } = core.pause();
  await eventually('the end of the memory', () => !answers.isLive);
  const began = performance.now();
  const results = await Promise.allSettled(Array.from({ length: 3 }, () => give()));
  for (let call = 0; call < 200; call++) results.push(...await Promise.allSettled([give()]));
  assert.ok(results.every(({ status }) => status === 'rejected'));
  assert.ok(performance.now() - began < 30_000, `203 calls took ${String(performance.now() - began)} ms`);
  await restart();
  await eventually('the stream', () => answers.isLive);
  await eventually('an answer from memory', async () => (await give().catch(() => ['', false] as const))[1]);
});

test('WaitBudget rations the waiting, not the answers', () => {
  let now = 0;
  const budget = new WaitBudget(3000, () => now);
  /** How long a core that needs so long keeps the manager waiting; undefined: it was not asked. */
  const ask = (milliseconds: number): number | undefined => {
    const allowed = budget.next();
    if (allowed === undefined) return undefined;
    const taken = Math.min(milliseconds, allowed);
    now += taken;
    budget.spent(taken);
    return taken;
  };
  for (let call = 0; call < 10_000; call++) assert.equal(ask(20), 20, 'fast answers are free');
  let waited = 0;
  for (let taken: number | undefined; (taken = ask(60_000)) !== undefined;) waited += taken;
  assert.ok(waited >= 4000 && waited <= 7000, String(waited));
  assert.equal(ask(1), undefined);
  now += 6000;
  assert.equal(ask(1), 1, 'some of it comes back');
});
