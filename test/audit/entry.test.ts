// EntryRenderer: the shape of Vault's audit log, with every secret string hashed.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { EntryRenderer } from '../../src/audit/entry.ts';
import type { AuditEntry } from '../../src/audit/entry.ts';
import { CANARIES, sampleEntry } from './sample.ts';

const renderer = () => new EntryRenderer((value) => `h(${value.length})`);

test('render() of a response entry shows the request, the caller and the answer', () => {
  assert.deepEqual(JSON.parse(renderer().render('response', { ...sampleEntry(), error: 'broken' }, 0)), {
    time: '1970-01-01T00:00:00.000Z', type: 'response',
    auth: {
      client_token: 'h(12)', accessor: 'h(15)', display_name: 'token-ci', policies: ['app', 'default'], token_policies: ['app', 'default'],
      metadata: { node_id: 'n1' }, token_type: 'service', remaining_uses: 1,
    },
    request: {
      id: '0000-1', operation: 'update', mount_point: 'secret/', mount_type: 'kv', client_token: 'h(12)', client_token_accessor: 'h(15)', path: 'secret/data/db/prod',
      data: { data: { password: 'h(14)', deep: { l: ['h(13)', 'h(1)', true, null] } }, options: { cas: 3 } }, remote_address: '10.0.0.1', remote_port: 4711,
    },
    response: {
      auth: { client_token: 'h(11)', accessor: 'h(11)', policies: ['app'], lease_duration: 60 }, mount_point: 'secret/', mount_type: 'kv',
      data: { data: { password: 'h(15)' }, keys: ['h(11)'], version: 3 }, warnings: ['a warning'],
      wrap_info: { token: 'h(11)', accessor: 'h(11)', wrapped_accessor: 'h(11)', ttl: 60 },
    },
    error: 'broken',
  });
});

test('render() hashes the data of a response once for each object that stands for them', () => {
  let hashed = 0;
  const counting = new EntryRenderer((value) => { hashed++; return `h(${value.length})`; });
  const answer = (sameData: object, value: string) => {
    const request = { id: '1', operation: 'read', path: 'secret/data/a' };
    return (JSON.parse(counting.render('response', { request, response: { data: { data: { a: value } }, sameData } }, 0)) as { response: unknown }).response;
  };
  const [first, second] = [{}, {}];
  assert.deepEqual(answer(first, 'value'), { data: { data: { a: 'h(5)' } } });
  assert.deepEqual(answer(first, 'value'), { data: { data: { a: 'h(5)' } } });
  assert.equal(hashed, 1);
  assert.deepEqual(answer(second, 'longer value'), { data: { data: { a: 'h(12)' } } });
});

test('render() remembers the hashes of tokens and accessors, never those of values', () => {
  const hashed: string[] = [];
  const counting = new EntryRenderer((value) => { hashed.push(value); return 'h'; });
  for (const id of ['1', '2']) {
    counting.render('request', { auth: { clientToken: 'token', accessor: 'accessor' }, request: { id, operation: 'update', path: 'p', clientToken: 'token', data: { data: { a: 'value' } } } }, 0);
  }
  assert.deepEqual(hashed, ['token', 'accessor', 'value', 'value']);
});

test('render() writes the request of both entries alike, for each renderer by its own hash', () => {
  const request = { id: '1', operation: 'read', path: 'p', clientToken: 'token' };
  const [first, second] = [new EntryRenderer(() => 'first'), new EntryRenderer(() => 'second')];
  for (const [by, hash] of [[first, 'first'], [second, 'second'], [first, 'first']] as const) {
    for (const type of ['request', 'response'] as const) {
      assert.deepEqual((JSON.parse(by.render(type, { request }, 0)) as { request: unknown }).request, { id: '1', operation: 'read', client_token: hash, path: 'p' });
    }
  }
});

test('render() of a request entry has no response, even when one is given', () => {
  const parsed = JSON.parse(renderer().render('request', sampleEntry(), 0)) as Record<string, unknown>;
  assert.deepEqual(Object.keys(parsed), ['time', 'type', 'auth', 'request']);
});

test('render() never shows a canary', () => {
  for (const type of ['request', 'response'] as const) {
    const text = renderer().render(type, sampleEntry(), 0);
    for (const canary of CANARIES) assert.ok(!text.includes(canary), canary);
  }
});

test('render() hashes the numbers of a secret, and shows those that are about it', () => {
  const data = { data: { pin: 4711, deep: [{ pin: 4712.5 }] }, options: { cas: 3 }, metadata: { version: 2 } };
  const { request } = JSON.parse(renderer().render('request', { request: { id: '1', operation: 'update', path: 'p', data } }, 0)) as { request: { data: unknown } };
  assert.deepEqual(request.data, { data: { pin: 'h(4)', deep: [{ pin: 'h(6)' }] }, options: { cas: 3 }, metadata: { version: 2 } });
});

test('render() keeps one line and names like __proto__ as data', () => {
  const data = JSON.parse('{"a\\nb":"x","__proto__":{"k":"v"}}') as Record<string, string>;
  const text = renderer().render('request', { request: { id: '1', operation: 'update', path: 'p\n', data } }, 0);
  assert.ok(!text.includes('\n'));
  assert.ok(text.includes('"data":{"a\\nb":"h(1)","__proto__":{"k":"h(1)"}}'));
});

test('render() replaces a long list of keys by its length, in list responses only', () => {
  const keys = Array.from({ length: 1_001 }, () => 'key');
  const entry = (operation: string): AuditEntry => ({ request: { id: '1', operation, path: 'p' }, response: { data: { keys } } });
  assert.ok(renderer().render('response', entry('list'), 0).includes('"keys":1001'));
  assert.ok(renderer().render('response', entry('read'), 0).includes('"h(3)","h(3)"'));
});
