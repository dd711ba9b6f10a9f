// `purser audit` against a real server, and against files alone: devices, search, tail, and proofs that name what is wrong.

import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { CoreClient } from '../../src/client/core-client.ts';
import type { TailFrame } from '../../src/wire/audit-log.ts';
import { eventually } from '../eventually.ts';
import { startUnsealed, type TestServer } from '../server/running.ts';
import { run, withEnvironment, type Ran } from './run.ts';

const CANARY = 'canary-audit-cli';
let server: TestServer;
let folder: string;
let reader: string;
let restore: () => void;

before(async () => {
  server = await startUnsealed();
  restore = withEnvironment({ PURSER_ADDR: server.server.address, PURSER_TOKEN: server.root });
  folder = join(server.directory, 'audit');
  await server.call('POST', 'secret/data/db/prod', { body: { data: { password: CANARY } } });
  await server.call('GET', 'secret/data/db/prod');
  await server.call('GET', 'secret/data/db/other');
  await server.call('GET', 'secret/data/db/prod', { token: 'hvs.wrong' });
  await server.call('POST', 'secret/data/db/prod', { body: { wrong: 1 } });
  await server.call('PUT', 'sys/policy/auditor', { body: { policy: 'path "sys/audit/log" { capabilities = ["read", "sudo"] } path "sys/audit/tail" { capabilities = ["read", "sudo"] }' } });
  reader = ((await server.call('POST', 'auth/token/create', { body: { policies: ['auditor'] } })).body as { auth: { client_token: string } }).auth.client_token;
});
after(async () => { restore(); await server.stop(); });

async function as(token: string, ...args: string[]): Promise<Ran> {
  process.env['PURSER_TOKEN'] = token;
  try {
    return await run(...args);
  } finally {
    process.env['PURSER_TOKEN'] = server.root;
  }
}

const search = async (...args: string[]) => JSON.parse((await run('audit', 'search', '--format', 'json', ...args)).out) as { outcome: string; error?: string; request: { path: string; operation: string } }[];

describe('purser audit search', () => {
  test('finds by secret, path, outcome, operation and time, newest first, without values', async () => {
    const found = await search('--secret', 'secret/db/prod');
    assert.deepEqual(found.map(({ outcome, request }) => [outcome, request.operation]), [['failed', 'update'], ['denied', 'read'], ['ok', 'read'], ['ok', 'create']]);
    assert.doesNotMatch(JSON.stringify(found), new RegExp(CANARY));
    assert.deepEqual((await search('--outcome', 'denied', '--path', 'secret/*')).length, 1);
    assert.deepEqual((await search('--path', 'secret/data/db/*', '--operation', 'create')).length, 1);
    assert.deepEqual(await search('--secret', 'secret/db/prod', '--until', '2020-01-01T00:00:00Z'), []);
    assert.deepEqual((await search('--secret', 'secret/db/prod', '--since', '1h', '--limit', '2')).map(({ outcome }) => outcome), ['failed', 'denied']);
    assert.equal((await search('--secret', 'secret/db/prod', '--all')).length, 4 + 3, 'request entries of what was answered too');
  });

  test('finds what one token did, by its accessor', async () => {
    const made = await server.call('POST', 'auth/token/create', { body: { policies: ['default'] } });
    const { client_token: token, accessor } = (made.body as { auth: { client_token: string; accessor: string } }).auth;
    await server.call('GET', 'auth/token/lookup-self', { token });
    assert.deepEqual((await search('--accessor', accessor)).map(({ request }) => request.path), ['auth/token/lookup-self']);
  });

  test('is under policy, and a search leaves its own entry without the entries found', async () => {
    const none = ((await server.call('POST', 'auth/token/create', { body: { policies: ['default'] } })).body as { auth: { client_token: string } }).auth.client_token;
    assert.match((await as(none, 'audit', 'search')).err, /permission denied/);
    assert.equal((await as(reader, 'audit', 'search')).status, 0);
    const size = statSync(join(folder, 'audit.log')).size;
    await search('--limit', '500', '--all');
    assert.ok(statSync(join(folder, 'audit.log')).size - size < 8_000);
  });

  test('refuses what it does not know', async () => {
    for (const query of ['limit=0', 'limit=501', 'outcome=maybe', 'since=soon', 'device=none', 'file=../x', 'file=none', 'cursor=1-2-3', 'unknown=1']) {
      assert.equal((await server.call('GET', `sys/audit/log?${query}`)).status, 400, query);
    }
  });

  test('goes on page by page through all of a file, each entry once', async () => {
    for (let i = 0; i < 40; i++) await server.call('GET', `secret/data/pages/${i}`);
    const seen: string[] = [];
    for (let cursor = '', isMore = true; isMore;) {
      const { data } = (await server.call('GET', `sys/audit/log?limit=7&path=secret/data/pages/*${cursor === '' ? '' : `&cursor=${cursor}`}`)).body as { data: { cursor: string; entries: { request: { path: string } }[] } };
      seen.push(...data.entries.map(({ request }) => request.path));
      cursor = data.cursor;
      isMore = cursor !== '';
    }
    assert.deepEqual(seen, Array.from({ length: 40 }, (_, i) => `secret/data/pages/${39 - i}`));
  });
});

