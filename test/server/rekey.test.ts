// sys/rekey, sys/rotate and sys/generate-root over HTTP: Vault's shapes, who may do what, and what survives a restart.
/* eslint-disable @typescript-eslint/no-unsafe-member-access, @typescript-eslint/no-unsafe-assignment, @typescript-eslint/no-unsafe-argument, @typescript-eslint/no-unsafe-call -- bodies of any shape */

import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { openCore } from '../../src/core/core.ts';
import type { Operation } from '../../src/core/logical.ts';
import { RootGeneration } from '../../src/core/root-generation.ts';
import { unpadText } from '../../src/lib/one-time-pad.ts';
import { loadConfig } from '../../src/server/config.ts';
import { startServer, type RunningServer } from '../../src/server/server.ts';
import { generateRootRoutes } from '../../src/server/sys/generate-root.ts';
import { SysEngine } from '../../src/server/sys/sys-engine.ts';
import { MemoryStorage } from '../../src/storage/memory.ts';
import { call, silent, startUnsealed, temporaryDirectory, type Answer } from './running.ts';

const cleanups: (() => unknown)[] = [];
after(async () => { for (const cleanup of cleanups.reverse()) await cleanup(); });

interface Core { readonly server: RunningServer; readonly keys: readonly string[]; readonly root: string; send: (method: string, path: string, body?: unknown, token?: string) => Promise<Answer> }

function dataDirectory(): string {
  const { path, remove } = temporaryDirectory();
  cleanups.push(remove);
  return path;
}

async function start(dataDir: string, more: object = {}): Promise<RunningServer> {
  const server = await startServer(loadConfig({ dataDir, listen: '127.0.0.1:0', http: true, ...more }), silent);
  cleanups.push(() => server.close());
  return server;
}

/** A new core of `shares`/`threshold`, unsealed. */
async function newCore(shares = 3, threshold = 2, more: object = {}): Promise<Core> {
  const server = await start(dataDirectory(), more);
  const { body } = await call(server.address, 'PUT', 'sys/init', { body: { secret_shares: shares, secret_threshold: threshold } });
  for (const key of body.keys.slice(0, threshold)) await call(server.address, 'PUT', 'sys/unseal', { body: { key } });
  const root: string = body.root_token;
  return { server, keys: body.keys_base64, root, send: (method, path, data, token = root) => call(server.address, method, path, { body: data, token: token === '' ? undefined : token }) };
}

async function sealAndUnseal({ send }: Core, keys: readonly string[]): Promise<boolean> {
  assert.equal((await send('PUT', 'sys/seal')).status, 204);
  let sealed = true;
  for (const key of keys) sealed = (await send('PUT', 'sys/unseal', { key }, '')).body.sealed ?? true;
  return !sealed;
}

