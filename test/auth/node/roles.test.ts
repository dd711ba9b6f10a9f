import assert from 'node:assert/strict';
import { test } from 'node:test';

import { WorkloadRoles } from '../../../src/auth/node/roles.ts';
import { MemoryView } from '../../fakes/memory-view.ts';

test('put() refuses roles that say less or more than they mean', async () => {
  const roles = await WorkloadRoles.load(new MemoryView());
  const image = { image: ['web'] };
  const table: readonly (readonly [string, unknown])[] = [
    ['no selectors', { policies: ['p'] }],
    ['empty selectors', { policies: ['p'], selectors: {} }],
    ['any and selectors', { policies: ['p'], selectors: image, any: true }],
    ['empty list', { policies: ['p'], selectors: { image: [] } }],
    ['empty pattern', { policies: ['p'], selectors: { image: [''] } }],
    ['empty label map', { policies: ['p'], selectors: { label: {} } }],
    ['unknown selector', { policies: ['p'], selectors: { ...image, images: ['x'] } }],
    ['unknown key', { policies: ['p'], selectors: image, policy: 'p' }],
    ['no policies', { policies: [], selectors: image }],
    ['root', { policies: ['root'], selectors: image }],
    ['root in another spelling', { policies: ['p', 'Root'], selectors: image }],
    ['the policy of nodes', { policies: ['purser-node'], selectors: image }],
    ['a string for a list', { policies: 'p', selectors: image }],
    ['not an object', []],
  ];
  for (const [what, body] of table) await assert.rejects(roles.put('r', body), { code: 'ERR_REQUEST_INVALID' }, what);
  await assert.rejects(roles.put('../r', { policies: ['p'], any: true }), { code: 'ERR_REQUEST_INVALID' });
  assert.deepEqual(roles.names(), []);
});

test('put() says which field is wrong and never its value', async () => {
  const roles = await WorkloadRoles.load(new MemoryView());
  await assert.rejects(roles.put('r', { policies: ['hunter2 secret'], any: true }), (error: Error) => /policies/.test(error.message) && !/hunter2/.test(error.message));
  await assert.rejects(roles.put('r', { hunter2: 1, policies: ['p'], any: true }), (error: Error) => /unknown field/.test(error.message) && !/hunter2/.test(error.message));
});

test('matching() gives the union of the policies of all roles that select the workload, also after a restart', async () => {
  const view = new MemoryView();
  const roles = await WorkloadRoles.load(view);
  await roles.put('all', { policies: ['base'], selectors: {}, any: true });
  await roles.put('web', { policies: ['web', 'base'], selectors: { service: ['shop_web'] } });
  await roles.put('db', { policies: ['db'], selectors: { service: ['shop_db'] } });
  const facts = { name: 'x', image: 'y', labels: {}, service: 'shop_web' };
  const expected = { roles: ['all', 'web'], policies: ['base', 'web'] };
  assert.deepEqual(roles.matching(facts), expected);
  assert.deepEqual((await WorkloadRoles.load(view)).matching(facts), expected);
  await roles.delete('all');
  assert.deepEqual(roles.matching(facts).roles, ['web']);
});

test('load() refuses a stored role it does not understand', async () => {
  const view = new MemoryView();
  await view.put('r', Buffer.from('{"format":2,"policies":["p"],"any":true}'));
  await assert.rejects(WorkloadRoles.load(view), { code: 'ERR_RECORD_INVALID' });
});

test('put() takes roles for identities alone and refuses lives that are not possible', async () => {
  const roles = await WorkloadRoles.load(new MemoryView());
  await roles.put('r', { any: true, identity_audiences: ['a'], identity_ttl: '1m' });
  assert.deepEqual(roles.get('r'), { policies: [], selectors: {}, any: true, identity_audiences: ['a'], identity_ttl: 60 });
  for (const ttl of ['29s', '25h', 'soon', -1, 0]) {
    await assert.rejects(roles.put('r', { any: true, identity_audiences: ['a'], identity_ttl: ttl }), { code: 'ERR_REQUEST_INVALID', message: /30 seconds to 24 hours/ }, String(ttl));
  }
  await assert.rejects(roles.put('r', { any: true, policies: ['p'], identity_ttl: '1m' }), /no identity_audiences/);
  await assert.rejects(roles.put('r', { any: true, policies: ['p'], identity_audiences: [] }), { code: 'ERR_REQUEST_INVALID' });
});
