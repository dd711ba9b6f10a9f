// From a new core to a restarted one: init, unseal, sealed, auto-unseal, kill -9, a second server, damaged state. Servers with a
// data directory run as processes of their own where a signal or a crash is the point.
/* eslint-disable @typescript-eslint/no-unsafe-member-access, @typescript-eslint/no-unsafe-assignment, @typescript-eslint/no-unsafe-call -- bodies of any shape */

import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { isPurserError } from '../../src/lib/errors.ts';
import { loadConfig } from '../../src/server/config.ts';
import { startServer, type RunningServer } from '../../src/server/server.ts';
import { eventually } from '../eventually.ts';
import { call, silent, temporaryDirectory } from './running.ts';

const cleanups: (() => void)[] = [];
after(() => { for (const cleanup of cleanups) cleanup(); });

function dataDirectory(): string {
  const { path, remove } = temporaryDirectory();
  cleanups.push(remove);
  return path;
}

function start(dataDir: string, more: object = {}): Promise<RunningServer> {
  return startServer(loadConfig({ dataDir, listen: '127.0.0.1:0', http: true, ...more }), silent);
}

/** `purser server` in a process of its own, as the command line runs it. */
class ServerProcess {
  readonly child: ChildProcess;
  log = '';

  constructor(dataDir: string, more: object = {}) {
    const options = { dataDir, listen: '127.0.0.1:0', http: true, autoUnsealKeyFile: join(dataDir, 'unseal-key'), initIfNeeded: true, ...more };
    const script = "import('./src/server/main.ts').then(({ runServer }) => runServer(JSON.parse(process.argv[1]))).then((code) => process.exit(code), (error) => { console.error(error.code, error.message); process.exit(1); });";
    this.child = spawn(process.execPath, ['--import', 'tsx', '-e', script, JSON.stringify(options)], { stdio: ['ignore', 'ignore', 'pipe'] });
    this.child.stderr!.on('data', (chunk: Buffer) => { this.log += chunk.toString(); });
    cleanups.push(() => this.child.kill('SIGKILL'));
  }

  /** Gives the address. */
  async listening(): Promise<string> {
    await eventually('the server to listen or to end', () => this.log.includes('"msg":"listening"') || this.child.exitCode !== null, 60_000);
    return /"address":"([^"]+)".*"msg":"listening"/.exec(this.log)?.[1] ?? assert.fail(`the server did not start: ${this.log}`);
  }

  async ended(): Promise<number | null> {
    if (this.child.exitCode === null && this.child.signalCode === null) await once(this.child, 'exit');
    return this.child.exitCode;
  }
}

