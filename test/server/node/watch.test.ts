import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, get, type ServerResponse } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import type { WatchOptions } from '../../../src/client/core-client.ts';
import { Holdings, LINGER_MS } from '../../../src/server/node/holdings.ts';
import { WatchHub } from '../../../src/server/node/watch-hub.ts';
import type { WatchFrame } from '../../../src/wire/node-protocol.ts';
import { eventually } from '../../eventually.ts';
import { resolve, TestCore, type TestNode } from './test-core.ts';

let core: TestCore;
let one: TestNode;
let two: TestNode;

before(async () => {
  core = await TestCore.start({ heartbeatMs: 200 });
  await core.policy('all', 'path "secret/data/*" { capabilities = ["read"] }');
  await core.role('all', { policies: ['all'], any: true });
  for (const path of ['a', 'b', 'c']) await core.put(path, { v: '1' });
  one = await core.join('one');
  two = await core.join('two');
});
after(() => core.close());

/** Reads frames, heartbeats left out, until `wanted` says enough. */
async function read(node: TestNode, options: WatchOptions, wanted: (frames: WatchFrame[]) => boolean, onFrame: (frame: WatchFrame) => Promise<void> = async () => undefined): Promise<WatchFrame[]> {
  const frames: WatchFrame[] = [];
  for await (const frame of node.client.watch({ silenceMs: 20_000, ...options })) {
    if (frame.type !== 'heartbeat') frames.push(frame);
    await onFrame(frame);
    if (wanted(frames)) break;
  }
  return frames;
}

const changes = (frames: readonly WatchFrame[]) => frames.filter((frame) => frame.type === 'changed').map(({ path, version }) => `${path}@${version}`);

function helloOf(frames: readonly WatchFrame[]): Extract<WatchFrame, { type: 'hello' }> {
  const [hello] = frames;
  assert.equal(hello?.type, 'hello');
  return hello;
}

test('watch sends changes of paths the node holds, and of no others', async () => {
  await resolve(one, ['purser://secret/a']);
  await resolve(two, ['purser://secret/b']);
  let streams = 0;
  const start = async (frame: WatchFrame) => {
    if (frame.type !== 'hello' || ++streams < 2) return;
    await core.put('b', { v: 'x' });
    await core.put('c', { v: 'x' });
    await core.put('a', { v: 'x' });
  };
  const [ofOne, ofTwo] = await Promise.all([
    read(one, {}, (frames) => changes(frames).some((change) => change.startsWith('secret/a')), start),
    read(two, {}, (frames) => changes(frames).some((change) => change.startsWith('secret/b')), start),
  ]);
  assert.deepEqual(changes(ofOne).map((change) => change.split('@')[0]), ['secret/a']);
  assert.deepEqual(changes(ofTwo).map((change) => change.split('@')[0]), ['secret/b']);
  assert.deepEqual([helloOf(ofOne).resumed, helloOf(ofOne).seq], [false, 0]);
});

test('watch resumes after a cut without losing a change, and does not remember what it never knew', async () => {
  await resolve(one, ['purser://secret/a', 'purser://secret/b', 'purser://secret/c']);
  const first = await read(one, {}, (frames) => changes(frames).length === 1, async (frame) => { if (frame.type === 'hello') await core.put('a', { v: '2' }); });
  const { stream } = helloOf(first);
  const seen = first.at(-1) as { seq: number };
  await sleep(50);
  await core.put('b', { v: '2' });
  await core.put('b', { v: '3' });
  await core.put('c', { v: '2' });
  const second = await read(one, { stream, after: seen.seq }, (frames) => changes(frames).length === 2);
  assert.deepEqual([helloOf(second).resumed, helloOf(second).stream, helloOf(second).seq], [true, stream, seen.seq]);
  assert.deepEqual(changes(second).map((change) => change.split('@')[0]), ['secret/b', 'secret/c']);
  const again = await read(one, { stream, after: seen.seq }, (frames) => changes(frames).length === 2);
  assert.deepEqual(changes(again), changes(second), 'sent again when the agent says it has not handled them');
  for (const options of [{ stream, after: 1_000_000 }, { stream: 'unknown', after: 0 }, { stream }]) {
    assert.equal(helloOf(await read(one, options, (frames) => frames.length === 1)).resumed, false);
  }
  const fresh = helloOf(await read(one, {}, (frames) => frames.length === 1));
  assert.equal(helloOf(await read(two, { stream: fresh.stream, after: 0 }, (frames) => frames.length === 1)).resumed, false, 'not the stream of another node');
});

