// Notifications: signed, tried again, told once, kept over a restart, and only where the configuration says.

import assert from 'node:assert/strict';
import { createHmac, timingSafeEqual } from 'node:crypto';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';

import type { HistoryRow } from '../../src/ledger/history/row.ts';
import { Alarms } from '../../src/server/notify/alarms.ts';
import type { NotifyTarget } from '../../src/server/notify/delivery.ts';
import type { NewEvent } from '../../src/server/notify/event.ts';
import { Notifier } from '../../src/server/notify/notifier.ts';
import { loadTargets, notifySchema } from '../../src/server/notify/targets.ts';
import { loadConfig } from '../../src/server/config.ts';
import { startServer } from '../../src/server/server.ts';
import { eventually } from '../eventually.ts';
import { MemoryView } from '../fakes/memory-view.ts';
import { silent } from './running.ts';

const SECRET = 'a secret of more than sixteen bytes';
interface Received { readonly body: string; readonly signature: string; readonly id: string }
interface Told { readonly type: string; readonly count: number; readonly id: string; readonly details: Record<string, unknown> }

let directory: string;
let receiver: Server;
let url: string;
let received: Received[];
/** Statuses of the next answers; 200 after them. */
let answers: number[];

before(async () => {
  directory = mkdtempSync(join(tmpdir(), 'purser-notify-test-'));
  receiver = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (chunk: string) => { body += chunk; }).on('end', () => {
      const status = answers.shift() ?? 200;
      if (status < 300) received.push({ body, signature: String(request.headers['purser-signature']), id: String(request.headers['purser-event-id']) });
      response.writeHead(status, status === 302 ? { Location: url } : {}).end('whatever');
    });
  });
  await new Promise<void>((resolve) => { receiver.listen(0, '127.0.0.1', resolve); });
  url = `http://127.0.0.1:${String((receiver.address() as AddressInfo).port)}/hook`;
  writeFileSync(join(directory, 'key'), `${SECRET}\n`, { mode: 0o600 });
});
after(() => {
  receiver.close();
  rmSync(directory, { recursive: true });
});

let view: MemoryView;
let now: number;
let open: Notifier[];
beforeEach(() => { [received, answers, open, view, now] = [[], [], [], new MemoryView(), Date.now()]; });
afterEach(async () => { for (const notifier of open) await notifier.close(); });

const webhook = (): NotifyTarget => ({ name: 'ops', events: ['refused-read', 'canary-read', 'node-lost'], kind: 'webhook', url, secret: Buffer.from(SECRET) });
async function start(...targets: NotifyTarget[]): Promise<Notifier> {
  const notifier = await Notifier.open({ view, targets, now: () => now, log: silent, retryMs: 5 });
  open.push(notifier);
  return notifier;
}
const event = (subject = 'a', type: NewEvent['type'] = 'refused-read'): NewEvent => ({ type, subject, details: { container: '<b>web</b>' } });
const told = () => received.map(({ body }) => JSON.parse(body) as Told);