describe('purser audit tail', () => {
  test('shows what is asked for as it happens, and ends when its token is revoked', async (t) => {
    const tailed = ((await server.call('POST', 'auth/token/create', { body: { policies: ['auditor'], ttl: '1h' } })).body as { auth: { client_token: string; accessor: string } }).auth;
    const client = new CoreClient({ address: server.server.address, token: tailed.client_token });
    t.after(() => client.close());
    const frames: TailFrame[] = [];
    const ended = (async () => { for await (const frame of client.auditTail({ path: 'secret/data/live/*' })) frames.push(frame); })();
    await eventually('the first frame', () => frames.length > 0);
    await server.call('POST', 'secret/data/live/a', { body: { data: { password: CANARY } } });
    await server.call('GET', 'secret/data/dead/a');
    await eventually('the entry', () => frames.length >= 2);
    assert.deepEqual(frames.flatMap((frame) => (frame.type === 'entry' ? [(frame.entry as { request: { path: string } }).request.path] : [])), ['secret/data/live/a']);
    assert.doesNotMatch(JSON.stringify(frames), new RegExp(CANARY));
    await server.call('POST', 'auth/token/revoke-accessor', { body: { accessor: tailed.accessor } });
    await ended; // at the next heartbeat
  });

  test('refuses a wrong filter and more than 16 at once, before the stream begins', async (t) => {
    const client = new CoreClient({ address: server.server.address, token: reader });
    t.after(() => client.close());
    await assert.rejects(client.auditTail({ outcome: 'maybe' }).next(), { code: 'ERR_CLIENT_RESPONSE' });
    const tails = Array.from({ length: 16 }, () => client.auditTail({}));
    for (const tail of tails) await tail.next();
    await assert.rejects(client.auditTail({}).next(), { code: 'ERR_CLIENT_RESPONSE', message: /16 tails/ });
    for (const tail of tails) await tail.return();
  });
});

describe('purser audit verify', () => {
  test('proves the current file and the rotated ones through the core, and files alone with the exported key', async () => {
    renameSync(join(folder, 'audit.log'), join(folder, 'audit.log.1'));
    await server.server.reopenAudit();
    await server.call('GET', 'secret/data/db/prod');
    const online = await run('audit', 'verify');
    assert.equal(online.status, 0, online.out);
    assert.match(online.out, /audit\.log\.1 +1 +\d+[^]*sound from 1 to \d+\n$/);

    const keyFile = join(server.directory, 'audit.key');
    await run('audit', 'key', 'file', '--out', keyFile);
    assert.equal(statSync(keyFile).mode & 0o777, 0o600);
    const away = join(server.directory, 'away');
    mkdirSync(away);
    for (const name of ['audit.log', 'audit.log.1']) copyFileSync(join(folder, name), join(away, name));
    const verify = (...names: string[]) => run('audit', 'verify', '--key', keyFile, ...names.map((name) => join(away, name)));
    assert.match((await verify('audit.log', 'audit.log.1')).out, /sound from 1 to \d+\n$/);

    const lines = readFileSync(join(away, 'audit.log.1'), 'utf8').trimEnd().split('\n');
    const damages: readonly (readonly [kind: RegExp, change: (lines: string[]) => string[]])[] = [
      [/removed at line 5 \(number 5 of the chain\): lines 5 to 5 of the chain are missing/, (all) => all.toSpliced(4, 1)],
      [/reordered at line 5 /, (all) => all.toSpliced(4, 2, all[5]!, all[4]!)],
      [/altered at line 5 /, (all) => all.with(4, all[4]!.replace('"remote_address":"127.0.0.1"', '"remote_address":"127.0.0.9"'))],
      [/repeated at line 5 /, (all) => all.toSpliced(4, 0, all[3]!)],
      [/lines \d+ to \d+ of the chain are missing between audit\.log\.1 and audit\.log/, (all) => all.slice(0, -2)],
      [/removed at line 1 /, (all) => all.slice(3)],
    ];
    for (const [message, change] of damages) {
      writeFileSync(join(away, 'audit.log.1'), `${change([...lines]).join('\n')}\n`);
      const { status, out } = await verify('audit.log.1', 'audit.log');
      assert.equal(status, 1, out);
      assert.match(out, message);
      assert.match(out, /NOT sound; sound parts: /);
    }
    assert.deepEqual([(await run('audit', 'verify', join(away, 'audit.log'))).status, (await run('audit', 'verify', '--key', keyFile)).status], [2, 2]);
    assert.match((await verify('none.log')).out, /NOT sound; sound parts: none/);
  });
});

describe('purser audit list, enable, disable, hash', () => {
  test('manage a second file, and the hash finds a value in it', async () => {
    assert.deepEqual(await run('audit', 'enable', 'file', '--path', 'second', 'file_path=second.log'), { status: 0, out: '', err: 'every request is recorded by second too\n' });
    await server.call('GET', 'secret/data/db/prod');
    assert.match((await run('audit', 'list')).out, /second\/ +file +file_path=.*second\.log/);
    const hash = (await run('audit', 'hash', 'second/', CANARY)).out.trim();
    assert.match(hash, /^hmac-sha256:[0-9a-f]{64}$/);
    assert.ok(readFileSync(join(folder, 'second.log'), 'utf8').includes(hash));
    assert.equal((await run('audit', 'disable', 'second')).status, 0);
    const refused = await run('audit', 'enable', 'file', '--path', 'raw', 'file_path=raw.log', 'log_raw=true');
    assert.deepEqual([refused.status, /log_raw is not supported[^]*purser: hint: /.test(refused.err)], [1, true]);
  });
});
