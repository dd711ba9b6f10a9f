import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { batch, container, granted, opened, released } from '../../ledger/entries.ts';
import { TestCore, type TestNode } from './test-core.ts';

let core: TestCore;
let node: TestNode;
before(async () => {
  core = await TestCore.start();
  node = await core.join('n1');
});
after(() => core.close());

const usage = (body: object, client = node.client) => client.write('node/usage', body, { isRepeatable: true });

test('a batch whose answer was lost is sent again by the client and counts once', async () => {
  await core.put('x', { v: '1' });
  await core.put('y', { v: '1' });
  core.loseReplyOf.add('node/usage');
  const entries = [granted('a', ['secret/x']), opened('a', 'secret/x', 7)];
  await assert.rejects(usage(batch(1, entries)), { code: 'ERR_CLIENT_UNREACHABLE' });
  core.loseReplyOf.clear();
  assert.deepEqual(await usage(batch(1, entries)), { acknowledged: 2 });
  const { holdings } = await core.root.read('sys/usage', { secret: 'secret/x' });
  assert.deepEqual((holdings as unknown as { node: string; opens: number }[]).map(({ node: name, opens }) => [name, opens]), [['n1', 7]]);
  assert.deepEqual((await core.root.read('sys/usage', { unused: true }))['unused'], ['secret/y']);
});

test('a gap is refused with a code of its own, and an invalid batch with another', async () => {
  await assert.rejects(usage(batch(9, [released('a')])), { status: 400, serverCode: 'ERR_NODE_LEDGER', message: /expected is 3/ });
  await assert.rejects(usage({ ...batch(3, [released('a')]), extra: 1 }), { status: 400, serverCode: 'ERR_REQUEST_INVALID' });
  await assert.rejects(usage(batch(3, [])), { status: 400, serverCode: 'ERR_REQUEST_INVALID' });
  await assert.rejects(usage({ ...batch(3, [released('a')]), spool: '../x' }), { status: 400, serverCode: 'ERR_REQUEST_INVALID' });
});

test('a revoked node adds nothing, and what it reported stays', async () => {
  const gone = await core.join('gone');
  await usage(batch(1, [granted('b', ['secret/x'])]), gone.client);
  await core.root.delete(`auth/node/nodes/${gone.id}`);
  await assert.rejects(usage(batch(2, [released('b')]), gone.client), { status: 403 });
  const { holdings } = await core.root.read('sys/usage', { container: container('b') });
  assert.deepEqual((holdings as unknown as { node: string; released_time: null }[]).map(({ node: name, released_time: end }) => [name, end]), [['gone', null]]);
});
