// The runtime socket over a real unix socket: one strict line in, one line out, whatever a peer does.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, test } from 'node:test';
import fc from 'fast-check';
import { RuntimeSocket, oneLine, parseRequest } from '../../src/agent/runtime-socket.ts';
import type { RuntimeSocketOptions } from '../../src/agent/runtime-socket.ts';
import { PurserError, isPurserError } from '../../src/lib/errors.ts';
import { encodeEnvironment } from '../../src/wire/shim-protocol.ts';
import type { ShimRequest } from '../../src/wire/shim-protocol.ts';
import { eventually } from '../eventually.ts';
import { recordedLog } from '../fakes/silent-log.ts';

const ID = '0123456789abcdef'.repeat(4);
const CREATE = JSON.stringify({ v: 1, verb: 'create', id: ID, bundle: '/run/b' });
const cleanups: (() => unknown)[] = [];
afterEach(async () => { for (const cleanup of cleanups.splice(0).reverse()) await cleanup(); });

async function listen(options: Partial<RuntimeSocketOptions> = {}) {
  const directory = mkdtempSync(join(tmpdir(), 'purser-socket-'));
  const path = join(directory, 'run', 'agent.sock');
  const requests: ShimRequest[] = [];
  const { log, text } = recordedLog();
  const socket = await RuntimeSocket.listen({ path, log, handler: async (request) => { requests.push(request); return undefined; }, ...options });
  cleanups.push(() => rmSync(directory, { recursive: true, force: true }), () => socket.close());
  return { path, requests, socket, logged: text };
}

function ask(path: string, act: (socket: Socket) => void, encoding: BufferEncoding = 'utf8'): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    const socket = connect(path);
    socket.on('data', (chunk) => chunks.push(chunk));
    socket.on('error', reject);
    socket.on('close', () => resolve(Buffer.concat(chunks).toString(encoding)));
    socket.on('connect', () => act(socket));
  });
}

test('RuntimeSocket answers ok, also to a peer that shuts its side down and to one that sends byte by byte', async () => {
  const { path, requests } = await listen();
  assert.equal(await ask(path, (socket) => socket.write(`${CREATE}\n`)), 'ok\n');
  assert.equal(await ask(path, (socket) => socket.end(`${CREATE}\n`)), 'ok\n');
  assert.equal(await ask(path, (socket) => { for (const char of `${CREATE}\n`) socket.write(char); }), 'ok\n');
  assert.equal(requests.length, 3);
  assert.deepEqual(requests[0], { v: 1, verb: 'create', id: ID, bundle: '/run/b' });
});

test('RuntimeSocket has mode 0600 in a directory with mode 0711', async () => {
  const { path } = await listen();
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.equal(statSync(join(path, '..')).mode & 0o777, 0o711);
});

test('RuntimeSocket tells the reason in one line of at most 4 KiB, with the hint', async () => {
  const { path } = await listen({ handler: async () => { throw new PurserError('ERR_RESOLVE_DENIED', 'purser: container web (0123): purser://a/b: denied\nby\u2028policy', { hint: 'do x' }); } });
  assert.equal(await ask(path, (socket) => socket.write(`${CREATE}\n`)), 'error purser: container web (0123): purser://a/b: denied by policy (hint: do x)\n');
  const { path: long } = await listen({ handler: async () => { throw new PurserError('ERR_RESOLVE_DENIED', 'ü'.repeat(5000)); } });
  const answer = await ask(long, (socket) => socket.write(`${CREATE}\n`));
  assert.ok(Buffer.byteLength(answer) <= 4096);
  assert.match(answer, /^error ü+…\n$/);
});

test('RuntimeSocket sends the variables of a process behind their length, and erases them', async () => {
  const variables = encodeEnvironment([['A', Buffer.from('canary')], ['GONE', undefined], ['EMPTY', new Uint8Array(0)]]);
  const { path, logged } = await listen({ handler: async () => ({ values: variables }) });
  const answer = await ask(path, (socket) => socket.write(`${JSON.stringify({ v: 1, verb: 'start', id: ID })}\n`), 'latin1');
  const u32 = (number: number): string => Buffer.from(Uint32Array.of(number).buffer).toString('latin1');
  const body = `${u32(1)}${u32(6)}Acanary${u32(4)}${u32(0xffff_ffff)}GONE${u32(5)}${u32(0)}EMPTY`;
  assert.equal(answer, `environment ${body.length}\n${body}`);
  await eventually('that they are erased', () => variables.every((byte) => byte === 0));
  assert.doesNotMatch(logged(), /canary/);
});

test('RuntimeSocket sends the references of a strict container behind the values, and erases both', async () => {
  const [values, references] = [Buffer.from('values'), Buffer.from('references')];
  const { path } = await listen({ handler: async () => ({ values, references }) });
  assert.equal(await ask(path, (socket) => socket.write(`${JSON.stringify({ v: 1, verb: 'start', id: ID })}\n`), 'latin1'), 'strict 6 10\nvaluesreferences');
  await eventually('that they are erased', () => [...values, ...references].every((byte) => byte === 0));
});

test('RuntimeSocket logs a request that it refuses, and nobody who only looks whether it is there', async () => {
  const { path, logged } = await listen({});
  assert.match(await ask(path, (socket) => socket.end()), /^error /);
  assert.equal(logged(), '');
  assert.match(await ask(path, (socket) => socket.end('x')), /^error /);
  assert.match(logged(), /runtime request refused/);
});

