// Templates at rotations: what is asked together, what a failed rendering leaves alone, and what the ledger hears.

import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, test } from 'node:test';
import { Containers } from '../../src/agent/containers.ts';
import type { ContainerRecord, GrantedFile } from '../../src/agent/container-record.ts';
import { Ledger } from '../../src/agent/ledger.ts';
import type { NewUsageEntry } from '../../src/agent/ledger-spool.ts';
import { Rotation } from '../../src/agent/rotation.ts';
import type { JsonObject } from '../../src/lib/json.ts';
import type { ResolveRequest, ResolveResult } from '../../src/wire/node-protocol.ts';
import { parseReference } from '../../src/wire/reference.ts';
import { selectField } from '../../src/wire/selection.ts';
import { recordedLog } from '../fakes/silent-log.ts';

const ID = 'c'.repeat(64);
const cleanups: (() => unknown)[] = [];
afterEach(async () => { for (const cleanup of cleanups.splice(0).reverse()) await cleanup(); });

type World = Map<string, { version: number; data: JsonObject }>;

function file(name: string, path: string, field: string): GrantedFile {
  return { name, kind: 'versioned', target: `/run/secrets/${name}`, source: { type: 'reference', text: `purser://${path}#${field}` }, path, field, version: 1, isPinned: false };
}

function template(name: string, text: string | undefined, held: readonly (readonly [path: string, field: string])[]): GrantedFile {
  const secrets = held.map(([path, field], index) => ({ reference: text === undefined && index === 0 ? `purser://${path}#${field}` : `purser://${path}?json#${field}`, path, field, version: 1 }));
  return { name, kind: 'versioned', target: `/run/secrets/${name}`, path: `template:${name}`, version: 1, isPinned: false, source: { type: 'template', origin: `label purser.template.${name}`, secrets, ...(text === undefined ? {} : { text }) } };
}

async function setup(files: readonly GrantedFile[], world: World) {
  const directory = mkdtempSync(join(tmpdir(), 'purser-template-'));
  const { log, text } = recordedLog();
  const containers = await Containers.open(join(directory, 'containers'), log);
  const asked: ResolveRequest[] = [];
  const give = (reference: string): ResolveResult => {
    const parsed = parseReference(reference);
    const secret = world.get(parsed.path);
    try {
      if (secret === undefined) throw new Error('it does not exist');
      return { outcome: 'value', value: Buffer.from(selectField(secret.data, parsed)).toString('base64'), path: parsed.path, version: secret.version, ...(parsed.field === undefined ? {} : { field: parsed.field }) };
    } catch (error) {
      return { outcome: 'error', code: 'ERR_RESOLVE_FIELD', message: (error as Error).message };
    }
  };
  const replaced: string[][] = [];
  const entries: NewUsageEntry[] = [];
  const ledger = new Ledger((entry) => { entries.push(entry); }, log);
  const rotation = new Rotation({
    containers, ledger, log, gatherMs: 1, jitterMs: 1, retryMs: 1,
    core: { resolve: async (request) => { asked.push(request); return { workloads: request.workloads.map(({ id, references }) => ({ id, results: references.map(give) })) }; } },
    replace: async (updates) => {
      const changes = updates.flatMap(({ containerId, files: all }) => all.map(({ name, version, content }) => ({ containerId, name, shown: `${name}@${version}=${Buffer.from(content).toString()}` })));
      replaced.push(changes.map(({ shown }) => shown));
      return changes;
    },
  });
  const record: ContainerRecord = { workload: { id: ID, name: 'web', image: 'x', labels: {} }, grantedAt: 1, files, overMounts: [] };
  containers.put(record);
  ledger.know(record);
  cleanups.push(() => rmSync(directory, { recursive: true, force: true }), () => containers.flush(), () => rotation.stop());
  const change = async (path: string, data: JsonObject) => {
    const version = (world.get(path)?.version ?? 0) + 1;
    world.set(path, { version, data });
    rotation.changed(path, version);
    await rotation.settled();
  };
  return { containers, asked, replaced, entries, change, directory, text };
}

const world = (secrets: Readonly<Record<string, JsonObject>>): World => new Map(Object.entries(secrets).map(([path, data]) => [path, { version: 1, data }]));
const rotatedOf = (entries: readonly NewUsageEntry[]) => entries.flatMap((entry) => entry.type === 'rotated' ? [`${entry.target} ${entry.path}#${entry.field ?? ''}@${entry.version}`] : []);

