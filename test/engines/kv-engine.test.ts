// KvEngine: Vault's KV version 2, call by call, with crashes, races and what must never be stored or opened.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import type { JsonObject, LogicalResponse, Operation } from '../../src/core/logical.ts';
import { KvEngine } from '../../src/engines/kv/kv-engine.ts';
import { MemoryView } from '../fakes/memory-view.ts';

const START = 1_700_000_000_000;
const T0 = '2023-11-14T22:13:20.000Z';

function setUp(view = new MemoryView()) {
  const clock = { ms: START };
  const changes: [string, number][] = [];
  const engine = new KvEngine({ view, now: () => clock.ms }, (path, version) => { changes.push([path, version]); });
  const call = (operation: Operation, path: string, data: JsonObject = {}): Promise<LogicalResponse | undefined> =>
    engine.handle({ operation, path, mountPoint: 'secret/', data, remoteAddress: '127.0.0.1' });
  const put = (path: string, data: JsonObject, options: JsonObject = {}) => call('update', `data/${path}`, { data, options });
  const get = async (path: string, version?: number) => (await call('read', `data/${path}`, version === undefined ? {} : { version }))?.data?.['data'];
  return { view, clock, changes, engine, call, put, get };
}

const fresh = { created_time: T0, deletion_time: '', destroyed: false, custom_metadata: null };

test('a write answers with the version, a read with data and metadata', async () => {
  const { call, put } = setUp();
  assert.deepEqual(await put('db/prod', { password: 'one' }), { data: { ...fresh, version: 1 } });
  assert.deepEqual(await put('db/prod', { password: 'two' }), { data: { ...fresh, version: 2 } });
  assert.deepEqual((await call('read', 'data/db/prod'))?.data, { data: { password: 'two' }, metadata: { ...fresh, version: 2 } });
  assert.deepEqual(await call('read', 'data/db/prod', { version: '1' }), { data: { data: { password: 'one' }, metadata: { ...fresh, version: 1 } } });
  assert.deepEqual(await call('read', 'data/db/prod', { version: 0 }), await call('read', 'data/db/prod'));
  for (const path of ['data/db', 'data/db/prod/x', 'data/none']) assert.equal(await call('read', path), undefined);
  assert.equal(await call('read', 'data/db/prod', { version: 3 }), undefined);
});

test('values keep their JSON shape, and odd names stay data', async () => {
  const { put, get } = setUp();
  const data = JSON.parse('{"n":1.5,"t":true,"z":null,"l":[1,{"a":[]}],"":"empty","__proto__":{"x":1},"constructor":"c","ü":"☃"}') as JsonObject;
  await put('odd', data);
  assert.equal(JSON.stringify(await get('odd')), JSON.stringify(data));
});

for (const { title, before, options, message } of [
  { title: 'cas 0 creates', before: 0, options: { cas: 0 } },
  { title: 'cas 0 does not replace', before: 1, options: { cas: 0 }, message: 'check-and-set parameter did not match the current version' },
  { title: 'cas of the current version replaces', before: 3, options: { cas: 3 } },
  { title: 'cas as text', before: 3, options: { cas: '3' } },
  { title: 'cas of an old version does not replace', before: 3, options: { cas: 2 }, message: 'check-and-set parameter did not match the current version' },
  { title: 'cas of a version to come does not replace', before: 3, options: { cas: 4 }, message: 'check-and-set parameter did not match the current version' },
  { title: 'cas on nothing', before: 0, options: { cas: 1 }, message: 'check-and-set parameter did not match the current version' },
  { title: 'a cas that is no number', before: 0, options: { cas: 'x' }, message: 'the field cas must be a whole number' },
  { title: 'null options', before: 1, options: { cas: null } },
] as { title: string; before: number; options: JsonObject; message?: string }[]) {
  test(`write: ${title}`, async () => {
    const { put } = setUp();
    for (let i = 0; i < before; i++) await put('s', { i });
    if (message === undefined) assert.equal((await put('s', { last: true }, options))?.data?.['version'], before + 1);
    else await assert.rejects(put('s', {}, options), { code: 'ERR_REQUEST_INVALID', message });
  });
}

test('write: cas can be required by the secret or by the mount', async () => {
  const { call, put } = setUp();
  const required = { message: 'check-and-set parameter required for this call' };
  await call('update', 'metadata/s', { cas_required: true });
  await assert.rejects(put('s', {}), required);
  await put('s', {}, { cas: 0 });
  await put('other', {});
  await call('update', 'config', { cas_required: true });
  await assert.rejects(put('other', {}), required);
  await put('other', {}, { cas: 1 });
});