test('watch does not remember a stream after a restart of the core', async () => {
  const { stream } = helloOf(await read(one, {}, (frames) => frames.length === 1));
  await core.restart();
  const hello = helloOf(await read(one, { stream, after: 0 }, (frames) => frames.length === 1));
  assert.deepEqual([hello.resumed, hello.stream === stream], [false, false]);
});

test('watch sends heartbeats that carry the number reached', async () => {
  await resolve(one, ['purser://secret/a']);
  let beats = 0;
  let reached = 0;
  await read(one, {}, () => beats >= 3, async (frame) => {
    if (frame.type === 'hello') await core.put('a', { v: 'beat' });
    if (frame.type === 'changed') reached = frame.seq;
    if (frame.type !== 'heartbeat') return;
    beats++;
    assert.equal(frame.seq, reached);
  });
  assert.ok(reached > 0);
});

test('revocation ends the streams of the node soon, with a last frame, and no other stream', async () => {
  const victim = await core.join('victim');
  let began = 0;
  const frames = await read(victim, {}, () => false, async (frame) => {
    if (frame.type !== 'hello') return;
    began = performance.now();
    await core.root.delete(`auth/node/nodes/${victim.id}`);
  });
  assert.ok(performance.now() - began < 20_000);
  assert.equal(frames.at(-1)?.type, 'revoked');
  await assert.rejects(read(victim, {}, () => true), { status: 403 });
  assert.equal(helloOf(await read(one, {}, (all) => all.length === 1)).type, 'hello');
});

test('a stream ends with its token', async () => {
  const started = performance.now();
  const reading = read(one, {}, () => false, async (frame) => { if (frame.type === 'hello') core.clockOffset = 3601_000; });
  const frames = await reading;
  core.clockOffset = 0;
  assert.deepEqual(frames.map(({ type }) => type), ['hello']);
  assert.ok(performance.now() - started < 20_000);
});

test('watch refuses a query that is not one, before a stream begins', async () => {
  for (const query of [{ after: -1 }, { after: 1.5 }, { after: 'x' }, { stream: 'x'.repeat(100) }, { more: '1' }]) {
    await assert.rejects(one.client.read('node/watch', query), { status: 400 }, JSON.stringify(query));
  }
  await assert.rejects(core.root.read('node/watch'), { status: 403 });
});

interface HubServer { readonly hub: WatchHub; readonly holdings: Holdings; readonly port: number; readonly responses: ServerResponse[]; readonly close: () => Promise<void> }

