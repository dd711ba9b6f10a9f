// Any bytes at all: the HTTP front answers 4xx or closes the connection, never 5xx by its own fault, never a crash, never memory
// without bound (class 7: JSON bombs before authentication).

import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { after, before, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { startUnsealed, type TestServer } from '../server/running.ts';

let server: TestServer;
before(async () => { server = await startUnsealed({ audit: false }); });
after(() => server.stop());

/** The status of the first answer, or 0 when the connection was closed without one. */
function send(bytes: Buffer): Promise<number> {
  return new Promise((resolve) => {
    const { hostname, port } = new URL(server.server.address);
    const socket = connect(Number(port), hostname, () => { socket.end(bytes); });
    let text = '';
    const end = setTimeout(() => { socket.destroy(); }, 2_000);
    socket.on('data', (chunk) => { text += chunk.toString('latin1'); }).on('error', () => undefined)
      .on('close', () => { clearTimeout(end); resolve(Number(/^HTTP\/1\.1 (\d{3})/.exec(text)?.[1] ?? 0)); });
  });
}

const token = fc.constantFrom('GET', 'POST', 'PUT', 'PATCH', 'LIST', 'DELETE', 'HEAD', ' ', '/v1/', 'secret/data/a', 'sys/init', 'auth/userpass/login/u', '%2e%2e', '%00', '//', '?list=true', ' HTTP/1.1', ' HTTP/9.9', '\r\n', '\n', '\r\n\r\n',
  'Host: x', 'Content-Length: 5', 'Content-Length: -1', 'Content-Length: 99999999999', 'Transfer-Encoding: chunked', 'Transfer-Encoding: gzip, chunked', 'Expect: 100-continue', 'X-Vault-Token: x', 'X-Vault-Wrap-TTL: -1', 'Upgrade: websocket', 'Connection: upgrade',
  '5\r\n{"a":\r\n', 'ffffffffffffffff\r\n', '{"a":', '[[[[', '"\\ud800"', '\u0000', 'é');
const piece = fc.oneof({ weight: 4, arbitrary: token.map((text) => Buffer.from(text)) }, { weight: 1, arbitrary: fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)) });
const target = fc.tuple(fc.constantFrom('GET', 'POST', 'LIST', 'PATCH'), fc.array(piece, { maxLength: 4 }), fc.array(piece, { maxLength: 8 }))
  .map(([method, path, rest]) => Buffer.concat([Buffer.from(`${method} /v1/`), ...path, Buffer.from(' HTTP/1.1\r\nHost: x\r\n'), ...rest]));

test('any bytes are answered with less than 500 or a closed connection, and the server lives on', { timeout: 900_000 }, async () => {
  const before = process.memoryUsage().rss;
  await fc.assert(fc.asyncProperty(fc.oneof(fc.array(piece, { maxLength: 20 }).map((pieces) => Buffer.concat(pieces)), target), async (bytes) => {
    const status = await send(bytes);
    assert.ok(status < 500 || status === 505, `${status}`);
  }), { numRuns: 300 });
  assert.equal((await server.call('GET', 'sys/health')).status, 200);
  assert.ok(process.memoryUsage().rss - before < 200 * 1024 * 1024);
});

const bombs: readonly (readonly [name: string, body: string | Buffer, headers?: Record<string, string>])[] = [
  ['100,000 arrays in each other', '['.repeat(100_000) + ']'.repeat(100_000)],
  ['100,000 objects in each other', `${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`],
  ['20,000 keys', `{${Array.from({ length: 20_000 }, (_, i) => `"k${i}":1`).join(',')}}`],
  ['a number of a million digits', `{"password":${'9'.repeat(1_000_000)}}`],
  ['a text of two megabytes', JSON.stringify({ password: 'x'.repeat(2 * 1024 * 1024) })],
  ['compressed zeros', gzipSync(Buffer.alloc(50 * 1024 * 1024)), { 'Content-Encoding': 'gzip' }],
  ['invalid UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x3a, 0x31, 0x7d])],
  ['a key that is __proto__', '{"__proto__":{"password":"x"}}'],
];
for (const [name, body, headers] of bombs) {
  test(`a stranger's login of ${name} is refused quickly`, async () => {
    const began = performance.now();
    const { status } = await server.call('POST', 'auth/node/login', { token: undefined, body, headers: headers ?? {} });
    assert.ok(status >= 400 && status < 500, `${status}`);
    assert.ok(performance.now() - began < 30_000);
  });
}
