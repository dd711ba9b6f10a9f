import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { resolve, TestCore, valueText, workload, type TestNode } from './test-core.ts';

const CANARY = 'canary-7f3a9c';
let core: TestCore;
let node: TestNode;

before(async () => {
  core = await TestCore.start();
  node = await core.join('n1');
  await core.policy('db', 'path "secret/data/db/*" { capabilities = ["read"] }');
  await core.policy('more', 'path "secret/data/more" { capabilities = ["read"] }\npath "secret/data/db/hidden" { capabilities = ["deny"] }');
  await core.role('web', { policies: ['db'], selectors: { image: ['nginx:*'], node: ['n*'] } });
  await core.role('labelled', { policies: ['more'], selectors: { label: { team: ['a'] } } });
  await core.put('db/prod', { user: 'app', password: CANARY, nested: { a: { b: 'deep' } }, bytes: 'AAEC' });
  await core.put('db/hidden', { value: CANARY });
  await core.put('more', { only: 'one' });
  await core.put('other', { value: CANARY });
});
after(() => core.close());

test('resolve gives the field, its version and nothing else', async () => {
  await core.put('db/versions', { v: 'old' });
  await core.put('db/versions', { v: 'new' });
  const results = await resolve(node, [
    'purser://secret/db/prod#password', 'purser://secret/db/prod#nested.a.b', 'purser://secret/db/prod?encoding=base64#bytes', 'se://secret/db/prod/user',
    'purser://secret/db/versions', 'purser://secret/db/versions?version=1#v',
  ]);
  assert.deepEqual(results[0], { outcome: 'value', value: Buffer.from(CANARY).toString('base64'), path: 'secret/db/prod', field: 'password', version: 1 });
  assert.deepEqual(results.map(valueText), [CANARY, 'deep', '\0\x01\x02', 'app', 'new', 'old']);
  assert.deepEqual(results.slice(4).map((result) => 'version' in result && result.version), [2, 1]);
});

test('resolve says the same of a denied secret, a secret that is not there and a mount that is not there', async () => {
  const paths = ['secret/other', 'secret/nothing', 'nomount/x', 'sys/usage', 'auth/node/nodes'];
  const results = await resolve(node, paths.map((path) => `purser://${path}`));
  for (const [index, result] of results.entries()) {
    const path = paths[index] as string;
    assert.deepEqual(result, {
      outcome: 'error', code: 'ERR_RESOLVE_DENIED', path,
      message: `no workload role grants ${path} to this container (it has the workload roles web, whose policies do not allow it)`,
    });
  }
});

test('resolve grants by role: image, node, label; the union of policies, and a deny wins', async () => {
  const [plain] = await resolve(node, ['purser://secret/more']);
  assert.equal(plain?.outcome === 'error' && plain.code, 'ERR_RESOLVE_DENIED');
  const both = await resolve(node, ['purser://secret/more', 'purser://secret/db/prod#user', 'purser://secret/db/hidden'], { labels: { team: 'a' } });
  assert.deepEqual(both.map(valueText), ['one', 'app', undefined]);
  const [stranger] = await resolve(node, ['purser://secret/db/prod#user'], { image: 'evil:1' });
  assert.match(stranger?.outcome === 'error' ? stranger.message : '', /no workload role selects this container/);
  const other = await core.join('x1');
  assert.equal((await resolve(other, ['purser://secret/db/prod#user']))[0]?.outcome, 'error');
});

test('default and optional cover what does not exist, and never what is denied or does not fit', async () => {
  const results = await resolve(node, [
    'purser://secret/db/none?default=fallback', 'purser://secret/db/prod?default=fallback#nofield', 'purser://secret/db/prod?version=9&default=#user', 'purser://secret/db/none?optional#x',
    'purser://secret/other?default=fallback', 'purser://nomount/x?optional', 'purser://secret/db/prod?default=fallback&encoding=hex#password',
    'purser://secret/db/none', 'purser://secret/db/prod#nofield', 'purser://secret/db/prod?version=9#user', 'purser://secret/data/db/prod',
  ]);
  assert.deepEqual(results.slice(0, 3).map((result) => [result.outcome, valueText(result)]), [['default', 'fallback'], ['default', 'fallback'], ['default', '']]);
  assert.deepEqual(results[3], { outcome: 'absent', path: 'secret/db/none', field: 'x', version: 0 });
  assert.deepEqual(results.slice(4).map((result) => (result.outcome === 'error' ? result.code : result.outcome)), [
    'ERR_RESOLVE_DENIED', 'ERR_RESOLVE_DENIED', 'ERR_RESOLVE_FIELD', 'ERR_RESOLVE_NOT_FOUND', 'ERR_RESOLVE_FIELD', 'ERR_RESOLVE_NOT_FOUND', 'ERR_RESOLVE_DENIED',
  ]);
});

