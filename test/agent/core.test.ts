// The agent's dealings with a real core over TLS: join, login, resolve, follow a rotation, hand the ledger over, answer Swarm.

import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Containers } from '../../src/agent/containers.ts';
import type { ContainerRecord } from '../../src/agent/container-record.ts';
import { SessionCoreLink } from '../../src/agent/core-link.ts';
import { joinNode } from '../../src/client/node/join.ts';
import { LedgerSender } from '../../src/agent/ledger-sender.ts';
import { LedgerSpool } from '../../src/agent/ledger-spool.ts';
import { Ledger } from '../../src/agent/ledger.ts';
import { Rotation } from '../../src/agent/rotation.ts';
import { CoreClient } from '../../src/client/core-client.ts';
import { loadIdentity, requireIdentity } from '../../src/client/node/identity.ts';
import { NodeSession } from '../../src/client/node/session.ts';
import { WatchFollower } from '../../src/client/node/watch-follower.ts';
import { askCore } from '../../src/driver/secret-answers.ts';
import { isPurserError } from '../../src/lib/errors.ts';
import { decodeJoinToken, encodeJoinToken } from '../../src/wire/join-token.ts';
import { loadConfig } from '../../src/server/config.ts';
import { startServer } from '../../src/server/server.ts';
import type { RunningServer } from '../../src/server/server.ts';
import { eventually } from '../eventually.ts';
import { recordedLog } from '../fakes/silent-log.ts';

const ID = 'c'.repeat(64);
const TASK = 'task00000000000000000001';
const directory = mkdtempSync(join(tmpdir(), 'purser-node-'));
const state = (name: string) => join(directory, name);
const { log, text } = recordedLog();
const closers: (() => unknown)[] = [];
let server: RunningServer;
let operator: CoreClient;

before(async () => {
  server = await startServer(loadConfig({ dataDir: join(directory, 'server'), listen: '127.0.0.1:0', autoUnsealKeyFile: join(directory, 'unseal.key'), initIfNeeded: true }), log);
  operator = new CoreClient({ address: server.address, certificateAuthority: readFileSync(server.caPath ?? '', 'utf8'), token: readFileSync(join(directory, 'server', 'root-token'), 'utf8').trim() });
  await operator.write('secret/data/db/prod', { data: { password: 'canary-1', user: 'app' } });
  await operator.write('sys/policies/acl/db', { policy: 'path "secret/data/db/*" { capabilities = ["read"] }' });
  await operator.write('auth/node/role/web', { policies: ['db'], selectors: { label: { team: ['a'] } } });
  await operator.write('auth/node/role/shop', { policies: ['db'], selectors: { service: ['shop_web'] } });
});

after(async () => {
  for (const close of closers.reverse()) await close();
  operator.close();
  await server.close();
  rmSync(directory, { recursive: true, force: true });
});

async function joinToken(options: object = {}): Promise<string> {
  return (await operator.write('auth/node/join-token', options))['token'] as string;
}

async function session(name: string, options: object = {}): Promise<NodeSession> {
  await joinNode({ token: await joinToken(options), stateDirectory: state(name), name, swarmNodeId: `swarm${name}` });
  const opened = new NodeSession(await requireIdentity(state(name)));
  closers.push(() => opened.close());
  return opened;
}

function record(files: ContainerRecord['files']): ContainerRecord {
  return { workload: { id: ID, name: 'web', image: 'busybox', labels: { team: 'a' } }, grantedAt: 1, files, overMounts: [] };
}

const PASSWORD = { name: 'pw', kind: 'versioned', target: '/run/secrets/pw', source: { type: 'reference', text: 'purser://secret/db/prod#password' }, path: 'secret/db/prod', field: 'password', version: 1, isPinned: false } as const;

test('joinNode() refuses a CA that is not the pinned one, and leaves no identity', async () => {
  const token = decodeJoinToken(await joinToken());
  const other = encodeJoinToken({ ...token, ca: 'ab'.repeat(32) });
  await assert.rejects(joinNode({ token: other, stateDirectory: state('pin'), name: 'pin' }), (error) => isPurserError(error, 'ERR_CLIENT_TLS') && !error.message.includes(token.secret));
  assert.equal(await loadIdentity(state('pin')), undefined);
});

