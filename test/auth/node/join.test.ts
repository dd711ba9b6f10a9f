import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { after, before, test } from 'node:test';

import { decodeJoinToken } from '../../../src/wire/join-token.ts';
import { jwkOf, TestCore, textOf } from '../../server/node/test-core.ts';

let core: TestCore;
before(async () => { core = await TestCore.start(); });
after(() => core.close());

let count = 0;
function request(token: { id: string; secret: string }, changes: object = {}): object {
  const { publicKey } = generateKeyPairSync('ed25519');
  return { id: token.id, secret: token.secret, name: `node-${++count}`, version: '1', public_key: jwkOf(publicKey), ...changes };
}

async function join(body: object): Promise<string> {
  const { node_id: id } = await core.client().write('auth/node/join', body);
  return textOf(id);
}

test('join-token carries the address, and only an HMAC of its secret is stored', async () => {
  const { text, id, secret } = await core.joinToken();
  assert.deepEqual(decodeJoinToken(text), { address: core.address, id, secret });
  assert.equal(Buffer.from(secret, 'base64url').length, 32);
  const stored = [...core.view.records].map(([key, value]) => `${key} ${value.toString('latin1')}`).join('\n');
  assert.ok(stored.includes(id));
  assert.ok(!stored.includes(secret));
  assert.ok(!stored.includes(Buffer.from(secret, 'base64url').toString('latin1')));
});

test('join-token refuses unknown fields and lives that are too long or no life', async () => {
  for (const body of [{ ttl: '0s' }, { ttl: '31d' }, { ttl: 'soon' }, { num_uses: 0 }, { num_uses: 1.5 }, { uses: 1 }, { driver: 'yes' }]) {
    await assert.rejects(core.root.write('auth/node/join-token', body), { code: 'ERR_CLIENT_RESPONSE', status: 400 }, JSON.stringify(body));
  }
});

test('join says the same of a wrong, a used and an expired token', async () => {
  const used = await core.joinToken();
  await join(request(used));
  const expired = await core.joinToken({ ttl: '1s' });
  const good = await core.joinToken();
  const wrong = { id: good.id, secret: used.secret };
  const unknown = { id: 'x'.repeat(20), secret: good.secret };
  const messages = new Set<string>();
  core.clockOffset = 5000;
  for (const token of [used, expired, wrong, unknown, { id: '../node', secret: 's' }]) {
    await assert.rejects(join(request(token)), (error: Error & { serverCode?: string; status?: number; hint?: string }) => {
      messages.add(`${error.message} / ${error.hint}`);
      return error.serverCode === 'ERR_NODE_JOIN' && error.status === 403 && !error.message.includes(good.secret);
    });
  }
  core.clockOffset = 0;
  assert.deepEqual([...messages], ['the core refused the request: the join token is wrong, used or expired / make a new one with: purser node token']);
  assert.ok(await join(request(good)));
});

test('join lets exactly one of many parallel users of a token through', async () => {
  const token = await core.joinToken();
  const results = await Promise.allSettled(Array.from({ length: 20 }, () => join(request(token))));
  assert.equal(results.filter(({ status }) => status === 'fulfilled').length, 1);
  const three = await core.joinToken({ num_uses: 3 });
  const more = await Promise.allSettled(Array.from({ length: 10 }, () => join(request(three))));
  assert.equal(more.filter(({ status }) => status === 'fulfilled').length, 3);
});

test('join uses up no token when the node is refused or cannot be stored', async () => {
  const token = await core.joinToken();
  const body = request(token) as { name: string; public_key: object };
  core.view.failAfter(0);
  await assert.rejects(join(body), { status: 500 });
  core.view.failAfter(Infinity);
  await join(body);
  const next = await core.joinToken();
  await assert.rejects(join(request(next, { name: body.name })), /a node of this name is there already/);
  await assert.rejects(join(request(next, { public_key: body.public_key })), /key was used before/);
  await assert.rejects(join(request(next, { name: '../x' })), { status: 400 });
  await assert.rejects(join(request(next, { extra: 1 })), { status: 400 });
  assert.ok(await join(request(next)));
});

test('join takes the name of a revoked node again, but not its key', async () => {
  const { publicKey } = generateKeyPairSync('ed25519');
  const first = request(await core.joinToken(), { name: 'phoenix', public_key: jwkOf(publicKey) });
  const id = await join(first);
  await core.root.delete(`auth/node/nodes/${id}`);
  await assert.rejects(join(request(await core.joinToken(), { name: 'phoenix', public_key: jwkOf(publicKey) })), /key was used before/);
  const second = await join(request(await core.joinToken(), { name: 'phoenix' }));
  assert.notEqual(second, id);
  assert.equal((await core.root.read(`auth/node/nodes/${id}`))['revoked'], true);
  assert.ok((await core.root.list('auth/node/nodes')).includes(id));
});
