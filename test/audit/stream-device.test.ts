// StreamAuditDevice over real sockets and logger(1): what a collector gets, and what happens when it is slow, hangs, breaks or
// is not there.

import assert from 'node:assert/strict';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';

import { COOL_DOWN_MS, StreamAuditDevice } from '../../src/audit/stream-device.ts';
import { MAX_SYSLOG_BYTES, openSocket, openSyslog, type SocketTarget } from '../../src/audit/stream-targets.ts';
import { eventually, unlessDelayed } from '../eventually.ts';
import { MemoryView } from '../fakes/memory-view.ts';
import { auditFolder, CANARIES, sampleEntry } from './sample.ts';

interface Collector { readonly server: Server; readonly target: SocketTarget; readonly sockets: Socket[]; text: string }

async function collector(t: TestContext, options: { path?: string; reads?: boolean } = {}): Promise<Collector> {
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => undefined);
    if (options.reads === false) socket.pause();
    else socket.on('data', (chunk: Buffer) => { found.text += chunk.toString(); });
  });
  await new Promise<void>((resolve) => { if (options.path === undefined) server.listen(0, '127.0.0.1', resolve); else server.listen(options.path, resolve); });
  t.after(() => { for (const socket of sockets) socket.destroy(); server.close(); });
  const found: Collector = { server, sockets, text: '', target: options.path === undefined ? { host: '127.0.0.1', port: (server.address() as AddressInfo).port } : { path: options.path } };
  return found;
}

async function open(t: TestContext, target: SocketTarget, more: { timeoutMs?: number; view?: MemoryView } = {}): Promise<StreamAuditDevice> {
  const device = await StreamAuditDevice.open({
    type: 'socket', view: new MemoryView(), now: () => 1_700_000_000_000, timeoutMs: 20_000, prefix: 'p: ', render: {}, connect: (signal) => openSocket(target, signal), ...more,
  });
  t.after(() => device.close());
  return device;
}

for (const kind of ['tcp', 'unix'] as const) {
  test(`log() sends each entry as one line to a ${kind} socket, without a secret`, async (t) => {
    const found = await collector(t, kind === 'unix' ? { path: join(auditFolder(t).directory, 's') } : {});
    const device = await open(t, found.target);
    await Promise.all(Array.from({ length: 50 }, (_, n) => device.log('response', sampleEntry(n))));
    await eventually('all lines', () => found.text.split('\n').length === 51);
    for (const [n, line] of found.text.trimEnd().split('\n').entries()) {
      assert.ok(line.startsWith('p: {"time"'));
      assert.equal((JSON.parse(line.slice(3)) as { request: { id: string } }).request.id, `0000-${n}`);
    }
    for (const canary of CANARIES) assert.ok(!found.text.includes(canary));
    assert.ok(found.text.includes(device.hmacString('canary-response')));
  });
}

test('the hash of a value is the same after a restart, and another with another device', async (t) => {
  const view = new MemoryView();
  const [first, again, other] = [await open(t, { path: '/none' }, { view }), await open(t, { path: '/none' }, { view }), await open(t, { path: '/none' })];
  assert.equal(first.hmacString('x'), again.hmacString('x'));
  assert.notEqual(first.hmacString('x'), other.hmacString('x'));
});

test('a collector that does not read costs its timeout once and bounded memory, and everything waiting is refused', async (t) => {
  const found = await collector(t, { reads: false });
  const timeoutMs = 1_000;
  const device = await open(t, found.target, { timeoutMs });
  const long = { ...sampleEntry(), error: 'x'.repeat(1024 * 1024) };
  await unlessDelayed(timeoutMs + COOL_DOWN_MS, async () => {
    const began = performance.now();
    const results = await Promise.allSettled(Array.from({ length: 40 }, () => device.log('request', long)));
    const took = performance.now() - began;
    const refused = results.filter(({ status }) => status === 'rejected') as PromiseRejectedResult[];
    for (const { reason } of refused) assert.equal((reason as { code: string }).code, 'ERR_AUDIT_REFUSED');
    assert.ok(refused.length >= 24, 'past 16 MiB nothing waits');
    assert.ok(took < 20_000, `${took} ms for 40 entries`);
    await assert.rejects(device.log('request', sampleEntry()), { code: 'ERR_AUDIT_REFUSED', message: /a moment ago/ });
  });
});

test('a host that does not answer is given up in time', async (t) => {
  const device = await open(t, { host: '192.0.2.1', port: 9 }, { timeoutMs: 200 });
  const began = performance.now();
  await assert.rejects(device.log('request', sampleEntry()), { code: 'ERR_AUDIT_REFUSED' });
  assert.ok(performance.now() - began < 20_000);
});

test('a collector that went away is refused, and found again when it is back', async (t) => {
  const found = await collector(t);
  const device = await open(t, found.target);
  await device.log('request', sampleEntry(1));
  await eventually('the connection', () => found.sockets.length === 1);
  await unlessDelayed(COOL_DOWN_MS, async () => {
    found.server.close();
    for (const socket of found.sockets) socket.destroy();
    found.text = '';
    await eventually('a refused opening', () => device.log('request', sampleEntry(2)).then(() => false, (error: { code: string; message: string }) => error.code === 'ERR_AUDIT_REFUSED' && error.message.includes('cannot be opened')));
    await new Promise<void>((resolve) => { found.server.listen((found.target as { port: number }).port, '127.0.0.1', resolve); });
    await assert.rejects(device.log('request', sampleEntry(3)), { code: 'ERR_AUDIT_REFUSED', message: /a moment ago/ });
  });
  await device.reopen();
  await device.log('request', sampleEntry(4));
  await eventually('the entry', () => found.text.includes('0000-4'));
  assert.ok(!found.text.includes('0000-2') && !found.text.includes('0000-3'));
});

test('close() sends what was taken and refuses the rest', async (t) => {
  const found = await collector(t);
  const device = await open(t, found.target);
  await device.log('request', sampleEntry(1));
  await device.close();
  await eventually('the entry', () => found.text.includes('0000-1'));
  await assert.rejects(device.log('request', sampleEntry(2)), { code: 'ERR_AUDIT_REFUSED' });
});

test('syslog gets each entry as one message by logger(1); too long an entry is refused whole', async (t) => {
  const path = join(auditFolder(t).directory, 'log');
  const found = await collector(t, { path });
  const device = await StreamAuditDevice.open({
    type: 'syslog', view: new MemoryView(), now: () => 1_700_000_000_000, timeoutMs: 20_000, prefix: '', render: {}, maxEntryBytes: MAX_SYSLOG_BYTES,
    connect: () => openSyslog({ facility: 'local3', tag: 'purser', socketPath: path }),
  });
  t.after(() => device.close());
  await device.log('response', sampleEntry(1));
  await eventually('the entry', () => found.text.includes('0000-1'));
  assert.match(found.text, /^<158>.*purser: \{"time":/s);
  for (const canary of CANARIES) assert.ok(!found.text.includes(canary));
  await assert.rejects(device.log('request', { ...sampleEntry(), error: 'x'.repeat(MAX_SYSLOG_BYTES) }), { code: 'ERR_AUDIT_REFUSED' });
});

test('a syslog that is not there is refused when it is opened', async (t) => {
  await assert.rejects(openSyslog({ facility: 'auth', tag: 'purser', socketPath: join(auditFolder(t).directory, 'none') }), { code: 'ERR_AUDIT_REFUSED' });
});