test('write: of many concurrent writers with one cas exactly one wins, without cas none is lost', async () => {
  const { call, put } = setUp();
  await put('s', {});
  const raced = await Promise.allSettled(Array.from({ length: 20 }, (_, i) => put('s', { i }, { cas: 1 })));
  assert.equal(raced.filter((r) => r.status === 'fulfilled').length, 1);
  const free = await Promise.all(Array.from({ length: 20 }, (_, i) => put('s', { i })));
  assert.deepEqual(free.map((r) => r?.data?.['version']).sort((a, b) => Number(a) - Number(b)), Array.from({ length: 20 }, (_, i) => i + 3));
  assert.equal((await call('read', 'metadata/s'))?.data?.['current_version'], 22);
});

for (const { body, message } of [
  { body: {}, message: 'no data provided' }, { body: { data: null }, message: 'no data provided' },
  { body: { data: 'x' }, message: 'the field data must be an object' }, { body: { data: [] }, message: 'the field data must be an object' },
  { body: { data: {}, options: 'cas=1' }, message: 'the field options must be an object' },
] as { body: JsonObject; message: string }[]) {
  test(`write refuses ${JSON.stringify(body)}`, async () => {
    await assert.rejects(setUp().call('update', 'data/s', body), { code: 'ERR_REQUEST_INVALID', message });
  });
}

test('a deleted version reads as 404 with its metadata, undelete brings it back', async () => {
  const { clock, call, put, get } = setUp();
  await put('s', { a: '1' });
  await put('s', { a: '2' });
  clock.ms += 1000;
  assert.equal(await call('delete', 'data/s'), undefined);
  const gone = { status: 404, data: { data: null, metadata: { ...fresh, deletion_time: '2023-11-14T22:13:21.000Z', version: 2 } } };
  assert.deepEqual(await call('read', 'data/s'), gone);
  assert.deepEqual(await get('s', 1), { a: '1' });
  assert.equal(await call('update', 'undelete/s', { versions: [2] }), undefined);
  assert.deepEqual(await get('s'), { a: '2' });
  await call('update', 'delete/s', { versions: ['1', 2, 99] });
  assert.deepEqual([await get('s', 1), await get('s', 2)], [null, null]);
  assert.equal((await put('s', { a: '3' }))?.data?.['version'], 3, 'numbers go on after a delete');
  assert.equal(await call('delete', 'data/none'), undefined);
});

test('destroy removes the bytes, and undelete has no effect afterwards', async () => {
  const { view, call, put } = setUp();
  await put('s', { a: 'destroy-me' });
  await put('s', { a: 'keep-me' });
  await call('update', 'destroy/s', { versions: '1' });
  await call('update', 'undelete/s', { versions: [1] });
  assert.deepEqual(await call('read', 'data/s', { version: 1 }), { status: 404, data: { data: null, metadata: { ...fresh, destroyed: true, version: 1 } } });
  const stored = [...view.records.values()].join('\n');
  assert.ok(!stored.includes('destroy-me') && stored.includes('keep-me'));
});

for (const path of ['delete/s', 'undelete/s', 'destroy/s']) {
  test(`${path} without versions is refused, of an unknown secret does nothing`, async () => {
    const { call } = setUp();
    for (const body of [{}, { versions: [] }, { versions: '' }, { versions: null }] as JsonObject[]) {
      await assert.rejects(call('update', path, body), { message: 'No version number provided' });
    }
    await assert.rejects(call('update', path, { versions: ['x'] }), { code: 'ERR_REQUEST_INVALID' });
    assert.equal(await call('update', path, { versions: [1] }), undefined);
  });
}