test('a bad reference is a result of its own, and no error holds a value or a default', async () => {
  const results = await resolve(node, ['purser://', 'hunter2', `purser://secret/db/prod?default=${CANARY}&x=1`, 'purser://secret/db/prod#user', `purser://secret/db/prod?encoding=hex#password`]);
  assert.deepEqual(results.map(({ outcome }) => outcome), ['error', 'error', 'error', 'value', 'error']);
  const errors = JSON.stringify(results.filter(({ outcome }) => outcome === 'error'));
  assert.ok(!errors.includes(CANARY) && !errors.includes('hunter2'));
});

test('one batch reads a secret once, so its fields are of one version', async () => {
  await core.put('db/pair', { a: '1', b: '1' });
  const references = Array.from({ length: 100 }, (_, i) => `purser://secret/db/pair#${i % 2 === 0 ? 'a' : 'b'}`);
  for (let round = 2; round < 12; round++) {
    const asked = node.client.write('node/resolve', { workloads: [workload(references), workload(references, { id: 'b'.repeat(64) })] });
    await core.put('db/pair', { a: String(round), b: String(round) });
    const answer = await asked as { workloads: { results: Parameters<typeof valueText>[0][] }[] } & object;
    const values = new Set(answer.workloads.flatMap(({ results }) => results.map(valueText)));
    assert.equal(values.size, 1);
  }
  const reads = core.view.gets;
  await resolve(node, references);
  assert.ok(core.view.gets - reads < 10, 'one read of metadata and one of the version');
});

test('a secret that cannot be read is an error result, is reported, and spoils no other', async () => {
  await core.put('db/broken', { v: '1' });
  const [key] = [...core.view.records.keys()].filter((name) => name.startsWith('kv/') && name.includes('broken'));
  await core.view.put(key as string, Buffer.from('damaged'));
  const results = await resolve(node, ['purser://secret/db/broken', 'purser://secret/db/prod#user']);
  assert.equal(results[0]?.outcome === 'error' && results[0].code, 'ERR_RESOLVE_FAILED');
  assert.equal(valueText(results[1]), 'app');
  assert.equal(core.faults.length, 1);
});

test('resolve bounds what one request may carry', async () => {
  await core.put('db/large', { v: 'x'.repeat(900_000) });
  const large = Array.from({ length: 40 }, () => 'purser://secret/db/large');
  await assert.rejects(resolve(node, large), { status: 413, serverCode: 'ERR_REQUEST_TOO_LARGE' });
  await assert.rejects(resolve(node, Array.from({ length: 257 }, () => 'purser://secret/more')), { status: 400 });
  await assert.rejects(resolve(node, ['x'.repeat(5000)]), { status: 400 });
  await assert.rejects(node.client.write('node/resolve', { workloads: [] }), { status: 400 });
  await assert.rejects(node.client.write('node/resolve', { workloads: [{ ...workload([]), extra: CANARY }] }), (error: Error & { status?: number }) => error.status === 400 && !error.message.includes(CANARY));
});

test('only a token that a login made is a node, whatever metadata and policies another one has', async () => {
  const forged = await core.tokens.create({ policies: ['purser-node'], mayBeInternal: true, path: 'auth/token/create', displayName: 'x', metadata: { node_id: node.id } });
  await assert.rejects(core.client(forged.id).write('node/resolve', { workloads: [workload([])] }), { status: 403, serverCode: 'ERR_REQUEST_DENIED' });
  await assert.rejects(core.root.write('node/resolve', { workloads: [workload([])] }), { status: 403 });
  await assert.rejects(core.root.write('node/nothing', {}), { status: 404 });
  await assert.rejects(core.root.read('node/resolve'), { status: 405 });
});
