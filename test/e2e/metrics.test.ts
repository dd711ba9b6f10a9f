// What Prometheus gets: core, agent and driver of a working installation are scraped as it does it, and everything that the dashboard and the alert
// rules name is in there. Then health and readiness of all three, with the core there, sealed and gone.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { docker, eventually, must, run } from './command.ts';
import { ADDRESS, Installation } from './installation.ts';

const DEPLOY = join(import.meta.dirname, '../../deploy/monitoring');

interface Sample { readonly name: string; readonly labels: Readonly<Record<string, string>>; readonly value: number }

function parse(text: string): { readonly families: Set<string>; readonly samples: Sample[] } {
  const families = new Set<string>();
  const samples: Sample[] = [];
  for (const line of text.split('\n')) {
    const type = /^# TYPE (\S+) (\S+)$/.exec(line);
    if (type !== null) for (const end of type[2] === 'histogram' ? ['_bucket', '_sum', '_count'] : ['']) families.add(`${type[1] ?? ''}${end}`);
    const sample = /^([a-z_:]+)(?:\{(.*)\})? (\S+)$/.exec(line);
    if (sample !== null) samples.push({ name: sample[1] ?? '', labels: Object.fromEntries([...(sample[2] ?? '').matchAll(/(\w+)="([^"]*)"/g)].map(([, name = '', value = '']) => [name, value])), value: Number(sample[3]) });
  }
  return { families, samples };
}

/** The expressions of all panels and of all alert rules. */
function expressions(): string[] {
  const found: string[] = [];
  JSON.parse(readFileSync(join(DEPLOY, 'grafana-dashboard.json'), 'utf8'), (key, value: unknown) => {
    if (key === 'expr') found.push(String(value));
    return value;
  });
  const panels = found.length;
  found.push(...[...readFileSync(join(DEPLOY, 'prometheus-rules.yml'), 'utf8').matchAll(/^ +expr: (.+)$/gm)].map(([, expression = '']) => expression));
  assert.ok(panels >= 20 && found.length - panels >= 9, `${String(panels)} panels, ${String(found.length - panels)} rules`);
  return found;
}

describe('monitoring of a working installation', () => {
  let purser: Installation;
  let scraped: ReturnType<typeof parse>;
  const ask = (name: 'agent' | 'driver', path: string) => new Promise<{ status: number; text: string }>((resolve, reject) => {
    request({ socketPath: purser.metricsSocket(name), path }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => { text += chunk; }).on('end', () => resolve({ status: response.statusCode ?? 0, text }));
    }).on('error', reject).end();
  });
  const core = async (path: string) => run('curl', ['--silent', '--show-error', '--cacert', purser.caCertificate, '--write-out', '\n%{http_code}', '--header', `X-Vault-Token: ${readFileSync(join(purser.dataDirectory, 'root-token'), 'utf8').trim()}`, `${ADDRESS}/v1/${path}`]);
  const coreStatus = async (path: string) => Number((await core(path)).stdout.split('\n').at(-1));
  const value = (name: string, labels: Record<string, string> = {}) => scraped.samples.filter((sample) => sample.name === name && Object.entries(labels).every(([label, wanted]) => sample.labels[label] === wanted)).reduce((sum, sample) => sum + sample.value, 0);
  const scrape = async () => parse([(await core('sys/metrics?format=prometheus')).stdout, (await ask('agent', '/metrics')).text, (await ask('driver', '/metrics')).text].join('\n'));

  before(async () => {
    await docker('swarm', 'init', '--advertise-addr', '10.213.0.1');
    purser = await Installation.start({ driver: true });
    await purser.put('secret/db/prod', { password: 'one' });
    await docker('secret', 'create', '--driver', 'purser', '--label', 'purser.ref=purser://secret/db/prod#password', 'db_password');
    await docker('service', 'create', '--quiet', '--detach', '--no-resolve-image', '--endpoint-mode', 'dnsrr', '--stop-grace-period', '1s', '--name', 'app', '--secret', 'db_password', 'busybox:latest', 'sleep', '600');
    await docker('run', '-d', '--name', 'reader', '-l', 'purser.file.pw=purser://secret/db/prod#password', 'busybox', 'sleep', '600');
    for (let count = 0; count < 3; count++) await docker('exec', 'reader', 'cat', '/run/secrets/pw');
    assert.notEqual((await run('docker', ['run', '--rm', '-l', 'purser.file.pw=purser://secret/other/x#y', 'busybox', 'true'])).status, 0);
    await eventually('the task', async () => await docker('ps', '--quiet', '--filter', 'label=com.docker.swarm.service.name=app') || undefined, 60_000);
    await purser.put('secret/db/prod', { password: 'two' });
    await eventually('the rotation and the reads', async () => {
      scraped = await scrape();
      return value('purser_rotation_seconds_count') >= 1 && value('purser_agent_rotation_seconds_count') >= 2 && value('purser_usage_entries_total', { type: 'opened' }) >= 1;
    });
  });
  after(async () => {
    await run('docker', ['service', 'rm', 'app']);
    await eventually('the task to end', async () => (await docker('ps', '--quiet', '--filter', 'label=com.docker.swarm.service.name=app')) === '');
    await purser.stop();
    await docker('swarm', 'leave', '--force');
  });

  test('every metric that the dashboard and the alert rules name is exported, with the labels they use', () => {
    for (const expression of expressions()) {
      const [, ...grouped] = /\bby \(([^)]*)\)/.exec(expression) ?? [];
      for (const [, name = '', selector = ''] of expression.matchAll(/(purser_[a-z0-9_]+)(?:\{([^}]*)\})?/g)) {
        assert.ok(scraped.families.has(name), `${name} in ${expression}`);
        const samples = scraped.samples.filter((sample) => sample.name === name);
        const labels = [...grouped.flatMap((list) => list.split(/,\s*/)), ...[...selector.matchAll(/(\w+)(?:=~?|!=|!~)/g)].map(([, label = '']) => label)];
        for (const label of labels) if (samples.length > 0) assert.ok(samples.some((sample) => label in sample.labels), `${name} has the label ${label}: ${expression}`);
      }
    }
  });

  test('what happened is counted: requests, denials, resolves, opens and reads, rotations, what Swarm asked', () => {
    assert.equal(value('purser_core_unsealed'), 1);
    for (const [name, labels, least] of [
      ['purser_requests_total', { outcome: 'ok' }, 10], ['purser_usage_entries_total', { type: 'denied' }, 1], ['purser_usage_entries_total', { type: 'granted' }, 1],
      ['purser_agent_core_call_seconds_count', { call: 'resolve' }, 3], ['purser_agent_file_opens_total', { outcome: 'opened' }, 3], ['purser_agent_fuse_reads_total', {}, 3],
      ['purser_agent_containers', {}, 2], ['purser_agent_core_connected', {}, 1], ['purser_agent_core_connects_total', {}, 1], ['purser_driver_requests_total', { outcome: 'ok' }, 1],
      ['purser_driver_joined', {}, 1], ['purser_nodes', { state: 'connected' }, 1], ['purser_audit_entries_total', {}, 10],
    ] as const) assert.ok(value(name, labels) >= least, `${name}${JSON.stringify(labels)} is ${String(value(name, labels))}`);
    for (const name of ['purser_agent_ledger_dropped_total', 'purser_audit_failures_total', 'purser_rotations_under_way']) assert.equal(value(name), 0, name);
    assert.deepEqual(scraped.samples.filter(({ name }) => name === 'purser_leases').map(({ labels }) => labels['state']), ['live', 'irrevocable']);
    assert.ok(value('purser_certificate_end_timestamp_seconds') > Date.now() / 1000);
  });

  test('no path, container, node or value is in the metrics', async () => {
    const text = (await Promise.all([ask('agent', '/metrics'), ask('driver', '/metrics')])).map((answer) => answer.text).join('') + (await core('sys/metrics?format=prometheus')).stdout;
    for (const word of ['secret/db', 'reader', 'node-1', 'db_password', 'two']) assert.equal(new RegExp(`"[^"]*${word}[^"]*"`).test(text), false, word);
  });

  test('a refused start, the log of the agent and the audit log of the core have one trace id', async () => {
    const lines = purser.log('agent').split('\n').filter((line) => line.includes('runtime request refused')).map((line) => JSON.parse(line) as { trace?: string; reason: string });
    const trace = lines.find(({ reason }) => reason.includes('secret/other/x'))?.trace ?? '';
    assert.match(trace, /^[0-9a-f]{32}$/);
    const entries = JSON.parse(await purser.purser('audit', 'search', '--trace', trace, '--format', 'json')) as { request: { path: string; trace_id: string } }[];
    assert.deepEqual(entries.map(({ request: { path, trace_id } }) => [path, trace_id]), [['node/resolve', trace]]);
  });

  test('health and readiness say whether each of them works: with the core, with a sealed core, without one', async () => {
    for (const name of ['agent', 'driver'] as const) assert.deepEqual([(await ask(name, '/health')).status, (await ask(name, '/ready')).status], [200, 200], name);
    assert.equal(await coreStatus('sys/health'), 200);
    await must(join(import.meta.dirname, '../../dist/purser'), ['seal']);
    assert.equal(await coreStatus('sys/health'), 503);
    for (const name of ['agent', 'driver'] as const) {
      await eventually(`${name} to see it`, async () => (await ask(name, '/ready')).status === 503);
      assert.match((await ask(name, '/ready')).text, /the core cannot be reached/);
      assert.equal((await ask(name, '/health')).status, 200, 'restarting it would help nobody');
    }
    await purser.end('core', 'SIGTERM');
    await purser.startCore();
    for (const name of ['agent', 'driver'] as const) await eventually(`${name} to be ready again`, async () => (await ask(name, '/ready')).status === 200);
    assert.equal(await coreStatus('sys/health'), 200);
  });
});