describe('a new core', () => {
  test('init, unseal, seal: the whole way by the API, with 503 for everything else while it is sealed', async () => {
    const server = await start(dataDirectory());
    const send = (method: string, path: string, body?: unknown, token?: string) => call(server.address, method, path, { body, token });
    assert.equal((await send('GET', 'sys/health')).status, 501);
    assert.deepEqual((await send('GET', 'sys/init')).body, { initialized: false });
    assert.equal((await send('PUT', 'sys/unseal', { key: 'ab'.repeat(33) })).status, 400);
    for (const [shares, threshold, message] of [[0, 1, 'shares must be at least one'], [3, 0, 'threshold must be at least one'], [3, 4, 'threshold cannot be larger than shares'],
      [256, 2, 'shares must be less than 256'], [2, 1, 'threshold must be greater than one for multiple shares']] as const) {
      assert.deepEqual((await send('PUT', 'sys/init', { secret_shares: shares, secret_threshold: threshold })).body.errors, [`invalid seal configuration: ${message}`]);
    }
    const { body: init } = await send('PUT', 'sys/init', { secret_shares: 3, secret_threshold: 2 });
    assert.equal(init.keys.length, 3);
    assert.deepEqual(init.keys.map((key: string) => Buffer.from(key, 'hex').toString('base64')), init.keys_base64);
    assert.equal((await send('PUT', 'sys/init', { secret_shares: 1, secret_threshold: 1 })).status, 400);

    assert.equal((await send('GET', 'sys/health')).status, 503);
    assert.equal((await send('GET', 'sys/health?sealedcode=299')).status, 299);
    for (const [method, path] of [['GET', 'secret/data/a'], ['POST', 'secret/data/a'], ['LIST', 'secret/metadata'], ['GET', 'sys/mounts'], ['PUT', 'sys/seal'], ['POST', 'auth/token/create'],
      ['POST', 'auth/node/login'], ['GET', 'auth/node/ca'], ['GET', 'node/watch'], ['GET', 'nowhere/x']] as const) {
      const answer = await send(method, path, undefined, init.root_token as string);
      assert.deepEqual([answer.status, answer.body.errors], [503, ['Vault is sealed']], `${method} ${path}`);
    }

    const status = await send('PUT', 'sys/unseal', { key: init.keys[0] });
    assert.deepEqual([status.body.sealed, status.body.t, status.body.n, status.body.progress], [true, 2, 3, 1]);
    assert.notEqual(status.body.nonce, '');
    assert.equal((await send('PUT', 'sys/unseal', { key: init.keys_base64[0] })).body.progress, 1);
    assert.equal((await send('PUT', 'sys/unseal', { reset: true })).body.progress, 0);
    assert.equal((await send('PUT', 'sys/unseal', {})).body.errors[0], "'key' must be specified in request body as JSON, or 'reset' set to true");
    for (const key of ['zz', 'ab', init.keys[0].slice(2)]) assert.equal((await send('PUT', 'sys/unseal', { key })).status, 400);
    const wrong = Buffer.from(init.keys[0] as string, 'hex');
    wrong[0]! ^= 1;
    await send('PUT', 'sys/unseal', { key: wrong.toString('hex') });
    const failed = await send('PUT', 'sys/unseal', { key: init.keys[1] });
    assert.deepEqual([failed.status, failed.body.code], [400, 'ERR_SEAL_SHARE']);
    await send('PUT', 'sys/unseal', { key: init.keys[2] });
    assert.equal((await send('PUT', 'sys/unseal', { key: init.keys_base64[0] })).body.sealed, false);
    assert.equal((await send('GET', 'sys/health')).status, 200);

    assert.equal((await send('POST', 'secret/data/a', { data: { a: 1 } }, init.root_token as string)).status, 200);
    assert.equal((await send('PUT', 'sys/seal', undefined, init.root_token as string)).status, 204);
    assert.equal((await send('GET', 'sys/seal-status')).body.sealed, true);
    assert.equal((await send('GET', 'secret/data/a', undefined, init.root_token as string)).status, 503);
    for (const key of init.keys.slice(0, 2)) await send('PUT', 'sys/unseal', { key });
    assert.deepEqual((await send('GET', 'secret/data/a', undefined, init.root_token as string)).body.data.data, { a: 1 });
    await server.close();
  });

  test('--init-if-needed makes everything an unattended host needs, and the next starts use it', async () => {
    const data = dataDirectory();
    const keyFile = join(data, 'unseal-key');
    const first = await start(data, { autoUnsealKeyFile: keyFile, initIfNeeded: true });
    const token = readFileSync(join(data, 'root-token'), 'utf8').trim();
    for (const path of [keyFile, join(data, 'root-token')]) assert.equal(statSync(path).mode & 0o777, 0o600);
    await call(first.address, 'POST', 'secret/data/a', { token, body: { data: { a: 1 } } });
    await call(first.address, 'PUT', 'sys/policies/acl/p', { token, body: { policy: 'path "x" {capabilities=["read"]}' } });
    await call(first.address, 'POST', 'sys/mounts/other', { token, body: { type: 'kv-v2' } });
    await first.close();

    const second = await start(data, { autoUnsealKeyFile: keyFile, initIfNeeded: true });
    assert.deepEqual((await call(second.address, 'GET', 'secret/data/a', { token })).body.data.data, { a: 1 });
    assert.equal((await call(second.address, 'GET', 'sys/policies/acl/p', { token })).status, 200);
    assert.ok('other/' in ((await call(second.address, 'GET', 'sys/mounts', { token })).body.data as object));
    await second.close();
  });

  test('a key file without --init-if-needed does not initialize, and one that exists is never overwritten', async () => {
    const data = dataDirectory();
    const keyFile = join(data, 'unseal-key');
    await assert.rejects(start(data, { autoUnsealKeyFile: keyFile }), (error) => isPurserError(error, 'ERR_SEAL_UNINITIALIZED'));
    writeFileSync(keyFile, 'precious', { mode: 0o600 });
    await assert.rejects(start(data, { autoUnsealKeyFile: keyFile, initIfNeeded: true }), (error) => isPurserError(error, 'ERR_SEAL_FILE'));
    assert.equal(readFileSync(keyFile, 'utf8'), 'precious');
  });

  test('a first start that ended before the root token was written is completed by the next one', async () => {
    const data = dataDirectory();
    const keyFile = join(data, 'unseal-key');
    mkdirSync(join(data, 'root-token')); // the file cannot be put in its place
    await assert.rejects(start(data, { autoUnsealKeyFile: keyFile, initIfNeeded: true }), (error) => isPurserError(error, 'ERR_STATE_WRITE'));
    assert.ok(existsSync(keyFile));
    rmSync(join(data, 'root-token'), { recursive: true });
    const server = await start(data, { autoUnsealKeyFile: keyFile, initIfNeeded: true });
    const token = readFileSync(join(data, 'root-token'), 'utf8').trim();
    assert.equal((await call(server.address, 'POST', 'secret/data/a', { token, body: { data: { a: 1 } } })).status, 200);
    await server.close();
  });

  test('with TLS the CA in the data directory is all a client needs', async () => {
    const server = await startServer(loadConfig({ dataDir: dataDirectory(), listen: '127.0.0.1:0' }), silent);
    assert.match(server.address, /^https:/);
    assert.equal(readFileSync(server.caPath!, 'utf8'), server.caCertificate);
    const { get } = await import('node:https');
    const status = await new Promise((resolve, reject) => {
      get(`${server.address}/v1/sys/health`, { ca: server.caCertificate, agent: false }, (response) => { response.resume(); resolve(response.statusCode); }).on('error', reject);
    });
    assert.equal(status, 501);

    const { connect } = await import('node:tls');
    const socket = connect({ host: '127.0.0.1', port: Number(new URL(server.address).port), ca: server.caCertificate });
    let text = '';
    socket.on('data', (chunk) => { text += chunk.toString(); });
    socket.write('LIS');
    await new Promise((resolve) => setTimeout(resolve, 100));
    socket.write('T /v1/secret/metadata HTTP/1.1\r\nHost: x\r\n\r\n');
    await once(socket, 'close');
    assert.match(text, /^HTTP\/1\.1 503 /, 'LIST works under TLS, split in the verb');
    await server.close();
  });
});