/** A hub on its own server, without tokens; the query is the node's name. */
async function hubServer(now: () => number = Date.now, heartbeatMs = 60_000): Promise<HubServer> {
  const holdings = new Holdings(now);
  const hub = new WatchHub({ holdings, now, heartbeatMs });
  const responses: ServerResponse[] = [];
  const server = createServer((request, response) => {
    responses.push(response);
    const url = new URL(request.url ?? '', 'http://x');
    hub.attach({ nodeId: url.pathname.slice(1), tokenExpires: Infinity }, Object.fromEntries(url.searchParams), response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const close = async () => {
    hub.close();
    server.closeAllConnections();
    await new Promise((done) => server.close(done));
  };
  return { hub, holdings, responses, port: (server.address() as AddressInfo).port, close };
}

test('a reader that takes nothing is bounded in memory, and its stream is over when it falls too far behind', async () => {
  const { hub, holdings, port, responses, close } = await hubServer();
  const path = (i: number) => `secret/${'x'.repeat(3000)}/${i}`;
  for (let i = 0; i < 3000; i++) holdings.add('slow', 'c', path(i));
  const socket = connect(port, '127.0.0.1');
  socket.pause();
  socket.write('GET /slow HTTP/1.1\r\nHost: x\r\n\r\n');
  await eventually('the stream', () => responses.length > 0);
  const [response] = responses as [ServerResponse];
  let most = 0;
  for (let round = 0; round < 4; round++) {
    for (let i = 0; i < 3000; i++) {
      hub.changed(path(i), 1);
      most = Math.max(most, response.writableLength);
    }
    await sleep(20);
  }
  assert.ok(most < 256 * 1024, `${most} bytes were buffered`);
  assert.ok(response.writableEnded, 'the stream was ended');
  socket.destroy();
  await close();
});

test('a slow reader that comes back to life gets the newest version of each path, in order', async () => {
  const { hub, holdings, port, responses, close } = await hubServer();
  const path = (i: number) => `secret/${'x'.repeat(3000)}/${i}`;
  for (let i = 0; i < 500; i++) holdings.add('slow', 'c', path(i));
  const socket = connect(port, '127.0.0.1');
  socket.pause();
  socket.write('GET /slow HTTP/1.1\r\nHost: x\r\n\r\n');
  await eventually('the stream', () => responses.length > 0);
  for (let version = 1; version <= 20; version++) for (let i = 0; i < 500; i++) hub.changed(path(i), version);
  let text = '';
  socket.on('data', (chunk: Buffer) => { text += chunk.toString(); }).resume();
  const latest = () => new Map(text.split('\n').filter((line) => /^\{.*\}$/.test(line)).map((line) => JSON.parse(line) as WatchFrame).filter((frame) => frame.type === 'changed').map((frame) => [frame.path, frame]));
  await eventually('the newest version of each path', () => [...latest().values()].filter(({ version }) => version === 20).length === 500);
  const numbers = text.split('\n').flatMap((line) => (/^\{"type":"changed"/.test(line) ? [(JSON.parse(line) as { seq: number }).seq] : []));
  assert.deepEqual(numbers, [...numbers].sort((a, b) => a - b));
  socket.destroy();
  await close();
});

test('a node keeps at most four streams; the oldest is ended for a new one', async () => {
  const { port, responses, close } = await hubServer();
  const opened = [];
  for (let i = 0; i < 6; i++) {
    const [response] = await once(get({ port, host: '127.0.0.1', path: '/n' }), 'response') as [NodeJS.ReadableStream];
    response.resume();
    opened.push(response);
  }
  assert.deepEqual(responses.map(({ writableEnded }) => writableEnded), [true, true, false, false, false, false]);
  await close();
});

test('thousands of streams get a change of a path they all hold', async () => {
  const { hub, holdings, port, responses, close } = await hubServer();
  const count = 1000;
  let heard = 0;
  for (let i = 0; i < count; i++) {
    holdings.add(`n${i}`, 'c', 'secret/shared');
    get({ port, host: '127.0.0.1', path: `/n${i}`, agent: false }, (response) => {
      response.on('data', (chunk: Buffer) => { if (chunk.includes('"changed"')) heard++; });
      response.on('error', () => undefined);
    }).on('error', () => undefined);
  }
  await eventually('all streams', () => responses.length === count, 60_000);
  hub.changed('secret/shared', 2);
  await eventually('the change everywhere', () => heard === count, 60_000);
  await close();
});

test('holdings forget a released container after a while, unless the ledger says that it was granted again', () => {
  let now = 0;
  const holdings = new Holdings(() => now);
  const holders = () => [...holdings.nodesHolding('secret/a')];
  holdings.add('n', 'c1', 'secret/a');
  holdings.add('n', 'c2', 'secret/a');
  holdings.setHolding('n', 'c1', false);
  holdings.setHolding('n', 'c2', false);
  now += LINGER_MS - 1;
  holdings.sweep();
  holdings.setHolding('n', 'c2', true);
  now += 1;
  holdings.sweep();
  assert.deepEqual(holders(), ['n']);
  assert.deepEqual([holdings.holdsContainer('n', 'c1'), holdings.holdsContainer('n', 'c2')], [false, true]);
  holdings.setHolding('n', 'c2', false);
  now += LINGER_MS;
  holdings.sweep();
  assert.deepEqual(holders(), []);
  holdings.add('n', 'c3', 'secret/a');
  holdings.dropNode('n');
  assert.deepEqual(holders(), []);
});