describe('notifications', () => {
  test('a webhook gets the event with a signature that only the secret makes', async () => {
    (await start(webhook())).notify(event());
    await eventually('a delivery', () => received.length === 1);
    const { body, signature, id } = received[0] as Received;
    const [, seconds = '', hex = ''] = /^t=(\d+),v1=([0-9a-f]{64})$/.exec(signature) ?? [];
    assert.ok(timingSafeEqual(Buffer.from(hex, 'hex'), createHmac('sha256', SECRET).update(`${seconds}.${body}`).digest()));
    assert.ok(Math.abs(Number(seconds) - now / 1000) <= 1);
    const { type, count, id: inBody, details } = told()[0] as Told;
    assert.deepEqual([type, count, inBody, details], ['refused-read', 1, id, { container: '<b>web</b>' }]);
    await eventually('an empty queue', () => view.records.size === 0);
  });

  test('what is not taken is tried again with the same id, and a redirect is not followed', async () => {
    answers = [500, 302, 404];
    (await start(webhook())).notify(event());
    await eventually('a delivery', () => received.length === 1);
    assert.equal(answers.length, 0);
    assert.equal(received.length, 1);
  });

  test('the same about the same subject is told once an hour, with the number of repeats; another subject at once', async () => {
    const notifier = await start(webhook());
    for (let count = 0; count < 5; count++) notifier.notify(event());
    notifier.notify(event('b'));
    await eventually('two deliveries', () => received.length === 2);
    now += 3600_001;
    notifier.notify(event());
    await eventually('the third', () => received.length === 3);
    assert.deepEqual(told().map(({ count }) => count), [1, 1, 5]);
  });

  test('events that a target did not ask for are not sent', async () => {
    const notifier = await start(webhook());
    notifier.notify(event('a', 'rotation-stuck'));
    notifier.notify(event('a', 'node-lost'));
    await eventually('a delivery', () => received.length === 1);
    assert.equal(told()[0]?.type, 'node-lost');
  });

  test('what waits is kept over a restart, in order, and given up after a day', async () => {
    answers = Array.from({ length: 1_000 }, () => 503);
    const first = await start(webhook());
    for (const subject of ['a', 'b', 'c']) first.notify({ ...event(subject), details: { subject } });
    await eventually('three records', () => view.records.size === 3);
    await first.close();
    answers = [];
    await start(webhook());
    await eventually('three deliveries', () => received.length === 3);
    assert.deepEqual(told().map(({ details }) => details['subject']), ['a', 'b', 'c']);
    await eventually('an empty queue', () => view.records.size === 0);
    answers = Array.from({ length: 1_000 }, () => 503);
    const late = await start(webhook());
    late.notify(event('d'));
    await eventually('a record', () => view.records.size === 1);
    now += 25 * 3600_000;
    await eventually('that it is given up', () => view.records.size === 0);
    assert.equal(late.families().find(({ name }) => name === 'purser_notifications_dropped_total')?.values[0]?.value, 1);
  });

  test('the queue is bounded', async () => {
    answers = Array.from({ length: 100_000 }, () => 503);
    const notifier = await start(webhook());
    for (let count = 0; count < 1_200; count++) notifier.notify(event(String(count)));
    await eventually('the records', () => view.records.size === 1_000);
    assert.equal(notifier.families().find(({ name }) => name === 'purser_notifications_dropped_total')?.values[0]?.value, 200);
  });

  test('a command gets the event on its standard input, without a shell and without the environment of the core', async () => {
    const script = join(directory, 'command.sh');
    writeFileSync(script, `#!/bin/sh\ncat > "$1"\nenv > "$1.env"\n`);
    chmodSync(script, 0o755);
    const out = join(directory, 'out; touch injected');
    process.env['PURSER_TEST_CANARY'] = 'must not be handed on';
    const notifier = await start({ name: 'pager', events: ['refused-read'], kind: 'command', command: [script, out] });
    notifier.notify(event());
    await eventually('its end', () => existsSync(`${out}.env`) && view.records.size === 0);
    delete process.env['PURSER_TEST_CANARY'];
    assert.equal((JSON.parse(readFileSync(out, 'utf8')) as Told).type, 'refused-read');
    assert.equal(readFileSync(`${out}.env`, 'utf8').includes('PURSER_TEST_CANARY'), false);
  });

  test('targets are refused that are not https, not of this host, or whose secret others may read', () => {
    const load = (target: object) => loadTargets(notifySchema.parse([{ name: 'x', secret_file: join(directory, 'key'), ...target }]));
    assert.equal(load({ url }).length, 1);
    assert.equal(load({ url: 'https://hooks.example/a' }).length, 1);
    for (const bad of ['http://hooks.example/', 'http://169.254.169.254/latest/meta-data', 'ftp://127.0.0.1/', 'file:///etc/passwd', 'https://user:pw@hooks.example/', 'nonsense']) assert.throws(() => load({ url: bad }), { code: 'ERR_CONFIG_INVALID' }, bad);
    const secretFile = (name: string, text: string, mode: number) => { const file = join(directory, name); writeFileSync(file, text); chmodSync(file, mode); return file; };
    symlinkSync(join(directory, 'key'), join(directory, 'link'));
    for (const file of [secretFile('open', SECRET, 0o644), secretFile('short', 'short', 0o600), join(directory, 'missing'), join(directory, 'link')]) {
      assert.throws(() => load({ url, secret_file: file }), (error: { code?: string; message: string }) => error.code === 'ERR_CONFIG_INVALID' && !error.message.includes(SECRET), file);
    }
    for (const bad of [{ name: 'x' }, { name: 'x', url }, { name: 'x', command: ['relative'] }, { name: 'x', command: [] }, { name: 'a b', command: ['/bin/true'] }, { name: 'x', command: ['/bin/true'], events: ['nothing'] }]) {
      assert.equal(notifySchema.safeParse([bad]).success, false, JSON.stringify(bad));
    }
    assert.equal(notifySchema.safeParse([{ name: 'x', command: ['/bin/true'] }, { name: 'x', command: ['/bin/true'] }]).success, false);
  });
});