describe('sys/rekey', () => {
  test('makes new shares step by step, in the shapes of Vault, and only they unseal', async () => {
    const core = await newCore();
    assert.deepEqual((await core.send('GET', 'sys/rekey/init')).body, {
      started: false, nonce: '', t: 0, n: 0, progress: 0, required: 2, pgp_fingerprints: null, backup: false, verification_required: false,
    });
    assert.equal((await core.send('PUT', 'sys/rekey/update', { key: core.keys[0], nonce: '' })).status, 400);
    const { body: started } = await core.send('PUT', 'sys/rekey/init', { secret_shares: 5, secret_threshold: 3 });
    assert.deepEqual([started.started, started.t, started.n, started.progress, started.required], [true, 3, 5, 0, 2]);
    assert.equal((await core.send('PUT', 'sys/rekey/init', { secret_shares: 5, secret_threshold: 3 })).status, 400);
    const { body: first } = await core.send('PUT', 'sys/rekey/update', { key: core.keys[1], nonce: started.nonce });
    assert.deepEqual(first, { ...started, progress: 1 });
    assert.equal((await core.send('PUT', 'sys/rekey/update', { key: core.keys[0], nonce: 'other' })).status, 400);
    const { body: done } = await core.send('PUT', 'sys/rekey/update', { key: core.keys[0], nonce: started.nonce });
    assert.deepEqual([done.complete, done.nonce, done.keys.length, done.keys_base64.length, done.verification_required, 'verification_nonce' in done], [true, started.nonce, 5, 5, false, false]);
    assert.equal((await core.send('GET', 'sys/rekey/init')).body.started, false);
    assert.equal(await sealAndUnseal(core, core.keys.slice(0, 2)), false);
    await core.send('PUT', 'sys/unseal', { reset: true });
    assert.equal(await Promise.all(done.keys.slice(0, 3).map((key: string) => core.send('PUT', 'sys/unseal', { key }))).then((answers) => answers.some(({ body }) => body.sealed === false)), true);
    assert.deepEqual([(await core.send('GET', 'sys/seal-status')).body.t, (await core.send('GET', 'sys/seal-status')).body.n], [3, 5]);
  });

  test('with verification changes nothing before the new shares came back', async () => {
    const core = await newCore();
    const { body: { nonce } } = await core.send('PUT', 'sys/rekey/init', { secret_shares: 2, secret_threshold: 2, require_verification: true });
    assert.equal((await core.send('GET', 'sys/rekey/verify')).status, 400);
    await core.send('PUT', 'sys/rekey/update', { key: core.keys[0], nonce });
    const { body: made } = await core.send('PUT', 'sys/rekey/update', { key: core.keys[1], nonce });
    assert.equal(made.verification_required, true);
    assert.deepEqual((await core.send('GET', 'sys/rekey/verify')).body, { started: true, nonce: made.verification_nonce, t: 2, n: 2, progress: 0 });
    assert.equal((await core.send('GET', 'sys/rekey/init')).body.verification_nonce, made.verification_nonce);
    const { body: restarted } = await core.send('DELETE', 'sys/rekey/verify');
    assert.notEqual(restarted.nonce, made.verification_nonce);
    assert.equal((await core.send('PUT', 'sys/rekey/verify', { key: made.keys[0], nonce: made.verification_nonce })).status, 400);
    assert.equal((await core.send('PUT', 'sys/rekey/verify', { key: made.keys[0], nonce: restarted.nonce })).body.progress, 1);
    assert.deepEqual((await core.send('PUT', 'sys/rekey/verify', { key: made.keys[1], nonce: restarted.nonce })).body, { complete: true, nonce: restarted.nonce });
    assert.equal(await sealAndUnseal(core, made.keys), true);
  });

  test('is forgotten at seal, and by its cancelling', async () => {
    const core = await newCore();
    const { body: { nonce } } = await core.send('PUT', 'sys/rekey/init', { secret_shares: 2, secret_threshold: 2 });
    await core.send('PUT', 'sys/rekey/update', { key: core.keys[0], nonce });
    assert.equal(await sealAndUnseal(core, core.keys.slice(1)), true);
    assert.equal((await core.send('GET', 'sys/rekey/init')).body.started, false);
    await core.send('PUT', 'sys/rekey/init', { secret_shares: 2, secret_threshold: 2 });
    assert.equal((await core.send('DELETE', 'sys/rekey/init')).status, 204);
    assert.equal((await core.send('DELETE', 'sys/rekey/init')).status, 204);
    assert.equal((await core.send('GET', 'sys/rekey/init')).body.started, false);
  });

  test('refuses what it does not have, with a hint', async () => {
    const { send } = await newCore();
    for (const more of [{ pgp_keys: ['x'] }, { backup: true }, { stored_shares: 1 }]) {
      const { status, body } = await send('PUT', 'sys/rekey/init', { secret_shares: 2, secret_threshold: 2, ...more });
      assert.deepEqual([status, typeof body.hint], [400, 'string'], JSON.stringify(more));
    }
    assert.equal((await send('PUT', 'sys/rekey/init', { secret_shares: 2, secret_threshold: 2, pgp_keys: [], backup: false, stored_shares: null })).status, 200);
    assert.equal((await send('GET', 'sys/rekey/backup')).status, 400);
  });

  test('a core that unseals itself goes on doing so after a rekey', async () => {
    const directory = dataDirectory();
    const keyFile = join(directory, 'key');
    const more = { autoUnsealKeyFile: keyFile, initIfNeeded: true };
    const server = await start(directory, more);
    const token = readFileSync(join(directory, 'root-token'), 'utf8').trim();
    const share = readFileSync(keyFile, 'utf8').split('\n')[1]!;
    const { body: { nonce } } = await call(server.address, 'PUT', 'sys/rekey/init', { token, body: { secret_shares: 5, secret_threshold: 3 } });
    const { body: done } = await call(server.address, 'PUT', 'sys/rekey/update', { token, body: { key: share, nonce } });
    assert.equal(done.complete, true);
    assert.deepEqual(readFileSync(keyFile, 'utf8').trim().split('\n').slice(1), done.keys.slice(0, 3));
    assert.equal(existsSync(`${keyFile}.next`), false);
    await server.close();
    const again = await start(directory, more);
    assert.equal((await call(again.address, 'GET', 'sys/seal-status')).body.sealed, false);
  });
});

