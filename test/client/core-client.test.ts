import assert from 'node:assert/strict';
import { createHash, createPrivateKey, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { createServer as createTcpServer, type AddressInfo } from 'node:net';
import { afterEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { parseAddress } from '../../src/client/address.ts';
import { CoreClient, type CoreClientOptions } from '../../src/client/core-client.ts';
import { CoreResponseError, isRefusal } from '../../src/client/response.ts';
import type { PurserError } from '../../src/lib/errors.ts';
import { isLoopback } from '../../src/lib/loopback.ts';
import { issueAuthority, issueServerCertificate } from '../../src/server/tls/certificate.ts';
import type { WatchFrame } from '../../src/wire/node-protocol.ts';
import { eventually } from '../eventually.ts';

const TOKEN = 'hvs.very-secret-token';
const closers: (() => unknown)[] = [];
afterEach(async () => { for (const close of closers.splice(0)) await close(); });

interface Seen { readonly method: string; readonly url: string; readonly headers: IncomingMessage['headers']; readonly body: string }

async function listen(server: Server | ReturnType<typeof createTcpServer>): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  closers.push(() => {
    if ('closeAllConnections' in server) server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

async function serve(answer: (request: Seen, response: ServerResponse) => void, options: Partial<CoreClientOptions> = {}): Promise<{ client: CoreClient; seen: Seen[] }> {
  const seen: Seen[] = [];
  const port = await listen(createServer((request, response) => void (async () => {
    let body = '';
    for await (const chunk of request) body += String(chunk);
    const one = { method: request.method ?? '', url: request.url ?? '', headers: request.headers, body };
    seen.push(one);
    answer(one, response);
  })()));
  return { client: client({ address: `http://127.0.0.1:${port}`, ...options }), seen };
}

function client(options: CoreClientOptions): CoreClient {
  const made = new CoreClient({ token: TOKEN, retryDelays: [], timeoutMs: 20_000, ...options });
  closers.push(() => made.close());
  return made;
}

const json = (response: ServerResponse, status: number, body: object) => response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(body));

test('parseAddress() takes https anywhere and plain http on this machine only', () => {
  const good: readonly (readonly [string, string, number])[] = [
    ['https://core.example:8200', 'core.example', 8200], ['https://10.0.0.1', '10.0.0.1', 443], ['https://[2001:db8::1]:1', '2001:db8::1', 1],
    ['http://127.0.0.1:8200', '127.0.0.1', 8200], ['http://127.9.9.9:1/', '127.9.9.9', 1], ['http://[::1]:8200', '::1', 8200], ['http://localhost', 'localhost', 80],
  ];
  for (const [text, host, port] of good) assert.deepEqual([parseAddress(text).host, parseAddress(text).port], [host, port]);
  for (const text of ['', 'core:8200', 'ftp://x', 'http://core:8200', 'http://10.0.0.1', 'http://127.0.0.1.example', 'http://localhost.example', 'http://0.0.0.0', 'http://[::ffff:10.0.0.1]',
    'https://x/path', 'https://x?q', 'https://x#h', 'https://', 'unix:///x']) {
    assert.throws(() => parseAddress(text), { code: 'ERR_CONFIG_INVALID' }, text);
  }
  assert.throws(() => parseAddress('https://user:hunter2@core'), (error: PurserError) => error.code === 'ERR_CONFIG_INVALID' && !/hunter2/.test(error.message));
  assert.deepEqual([isLoopback('127.0.0.1'), isLoopback('::1'), isLoopback('10.1.1.1'), isLoopback('localhost')], [true, true, false, false]);
});

test('calls carry verb, encoded path, query, token and body, and give data', async () => {
  const { client: core, seen } = await serve((_request, response) => json(response, 200, { data: { keys: ['a'], x: 1 }, warnings: null, auth: { client_token: 't' } }));
  assert.deepEqual(await core.read('secret/data/a b/ü?#', { version: 2, none: undefined }), { keys: ['a'], x: 1 });
  assert.deepEqual(await core.list('secret/metadata/'), ['a']);
  await core.write('secret/data/x', { data: { a: 1 } });
  await core.patch('secret/data/x', { a: null });
  await core.delete('secret/data/x');
  assert.deepEqual(await core.authenticate('auth/node/login', { jwt: 'x' }), { client_token: 't' });
  assert.deepEqual(seen.map(({ method, url, body }) => [method, url, body]), [
    ['GET', '/v1/secret/data/a%20b/%C3%BC%3F%23?version=2', ''], ['GET', '/v1/secret/metadata/?list=true', ''], ['POST', '/v1/secret/data/x', '{"data":{"a":1}}'],
    ['PATCH', '/v1/secret/data/x', '{"a":null}'], ['DELETE', '/v1/secret/data/x', ''], ['POST', '/v1/auth/node/login', '{"jwt":"x"}'],
  ]);
  assert.ok(seen.every(({ headers }) => headers['x-vault-token'] === TOKEN && headers['x-vault-request'] === 'true'));
  assert.equal(seen[3]?.headers['content-type'], 'application/merge-patch+json');
});

test('refusals carry status, messages, code, hint and data, and no token', async () => {
  const { client: core } = await serve((_request, response) => json(response, 404, {
    errors: [`token ${TOKEN} is\u001b[31m bad`, 'second'], code: 'ERR_NODE_REVOKED', hint: 'join again', data: { metadata: { version: 2 } },
  }));
  await assert.rejects(core.read('x'), (error: CoreResponseError) => {
    assert.equal(error.code, 'ERR_CLIENT_RESPONSE');
    assert.equal(error.message, 'the core refused the request: token <token> is [31m bad; second');
    assert.deepEqual([error.status, error.serverCode, error.hint, error.data], [404, 'ERR_NODE_REVOKED', 'join again', { metadata: { version: 2 } }]);
    assert.ok(!JSON.stringify([error, error.stack]).includes(TOKEN));
    assert.deepEqual((['ERR_NODE_REVOKED', 'ERR_NODE_CLOCK'] as const).map((code) => isRefusal(error, code)), [true, false]);
    return true;
  });
});

test('list() of nothing is empty, and any other 404 is an error', async () => {
  const { client: core } = await serve(({ url }, response) => json(response, 404, { errors: url.includes('mount') ? ['no handler'] : [] }));
  assert.deepEqual(await core.list('secret/metadata/none'), []);
  await assert.rejects(core.list('mount'), { status: 404 });
  await assert.rejects(core.read('secret/data/none'), { status: 404, message: 'the core refused the request: there is nothing at this path' });
});

test('health() gives the body whatever the status', async () => {
  const { client: core, seen } = await serve((_request, response) => json(response, 503, { sealed: true }));
  assert.deepEqual(await core.health(), { status: 503, body: { sealed: true } });
  assert.equal(seen[0]?.headers['x-vault-token'], undefined);
});

test('answers that are not the protocol are refused without being quoted', async () => {
  const answers: readonly ((response: ServerResponse) => void)[] = [
    (response) => response.writeHead(302, { location: 'https://evil.example/' }).end(),
    (response) => response.end('<html>canary</html>'),
    (response) => response.end('["canary"]'),
    (response) => response.writeHead(500).end('canary'),
  ];
  for (const answer of answers) {
    const { client: core } = await serve((_request, response) => answer(response));
    await assert.rejects(core.read('x'), (error: PurserError) => error.code === 'ERR_CLIENT_PROTOCOL' && !error.message.includes('canary'));
  }
});

test('an answer beyond the limit is cut off', async () => {
  const { client: core } = await serve((_request, response) => {
    response.writeHead(200);
    const more = () => { while (!response.destroyed && response.write('x'.repeat(65_536))); };
    response.on('drain', more);
    more();
  }, { maxResponseBytes: 1024 * 1024 });
  await assert.rejects(core.read('x'), { code: 'ERR_CLIENT_PROTOCOL', message: /more than 1048576 bytes/ });
});

test('a core that is not there, cuts the line, is silent or half silent is unreachable, by its address', async () => {
  const tcp = createTcpServer((socket) => socket.destroy());
  const port = await listen(tcp);
  await assert.rejects(client({ address: `http://127.0.0.1:${port}` }).read('x'), { code: 'ERR_CLIENT_UNREACHABLE', message: `the core at http://127.0.0.1:${port} cannot be reached: the connection was cut` });
  tcp.close();
  await assert.rejects(client({ address: `http://127.0.0.1:${port}` }).read('x'), { code: 'ERR_CLIENT_UNREACHABLE', message: /connection refused/, hint: /purser server/ });
  await assert.rejects(client({ address: `https://127.0.0.1:${port}` }).read('x'), { code: 'ERR_CLIENT_UNREACHABLE' });
  const silent = await serve(() => undefined, { timeoutMs: 100 });
  await assert.rejects(silent.client.read('x'), { code: 'ERR_CLIENT_UNREACHABLE', message: /no answer within 0.1 s/ });
  const half = await serve((_request, response) => void response.writeHead(200).write('{'), { timeoutMs: 100 });
  await assert.rejects(half.client.read('x'), { code: 'ERR_CLIENT_UNREACHABLE', message: /no answer within 0.1 s/ });
  const plain = await serve((_request, response) => json(response, 200, {}));
  await assert.rejects(client({ address: plain.client.address.replace('http:', 'https:') }).read('x'), { code: 'ERR_CLIENT_UNREACHABLE', message: /does not speak TLS/ });
});

test('an aborted call ends at once', async () => {
  const { client: core } = await serve(() => undefined);
  const started = performance.now();
  await assert.rejects(core.read('x', undefined, { signal: AbortSignal.timeout(50) }), { code: 'ERR_CLIENT_UNREACHABLE', message: 'the request was given up' });
  await assert.rejects(core.read('x', undefined, { signal: AbortSignal.abort() }), { code: 'ERR_CLIENT_UNREACHABLE' });
  assert.ok(performance.now() - started < 15_000);
});

test('only repeatable calls are tried again, and only when that can help', async () => {
  const counts = new Map<string, number>();
  const { client: core } = await serve(({ method, url }, response) => {
    counts.set(url, (counts.get(url) ?? 0) + 1);
    if (url.includes('cut')) response.destroy();
    else if (url.includes('good') && (counts.get(url) ?? 0) < 3) json(response, 502, { errors: [] });
    else json(response, url.includes('sealed') ? 503 : 200, { data: { method } });
  }, { retryDelays: [1, 1] });
  assert.deepEqual(await core.read('good'), { method: 'GET' });
  await assert.rejects(core.read('cut1'), { code: 'ERR_CLIENT_UNREACHABLE' });
  await assert.rejects(core.write('cut2', {}), { code: 'ERR_CLIENT_UNREACHABLE' });
  await assert.rejects(core.write('cut3', {}, { isRepeatable: true }), { code: 'ERR_CLIENT_UNREACHABLE' });
  await assert.rejects(core.read('sealed'), { status: 503, hint: /unseal/ });
  assert.deepEqual(Object.fromEntries(counts), { '/v1/good': 3, '/v1/cut1': 3, '/v1/cut2': 1, '/v1/cut3': 3, '/v1/sealed': 1 });
});

test('tokens and paths that cannot be sent are refused without being quoted', async () => {
  const { client: core } = await serve((_request, response) => json(response, 200, {}), { token: 'hunter2\r\nx-evil: 1' });
  await assert.rejects(core.read('x'), (error: PurserError) => error.code === 'ERR_CONFIG_INVALID' && !error.message.includes('hunter2'));
  const good = await serve((_request, response) => json(response, 200, {}));
  await assert.rejects(good.client.read('x\ud800'), { code: 'ERR_REQUEST_INVALID' });
  await assert.rejects(good.client.read('x'.repeat(20_000)), { code: 'ERR_REQUEST_TOO_LARGE' });
});

test('TLS trusts the given CA alone, and the name in the certificate', async () => {
  const now = Date.now();
  const issue = async (names: string[]) => {
    const authority = await issueAuthority(now);
    const issued = await issueServerCertificate({ certificate: new X509Certificate(authority.certificate), key: createPrivateKey(authority.key) }, names, now);
    return { authority: authority.certificate, ...issued };
  };
  const right = await issue(['127.0.0.1']);
  const wrongName = await issue(['core.example']);
  const other = await issue(['127.0.0.1']);
  const start = async (identity: typeof right) => `https://127.0.0.1:${await listen(createTlsServer({ cert: identity.certificate, key: identity.key }, (_request, response) => json(response, 200, { data: { ok: true } })))}`;
  const address = await start(right);
  assert.deepEqual(await client({ address, certificateAuthority: right.authority }).read('x'), { ok: true });
  await assert.rejects(client({ address, certificateAuthority: other.authority }).read('x'), { code: 'ERR_CLIENT_TLS', message: new RegExp(`the certificate of ${address} is not trusted`) });
  await assert.rejects(client({ address }).read('x'), { code: 'ERR_CLIENT_TLS' });
  await assert.rejects(client({ address: await start(wrongName), certificateAuthority: wrongName.authority }).read('x'), { code: 'ERR_CLIENT_TLS' });
  assert.equal(createHash('sha256').update(new X509Certificate(right.authority).raw).digest('hex').length, 64);
});

async function framesOf(text: string | ((response: ServerResponse) => void), options: { silenceMs?: number; signal?: AbortSignal; grants?: boolean } = {}): Promise<WatchFrame[]> {
  const { client: core } = await serve((_request, response) => {
    response.writeHead(200);
    if (typeof text === 'string') response.end(text);
    else text(response);
  });
  const frames: WatchFrame[] = [];
  for await (const frame of core.watch(options)) frames.push(frame);
  return frames;
}

test('watch() reads frames however they are cut, and ends with the stream', async () => {
  const lines = ['{"type":"hello","stream":"s","seq":0,"resumed":false}', '{"type":"changed","seq":1,"path":"secret/ü","version":2}', '{"type":"heartbeat","seq":1}', '{"type":"revoked"}'];
  const bytes = Buffer.from(`${lines.join('\n')}\n`);
  const expected = lines.map((line) => JSON.parse(line) as WatchFrame);
  assert.deepEqual(await framesOf(bytes.toString()), expected);
  assert.deepEqual(await framesOf((response) => void (async () => {
    for (const byte of bytes) {
      response.write(Buffer.from([byte]));
      await new Promise(setImmediate);
    }
    response.end();
  })()), expected);
});

test('watch() refuses frames that are too long or not known', async () => {
  for (const text of [`{"type":"changed","path":"${'x'.repeat(70_000)}"}\n`, 'x'.repeat(70_000), '{"type":"other"}\n', 'not json\n', '{"type":"changed","seq":-1,"path":"a","version":1}\n']) {
    await assert.rejects(framesOf(text), { code: 'ERR_CLIENT_PROTOCOL' });
  }
});

test('watch() with grants leaves a stream whose hello does not confirm them, before it gives a frame', async () => {
  const hello = { type: 'hello', stream: 's', seq: 0, resumed: false };
  assert.equal((await framesOf(`${JSON.stringify({ ...hello, grants: true })}\n`, { grants: true })).length, 1);
  for (const grants of [undefined, false]) await assert.rejects(framesOf(`${JSON.stringify({ ...hello, grants })}\n`, { grants: true }), { code: 'ERR_CLIENT_PROTOCOL' });
});

test('watch() notices silence, a cut line and an abort', async () => {
  const started = performance.now();
  const hello = '{"type":"hello","stream":"s","seq":0,"resumed":false}\n';
  await assert.rejects(framesOf((response) => void response.write(hello), { silenceMs: 100 }), { code: 'ERR_CLIENT_UNREACHABLE', message: /nothing heard for 0.1 s/ });
  await assert.rejects(framesOf((response) => void (async () => { response.write(hello); await sleep(20); response.destroy(); })()), { code: 'ERR_CLIENT_UNREACHABLE', message: /the connection was cut/ });
  await assert.rejects(framesOf((response) => void response.write(hello), { signal: AbortSignal.timeout(50) }), { code: 'ERR_CLIENT_UNREACHABLE' });
  assert.ok(performance.now() - started < 25_000, 'before a silence of 30 s');
});

test('watch() gives up its connection when the reader stops', async () => {
  let closed = false;
  const { client: core } = await serve((_request, response) => {
    response.on('close', () => { closed = true; });
    response.writeHead(200).write('{"type":"hello","stream":"s","seq":0,"resumed":false}\n');
  });
  for await (const frame of core.watch()) if (frame.type === 'hello') break;
  await eventually('the end of the connection', () => closed);
});

test('CoreResponseError says that the core is sealed in its own words, and keeps those of the answer', () => {
  const error = new CoreResponseError(503, { errors: ['Vault is sealed'], code: 'ERR_BARRIER_SEALED' }, undefined);
  assert.deepEqual([error.message, error.hint, error.messages], ['the core refused the request: it is sealed', 'unseal it: purser unseal', ['Vault is sealed']]);
});