test('joinNode() refuses a wrong, a used and a malformed token without quoting it', async () => {
  const token = await joinToken();
  const decoded = decodeJoinToken(token);
  const wrong = encodeJoinToken({ ...decoded, secret: `${decoded.secret.slice(0, -4)}AAAA` });
  for (const bad of [wrong, 'purser-join-1.hunter2hunter2']) {
    await assert.rejects(joinNode({ token: bad, stateDirectory: state('bad'), name: 'bad' }), (error) => isPurserError(error, 'ERR_NODE_JOIN') && error.hint !== undefined && !/hunter2|AAAA/.test(error.message));
  }
  await joinNode({ token, stateDirectory: state('first'), name: 'first' });
  await assert.rejects(joinNode({ token, stateDirectory: state('second'), name: 'second' }), (error) => isPurserError(error, 'ERR_NODE_JOIN'));
  assert.equal(await loadIdentity(state('second')), undefined);
});

test('joinNode() replaces an identity only when told to', async () => {
  await joinNode({ token: await joinToken(), stateDirectory: state('again'), name: 'again' });
  const first = await requireIdentity(state('again'));
  await assert.rejects(joinNode({ token: await joinToken(), stateDirectory: state('again'), name: 'again2' }), (error) => isPurserError(error, 'ERR_NODE_JOINED'));
  assert.equal((await requireIdentity(state('again'))).node_id, first.node_id);
  await joinNode({ token: await joinToken(), stateDirectory: state('again'), name: 'again2', force: true });
  const next = await requireIdentity(state('again'));
  assert.notEqual(next.node_id, first.node_id);
  assert.ok(!next.key.equals(first.key));
});

test('SessionCoreLink resolves by role: a value, a refusal, a default', async () => {
  const core = new SessionCoreLink(await session('resolver'));
  const { workload } = record([]);
  const references = ['purser://secret/db/prod#password', 'purser://secret/other#x', 'purser://secret/db/none?default=d'];
  const { workloads: [granted, denied] } = await core.resolve({ workloads: [{ ...workload, references }, { ...workload, id: 'd'.repeat(64), labels: {}, references: references.slice(0, 1) }] });
  assert.deepEqual(granted?.results.map(({ outcome }) => outcome), ['value', 'error', 'default']);
  assert.equal(Buffer.from((granted?.results[0] as { value: string }).value, 'base64').toString(), 'canary-1');
  assert.equal(denied?.results[0]?.outcome, 'error');
});

test('NodeSession logs in again by itself when its token stops working', async () => {
  const node = await session('relogin');
  const core = new SessionCoreLink(node);
  const question = { workloads: [{ ...record([]).workload, references: [PASSWORD.source.text] }] };
  await core.resolve(question);
  await node.call((client) => client.write('auth/token/revoke-self'));
  assert.equal((await core.resolve(question)).workloads[0]?.results[0]?.outcome, 'value');
});

test('NodeSession of a revoked node says so, and names what to do', async () => {
  const node = await session('revoked');
  await node.ready();
  await operator.delete(`auth/node/nodes/${(await requireIdentity(state('revoked'))).node_id}`);
  await assert.rejects(new SessionCoreLink(node).resolve({ workloads: [{ ...record([]).workload, references: [] }] }),
    (error) => isPurserError(error, 'ERR_NODE_REVOKED') && /purser agent join/.test(error.hint ?? ''));
});

test('a rotation in the core reaches the files of a container, and the ledger arrives once', async () => {
  const core = new SessionCoreLink(await session('follower'));
  const containers = await Containers.open(join(state('follower'), 'containers'), log);
  const spool = await LedgerSpool.open(join(state('follower'), 'spool'), log);
  let isLost = true;
  const sender = new LedgerSender({
    spool, log, gatherMs: 5, retryMs: 5,
    send: async (batch) => {
      const answer = await core.usage(batch);
      if (isLost) { isLost = false; throw new Error('the answer was lost'); }
      return answer;
    },
  });
  const ledger = new Ledger((entry) => { spool.append(entry); sender.wake(); }, log);
  const contents: string[] = [];
  const rotation = new Rotation({
    containers, core, ledger, log, jitterMs: 1,
    replace: async (updates) => { 
      const changes = updates.flatMap(({ containerId, files }) => files.map(({ name, content }) => ({ containerId, name, content: Buffer.from(content).toString() })));
      contents.push(...changes.map(({ content }) => content));
      return changes;
    },
  });
  const watch = new WatchFollower({ open: (options) => core.watch(options), listener: rotation, log, onLoss: '' });
  closers.push(() => spool.close(), () => sender.stop(100), () => rotation.stop(), () => watch.stop());
  containers.put(record([PASSWORD]));
  ledger.granted(record([PASSWORD]));
  sender.start();
  watch.start();
  await eventually('the stream', () => watch.isConnected);
  await rotation.settled();
  for (let version = 2; version <= 4; version++) {
    await operator.write('secret/data/db/prod', { data: { password: `canary-${version}`, user: 'app' } });
    await eventually('the new value', () => contents.at(-1) === `canary-${version}`);
  }
  const time = new Date().getTime();
  ledger.observed([{ type: 'opened', containerId: ID, name: 'pw', version: 4, process: { pid: 7, uid: 0, gid: 0, name: 'cat', executable: '/bin/cat' }, count: 3, firstTime: time, lastTime: time }]);
  ledger.released(ID, 'exited');
  await eventually('an empty spool', () => spool.pending === 0);
  const { holdings } = await operator.read('sys/usage', { container: ID, released: true }) as { holdings: Record<string, unknown>[] };
  assert.equal(holdings.length, 1);
  assert.deepEqual([holdings[0]?.['version'], holdings[0]?.['opens'], holdings[0]?.['path']], [4, 3, 'secret/db/prod']);
  assert.notEqual(holdings[0]?.['released_time'] ?? holdings[0]?.['released'], null);
});