describe('a data directory', () => {
  test('a second server on it is refused, and the first goes on', async () => {
    const data = dataDirectory();
    const first = await start(data);
    await assert.rejects(start(data), (error) => isPurserError(error, 'ERR_STORAGE_LOCKED'));
    assert.equal((await call(first.address, 'GET', 'sys/health')).status, 501);
    await first.close();
    await (await start(data)).close();
  });

  test('one that others may enter is refused', async () => {
    const data = dataDirectory();
    chmodSync(data, 0o755);
    await assert.rejects(start(data), (error) => isPurserError(error, 'ERR_STORAGE_FAILED'));
  });

  test('an address in use is refused, and the data directory is free again', async () => {
    const data = dataDirectory();
    const other = await start(dataDirectory());
    await assert.rejects(start(data, { listen: new URL(other.address).host }), (error) => isPurserError(error, 'ERR_CONFIG_INVALID') && error.message.includes('in use'));
    await other.close();
    await (await start(data)).close();
  });

  const damages: readonly (readonly [name: string, damage: (data: string) => void, code: 'ERR_STATE_CORRUPT' | 'ERR_SEAL_FILE' | 'ERR_AUDIT_CHAIN'])[] = [
    ['its CA is cut', (data) => truncateSync(join(data, 'tls', 'ca.pem'), 100), 'ERR_STATE_CORRUPT'],
    ['its CA key is gone', (data) => rmSync(join(data, 'tls', 'ca-key.pem')), 'ERR_STATE_CORRUPT'],
    ['its store is gone', (data) => rmSync(join(data, 'store', 'data.mdb')), 'ERR_STATE_CORRUPT'],
    ['its unseal file is cut', (data) => truncateSync(join(data, 'unseal-key'), 30), 'ERR_SEAL_FILE'],
    ['its unseal file is open to others', (data) => chmodSync(join(data, 'unseal-key'), 0o644), 'ERR_SEAL_FILE'],
    ['its audit file was changed', (data) => {
      const path = join(data, 'audit', 'audit.log');
      writeFileSync(path, readFileSync(path, 'utf8').replace(/"seq":\d+/g, '"seq":7'));
    }, 'ERR_AUDIT_CHAIN'],
    ['its audit file was cut', (data) => truncateSync(join(data, 'audit', 'audit.log'), 50), 'ERR_AUDIT_CHAIN'],
  ];
  for (const [name, damage, code] of damages) {
    test(`when ${name} the server does not start, and recreates nothing`, async () => {
      const data = dataDirectory();
      const options = { autoUnsealKeyFile: join(data, 'unseal-key'), initIfNeeded: true, http: false };
      const server = await start(data, options);
      await server.close();
      damage(data);
      const before = readdirSync(join(data, 'tls'));
      await assert.rejects(start(data, options), (error) => isPurserError(error, code) || assert.fail(error as Error));
      assert.deepEqual(readdirSync(join(data, 'tls')), before);
    });
  }
});