test('max_versions prunes metadata and bytes: of the secret, else of the mount, else 10', async () => {
  const { view, call, put } = setUp();
  for (let i = 1; i <= 12; i++) await put('s', { i });
  const versionsOf = async () => Object.keys((await call('read', 'metadata/s'))?.data?.['versions'] as object).map(Number);
  assert.deepEqual(await versionsOf(), [3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
  await call('update', 'config', { max_versions: 4 });
  await put('s', { i: 13 });
  assert.deepEqual(await versionsOf(), [10, 11, 12, 13]);
  await call('update', 'metadata/s', { max_versions: 2 });
  await put('s', { i: 14 });
  assert.deepEqual(await versionsOf(), [13, 14]);
  assert.equal((await call('read', 'metadata/s'))?.data?.['oldest_version'], 13);
  assert.deepEqual([...view.records.keys()].filter((key) => key.startsWith('data/')).sort(), ['data/13/s', 'data/14/s']);
  assert.equal(await call('read', 'data/s', { version: 12 }), undefined);
});

test('delete_version_after ends versions when read later: the shorter one counts, a negative one switches it off', async () => {
  const { clock, call, put, get } = setUp();
  await call('update', 'metadata/s', { delete_version_after: '1h' });
  await call('update', 'config', { delete_version_after: '10m' });
  assert.equal((await put('s', { a: 1 }))?.data?.['deletion_time'], '2023-11-14T22:23:20.000Z');
  clock.ms += 599_999;
  assert.deepEqual(await get('s'), { a: 1 });
  clock.ms += 1;
  assert.equal(await get('s'), null);
  await call('update', 'config', { delete_version_after: '-1s' });
  assert.equal((await put('s', {}))?.data?.['deletion_time'], '');
  assert.deepEqual((await call('read', 'config'))?.data, { cas_required: false, delete_version_after: '0s', max_versions: 0 });
  await assert.rejects(call('update', 'metadata/s', { delete_version_after: '-1s' }), { code: 'ERR_REQUEST_INVALID' });
});

test('metadata: settings, shape, partial writes, deletion', async () => {
  const { view, clock, call, put } = setUp();
  assert.equal(await call('read', 'metadata/s'), undefined);
  await call('create', 'metadata/s', { max_versions: 5, custom_metadata: { owner: 'db' } });
  clock.ms += 1000;
  await put('s', {});
  await call('update', 'metadata/s', { delete_version_after: '1h30m', cas_required: null });
  assert.deepEqual((await call('read', 'metadata/s'))?.data, {
    cas_required: false, created_time: T0, current_version: 1, custom_metadata: { owner: 'db' }, delete_version_after: '1h30m0s', max_versions: 5,
    oldest_version: 0, updated_time: '2023-11-14T22:13:21.000Z',
    versions: { 1: { created_time: '2023-11-14T22:13:21.000Z', deletion_time: '', destroyed: false } },
  });
  await call('delete', 'metadata/s');
  assert.equal(await call('read', 'data/s'), undefined);
  assert.equal(view.records.size, 0);
  assert.equal(await call('delete', 'metadata/s'), undefined);
});

test('metadata PATCH merges custom metadata and is 404 on nothing', async () => {
  const { call } = setUp();
  await assert.rejects(call('patch', 'metadata/s', {}), { code: 'ERR_REQUEST_NOT_FOUND' });
  await call('update', 'metadata/s', { custom_metadata: { a: '1', b: '2' } });
  await call('patch', 'metadata/s', { custom_metadata: { a: null, c: '3' }, max_versions: 7 });
  const data = (await call('read', 'metadata/s'))?.data;
  assert.deepEqual([data?.['custom_metadata'], data?.['max_versions']], [{ b: '2', c: '3' }, 7]);
});

for (const { title, body } of [
  { title: '65 pairs', body: { custom_metadata: Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`k${i}`, 'v'])) } },
  { title: 'a long key', body: { custom_metadata: { ['k'.repeat(129)]: 'v' } } },
  { title: 'a long value', body: { custom_metadata: { k: 'v'.repeat(513) } } },
  { title: 'an empty key', body: { custom_metadata: { '': 'v' } } },
  { title: 'control characters', body: { custom_metadata: { k: 'a\nb' } } },
  { title: 'a number as value', body: { custom_metadata: { k: 1 } } },
  { title: 'a negative max_versions', body: { max_versions: -1 } },
  { title: 'an enormous max_versions', body: { max_versions: 10_001 } },
  { title: 'a flag that is no flag', body: { cas_required: 'maybe' } },
] as { title: string; body: JsonObject }[]) {
  test(`metadata refuses ${title}`, async () => {
    const { call } = setUp();
    await assert.rejects(call('update', 'metadata/s', body), { code: 'ERR_REQUEST_INVALID' });
    assert.equal(await call('read', 'metadata/s'), undefined);
  });
}

