// Identities that stay fresh: when they are asked for, what happens when the core denies or is away, and what a restart finds.

import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import type { ContainerRecord } from '../../src/agent/container-record.ts';
import { IdentityRefresh } from '../../src/agent/identity-refresh.ts';
import { PurserError } from '../../src/lib/errors.ts';
import type { IdentityRequest, IdentityResult } from '../../src/wire/node-protocol.ts';
import { eventually } from '../eventually.ts';
import { recordedLog } from '../fakes/silent-log.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => { for (const cleanup of cleanups.splice(0).reverse()) await cleanup(); });

function record(number: number, dueInMs: number, grantedAt = 1): ContainerRecord {
  const id = number.toString(16).padStart(64, '0');
  return {
    workload: { id, name: `c${number}`, image: 'x', labels: {} }, grantedAt, overMounts: [],
    files: [
      { name: 'pw', kind: 'versioned', target: '/run/secrets/pw', source: { type: 'reference', text: 'purser://secret/a#b' }, path: 'secret/a', version: 7, isPinned: false },
      { name: 'identity.jwt', kind: 'versioned', target: '/run/secrets/identity.jwt', source: { type: 'identity', audiences: ['api'], refreshAt: Date.now() + dueInMs }, path: 'node/identity', field: 'api', version: 1, isPinned: false },
    ],
  };
}

function setup(records: readonly ContainerRecord[]) {
  const held = new Map(records.map((one) => [one.workload.id, one]));
  const { log, text } = recordedLog();
  const rotated: string[] = [];
  const replaced: string[] = [];
  const core = {
    asked: [] as IdentityRequest[], ttl: 600, error: undefined as Error | undefined, denies: false, before: async () => {},
    async identity(request: IdentityRequest): Promise<IdentityResult[]> {
      core.asked.push(request);
      await core.before();
      if (core.error !== undefined) throw core.error;
      return request.workloads.map(() => (core.denies ? { outcome: 'error', code: 'ERR_RESOLVE_DENIED', message: 'no workload role' }
        : { outcome: 'value', token: `token-${core.asked.length}`, expire_time: '2030-01-01T00:00:00Z', ttl: core.ttl }));
    },
  };
  const refresh = new IdentityRefresh({
    core, log, retryMs: 20,
    containers: { all: () => [...held.values()], get: (id) => held.get(id), put: (one) => { held.set(one.workload.id, one); } },
    replace: async (updates) => { for (const { files } of updates) for (const file of files) replaced.push(`${file.name} ${file.version} ${Buffer.from(file.content).toString()}`); return []; },
    ledger: { rotated: (one, files) => { rotated.push(...files.map(({ target, version }) => `${one.workload.name} ${target} ${version}`)); } },
  });
  cleanups.push(() => refresh.stop());
  return { held, core, refresh, rotated, replaced, text };
}

test('wake() asks for what is due, once for all, and writes each token as a new version', async () => {
  const { core, refresh, rotated, replaced, held } = setup([record(1, 10), record(2, 400), record(3, 60_000)]);
  refresh.wake();
  await eventually('both tokens', () => rotated.length === 2);
  assert.deepEqual(core.asked.map(({ workloads }) => workloads.map(({ name, audiences }) => [name, audiences])), [[['c1', ['api']], ['c2', ['api']]]]);
  assert.deepEqual(replaced, ['identity.jwt 2 token-1', 'identity.jwt 2 token-1']);
  assert.deepEqual(rotated, ['c1 /run/secrets/identity.jwt 2', 'c2 /run/secrets/identity.jwt 2']);
  const [secret, identity] = held.get(record(1, 0).workload.id)?.files ?? [];
  assert.equal(secret?.version, 7, 'other files stay');
  assert.ok(identity?.source.type === 'identity' && Math.abs(identity.source.refreshAt - Date.now() - 400_000) < 60_000);
});

test('a refresh follows a refresh, each at two thirds of the life', async () => {
  const { core, refresh, rotated } = setup([record(1, 0)]);
  core.ttl = 0.09;
  refresh.wake();
  await eventually('three refreshes', () => rotated.length >= 3);
  assert.deepEqual(rotated.slice(0, 3).map((text) => text.split(' ')[2]), ['2', '3', '4']);
});

test('a core that is away or denies leaves the token, says so and is asked again', async () => {
  const { core, refresh, rotated, replaced, text } = setup([record(1, 0)]);
  core.error = new PurserError('ERR_CLIENT_UNREACHABLE', 'the core cannot be reached');
  refresh.wake();
  await eventually('the second question', () => core.asked.length >= 2);
  core.error = undefined;
  core.denies = true;
  await eventually('the denial', () => text().includes('no workload role'));
  assert.deepEqual(replaced, []);
  core.denies = false;
  await eventually('the token', () => rotated.length === 1);
  assert.match(text(), /cannot be refreshed yet/);
});

test('a container that ended or began anew while the core was asked gets nothing of the old question', async () => {
  const { core, refresh, held, replaced } = setup([record(1, 0), record(2, 0)]);
  core.before = async () => { held.delete(record(1, 0).workload.id); held.set(record(2, 0).workload.id, record(2, 60_000, 2)); };
  refresh.wake();
  await eventually('the question', () => core.asked.length === 1);
  await new Promise((resolve) => setTimeout(resolve, 60));
  assert.deepEqual(replaced, []);
  assert.equal(core.asked.length, 1);
});