describe('sys/generate-root', () => {
  test('gives a root token under the one-time password, to whoever brings enough shares', async () => {
    const core = await newCore();
    const none = (await core.send('GET', 'sys/generate-root/attempt')).body;
    assert.deepEqual(none, { started: false, nonce: '', progress: 0, required: 2, complete: false, encoded_token: '', encoded_root_token: '', pgp_fingerprint: '', otp: '', otp_length: 28 });
    const { body: started } = await core.send('PUT', 'sys/generate-root/attempt', {});
    assert.match(started.otp, /^[0-9A-Za-z]{28}$/);
    assert.equal((await core.send('GET', 'sys/generate-root/attempt')).body.otp, '', 'the pad is shown to its starter only');
    assert.equal((await core.send('PUT', 'sys/generate-root/attempt', {})).status, 400);
    assert.equal((await core.send('PUT', 'sys/generate-root/update', { key: core.keys[0], nonce: started.nonce })).body.progress, 1);
    const { body: done } = await core.send('PUT', 'sys/generate-root/update', { key: core.keys[2], nonce: started.nonce });
    assert.deepEqual([done.complete, done.progress, done.encoded_token], [true, 2, done.encoded_root_token]);
    const token = unpadText(done.encoded_token, started.otp);
    assert.match(token, /^hvs\.[0-9A-Za-z]{24}$/);
    assert.deepEqual((await core.send('GET', 'auth/token/lookup-self', undefined, token)).body.data.policies, ['root']);
    assert.equal((await core.send('PUT', 'sys/generate-root/update', { key: core.keys[0], nonce: started.nonce })).status, 400);
  });

  test('takes a password of the caller, refuses one of another length and PGP keys, and can be cancelled', async () => {
    const core = await newCore();
    for (const body of [{ otp: 'short' }, { pgp_key: 'x' }]) assert.equal((await core.send('PUT', 'sys/generate-root/attempt', body)).status, 400);
    const otp = 'a'.repeat(28);
    const { body: started } = await core.send('PUT', 'sys/generate-root/attempt', { otp });
    assert.deepEqual([started.started, started.otp], [true, '']);
    await core.send('PUT', 'sys/generate-root/update', { key: core.keys[0], nonce: started.nonce });
    assert.equal((await core.send('DELETE', 'sys/generate-root/attempt')).status, 204);
    assert.equal((await core.send('PUT', 'sys/generate-root/update', { key: core.keys[1], nonce: started.nonce })).status, 400);
  });
});

