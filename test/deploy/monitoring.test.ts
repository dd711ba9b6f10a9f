// The dashboard and the alert rules name only metrics that exist, and every metric of ours is written as Prometheus reads it.

import assert from 'node:assert/strict';
import { request as httpRequest } from 'node:http';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { AgentMetrics } from '../../src/agent/agent-metrics.ts';
import { DriverMetrics } from '../../src/driver/driver-metrics.ts';
import { Counts, Latency, Metrics } from '../../src/lib/metrics.ts';
import { serveMetrics } from '../../src/lib/metrics-server.ts';
import { loadConfig } from '../../src/server/config.ts';
import { coreMetrics } from '../../src/server/metrics/core-metrics.ts';
import { RequestMetrics } from '../../src/server/metrics/request-metrics.ts';
import { startServer } from '../../src/server/server.ts';
import { silent, temporaryDirectory } from '../server/running.ts';

const DEPLOY = join(import.meta.dirname, '../../deploy/monitoring');
const nothing = async () => { throw new Error('not asked'); };

interface Scraped { raw(method: string, path: string, options?: { readonly token?: string | undefined }): Promise<{ readonly status: number; readonly text: string }>; stop(): Promise<void> }

/** A core in memory with an audit file and a configuration file. */
async function start(settings: object = {}): Promise<Scraped> {
  const { path, remove } = temporaryDirectory();
  const config = join(path, 'config.json');
  writeFileSync(config, JSON.stringify(settings));
  const server = await startServer(loadConfig({ dev: true, devRootToken: 'root-token', listen: '127.0.0.1:0', config, auditFile: join(path, 'audit', 'audit.log') }), silent);
  return {
    raw: async (method, url, { token } = { token: 'root-token' }) => {
      const response = await fetch(`${server.address}/v1/${url}`, { method, headers: token === undefined ? {} : { 'X-Vault-Token': token } });
      return { status: response.status, text: await response.text() };
    },
    stop: async () => { await server.close(); remove(); },
  };
}

let server: Scraped;
let core: string;
let agent: string;
let driver: string;

before(async () => {
  server = await start();
  const { status, text } = await server.raw('GET', 'sys/metrics?format=prometheus');
  assert.equal(status, 200);
  core = text + await coreMetrics({ requests: new RequestMetrics(), status: async () => ({ sealed: true, initialized: true }), unsealed: async () => [], certificateEnds: Date.now() }).text();
  const measured = new AgentMetrics();
  await measured.timed({ resolve: async () => ({ workloads: [] }), identity: nothing, usage: nothing, watch: () => { throw new Error('not asked'); } }).resolve({ workloads: [] });
  measured.changed('secret/x');
  measured.rotated([{ path: 'secret/x' }]);
  agent = await measured.metrics({ containers: () => 1, inherited: 2, reads: () => 5, pending: () => 3, dropped: () => 4, isConnected: () => true }).text();
  const drove = new DriverMetrics(() => true);
  await assert.rejects(drove.timed(nothing)({} as never));
  driver = await drove.metrics().text();
});
after(() => server.stop());

const namesIn = (text: string) => new Set([...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].flatMap(([, name = '', type]) => (type === 'histogram' ? ['_bucket', '_sum', '_count'].map((end) => name + end) : [name])));