test('askCore() asks the core as Swarm\'s driver, and the agent of that node follows the secret', async () => {
  const driver = await session('manager', { driver: true });
  const request = { secret_name: 'db', secret_labels: { 'purser.ref': 'purser://secret/db/prod#user' }, service_name: 'shop_web', service_labels: {}, task_id: TASK, task_name: 'shop_web.1', task_image: 'busybox', node_id: 'swarmworker' };
  const { value, path } = await askCore(driver, request);
  assert.deepEqual([Buffer.from(value).toString(), path], ['app', 'secret/db/prod']);
  const plain = await session('worker');
  await assert.rejects(askCore(plain, request), (error) => isPurserError(error) && /may not answer Swarm/.test(error.message));
  const asked = { workloads: [{ ...record([]).workload, labels: {}, service: 'shop_web', task_id: TASK, references: [], swarm_secrets: ['db', 'plain'] }] };
  const { workloads: [here] } = await new SessionCoreLink(plain).resolve(asked);
  assert.deepEqual(here?.swarm_secrets?.map(({ outcome }) => outcome), ['value', 'foreign']);
  const { workloads: [elsewhere] } = await new SessionCoreLink(driver).resolve(asked);
  assert.equal(elsewhere?.swarm_secrets?.[0]?.outcome, 'error');
});

test('SessionCoreLink logs in again when the machine joined the Swarm after the last login, and only then', async () => {
  let [swarmNodeId, asked] = [undefined as string | undefined, 0];
  await joinNode({ token: await joinToken(), stateDirectory: state('late'), name: 'late' });
  const node = new NodeSession(await requireIdentity(state('late')), async () => { asked++; return swarmNodeId; });
  closers.push(() => node.close());
  const link = new SessionCoreLink(node);
  const workload = { ...record([]).workload, labels: {}, service: 'shop_web', task_id: `${TASK}-late`, references: [], swarm_secrets: ['db'] };
  const outcome = async (task: string | undefined) => (await link.resolve({ workloads: [{ ...workload, task_id: task }] })).workloads[0]?.swarm_secrets?.[0]?.outcome;
  await outcome(undefined);
  swarmNodeId = 'swarmlate';
  const request = { secret_name: 'db', secret_labels: { 'purser.ref': 'purser://secret/db/prod#user' }, service_name: 'shop_web', service_labels: {}, task_id: `${TASK}late`, task_name: 'shop_web.2', task_image: 'busybox', node_id: 'swarmlate' };
  await askCore(await session('manager2', { driver: true }), request);
  assert.equal(await outcome(`${TASK}late`), 'value');
  const before = asked;
  assert.equal(await outcome(`${TASK}late`), 'value');
  assert.equal(asked, before);
});

test('a core that is away refuses quickly and names its address', async () => {
  const node = new NodeSession({ ...await requireIdentity(state('first')), address: 'https://127.0.0.1:1' });
  const began = performance.now();
  await assert.rejects(new SessionCoreLink(node).resolve({ workloads: [{ ...record([]).workload, references: [] }] }), (error) => isPurserError(error, 'ERR_CLIENT_UNREACHABLE') && error.message.includes('https://127.0.0.1:1'));
  assert.ok(performance.now() - began < 30_000);
  node.close();
});

test('no value, token or key is in a log or a state file of a node', () => {
  const files = readdirSync(directory, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile() && !entry.parentPath.includes('/server')).map((entry) => join(entry.parentPath, entry.name));
  assert.ok(files.length > 10 && files.every((file) => existsSync(file)));
  for (const place of [text(), ...files.filter((file) => !file.endsWith('unseal.key')).map((file) => readFileSync(file, 'utf8'))]) {
    assert.doesNotMatch(place, /canary-|Y2FuYXJ5|hvs\.|purser-join-1/);
  }
});
