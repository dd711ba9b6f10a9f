// A client that sends anything at all gets a clear error: JSON bombs, oversized and slow requests, before and after the token.

import assert from 'node:assert/strict';
import type { AddressInfo, Socket } from 'node:net';
import { connect } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { createFront } from '../../src/server/http/front.ts';
import { ownIdentity } from '../../src/server/tls/own-authority.ts';
import { recordedLog } from '../fakes/silent-log.ts';
import { startUnsealed, type TestServer } from './running.ts';

const MIB = 1024 * 1024;
let server: TestServer;
before(async () => { server = await startUnsealed({ audit: false }); });
after(() => server.stop());

describe('request limits', () => {
  const bombs: readonly (readonly [name: string, body: () => string | Buffer, withToken: number, withoutToken: number])[] = [
    ['100,000 nested arrays', () => `{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}`, 400, 400],
    ['a million keys', () => `{${Array.from({ length: 1_000_000 }, (_, index) => `"${index}":0`).join()}}`, 400, 413],
    ['20,000 values', () => `{"data":{"a":[${'1,'.repeat(20_000)}1]}}`, 200, 400],
    ['33 MiB', () => Buffer.alloc(33 * MIB, 0x20), 413, 413],
    ['2 MiB of one string', () => `{"data":{"a":"${'x'.repeat(2 * MIB)}"}}`, 200, 413],
    ['invalid UTF-8', () => Buffer.from([0x7b, 0x22, 0xc3, 0x28, 0x22, 0x3a, 0x31, 0x7d]), 400, 400],
    ['a large integer', () => '{"data":{"a":12345678901234567890}}', 400, 400],
    ['a __proto__ key', () => '{"data":{"__proto__":{"a":1}}}', 400, 400],
    ['a small valid body', () => '{"data":{"a":1}}', 200, 403],
  ];
  for (const [name, body, withToken, withoutToken] of bombs) {
    test(`a body of ${name} is ${withToken} with a token and ${withoutToken} without`, async () => {
      for (const [token, status] of [[server.root, withToken], ['hvs.wrong', withoutToken], [undefined, withoutToken]] as const) {
        const answer = await server.call('POST', 'secret/data/bomb', { token, body: body() });
        assert.equal(answer.status, status, answer.text.slice(0, 200));
      }
      assert.equal((await server.call('GET', 'sys/health')).status, 200);
    });
  }

  test('a chunked body without end is refused at the limit, not collected', async () => {
    const { text, sent } = await stream(Buffer.alloc(MIB, 0x20), 40);
    assert.match(text, /^HTTP\/1\.1 413 /);
    assert.ok(sent <= 40 * MIB);
  });

  test('sys/unseal takes no more than strangers may send', async () => {
    assert.equal((await server.call('POST', 'sys/unseal', { body: { key: 'x'.repeat(2 * MIB) } })).status, 413);
  });

  test('a connection that is cut in the middle of a body costs nothing and nobody else notices', async () => {
    const { hostname, port } = new URL(server.server.address);
    const socket = connect(Number(port), hostname);
    socket.write(`POST /v1/secret/data/cut HTTP/1.1\r\nHost: x\r\nX-Vault-Token: ${server.root}\r\nContent-Length: 1000\r\n\r\n{"data":`);
    await new Promise((resolve) => setTimeout(resolve, 50));
    socket.destroy();
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.equal((await server.call('GET', 'secret/data/cut')).status, 404);
  });

  test('headers that arrive too slowly end with 408', { timeout: 300_000 }, async () => {
    const { hostname, port } = new URL(server.server.address);
    const socket = connect(Number(port), hostname);
    let text = '';
    socket.on('data', (chunk) => { text += chunk.toString(); });
    socket.on('error', () => undefined);
    socket.write('GET /v1/sys/health HTTP/1.1\r\nHost: x\r\n');
    const drip = setInterval(() => socket.write('x: y\r\n'), 500);
    await new Promise((resolve) => socket.once('close', resolve));
    clearInterval(drip);
    assert.match(text, /^HTTP\/1\.1 408 /);
  });

  test('a client that asks on and on and reads no answer is cut when nothing moves any more', { timeout: 300_000 }, async () => {
    const front = createFront(async () => ({ status: 200, body: '"x"' }), recordedLog().log, undefined);
    assert.ok(front.timeout > 0 && front.timeout <= 300_000);
    front.timeout = 300;
    await new Promise<void>((resolve) => { front.listen(0, '127.0.0.1', resolve); });
    const socket = connect((front.address() as AddressInfo).port, '127.0.0.1').pause();
    socket.on('error', () => undefined);
    const closed = new Promise((resolve) => front.once('connection', (accepted: Socket) => accepted.once('close', resolve)));
    for (let i = 0; i < 50; i++) socket.write('GET /v1/sys/health HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(2000));
    await closed;
    socket.destroy();
    await new Promise((resolve) => front.close(resolve));
  });

  test('a TLS handshake that does not go on ends as soon as slow headers do', { timeout: 300_000 }, async () => {
    const front = createFront(async () => undefined, recordedLog().log, await ownIdentity(server.directory, [], Date.now()));
    await new Promise<void>((resolve) => { front.listen(0, '127.0.0.1', resolve); });
    const started = performance.now();
    const socket = connect((front.address() as AddressInfo).port, '127.0.0.1');
    socket.on('error', () => undefined);
    socket.resume();
    await new Promise((resolve) => socket.once('close', resolve));
    assert.ok(performance.now() - started < 100_000, 'before the 120 s of Node');
    await new Promise((resolve) => front.close(resolve));
  });
});

/** Sends `chunk` up to `count` times with chunked framing, until the server answers. */
function stream(chunk: Buffer, count: number): Promise<{ readonly text: string; readonly sent: number }> {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(server.server.address);
    const socket = connect(Number(port), hostname);
    let text = '';
    let sent = 0;
    socket.on('data', (data) => { text += data.toString(); socket.destroy(); });
    socket.on('close', () => resolve({ text, sent }));
    socket.on('error', reject);
    socket.write(`POST /v1/secret/data/a HTTP/1.1\r\nHost: x\r\nX-Vault-Token: ${server.root}\r\nTransfer-Encoding: chunked\r\n\r\n`);
    const next = (): void => {
      if (socket.destroyed || sent >= count * chunk.length) return;
      sent += chunk.length;
      socket.write(`${chunk.length.toString(16)}\r\n`);
      socket.write(chunk);
      socket.write('\r\n', next);
    };
    next();
  });
}