describe('alarms', () => {
  const events: NewEvent[] = [];
  const connected = new Set<string>();
  const nodes = [{ id: 'n1', name: 'one', last_seen: 1 }, { id: 'n2', name: 'two', revoked: 5, last_seen: 1 }, { id: 'n3', name: 'never seen' }];
  const rotation = { path: 'secret/x', version: 2, total: 3, current: 1, needRestart: 0, started: 0, finished: undefined as number | undefined };
  const alarms = new Alarms({
    notify: (one) => events.push(one), now: () => now, nodes: () => nodes, isConnected: (id) => connected.has(id), rotations: () => [rotation],
    describeSecret: async (path) => ({ version: 1, created: 0, custom: path === 'secret/trap' ? { canary: 'true' } : {} }), onFault: (error) => { throw error; },
  });
  const row = (entry: object): HistoryRow => ({ at: now, seq: 1, node: 'n1', node_name: 'one', container: { id: 'c', name: 'web', image: 'i' }, entry: entry as HistoryRow['entry'] });
  const reader = { pid: 1, uid: 0, executable: '/bin/cat', name: 'cat' };
  beforeEach(() => { events.length = 0; });

  test('refusals and reads of a canary are told, other reads are not', async () => {
    alarms.noticed([
      row({ type: 'refused', process: reader, count: 1, first_time: 't', last_time: 't' }), row({ type: 'denied', source: 'resolve', path: 'secret/x', code: 'c', reason: 'r', count: 1, first: 1 }),
      row({ type: 'opened', path: 'secret/x', process: reader }), row({ type: 'opened', path: 'secret/trap', process: reader }), row({ type: 'granted', secrets: [{ path: 'secret/trap' }, { path: 'secret/x' }] }),
    ]);
    await eventually('the canaries', () => events.length === 4);
    assert.deepEqual(events.map(({ type, details }) => [type, details['path']]), [['refused-read', undefined], ['denied', 'secret/x'], ['canary-read', 'secret/trap'], ['canary-read', 'secret/trap']]);
  });

  test('a node that was seen and is gone for two minutes is told once, until it comes back; a rotation that stands still as well', () => {
    rotation.started = now;
    connected.add('n1');
    alarms.sweep();
    connected.delete('n1');
    for (let minute = 0; minute < 4; minute++) {
      alarms.sweep();
      now += 60_000;
    }
    assert.deepEqual(events.map(({ type, details }) => [type, details['node']]), [['node-lost', 'one']]);
    connected.add('n1');
    now += 60_000;
    alarms.sweep();
    assert.deepEqual(events.map(({ type }) => type), ['node-lost', 'rotation-stuck']);
    rotation.finished = now;
    alarms.sweep();
    assert.equal(events.length, 2);
  });
});

test('a read of a canary through the API of a real server is told, and no value is', async () => {
  const config = join(directory, 'config.json');
  writeFileSync(config, JSON.stringify({ notify: [{ name: 'ops', url, secret_file: join(directory, 'key'), events: ['canary-read'] }] }));
  const server = await startServer(loadConfig({ dev: true, devRootToken: 'root-token', listen: '127.0.0.1:0', config }), silent);
  const call = (method: string, path: string, body?: object) => fetch(`${server.address}/v1/${path}`, { method, headers: { 'X-Vault-Token': 'root-token' }, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
  try {
    for (const name of ['trap', 'plain']) await call('POST', `secret/data/${name}`, { data: { password: 'the-value-itself' } });
    await call('POST', 'secret/metadata/trap', { custom_metadata: { canary: 'true' } });
    await call('GET', 'secret/data/plain');
    assert.equal((await call('GET', 'secret/data/trap')).status, 200);
    await eventually('the alarm', () => received.length > 0);
    assert.deepEqual(told().map(({ type, details }) => [type, details['path'], details['display_name']]), [['canary-read', 'secret/data/trap', 'root']]);
    assert.equal(received[0]?.body.includes('the-value-itself'), false);
  } finally {
    await server.close();
  }
});