describe('--replace-damaged-audit', () => {
  test('--replace-damaged-audit sets a damaged audit file aside and goes on in a new one', async () => {
    const data = dataDirectory();
    const options = { autoUnsealKeyFile: join(data, 'unseal-key'), initIfNeeded: true };
    await (await start(data, options)).close();
    truncateSync(join(data, 'audit', 'audit.log'), 50);
    await (await start(data, { ...options, replaceDamagedAudit: true })).close();
    assert.equal(readdirSync(join(data, 'audit')).filter((name) => name.startsWith('audit.log.damaged-')).length, 1);
    await (await start(data, options)).close();
  });
});

describe('runServer()', () => {
  test('runServer() loses no acknowledged write to kill -9, and its audit file goes on', { timeout: 300_000 }, async () => {
    const data = dataDirectory();
    const first = new ServerProcess(data);
    const address = await first.listening();
    const token = readFileSync(join(data, 'root-token'), 'utf8').trim();
    const acknowledged: string[] = [];
    let isRunning = true;
    const writer = async (name: string): Promise<void> => {
      for (let index = 0; isRunning; index++) {
        const path = `${name}-${index}`;
        const answer = await call(address, 'POST', `secret/data/${path}`, { token, body: { data: { value: path } } }).catch(() => undefined);
        if (answer?.status === 200) acknowledged.push(path);
      }
    };
    const writers = Array.from({ length: 8 }, (_, index) => writer(`w${index}`));
    await eventually('200 writes', () => acknowledged.length >= 200, 60_000);
    first.child.kill('SIGKILL');
    await first.ended();
    isRunning = false;
    await Promise.all(writers);

    const second = new ServerProcess(data);
    const again = await second.listening();
    for (const path of acknowledged) {
      const answer = await call(again, 'GET', `secret/data/${path}`, { token });
      assert.equal(answer.body.data?.data?.value, path);
    }
    second.child.kill('SIGTERM');
    assert.equal(await second.ended(), 0);
    assert.match(second.log, /"msg":"stopped"/);
    assert.ok(!second.log.includes(token) && !first.log.includes(token));
  });

  test('runServer() answers the request under way before SIGTERM ends it', { timeout: 300_000 }, async () => {
    const data = dataDirectory();
    const server = new ServerProcess(data);
    const { port } = new URL(await server.listening());
    const token = readFileSync(join(data, 'root-token'), 'utf8').trim();
    const { connect } = await import('node:net');
    const socket = connect(Number(port), '127.0.0.1');
    let text = '';
    socket.on('data', (chunk) => { text += chunk.toString(); });
    socket.write(`POST /v1/secret/data/late HTTP/1.1\r\nHost: x\r\nX-Vault-Token: ${token}\r\nContent-Length: 16\r\nExpect: 100-continue\r\n\r\n{"data":`);
    await eventually('that the server waits for the rest', () => text.startsWith('HTTP/1.1 100 Continue\r\n\r\n'));
    server.child.kill('SIGTERM');
    await eventually('that it stops', () => server.log.includes('"msg":"stopping"'));
    socket.write('{"a":1}}');
    assert.equal(await server.ended(), 0);
    assert.match(text, /\r\n\r\nHTTP\/1\.1 200 OK\r\n/);
    assert.match(text, /\r\nConnection: close\r\n/i);
  });

  test('runServer() opens no debugger on SIGUSR1 and shows no arguments', { timeout: 300_000 }, async () => {
    const data = dataDirectory();
    const server = new ServerProcess(data);
    await server.listening();
    server.child.kill('SIGUSR1');
    await new Promise((resolve) => setTimeout(resolve, 300));
    assert.doesNotMatch(server.log, /Debugger/);
    assert.equal(readFileSync(`/proc/${server.child.pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim(), 'purser server');
    server.child.kill('SIGTERM');
    assert.equal(await server.ended(), 0);
  });
});