test('PATCH data merges into the latest version as a new one', async () => {
  const { call, put, get } = setUp();
  assert.equal(await call('patch', 'data/s', { data: {} }), undefined);
  await put('s', { a: 1, b: { c: 2, d: 3 } });
  const patched = await call('patch', 'data/s', { data: { a: null, b: { c: 9 }, e: [1] }, options: { cas: 1 } });
  assert.equal(patched?.data?.['version'], 2);
  assert.deepEqual(await get('s'), { b: { c: 9, d: 3 }, e: [1] });
  await assert.rejects(call('patch', 'data/s', { data: {}, options: { cas: 1 } }), { message: 'check-and-set parameter did not match the current version' });
  await call('delete', 'data/s');
  const refused = await call('patch', 'data/s', { data: {} });
  assert.deepEqual([refused?.status, refused?.data?.['data']], [404, null]);
  assert.equal((await call('read', 'metadata/s'))?.data?.['current_version'], 2);
});

test('subkeys shows names and never a value', async () => {
  const { call, put } = setUp();
  await put('s', { a: 'v1', b: { c: 'v2', d: { e: 'v3' } }, l: ['v4'] });
  const subkeys = async (query: JsonObject) => (await call('read', 'subkeys/s', query))?.data?.['subkeys'];
  assert.deepEqual(await subkeys({}), { a: null, b: { c: null, d: { e: null } }, l: null });
  assert.deepEqual(await subkeys({ depth: 1 }), { a: null, b: null, l: null });
  assert.deepEqual(await subkeys({ depth: '2' }), { a: null, b: { c: null, d: null }, l: null });
  await call('delete', 'data/s');
  const gone = await call('read', 'subkeys/s');
  assert.deepEqual([gone?.status, gone?.data?.['subkeys']], [404, null]);
});

test('LIST shows immediate children, folders with a slash, and never opens a value', async () => {
  const { view, call, put } = setUp();
  for (const path of ['a', 'a/b', 'a/c/d', 'z']) await put(path, {});
  const keys = async (path: string) => (await call('list', path))?.data?.['keys'];
  const before = view.gets;
  assert.deepEqual(await keys('metadata/'), ['a', 'a/', 'z']);
  assert.deepEqual(await keys('metadata/a/'), ['b', 'c/']);
  assert.equal(await call('list', 'metadata/none/'), undefined);
  assert.equal(view.gets, before);
});

test('the detailed list shows settings beside names, and is bounded', async () => {
  const { call, put } = setUp();
  await put('a', { x: 1 });
  await put('b/c', { x: 1 });
  await call('update', 'metadata/a', { custom_metadata: { owner: 'shop' } });
  const { keys, key_info: info } = (await call('list', 'detailed-metadata/'))?.data as { keys: string[]; key_info: Record<string, JsonObject> };
  assert.deepEqual([keys, Object.keys(info), info['a']?.['custom_metadata'], info['a']?.['current_version'], info['a']?.['versions']], [['a', 'b/'], ['a'], { owner: 'shop' }, 1, undefined]);
  assert.equal(await call('list', 'detailed-metadata/none/'), undefined);
  for (let i = 0; i < 501; i++) await put(`many/${i}`, {});
  await assert.rejects(call('list', 'detailed-metadata/many/'), { code: 'ERR_REQUEST_INVALID' });
});

test('a path of numbers is not taken for versions of its parent', async () => {
  const { put, get } = setUp();
  await put('a', { which: 'a, version 1' });
  await put('a/1', { which: 'a/1' });
  await put('1/a', { which: '1/a' });
  assert.deepEqual([await get('a', 1), await get('a/1'), await get('1/a')], [{ which: 'a, version 1' }, { which: 'a/1' }, { which: '1/a' }]);
});

test('a read opens one record, the value', async () => {
  const { view, put, get } = setUp();
  await put('s', { a: 1 });
  await get('s');
  const before = view.gets;
  await get('s');
  assert.equal(view.gets, before + 1);
});

for (const path of ['s', 'db/prod', 'data', 'metadata', 'constructor/x', 'config/x', '']) {
  test(`the path "${path}" of version 1 is answered with 404 and a warning`, async () => {
    const response = await setUp().call('read', path);
    assert.equal(response?.status, 404);
    assert.match(String(response?.warnings?.[0]), /^Invalid path for a versioned K\/V secrets engine/);
  });
}