test('changed() renders a template anew in one step with the files of all its secrets', async () => {
  const { replaced, asked, entries, change, containers } = await setup(
    [file('a', 's/a', 'x'), file('b', 's/b', 'x'), file('c', 's/c', 'x'), template('t', '{{secret "s/a" "x"}}+{{secret "s/b" "x"}}', [['s/a', 'x'], ['s/b', 'x']])],
    world({ 's/a': { x: 'a1' }, 's/b': { x: 'b1' }, 's/c': { x: 'c1' } }));
  await change('s/a', { x: 'a2' });
  assert.equal(asked.length, 1);
  assert.deepEqual(asked[0]?.workloads[0]?.references, ['purser://s/a#x', 'purser://s/b#x', 'purser://s/a?json#x', 'purser://s/b?json#x']);
  assert.deepEqual(replaced, [['a@2=a2', 'b@1=b1', 't@2=a2+b1']]);
  assert.deepEqual(rotatedOf(entries), ['/run/secrets/a s/a#x@2', '/run/secrets/b s/b#x@1', '/run/secrets/t s/a#x@2']);
  assert.deepEqual(containers.holding('s/b'), [ID]);
  await change('s/c', { x: 'c2' });
  assert.deepEqual(replaced[1], ['c@2=c2']);
});

test('changed() keeps the last rendering, and names the reason, when a field is gone or is no text any more', async () => {
  const { replaced, change, text } = await setup([file('a', 's/a', 'y'), template('t', '{{secret "s/a" "x"}}', [['s/a', 'x']])], world({ 's/a': { x: '1', y: 'CANARY' } }));
  await change('s/a', { y: 'CANARY-2' });
  assert.deepEqual(replaced, [['a@2=CANARY-2']]);
  assert.match(text(), /label purser\.template\.t: purser:\/\/s\/a#x: the secret has no field/);
  assert.doesNotMatch(text(), /CANARY/);
  await change('s/a', { y: 'CANARY-3', x: 'again' });
  assert.deepEqual(replaced[1], ['a@3=CANARY-3', 't@2=again']);
});

test('changed() follows the text of a template in the core, and grants what it names anew', async () => {
  const { replaced, entries, change, containers, directory } = await setup([template('t', undefined, [['s/text', 'text'], ['s/a', 'x']])], world({ 's/text': { text: '{{secret "s/a" "x"}}', other: '' }, 's/a': { x: 'a1', y: 'CANARY' }, 's/b': { x: 'b1' } }));
  await change('s/text', { text: '{{secret "s/a" "y"}} {{secret "s/b" "x"}}', other: '' });
  assert.deepEqual(replaced, [['t@2=CANARY b1']]);
  assert.deepEqual(containers.get(ID)?.files[0]?.source, { type: 'template', origin: 'label purser.template.t', secrets: [
    { reference: 'purser://s/text#text', path: 's/text', field: 'text', version: 2 }, { reference: 'purser://s/a?json#y', path: 's/a', field: 'y', version: 1 }, { reference: 'purser://s/b?json#x', path: 's/b', field: 'x', version: 1 },
  ] });
  assert.deepEqual(entries.map((entry) => [entry.type, entry.type === 'granted' ? entry.secrets.map(({ path, field }) => `${path}#${field ?? ''}`) : rotatedOf([entry])]),
    [['granted', ['s/a#y', 's/b#x']], ['rotated', ['/run/secrets/t s/text#text@2']]]);
  await containers.flush();
  assert.doesNotMatch(readFileSync(join(directory, 'containers', `${ID}.json`), 'utf8'), /CANARY|\{\{secret/);
  await change('s/b', { x: 'b2' });
  assert.deepEqual(replaced[1], ['t@3=CANARY b2']);
  await change('s/text', { text: '{{> evil}}' });
  assert.equal(replaced.length, 2);
  await change('s/text', { text: Array.from({ length: 300 }, (_, index) => `{{secret "s/a" "f${String(index)}"}}`).join('') });
  assert.equal(replaced.length, 2);
});

test('observed() reports an open of a template with the versions that were in that rendering', async () => {
  const { entries, change, containers } = await setup([template('t', '{{secret "s/a" "x"}}', [['s/a', 'x']])], world({ 's/a': { x: '1' } }));
  const { log } = recordedLog();
  const ledger = new Ledger((entry) => { entries.push(entry); }, log);
  ledger.know(containers.get(ID) as ContainerRecord);
  for (let version = 2; version <= 4; version++) {
    await change('s/a', { x: String(version) });
    ledger.know(containers.get(ID) as ContainerRecord);
  }
  const process = { pid: 1, uid: 0, gid: 0, name: 'cat', executable: '/bin/cat' };
  ledger.observed([4, 2].map((version) => ({ type: 'opened', containerId: ID, name: 't', version, process, count: 1, firstTime: 1, lastTime: 1 })));
  assert.deepEqual(entries.flatMap((entry) => entry.type === 'opened' ? [[entry.path, entry.version, entry.target]] : []), [['s/a', 4, '/run/secrets/t'], ['s/a', 2, '/run/secrets/t']]);
  ledger.close();
});
