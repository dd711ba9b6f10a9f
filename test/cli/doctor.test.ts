// purser doctor: what it finds on cores and machines in every state, and how it ends.

import assert from 'node:assert/strict';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { chmodSync, mkdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import type { Programs, ServiceDiagnosis } from '../../src/cli/context.ts';
import type { Finding } from '../../src/cli/doctor/finding.ts';
import { createOutput } from '../../src/cli/output.ts';
import { runCli } from '../../src/cli/program.ts';
import { joinNode } from '../../src/client/node/join.ts';
import * as runtime from '../../src/agent/runtime-config.ts';
import type { RuntimeConfigOptions } from '../../src/agent/runtime-config.ts';
import { loadConfig } from '../../src/server/config.ts';
import { startServer } from '../../src/server/server.ts';
import { issueAuthority, issueServerCertificate } from '../../src/server/tls/certificate.ts';
import { eventually } from '../eventually.ts';
import { silent, startUnsealed, temporaryDirectory } from '../server/running.ts';
import { withEnvironment } from './run.ts';

const files = temporaryDirectory();
const cleanups: (() => unknown)[] = [() => files.remove()];
after(async () => { for (const cleanup of cleanups.reverse()) await cleanup(); });

/** Every path of the machine points into an empty folder, unless `args` say otherwise. */
const doctor = (environment: Record<string, string>, ...args: readonly string[]): ReturnType<typeof doctorWith> => doctorWith(runtime, environment, ...args);

async function doctorWith(setup: object, environment: Record<string, string>, ...args: readonly string[]): Promise<{ status: number; findings: Map<string, Finding>; out: string; err: string }> {
  const restore = withEnvironment(environment);
  const texts = { out: '', err: '' };
  const sink = (name: 'out' | 'err'): NodeJS.WritableStream => ({ write: (chunk: string) => { texts[name] += chunk; return true; } }) as unknown as NodeJS.WritableStream;
  const nowhere = (name: string): string => join(files.path, 'nowhere', name);
  const paths = ['--data-dir', nowhere('data'), '--state-dir', nowhere('state'), '--run-dir', nowhere('run'), '--docker-socket', nowhere('docker.sock'), '--daemon-json', nowhere('daemon.json')];
  const status = await runCli(['doctor', ...paths, ...args], { runtime: async () => setup } as unknown as Programs, createOutput(sink('out'), sink('err')));
  restore();
  const findings = args.includes('json') ? JSON.parse(texts.out) as Finding[] : [];
  return { status, findings: new Map(findings.map((finding) => [finding.check, finding])), ...texts };
}

const statusOf = (findings: Map<string, Finding>, ...checks: readonly string[]): unknown[] => checks.map((check) => findings.get(check)?.status);

describe('purser doctor', () => {
  test('an unreachable core fails once, with what to do, and the checks behind it are skipped', async () => {
    const { status, findings } = await doctor({ PURSER_ADDR: 'http://127.0.0.1:1', PURSER_TOKEN: '' }, '--format', 'json');
    assert.equal(status, 1);
    assert.deepEqual(statusOf(findings, 'core', 'tls', 'clock', 'seal', 'storage', 'token', 'audit'), ['fail', 'skip', 'skip', 'skip', 'skip', 'skip', 'skip']);
    assert.ok(findings.get('core')?.hint);
  });

  test('a core in each state: new, sealed, unsealed; over TLS with its own CA, and with one that is not trusted', async () => {
    const data = temporaryDirectory();
    const server = await startServer(loadConfig({ dataDir: data.path, listen: '127.0.0.1:0' }), silent);
    cleanups.push(() => data.remove(), () => server.close());
    const environment = { PURSER_ADDR: server.address, PURSER_CACERT: server.caPath!, PURSER_TOKEN: '' };
    const check = async (): Promise<Map<string, Finding>> => (await doctor(environment, '--data-dir', data.path, '--format', 'json')).findings;
    const fresh = await check();
    assert.deepEqual(statusOf(fresh, 'core', 'tls', 'clock', 'seal', 'token'), ['ok', 'ok', 'ok', 'fail', 'skip']);
    assert.equal(fresh.get('seal')?.hint, 'purser init');
    assert.match(fresh.get('tls')!.message, /good for \d+ days/);
    assert.match(fresh.get('storage')!.message, /^lmdb, [\d.]+ GiB free below /);
    const { CoreClient } = await import('../../src/client/core-client.ts');
    const client = new CoreClient({ address: server.address, certificateAuthority: server.caCertificate });
    const init = (await client.request('PUT', 'sys/init', { secret_shares: 1, secret_threshold: 1 })).body as { keys: string[]; root_token: string };
    assert.equal((await check()).get('seal')?.hint, 'purser unseal');
    await client.request('PUT', 'sys/unseal', { key: init.keys[0] });
    client.close();
    assert.deepEqual(statusOf(await check(), 'seal', 'token', 'audit'), ['ok', 'warn', 'skip']);
    environment.PURSER_TOKEN = init.root_token;
    assert.deepEqual(statusOf(await check(), 'token', 'audit'), ['ok', 'ok']);
    environment.PURSER_TOKEN = 'hvs.ended';
    assert.deepEqual(statusOf(await check(), 'token'), ['fail']);
    const stranger = await doctor({ PURSER_ADDR: server.address, PURSER_TOKEN: '' }, '--format', 'json');
    assert.deepEqual([stranger.status, ...statusOf(stranger.findings, 'core', 'tls')], [1, 'fail', 'skip']);
  });

  test('certificates that are nearly over, over, or of another name each say what to do', async () => {
    const authority = await issueAuthority(Date.now());
    const signer = { certificate: new X509Certificate(authority.certificate), key: createPrivateKey(authority.key) };
    const day = 86_400_000;
    for (const [title, names, age, core, tls, hint] of [
      ['fresh', ['127.0.0.1'], 0, 'ok', 'ok', undefined],
      ['nearly-over', ['127.0.0.1'], 360, 'ok', 'warn', /restart the server/],
      ['over', ['127.0.0.1'], 366, 'fail', 'skip', /clocks.*replace the one/],
      ['misnamed', ['core.example'], 0, 'fail', 'skip', /--tls-name/],
    ] as const) {
      const { certificate, key } = await issueServerCertificate(signer, names, Date.now() - age * day);
      const [ca, pem, keyFile] = ['ca', 'pem', 'key'].map((kind) => join(files.path, `${title}.${kind}`)) as [string, string, string];
      for (const [path, text] of [[ca, authority.certificate], [pem, certificate], [keyFile, key]] as const) writeFileSync(path, text, { mode: 0o600 });
      const data = temporaryDirectory();
      const server = await startServer(loadConfig({ dataDir: data.path, listen: '127.0.0.1:0', tlsCert: pem, tlsKey: keyFile }), silent);
      cleanups.push(() => data.remove(), () => server.close());
      const { findings } = await doctor({ PURSER_ADDR: server.address, PURSER_CACERT: ca, PURSER_TOKEN: '' }, '--format', 'json');
      assert.deepEqual(statusOf(findings, 'core', 'tls'), [core, tls], title);
      if (hint !== undefined) assert.match(String(findings.get(tls === 'warn' ? 'tls' : 'core')?.hint), hint);
    }
  });

  test('TLS and plain HTTP mixed up, a server that is none, and one that does not answer', async () => {
    const server = await startUnsealed({ audit: false });
    const data = temporaryDirectory();
    const withTls = await startServer(loadConfig({ dataDir: data.path, listen: '127.0.0.1:0' }), silent);
    const mute = createServer(() => undefined).listen(0, '127.0.0.1');
    cleanups.push(() => data.remove(), () => server.stop(), () => withTls.close(), () => mute.close());
    const core = async (address: string): Promise<Finding | undefined> => (await doctor({ PURSER_ADDR: address, PURSER_TOKEN: '' }, '--format', 'json')).findings.get('core');
    const [tlsToPlain, plainToTls, silence] = [await core(server.server.address.replace('http', 'https')), await core(withTls.address.replace('https', 'http')), await core(`http://127.0.0.1:${String((mute.address() as AddressInfo).port)}`)];
    assert.match(`${tlsToPlain?.message} ${tlsToPlain?.hint}`, /does not speak TLS.*PURSER_ADDR/);
    assert.match(`${plainToTls?.message} ${plainToTls?.hint}`, /cut.*wants https:/);
    assert.match(`${silence?.message} ${silence?.hint}`, /no answer within.*log/);
  });

  test('a core that cannot record requests refuses the token and the audit check, and both say where to look', async () => {
    const server = await startUnsealed();
    cleanups.push(() => server.stop());
    const check = async (): Promise<Map<string, Finding>> => (await doctor({ PURSER_ADDR: server.server.address, PURSER_TOKEN: server.root }, '--format', 'json')).findings;
    assert.deepEqual(statusOf(await check(), 'token', 'audit'), ['ok', 'ok']);
    // As after an operator's `> audit.log`: the next look at the file ends it.
    truncateSync(join(server.directory, 'audit', 'audit.log'));
    await server.server.reopenAudit().catch(() => undefined);
    const broken = await eventually('the first refusal', async () => { const found = await check(); return found.get('token')?.status !== 'ok' && found; }, 60_000);
    for (const name of ['token', 'audit']) {
      assert.equal(broken.get(name)?.status, 'fail');
      assert.match(String(broken.get(name)?.hint), /log of the core.*audit/);
    }
  });

  test('a core that keeps and records nothing is a warning, and warnings end in 0', async () => {
    const server = await startUnsealed({ audit: false });
    cleanups.push(() => server.stop());
    const { status, out, err } = await doctor({ PURSER_ADDR: server.server.address, PURSER_TOKEN: server.root });
    assert.match(out, /^STATUS +CHECK +MESSAGE\nok +core +http:\/\/127\.0\.0\.1:\d+ answers/);
    assert.match(out, /^warn +storage +the core keeps everything in memory only$/m);
    assert.match(out, /^warn +audit +no request is recorded/m);
    assert.match(err, /^purser: hint: storage: start it without --dev/m);
    assert.doesNotMatch(out + err, /test-root-token/);
    assert.equal(status, /^fail/m.test(out) ? 1 : 0);
  });

  test('clocks that differ: a warning from seconds on, a failure once node logins are refused', async () => {
    for (const [seconds, expected] of [[0, 'ok'], [20, 'warn'], [-20, 'warn'], [300, 'fail'], [-300, 'fail']] as const) {
      const server = await startServer(loadConfig({ dev: true, listen: '127.0.0.1:0' }), silent, () => Date.now() + seconds * 1000);
      const { findings } = await doctor({ PURSER_ADDR: server.address, PURSER_TOKEN: '' }, '--format', 'json');
      await server.close();
      assert.equal(findings.get('clock')?.status, expected, `${seconds} s`);
    }
  });

  test('a node: its agent, its login at the core, and what is damaged', async () => {
    const server = await startUnsealed({ audit: false });
    cleanups.push(() => server.stop());
    const state = join(files.path, 'state');
    const runDirectory = join(files.path, 'run');
    mkdirSync(runDirectory);
    const environment = { PURSER_ADDR: server.server.address, PURSER_TOKEN: server.root };
    const check = async (): Promise<Map<string, Finding>> => (await doctor(environment, '--state-dir', state, '--run-dir', runDirectory, '--format', 'json')).findings;
    assert.deepEqual(statusOf(await check(), 'node', 'agent', 'node login'), ['skip', 'skip', 'skip']);
    const made = await server.call('POST', 'auth/node/join-token', { body: {} });
    await joinNode({ token: (made.body as { data: { token: string } }).data.token, name: 'here', stateDirectory: state, force: false, swarmNodeId: undefined });
    const joined = await check();
    assert.deepEqual(statusOf(joined, 'node', 'agent', 'node login'), ['ok', 'fail', 'ok']);
    assert.match(joined.get('agent')!.message, /ENOENT/);
    const agent = createServer().listen(join(runDirectory, 'agent.sock'));
    cleanups.push(() => agent.close());
    assert.match((await check()).get('agent')!.message, /its filesystem is not mounted/);
    const nodes = await server.call('LIST', 'auth/node/nodes');
    await server.call('DELETE', `auth/node/nodes/${(nodes.body as { data: { keys: string[] } }).data.keys[0]!}`);
    assert.deepEqual(statusOf(await check(), 'node login'), ['fail']);
    chmodSync(join(state, 'node.key'), 0o644);
    const open = await check();
    assert.deepEqual([...statusOf(open, 'node', 'node login'), open.get('agent')?.message], ['fail', 'skip', 'see node']);
    assert.match(String(open.get('node')?.hint), /revoke the node and join again/);
    chmodSync(join(state, 'node.key'), 0o600);
    writeFileSync(join(state, 'node.json'), '{');
    assert.deepEqual(statusOf(await check(), 'node', 'node login'), ['fail', 'skip']);
  });

  test('a machine without Docker is a warning', async () => {
    const { findings } = await doctor({ PURSER_ADDR: 'http://127.0.0.1:1' }, '--format', 'json');
    assert.deepEqual(statusOf(findings, 'docker', 'runtime'), ['warn', 'warn']);
    assert.ok(['ok', 'fail', 'warn'].includes(findings.get('fuse')!.status));
  });
});

describe('purser doctor about the runtime', () => {
  const SHIM = join(files.path, 'purser-runtime');
  const DAEMON_JSON = join(files.path, 'daemon.json');
  const SOCKET = join(files.path, 'docker.sock');
  const ENTRY = { runtimes: { purser: { path: SHIM } }, 'default-runtime': 'purser' };
  let info: object = {};
  const live = (path: string | undefined = SHIM): object => ({ DefaultRuntime: 'purser', Runtimes: { purser: { path }, runc: { path: 'runc' } } });
  const WITHOUT = { DefaultRuntime: 'runc', Runtimes: { runc: { path: 'runc' } } };
  const script = (version: string): string => `#!/bin/sh\necho 'purser-runtime ${version}'\n`;

  before(() => {
    const engine = createHttpServer((_request, response) => { response.end(JSON.stringify(info)); }).listen(SOCKET);
    cleanups.push(() => engine.close());
    writeFileSync(join(files.path, 'built'), script('development'), { mode: 0o755 });
  });

  const cases: readonly [string, { shim?: string; mode?: number; daemonJson?: object; engine?: object; socket?: string; built?: string }, string, RegExp][] = [
    ['all is well', {}, 'ok', /purser-runtime starts the containers$/],
    ['an engine that tells no paths', { engine: live(undefined) }, 'ok', /starts the containers$/],
    ['no engine answers', { socket: join(files.path, 'nowhere') }, 'ok', /purser-runtime is installed$/],
    ['nothing is installed', { shim: '', daemonJson: {}, engine: WITHOUT }, 'warn', /is not installed: labels and variables/],
    ['the binary is missing', { shim: '' }, 'fail', /purser-runtime is missing, and the Docker Engine is told.*none can start/],
    ['the binary is missing, and daemon.json forgot it', { shim: '', daemonJson: {} }, 'fail', /is missing.*none can start/],
    ['the binary is not executable', { mode: 0o644 }, 'fail', /purser-runtime cannot be executed.*none can start/],
    ['the binary is something else', { shim: '#!/bin/sh\nexit 0\n' }, 'fail', /is no working purser-runtime.*none can start/],
    ['the binary is of another version', { shim: script('0.0.1') }, 'warn', /is of version 0\.0\.1, this program of version development/],
    ['the binary is another build', { shim: `${script('development')}# other\n` }, 'warn', /is another build of version development/],
    ['no built shim to compare with', { shim: `${script('development')}# other\n`, built: 'nowhere' }, 'ok', /starts the containers$/],
    ['the engine has not read daemon.json', { engine: WITHOUT }, 'fail', /daemon\.json names the runtime, and the running Docker Engine does not use it/],
    ['the engine uses a runtime of that name elsewhere', { engine: live('/opt/old/purser-runtime') }, 'fail', /the running Docker Engine does not use it/],
    ['daemon.json names another path', { daemonJson: { ...ENTRY, runtimes: { purser: { path: '/opt/old/purser-runtime' } } } }, 'fail', /names \/opt\/old\/purser-runtime as the runtime purser, not /],
    ['daemon.json does not make it the default', { daemonJson: { runtimes: ENTRY.runtimes }, engine: WITHOUT }, 'warn', /does not make it the default/],
    ['daemon.json forgot it', { daemonJson: {} }, 'warn', /uses the runtime until it reads its configuration again/],
  ];
  for (const [what, { shim = script('development'), mode = 0o755, daemonJson = ENTRY, engine = live(), socket = SOCKET, built = 'built' }, status, says] of cases) {
    test(`says when ${what}`, async () => {
      rmSync(SHIM, { force: true });
      if (shim !== '') writeFileSync(SHIM, shim, { mode });
      writeFileSync(DAEMON_JSON, JSON.stringify(daemonJson));
      info = engine;
      const programs = { runtimeStatus: (options: RuntimeConfigOptions) => runtime.runtimeStatus({ ...options, binaryPath: SHIM, source: join(files.path, built) }) };
      const { findings } = await doctorWith(programs, { PURSER_ADDR: 'http://127.0.0.1:1' }, '--docker-socket', socket, '--daemon-json', DAEMON_JSON, '--format', 'json');
      const finding = findings.get('runtime')!;
      assert.equal(finding.status, status, finding.message);
      assert.match(finding.message, says);
      if (status !== 'ok') assert.match(finding.hint ?? '', /^purser runtime install/);
    });
  }

  test('a daemon.json that is none is the finding', async () => {
    writeFileSync(DAEMON_JSON, '{');
    const { findings } = await doctor({ PURSER_ADDR: 'http://127.0.0.1:1' }, '--docker-socket', SOCKET, '--daemon-json', DAEMON_JSON, '--format', 'json');
    assert.deepEqual(statusOf(findings, 'docker', 'runtime'), ['fail', 'skip']);
    assert.match(findings.get('docker')!.message, /daemon\.json/);
    assert.ok(findings.get('docker')!.hint);
  });
});

describe('purser doctor --service', () => {
  const SECRET = { name: 'db', driver: 'purser', labels: { 'purser.ref': 'purser://secret/db/prod#password' } };
  const HEALTHY: ServiceDiagnosis = { secrets: [SECRET, { name: 'plain', driver: undefined, labels: {} }], running: 2, desired: 2, lastError: undefined };
  const ask = async (diagnosis: ServiceDiagnosis | undefined, hasPlugin = true): Promise<{ status: number; findings: Map<string, Finding> }> => {
    let out = '';
    const sink = { write: (text: string) => { out += text; return true; } } as unknown as NodeJS.WritableStream;
    const swarm = { diagnosis: async () => diagnosis, hasPlugin: async () => hasPlugin };
    const restore = withEnvironment({ PURSER_ADDR: 'http://127.0.0.1:1', PURSER_TOKEN: '' });
    const status = await runCli(['doctor', '--service', 'shop_app', '--format', 'json'], { swarm: async () => swarm } as unknown as Programs, createOutput(sink, sink));
    restore();
    return { status, findings: new Map((JSON.parse(out) as Finding[]).map((finding) => [finding.check, finding])) };
  };
  const CHECKS = ['service', 'secret labels', 'secret driver', 'tasks'] as const;
  const cases: readonly [string, ServiceDiagnosis | undefined, boolean, readonly string[], RegExp][] = [
    ['a healthy service', HEALTHY, true, ['ok', 'ok', 'ok', 'ok'], /secrets of Purser: db$/],
    ['a service that is not there', undefined, true, ['fail', 'skip', 'skip', 'skip'], /there is no service shop_app/],
    ['a service without secrets of Purser', { ...HEALTHY, secrets: [] }, true, ['warn', 'skip', 'skip', 'ok'], /has no secret of Purser/],
    ['a malformed reference', { ...HEALTHY, secrets: [{ ...SECRET, labels: { 'purser.ref': 'purser://secret/db?nope=1' } }] }, true, ['ok', 'fail', 'ok', 'ok'], /^db: /],
    ['a secret without its label', { ...HEALTHY, secrets: [{ ...SECRET, labels: {} }] }, true, ['ok', 'fail', 'ok', 'ok'], /db has no label purser\.ref/],
    ['a driver that does not run', HEALTHY, false, ['ok', 'ok', 'fail', 'ok'], /the driver purser does not run on this manager/],
    ['tasks that fail', { ...HEALTHY, running: 1, lastError: 'secret x not found' }, true, ['ok', 'ok', 'ok', 'fail'], /1 of 2 run; the last one failed: secret x not found/],
  ];
  for (const [what, diagnosis, hasPlugin, statuses, says] of cases) {
    test(`tells of ${what}`, async () => {
      const { status, findings } = await ask(diagnosis, hasPlugin);
      assert.deepEqual(statusOf(findings, ...CHECKS), statuses);
      const told = CHECKS.map((check) => findings.get(check)).find((finding) => says.test(finding?.message ?? ''));
      assert.ok(told, [...findings.values()].map(({ message }) => message).join('\n'));
      if (told.status !== 'ok') assert.ok(told.hint);
      assert.equal(status, 1, 'the core cannot be reached');
    });
  }
});