test('RuntimeSocket says nothing of an error that is not Purser\'s', async () => {
  const { path } = await listen({ handler: async () => { throw new Error('hunter2'); } });
  assert.equal(await ask(path, (socket) => socket.write(`${CREATE}\n`)), 'error purser: the agent failed, see its log\n');
});

const bad: [string, string | Buffer][] = [
  ['an empty line', '\n'], ['no JSON', 'create\n'], ['an array', '[]\n'], ['null', 'null\n'], ['another version', `${CREATE.replace('"v":1', '"v":2')}\n`],
  ['an unknown verb', `${CREATE.replace('create', 'start')}\n`], ['an unknown key', `${CREATE.replace('"v":1', '"v":1,"x":1')}\n`],
  ['a short id', `${CREATE.replace(ID, ID.slice(1))}\n`], ['an id in upper case', `${CREATE.replace(ID, ID.toUpperCase())}\n`],
  ['a relative bundle', `${CREATE.replace('/run/b', 'run/b')}\n`], ['a bundle with NUL', `${CREATE.replace('/run/b', '/run/\\u0000b')}\n`],
  ['a process instead of a bundle', `${CREATE.replace('bundle', 'process')}\n`], ['two lines', `${CREATE}\n${CREATE}\n`], ['more after the line', `${CREATE}\nx`],
  ['a line that is too long', `${'x'.repeat(70_000)}\n`], ['bytes that are no text', Buffer.from([0xff, 0xfe, 0x0a])],
];

for (const [name, line] of bad) {
  test(`RuntimeSocket refuses ${name} and does nothing`, async () => {
    const { path, requests } = await listen();
    assert.match(await ask(path, (socket) => socket.write(line)), /^error the request of the runtime [^\n]+\n$/);
    assert.equal(requests.length, 0);
    assert.equal(await ask(path, (socket) => socket.write(`${CREATE}\n`)), 'ok\n');
  });
}

test('RuntimeSocket refuses a line that ends too early or comes too late', async () => {
  assert.match(await ask((await listen()).path, (socket) => socket.end(CREATE)), /^error .* ended before/);
  assert.match(await ask((await listen({ lineTimeoutMs: 50 })).path, (socket) => socket.write(CREATE)), /^error .* did not arrive in time/);
});

test('RuntimeSocket answers before the shim gives up, and the handler\'s late failure harms nobody', async () => {
  let fail = () => {};
  const { path } = await listen({ answerTimeoutMs: 50, handler: () => new Promise((_, reject) => { fail = () => reject(new Error('late')); }) });
  assert.match(await ask(path, (socket) => socket.write(`${CREATE}\n`)), /^error purser: the agent did not finish in time/);
  fail();
  await new Promise((resolve) => { setImmediate(resolve); });
});

test('RuntimeSocket lives on when peers vanish before, during and after the line', async () => {
  const { path, requests } = await listen();
  for (const part of ['', '{"v":', `${CREATE}\n`]) await ask(path, (socket) => { socket.write(part, () => socket.destroy()); if (part === '') socket.destroy(); });
  await eventually('the whole line', () => requests.length === 1);
  assert.equal(await ask(path, (socket) => socket.write(`${CREATE}\n`)), 'ok\n');
  assert.equal(requests.length, 2);
});

test('RuntimeSocket closes only after the requests under way are answered', async () => {
  let finish: (() => void) | undefined;
  const { path, socket } = await listen({ handler: () => new Promise((resolve) => { finish = () => resolve(undefined); }) });
  const answer = ask(path, (peer) => peer.write(`${CREATE}\n`));
  const end = await eventually('the request', () => finish);
  const closed = socket.close();
  end();
  assert.equal(await answer, 'ok\n');
  await closed;
});

test('RuntimeSocket replaces a dead socket and leaves a live one alone', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'purser-socket-'));
  cleanups.push(() => rmSync(directory, { recursive: true, force: true }));
  const path = join(directory, 'agent.sock');
  writeFileSync(path, '');
  const { log } = recordedLog();
  const first = await RuntimeSocket.listen({ path, log, handler: async () => undefined });
  await assert.rejects(RuntimeSocket.listen({ path, log, handler: async () => undefined }), (error) => isPurserError(error, 'ERR_STATE_LOCKED'));
  await first.close();
  const other = createServer();
  await new Promise<void>((resolve) => { other.listen(path, resolve); });
  await new Promise<void>((resolve) => { other.close(() => resolve()); });
  const second = await RuntimeSocket.listen({ path, log, handler: async () => undefined });
  assert.equal(await ask(path, (socket) => socket.write(`${CREATE}\n`)), 'ok\n');
  await second.close();
});

test('parseRequest() gives a request or a PurserError for any text, and never quotes it', () => {
  fc.assert(fc.property(fc.oneof(fc.string(), fc.json(), fc.constant(CREATE)), (text) => {
    try {
      assert.equal(parseRequest(text).v, 1);
    } catch (error) {
      assert.ok(isPurserError(error, 'ERR_REQUEST_INVALID'));
      assert.ok(text.length < 12 || !error.message.includes(text));
    }
  }), { numRuns: 1000 });
});

test('oneLine() gives one valid line of bounded length for any text', () => {
  fc.assert(fc.property(fc.string({ unit: 'binary', maxLength: 6000 }), (text) => {
    const line = oneLine(text);
    assert.doesNotMatch(line, /[\u0000-\u001f\u007f\u0085\u2028\u2029]/);
    assert.ok(Buffer.byteLength(`error ${line}\n`) <= 4096);
  }));
});