describe('unauthenticated operator endpoints', () => {
  const guarded: readonly (readonly [string, string])[] = [
    ['GET', 'sys/rekey/init'], ['PUT', 'sys/rekey/init'], ['DELETE', 'sys/rekey/init'], ['PUT', 'sys/rekey/update'], ['GET', 'sys/rekey/verify'], ['PUT', 'sys/rekey/verify'], ['DELETE', 'sys/rekey/verify'],
    ['GET', 'sys/rekey/backup'], ['GET', 'sys/generate-root/attempt'], ['PUT', 'sys/generate-root/attempt'], ['DELETE', 'sys/generate-root/attempt'], ['PUT', 'sys/generate-root/update'],
    ['PUT', 'sys/rotate'], ['GET', 'sys/rotate/config'], ['PUT', 'sys/rotate/config'], ['PUT', 'sys/seal'],
  ];

  test('nobody without a token, and no token without sudo, can see, start, feed or cancel a rekey or a root generation', async () => {
    const core = await newCore();
    await core.send('PUT', 'sys/policies/acl/nearly', { policy: 'path "sys/*" { capabilities = ["create", "read", "update", "delete", "list"] }' });
    const { body: { auth: { client_token: nearly } } } = await core.send('POST', 'auth/token/create', { policies: ['nearly'] });
    const { body: rekey } = await core.send('PUT', 'sys/rekey/init', { secret_shares: 2, secret_threshold: 2 });
    const { body: generation } = await core.send('PUT', 'sys/generate-root/attempt', {});
    for (const [method, path] of guarded) {
      for (const token of ['', 'hvs.not-a-token', ...(path.startsWith('sys/rotate/config') ? [] : [nearly])]) {
        const { status } = await core.send(method, path, method === 'PUT' ? { key: core.keys[0], nonce: rekey.nonce, secret_shares: 1, secret_threshold: 1 } : undefined, token);
        assert.equal(status, 403, `${method} ${path} ${token === nearly ? 'without sudo' : 'without a token'}`);
      }
    }
    const status = (await core.send('GET', 'sys/rekey/init')).body;
    assert.deepEqual([status.nonce, status.progress], [rekey.nonce, 0]);
    const attempt = (await core.send('GET', 'sys/generate-root/attempt')).body;
    assert.deepEqual([attempt.nonce, attempt.progress], [generation.nonce, 0]);
  });

  test('in recovery a root token needs shares alone, from the host itself; a rekey still needs a token', async () => {
    const core = await newCore(3, 2, { allowGenerateRoot: true });
    const { body: started } = await core.send('PUT', 'sys/generate-root/attempt', {}, '');
    await core.send('PUT', 'sys/generate-root/update', { key: core.keys[0], nonce: started.nonce }, '');
    const { body: done } = await core.send('PUT', 'sys/generate-root/update', { key: core.keys[1], nonce: started.nonce }, '');
    assert.equal((await core.send('GET', 'auth/token/lookup-self', undefined, unpadText(done.encoded_token, started.otp))).status, 200);
    assert.equal((await core.send('PUT', 'sys/rekey/init', { secret_shares: 1, secret_threshold: 1 }, '')).status, 403);
  });
});

describe('recovery (--allow-generate-root)', () => {
  test('is for callers on the host itself: nobody else sees, starts, feeds or cancels an attempt', async () => {
    const { barrier, seal } = openCore(new MemoryStorage());
    const [share] = await seal.initialize({ shares: 1, threshold: 1 });
    await seal.provide(share!);
    const generation = new RootGeneration(barrier);
    const sys = new SysEngine(generateRootRoutes({ generation, createRootToken: async () => 'hvs.'.padEnd(28, 'x'), isRecovery: true }));
    const ask = (operation: Operation, path: string, remoteAddress: string, data = {}): Promise<unknown> => sys.handle({ operation, path, mountPoint: 'sys/', data, remoteAddress });
    await ask('update', 'generate-root/attempt', '127.0.0.1');
    const { nonce } = generation.status();
    for (const address of ['10.0.0.1', '192.168.1.7', '::ffff:10.0.0.1', 'fe80::1', '2001:db8::1', '', '128.0.0.1']) {
      for (const [operation, path] of [['read', 'generate-root/attempt'], ['update', 'generate-root/attempt'], ['delete', 'generate-root/attempt'], ['update', 'generate-root/update']] as const) {
        await assert.rejects(ask(operation, path, address, { key: Buffer.from(share!).toString('hex'), nonce }), { code: 'ERR_REQUEST_DENIED' }, `${address} ${operation} ${path}`);
      }
    }
    assert.deepEqual([generation.status().nonce, generation.status().progress], [nonce, 0]);
    for (const address of ['127.0.0.1', '127.8.8.8', '::1', '::ffff:127.0.0.1']) await ask('read', 'generate-root/attempt', address);
  });
});