describe('monitoring', () => {
  for (const file of ['grafana-dashboard.json', 'prometheus-rules.yml']) {
    test(`${file} names only metrics that exist`, () => {
      const known = new Set([core, agent, driver].flatMap((text) => [...namesIn(text)]));
      const named = new Set(readFileSync(join(DEPLOY, file), 'utf8').match(/purser_[a-z0-9_]+/g));
      assert.ok(named.size >= 7, String(named.size));
      assert.deepEqual([...named].filter((name) => !known.has(name)), []);
    });
  }

  test('the dashboard shows every metric of ours but the version', () => {
    const dashboard = readFileSync(join(DEPLOY, 'grafana-dashboard.json'), 'utf8');
    const unseen = [core, agent, driver].flatMap((text) => [...text.matchAll(/^# TYPE (purser_\S+)/gm)].map(([, name = '']) => name)).filter((name) => !dashboard.includes(name));
    assert.deepEqual([...new Set(unseen)], ['purser_build_info', 'purser_core_initialized', 'purser_usage_event_clients', 'purser_driver_joined']);
  });

  test('the core counts requests by kind, operation and outcome, and no path is a label', async () => {
    await server.raw('GET', 'secret/data/some/private/path');
    await server.raw('GET', 'secret/data/x', { token: 'wrong' });
    const { text } = await server.raw('GET', 'sys/metrics?format=prometheus');
    assert.match(text, /^purser_requests_total\{kind="secrets",operation="read",outcome="denied"\} 1$/m);
    assert.match(text, /^purser_request_seconds_count\{kind="secrets"\} [12]$/m);
    assert.match(text, /^purser_core_unsealed 1$/m);
    assert.equal(text.includes('private'), false);
  });

  test('sys/metrics needs a token that may read it, unless the configuration says otherwise, and then answers sealed as well', async () => {
    assert.equal((await server.raw('GET', 'sys/metrics?format=prometheus', { token: undefined })).status, 403);
    assert.equal((await server.raw('GET', 'sys/metrics')).status, 400);
    const open = await start({ unauthenticated_metrics: true });
    try {
      assert.equal((await open.raw('GET', 'sys/metrics?format=prometheus', { token: undefined })).status, 200);
      await open.raw('PUT', 'sys/seal');
      const { status, text } = await open.raw('GET', 'sys/metrics?format=prometheus', { token: undefined });
      assert.equal(status, 200);
      assert.match(text, /^purser_core_unsealed 0$/m);
      assert.equal(text.includes('purser_nodes'), false, 'nothing is known of what is above the barrier');
    } finally {
      await open.stop();
    }
  });
});

describe('Metrics', () => {
  test('a histogram counts each value into every class that is not below it', () => {
    const latency = new Latency();
    for (const seconds of [0.0004, 0.003, 0.003, 99]) latency.observe(seconds);
    const value = (le: string) => latency.values().find(({ labels }) => labels?.['le'] === le)?.value;
    assert.deepEqual(['0.0005', '0.0025', '0.005', '10', '+Inf'].map(value), [1, 1, 3, 3, 4]);
    assert.equal(latency.values().find(({ suffix }) => suffix === '_count')?.value, 4);
  });

  test('label values are escaped', async () => {
    const counts = new Counts('name');
    counts.add('a"b\\c\nd');
    const text = await new Metrics(async () => [{ name: 'test_total', help: 'h', type: 'counter', values: counts.values() }]).text();
    assert.ok(text.includes('test_total{name="a\\"b\\\\c\\nd"} 1'), text.slice(0, 200));
  });

  const directory = mkdtempSync(join(tmpdir(), 'purser-metrics-test-'));
  after(() => { rmSync(directory, { recursive: true }); });

  test('the listener serves metrics, health and readiness on a unix socket, and nothing else', async () => {
    let reason: string | undefined = 'the core cannot be reached';
    const path = join(directory, 'm.sock');
    const serving = await serveMetrics({ listen: `unix:${path}`, metrics: new Metrics(async () => []), notReady: () => reason });
    const get = (url: string, method = 'GET') => new Promise<{ status: number; text: string }>((resolve, reject) => {
      httpRequest({ socketPath: path, path: url, method }, (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (chunk: string) => { text += chunk; }).on('end', () => resolve({ status: response.statusCode ?? 0, text }));
      }).on('error', reject).end();
    });
    try {
      assert.match((await get('/metrics')).text, /process_cpu_seconds_total/);
      assert.equal((await get('/health')).status, 200);
      assert.deepEqual(await get('/ready'), { status: 503, text: 'the core cannot be reached\n' });
      reason = undefined;
      assert.equal((await get('/ready')).status, 200);
      assert.equal((await get('/other')).status, 404);
      assert.equal((await get('/metrics', 'POST')).status, 405);
    } finally {
      await serving.close();
    }
  });

  test('the listener takes no address that other machines reach', async () => {
    for (const listen of ['0.0.0.0:9102', '10.0.0.1:9102', 'core.internal:9102', '9102', 'unix:relative', '127.0.0.1:99999', '']) {
      await assert.rejects(serveMetrics({ listen, metrics: new Metrics(async () => []), notReady: () => undefined }), { code: 'ERR_CONFIG_INVALID' }, listen);
    }
  });
});