for (const [operation, path, code] of [
  ['list', 'data/', 'ERR_REQUEST_UNSUPPORTED'], ['read', 'delete/s', 'ERR_REQUEST_UNSUPPORTED'], ['delete', 'config', 'ERR_REQUEST_UNSUPPORTED'],
  ['update', 'data/', 'ERR_REQUEST_INVALID'], ['read', `data/${'x'.repeat(1_801)}`, 'ERR_REQUEST_INVALID'], ['list', `metadata/${'x'.repeat(1_801)}/`, 'ERR_REQUEST_INVALID'],
  ['read', 'metadata/', 'ERR_REQUEST_INVALID'],
] as const) {
  test(`${operation} ${path.slice(0, 20)} is refused with ${code}`, async () => {
    await assert.rejects(setUp().call(operation, path, { data: {} }), { code });
  });
}

test('exists() tells create from update', async () => {
  const { engine, put } = setUp();
  await put('s', {});
  const exists = (path: string) => engine.exists({ operation: 'update', path, mountPoint: 'secret/', data: {}, remoteAddress: '' });
  assert.deepEqual(await Promise.all(['data/s', 'metadata/s', 'data/t', 'metadata/t', 'destroy/t', 'config'].map(exists)), [true, true, false, false, true, true]);
});

test('readSecret() gives the readable version and nothing else', async () => {
  const { engine, call, put } = setUp();
  assert.equal(engine.policyPath('db/prod'), 'data/db/prod');
  await put('s', { a: '1' });
  await put('s', { a: '2' });
  assert.deepEqual(await engine.readSecret('s'), { data: { a: '2' }, version: 2 });
  assert.deepEqual(await engine.readSecret('s', 1), { data: { a: '1' }, version: 1 });
  await call('delete', 'data/s');
  assert.deepEqual([await engine.readSecret('s'), await engine.readSecret('s', 2), await engine.readSecret('t')], [undefined, undefined, undefined]);
});

test('the listener hears of each durable change of what can be read, and of nothing else', async () => {
  const { view, changes, call, put } = setUp();
  await call('update', 'metadata/s', { max_versions: 5 });
  await put('s', { a: 1 });
  await call('patch', 'data/s', { data: { a: 2 } });
  await call('delete', 'data/s');
  await call('delete', 'data/s');
  await call('update', 'undelete/s', { versions: [2] });
  await call('update', 'undelete/s', { versions: [2] });
  await call('update', 'destroy/s', { versions: [1] });
  await call('update', 'destroy/s', { versions: [2] });
  await call('update', 'metadata/s', { custom_metadata: { a: 'b' } });
  await call('delete', 'metadata/s');
  view.failAfter(0);
  await assert.rejects(put('s', {}));
  assert.deepEqual(changes, [['s', 1], ['s', 2], ['s', 0], ['s', 2], ['s', 2], ['s', 0], ['s', 0]]);
});

test('a failed write leaves the secret as it was, for this process and the next', async () => {
  const { view, call, put, get } = setUp();
  await call('update', 'metadata/s', { max_versions: 1 });
  await put('s', { a: 'old' });
  for (const attempt of [() => put('s', { a: 'new' }), () => call('delete', 'data/s'), () => call('update', 'destroy/s', { versions: [1] }), () => call('delete', 'metadata/s')]) {
    view.failAfter(0);
    await assert.rejects(attempt());
    view.failAfter(Infinity);
    assert.deepEqual(await get('s'), { a: 'old' });
    assert.deepEqual(await setUp(view).get('s'), { a: 'old' });
  }
});

test('readers that race with writers, pruning and destruction see whole versions or none', async () => {
  const { call, put, get } = setUp();
  await call('update', 'metadata/s', { max_versions: 1 });
  await put('s', { a: 0, b: 0 });
  let done = false;
  const writing = (async () => {
    for (let i = 1; i <= 50; i++) await put('s', { a: i, b: i });
    done = true;
  })();
  let last = 0;
  while (!done) {
    const seen = await get('s') as { a: number; b: number };
    assert.equal(seen.a, seen.b);
    assert.ok(seen.a >= last);
    last = seen.a;
    await new Promise((resolve) => { setImmediate(resolve); });
  }
  await writing;
});

test('a version whose bytes are gone though the metadata names it is an error, not an empty secret', async () => {
  const { view, put, get } = setUp();
  await put('s', { a: 1 });
  await view.delete('data/1/s');
  await assert.rejects(get('s'), { code: 'ERR_RECORD_INVALID' });
});