describe('the audit file', () => {
  test('holds no share, one-time password or token of a rekey and a root generation', async () => {
    const directory = dataDirectory();
    const server = await start(directory);
    const { body: init } = await call(server.address, 'PUT', 'sys/init', { body: { secret_shares: 1, secret_threshold: 1 } });
    await call(server.address, 'PUT', 'sys/unseal', { body: { key: init.keys[0] } });
    const send = (path: string, body: unknown): Promise<Answer> => call(server.address, 'PUT', path, { body, token: init.root_token });
    const { body: attempt } = await send('sys/generate-root/attempt', {});
    const { body: generated } = await send('sys/generate-root/update', { key: init.keys[0], nonce: attempt.nonce });
    const { body: rekey } = await send('sys/rekey/init', { secret_shares: 2, secret_threshold: 2 });
    await send('sys/rekey/update', { key: 'not a share', nonce: rekey.nonce });
    const { body: made } = await send('sys/rekey/update', { key: init.keys_base64[0], nonce: rekey.nonce });
    const log = readFileSync(join(directory, 'audit', 'audit.log'), 'utf8');
    assert.match(log, /sys\/rekey\/update/);
    for (const secret of [...init.keys, ...init.keys_base64, init.root_token, attempt.otp, generated.encoded_token, unpadText(generated.encoded_token, attempt.otp), ...made.keys, ...made.keys_base64, 'not a share']) {
      assert.equal(log.includes(secret as string), false);
    }
  });
});

describe('sys/rotate', () => {
  test('adds a term, and old records still read', async () => {
    const core = await startUnsealed({ audit: false });
    try {
      // More writes than there are records: how many of these were encrypted anew when it is asked again is a matter of time.
      for (let i = 0; i < 40; i++) await core.call('POST', 'secret/data/old', { body: { data: { a: 1 } } });
      const before = (await core.call('GET', 'sys/key-status')).body.data;
      assert.ok(before.encryptions > 0);
      assert.equal((await core.call('PUT', 'sys/rotate')).status, 204);
      const after = (await core.call('GET', 'sys/key-status')).body.data;
      assert.equal(after.term, before.term + 1);
      assert.ok(after.encryptions < before.encryptions);
      assert.deepEqual((await core.call('GET', 'secret/data/old')).body.data.data, { a: 1 });
    } finally {
      await core.stop();
    }
  });

  test('rotate/config keeps what was set, within the bounds of Vault', async () => {
    const core = await startUnsealed({ audit: false });
    try {
      assert.deepEqual((await core.call('GET', 'sys/rotate/config')).body.data, { max_operations: 3_865_470_566, interval: 0, enabled: true });
      assert.equal((await core.call('PUT', 'sys/rotate/config', { body: { max_operations: 2_000_000, interval: '48h', enabled: false } })).status, 204);
      assert.deepEqual((await core.call('GET', 'sys/rotate/config')).body.data, { max_operations: 2_000_000, interval: '48h0m0s', enabled: false });
      assert.equal((await core.call('PUT', 'sys/rotate/config', { body: { enabled: true } })).status, 204);
      assert.equal((await core.call('GET', 'sys/rotate/config')).body.data.max_operations, 2_000_000);
      for (const body of [{ max_operations: 1 }, { max_operations: 4e9 }, { interval: '1h' }, { interval: -1 }, { enabled: 'perhaps' }]) assert.equal((await core.call('PUT', 'sys/rotate/config', { body })).status, 400, JSON.stringify(body));
    } finally {
      await core.stop();
    }
  });
});
