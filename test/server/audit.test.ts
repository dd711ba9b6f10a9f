// Fail closed, seen from outside: without its audit entry nothing runs and nothing is answered. And no secret in the file.
/* eslint-disable @typescript-eslint/no-unsafe-member-access, @typescript-eslint/no-unsafe-assignment -- bodies of any shape */

import assert from 'node:assert/strict';
import { readdirSync, readFileSync, renameSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { EntryType } from '../../src/audit/entry.ts';
import { FileAuditDevice } from '../../src/audit/file-device.ts';
import { startUnsealed, type TestServer } from './running.ts';

const CANARY = 'canary-2f9a';

describe('audit', () => {
  let server: TestServer;
  before(async () => { server = await startUnsealed(); });
  after(() => server.stop());
  const lines = (): Record<string, unknown>[] => readFileSync(join(server.directory, 'audit', 'audit.log'), 'utf8').trimEnd().split('\n').map((line) => JSON.parse(line) as Record<string, unknown>);

  test('every request leaves a request and a response entry with the same id, and neither holds a value or a token', async () => {
    const written = await server.call('POST', 'secret/data/a', { body: { data: { password: CANARY, nested: { list: [CANARY] } } } });
    const read = await server.call('GET', 'secret/data/a');
    assert.match(read.text, new RegExp(CANARY));
    for (const { body } of [written, read]) {
      const id = (body as { request_id: string }).request_id;
      assert.deepEqual(lines().filter((line) => (line['request'] as { id?: string } | undefined)?.id === id).map(({ type }) => type), ['request', 'response']);
    }
    const text = readFileSync(join(server.directory, 'audit', 'audit.log'), 'utf8');
    assert.ok(!text.includes(CANARY) && !text.includes(server.root));
  });

  test('the numbers of a secret are hashed too, in kv of either version', async () => {
    await server.call('POST', 'sys/mounts/old', { body: { type: 'kv', options: { version: '1' } } });
    await server.call('POST', 'old/a', { body: { pin: 194_837, nested: [{ deep: 552_917.25 }] } });
    await server.call('POST', 'secret/data/n', { body: { data: { pin: 194_837, nested: [{ deep: 552_917.25 }] } } });
    for (const path of ['old/a', 'secret/data/n']) assert.match((await server.call('GET', path)).text, /194837/);
    assert.doesNotMatch(readFileSync(join(server.directory, 'audit', 'audit.log'), 'utf8'), /194837|552917/);
  });

  test('denied requests, wrong tokens and engine errors are recorded with their reason', async () => {
    await server.call('GET', 'secret/data/a', { token: `hvs.${CANARY}` });
    await server.call('POST', 'secret/data/a', { body: { wrong: CANARY } });
    const recorded = lines().slice(-3).map((line) => [line['type'], line['error']]);
    assert.deepEqual(recorded, [['request', 'permission denied'], ['request', undefined], ['response', 'no data provided']]);
    assert.ok(!readFileSync(join(server.directory, 'audit', 'audit.log'), 'utf8').includes(CANARY));
  });

  test('sys/audit-hash finds a known string in the file', async () => {
    const { body } = await server.call('POST', 'sys/audit-hash/file', { body: { input: CANARY } });
    assert.ok(readFileSync(join(server.directory, 'audit', 'audit.log'), 'utf8').includes((body as { data: { hash: string } }).data.hash));
    assert.equal((await server.call('POST', 'sys/audit-hash/none', { body: { input: 'x' } })).status, 400);
  });

  test('the entry of a read has the hashes of what was answered, whatever happened to the secret before', async () => {
    const hashOf = async (input: string) => (await server.call('POST', 'sys/audit-hash/file', { body: { input } })).body.data.hash as string;
    const check = async (path: string) => {
      const { body } = await server.call('GET', path);
      const { data, metadata } = body.data as { data: { a: string }; metadata: { created_time: string; custom_metadata: { owner: string } | null; version: number } };
      const entry = lines().find(({ type, request }) => type === 'response' && (request as { id: string }).id === body.request_id) as { response: { data: unknown } };
      assert.deepEqual(entry.response.data, {
        data: { a: await hashOf(data.a) },
        metadata: {
          created_time: await hashOf(metadata.created_time), deletion_time: await hashOf(''), destroyed: false, version: metadata.version,
          custom_metadata: metadata.custom_metadata && { owner: await hashOf(metadata.custom_metadata.owner) },
        },
      });
      return data.a;
    };
    const write = (a: string) => server.call('POST', 'secret/data/hashed', { body: { data: { a } } });
    await write('one');
    assert.deepEqual([await check('secret/data/hashed'), await check('secret/data/hashed')], ['one', 'one']);
    await server.call('POST', 'secret/metadata/hashed', { body: { custom_metadata: { owner: 'mary' } } });
    assert.equal(await check('secret/data/hashed'), 'one');
    await write('two');
    assert.deepEqual([await check('secret/data/hashed'), await check('secret/data/hashed?version=1'), await check('secret/data/hashed')], ['two', 'one', 'two']);
    await server.call('DELETE', 'secret/metadata/hashed');
    await write('three');
    assert.equal(await check('secret/data/hashed'), 'three');
  });

  test('sys/audit enables and disables a second file in the audit directory, readable by the owner only', async () => {
    assert.equal((await server.call('PUT', 'sys/audit/second', { body: { type: 'file', options: { file_path: 'second.log' } } })).status, 204);
    const path = join(server.directory, 'audit', 'second.log');
    assert.equal(statSync(path).mode & 0o777, 0o600);
    await server.call('GET', 'secret/data/a');
    const size = statSync(path).size;
    assert.ok(size > 0);
    assert.deepEqual(Object.keys((await server.call('GET', 'sys/audit')).body.data as object).sort(), ['file/', 'second/']);
    assert.equal((await server.call('DELETE', 'sys/audit/second')).status, 204);
    const after = statSync(path).size;
    await server.call('GET', 'secret/data/a');
    assert.equal(statSync(path).size, after);
  });

  const escapes: readonly (readonly [name: string, body: object])[] = [
    ['a path outside', { type: 'file', options: { file_path: '/etc/cron.d/purser' } }],
    ['a path that climbs', { type: 'file', options: { file_path: '../up.log' } }],
    ['a folder below', { type: 'file', options: { file_path: 'sub/x.log' } }],
    ['a hidden file', { type: 'file', options: { file_path: '.profile' } }],
    ['the file of another device', { type: 'file', options: { file_path: 'audit.log' } }],
    ['the folder itself', { type: 'file', options: { file_path: '.' } }],
    ['raw values', { type: 'file', options: { file_path: 'x.log', log_raw: 'true' } }],
    ['a prefix', { type: 'file', options: { file_path: 'x.log', prefix: '#!/bin/sh' } }],
    ['an executable mode', { type: 'file', options: { file_path: 'x.log', mode: '0777' } }],
    ['a socket where nobody listens', { type: 'socket', options: { address: '127.0.0.1:1' } }],
    ['a socket without an address', { type: 'socket' }],
    ['a socket at a path that is none', { type: 'socket', options: { address: 'x.sock', socket_type: 'unix' } }],
    ['datagrams', { type: 'socket', options: { address: '127.0.0.1:514', socket_type: 'udp' } }],
    ['a prefix with a line break', { type: 'socket', options: { address: '127.0.0.1:1', prefix: 'a\n' } }],
    ['an endless timeout', { type: 'socket', options: { address: '127.0.0.1:1', write_timeout: '1h' } }],
    ['a syslog that is not there', { type: 'syslog' }],
    ['an unknown facility', { type: 'syslog', options: { facility: 'kern' } }],
    ['a tag that is an option', { type: 'syslog', options: { tag: '-n evil' } }],
    ['an unknown option', { type: 'file', options: { file_path: 'x.log', fallback: 'true' } }],
    ['an unknown type', { type: 'plugin' }],
    ['no path', { type: 'file' }],
  ];
  for (const [name, body] of escapes) {
    test(`sys/audit refuses ${name}`, async () => {
      const before = readdirSync(join(server.directory, 'audit')).sort();
      assert.equal((await server.call('PUT', 'sys/audit/evil', { body })).status, 400);
      assert.deepEqual(readdirSync(join(server.directory, 'audit')).sort(), before);
    });
  }

  test('no device can take the name of a path of the API', async () => {
    for (const name of ['log', 'tail', 'verify', 'key', 'a/b', '..']) assert.ok((await server.call('PUT', `sys/audit/${name}`, { body: { type: 'file', options: { file_path: 'x.log' } } })).status >= 400, name);
  });

  test('a device with options writes accessors and lists as they say', async () => {
    await server.call('PUT', 'sys/audit/open', { body: { type: 'file', options: { file_path: 'open.log', hmac_accessor: 'false', elide_list_responses: 'true' } } });
    const { body: { auth } } = await server.call('POST', 'auth/token/create', { body: {} });
    await server.call('LIST', 'secret/metadata');
    const text = readFileSync(join(server.directory, 'audit', 'open.log'), 'utf8');
    assert.ok(text.includes((auth as { accessor: string }).accessor) && !text.includes((auth as { client_token: string }).client_token));
    assert.match(text, /"keys":\d/);
    assert.ok(!readFileSync(join(server.directory, 'audit', 'audit.log'), 'utf8').includes((auth as { accessor: string }).accessor));
    assert.deepEqual((await server.call('GET', 'sys/audit')).body.data['open/'].options, { file_path: join(server.directory, 'audit', 'open.log'), hmac_accessor: 'false', elide_list_responses: 'true' });
    await server.call('DELETE', 'sys/audit/open');
  });

  test('sys/audit does not disable a device of the configuration', async () => {
    assert.equal((await server.call('DELETE', 'sys/audit/file')).status, 400);
    assert.ok('file/' in ((await server.call('GET', 'sys/audit')).body.data as object));
  });

  test('sys/audit wants sudo', async () => {
    await server.call('PUT', 'sys/policy/noaudit', { body: { policy: 'path "sys/audit*" { capabilities = ["read", "update"] }' } });
    const { body } = await server.call('POST', 'auth/token/create', { body: { policies: ['noaudit'] } });
    const { client_token: token } = (body as { auth: { client_token: string } }).auth;
    assert.equal((await server.call('GET', 'sys/audit', { token })).status, 403);
    assert.equal((await server.call('PUT', 'sys/audit/x', { token, body: { type: 'file', options: { file_path: 'x.log' } } })).status, 403);
  });

  test('reopenAudit() goes on in a new file after the old one was moved away', async () => {
    const path = join(server.directory, 'audit', 'audit.log');
    renameSync(path, `${path}.1`);
    await server.server.reopenAudit();
    await server.call('GET', 'secret/data/a');
    assert.ok(statSync(path).size > 0);
  });
});

describe('audit, failing', () => {
  let failing: EntryType | undefined;
  // eslint-disable-next-line @typescript-eslint/unbound-method -- put back at the end, and called with its device
  const { log } = FileAuditDevice.prototype;
  let server: TestServer;
  before(async () => {
    FileAuditDevice.prototype.log = function (type, entry) {
      return type === failing ? Promise.reject(new Error('no space')) : log.call(this, type, entry);
    };
    server = await startUnsealed();
  });
  after(async () => {
    FileAuditDevice.prototype.log = log;
    await server.stop();
  });

  test('a request whose entry no device takes is 500, and did not happen', async () => {
    await server.call('POST', 'secret/data/kept', { body: { data: { a: CANARY } } });
    failing = 'request';
    const answers = [
      await server.call('POST', 'secret/data/kept', { body: { data: { a: 'new' } } }),
      await server.call('POST', 'secret/data/other', { body: { data: { a: 'new' } } }),
      await server.call('DELETE', 'secret/metadata/kept'),
      await server.call('GET', 'secret/data/kept'),
      await server.call('POST', 'auth/token/create', { body: {} }),
      await server.call('PUT', 'sys/seal'),
      await server.call('GET', 'secret/data/kept', { token: 'wrong' }),
    ];
    failing = undefined;
    for (const answer of answers) {
      assert.equal(answer.status, 500);
      assert.deepEqual((answer.body as { errors: unknown }).errors, ['internal error']);
    }
    const read = await server.call('GET', 'secret/data/kept');
    assert.deepEqual(read.body.data.data, { a: CANARY });
    assert.equal(read.body.data.metadata.version, 1);
    assert.equal((await server.call('GET', 'secret/data/other')).status, 404);
  });

  test('an answer whose entry no device takes is 500 without a word of it', async () => {
    failing = 'response';
    const answer = await server.call('GET', 'secret/data/kept');
    const missing = await server.call('GET', 'secret/data/missing');
    failing = undefined;
    assert.deepEqual([answer.status, missing.status], [500, 500]);
    assert.doesNotMatch(answer.text, new RegExp(CANARY));
  });

  test('a login whose answer no device takes leaves no token', async () => {
    await server.call('POST', 'sys/auth/approle', { body: { type: 'approle' } });
    await server.call('POST', 'auth/approle/role/app', { body: { role_id: 'app', bind_secret_id: false, token_bound_cidrs: '127.0.0.0/8' } });
    const tokens = async (): Promise<number> => ((await server.call('LIST', 'auth/token/accessors')).body.data.keys as unknown[]).length;
    const before = await tokens();
    failing = 'response';
    const answer = await server.call('POST', 'auth/approle/login', { token: undefined, body: { role_id: 'app' } });
    failing = undefined;
    assert.equal(answer.status, 500);
    assert.equal(await tokens(), before);
    assert.equal((await server.call('POST', 'auth/approle/login', { token: undefined, body: { role_id: 'app' } })).status, 200);
    assert.equal(await tokens(), before + 1);
  });
});
