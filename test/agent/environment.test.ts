// Values of variables at start and exec: what is held, what is asked for, and what a core that is away or says no changes.

import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, test } from 'node:test';
import { ProcessFile } from '../../src/agent/bundle.ts';
import type { ContainerRecord, GrantedFile } from '../../src/agent/container-record.ts';
import { Environment } from '../../src/agent/environment.ts';
import { PurserError } from '../../src/lib/errors.ts';
import type { ResolveRequest, ResolveResult } from '../../src/wire/node-protocol.ts';
import { recordedLog } from '../fakes/silent-log.ts';
import { decodeEnvironment } from './decode-environment.ts';

const ID = 'ab'.repeat(32);
const REF = 'purser://secret/db/prod#password';
const cleanups: (() => unknown)[] = [];
afterEach(() => { for (const cleanup of cleanups.splice(0)) cleanup(); });

function granted(index: number, variable: string, text: string, kind: GrantedFile['kind'] = 'hidden'): GrantedFile {
  return { name: `$${index}`, kind, target: `env:${variable}`, source: { type: 'reference', text }, variable, path: 'secret/db/prod', version: 1, isPinned: false };
}

const FILES = [granted(0, 'PW', REF), granted(1, 'URL', REF), granted(2, 'D', 'purser://secret/d', 'default'), granted(3, 'O', 'purser://secret/o?optional', 'absent')];
const ENV = ['PATH=/bin', `PW=${REF}`, `URL=db://\${${REF}}@x`, 'D=purser://secret/d?default=mine', 'O=purser://secret/o?optional'];
const HELD: Readonly<Record<string, string>> = { $0: 'held', $1: 'held' };

function valued(text: string): ResolveResult {
  return { outcome: 'value', value: Buffer.from(text).toString('base64'), path: 'secret/db/prod', version: 2 };
}

function world(part: { held?: Readonly<Record<string, string>>; isAway?: boolean; answer?: (reference: string) => ResolveResult; caughtUp?: () => Promise<void> } = {}) {
  const directory = mkdtempSync(join(tmpdir(), 'purser-environment-'));
  cleanups.push(() => rmSync(directory, { recursive: true, force: true }));
  const asked: string[] = [];
  const handedOut: Uint8Array[] = [];
  const wardens = { count: 0 };
  const { log, text } = recordedLog();
  const environment = new Environment({
    log, warden: { ensure: async () => { wardens.count++; } }, isCoreAway: () => part.isAway === true, rotation: { caughtUp: part.caughtUp ?? (async () => undefined) },
    trees: { values: async () => Object.entries(part.held ?? HELD).map(([name, value]) => {
      const content = Buffer.from(value);
      handedOut.push(content);
      return { name, version: 1, content };
    }) },
    core: { resolve: async ({ workloads }: ResolveRequest) => {
      asked.push(...workloads.flatMap(({ references }) => references));
      if (part.answer === undefined) throw new PurserError('ERR_CLIENT_UNREACHABLE', 'the core cannot be reached');
      return { workloads: workloads.map(({ id, references }) => ({ id, results: references.map(part.answer!) })) };
    } },
  });
  const record: ContainerRecord = { workload: { id: ID, name: 'web', image: 'x', labels: {} }, grantedAt: 1, files: FILES, overMounts: [] };
  const path = join(directory, 'process.json');
  const exec = async (env: readonly string[] = ENV): Promise<Record<string, string | undefined> | undefined> => {
    writeFileSync(path, JSON.stringify({ args: ['sh'], env }), { mode: 0o600 });
    const body = await environment.ofExec(record, await ProcessFile.load(path));
    return body === undefined ? undefined : decodeEnvironment(body.values);
  };
  const start = async (): Promise<Record<string, string | undefined>> => {
    writeFileSync(join(directory, 'config.json'), JSON.stringify({ process: { env: [...ENV, 'ESC=${purser://x}'] } }));
    const { body } = await environment.ofStart(record, directory);
    assert.equal(body.references, undefined, 'only strict containers have references to show');
    return decodeEnvironment(body.values);
  };
  /** As a container with purser.env=strict. */
  const strict = async (env: readonly string[] = ENV) => {
    writeFileSync(path, JSON.stringify({ args: ['sh'], env }), { mode: 0o600 });
    return environment.ofExec({ ...record, isStrict: true }, await ProcessFile.load(path));
  };
  return { exec, start, strict, wardens, asked, handedOut, logged: text, file: () => readFileSync(path, 'utf8') };
}

const STARTED = { PW: 'held', URL: 'db://held@x', D: 'mine', O: undefined };

test('ofStart() gives what was granted, without a question to the core', async () => {
  const { start, asked, handedOut } = world();
  assert.deepEqual(await start(), STARTED);
  assert.deepEqual(asked, []);
  assert.ok(handedOut.every((content) => content.every((byte) => byte === 0)), 'what was read is erased');
});

test('ofStart() asks again for what is not held any more, and refuses with the reason when the core cannot say', async () => {
  const { start, asked } = world({ held: { $1: 'held' }, answer: () => valued('again') });
  assert.deepEqual(await start(), { ...STARTED, PW: 'again' });
  assert.deepEqual(asked, [REF]);
  await assert.rejects(world({ held: {} }).start(), /the core cannot be reached/);
  await assert.rejects(world({ held: {}, answer: () => ({ outcome: 'error', code: 'ERR_RESOLVE_DENIED', message: 'no' }) }).start(), /purser:\/\/secret\/db\/prod#password: no \(and 1 more\)/);
});

test('ofExec() gives held values without a question, and asks only for defaults and optional ones', async () => {
  const { exec, asked } = world({ answer: (reference) => reference.includes('/d') && !reference.includes('optional') ? valued('came') : { outcome: 'absent', path: 'secret/o', version: 0 } });
  assert.deepEqual(await exec(ENV.slice(0, 3)), { PW: 'held', URL: 'db://held@x' });
  assert.deepEqual(asked, []);
  assert.deepEqual(await exec(), { ...STARTED, D: 'came' });
  assert.deepEqual(asked, ['purser://secret/d?default=mine', 'purser://secret/o?optional']);
});

test('ofExec() waits for a rotation under way, and not for ever', async () => {
  let isDone = false;
  const { exec } = world({ caughtUp: async () => { await new Promise((resolve) => { setTimeout(resolve, 20); }); isDone = true; } });
  await exec(ENV.slice(0, 2));
  assert.ok(isDone);
  assert.deepEqual(await world({ caughtUp: () => new Promise(() => undefined) }).exec(ENV.slice(0, 2)), { PW: 'held' });
});

test('ofExec() asks for everything when the watch stream is down, and falls back on what is held', async () => {
  const { exec, asked } = world({ isAway: true, answer: () => valued('newer') });
  assert.deepEqual(await exec(), { PW: 'newer', URL: 'db://newer@x', D: 'newer', O: 'newer' });
  assert.equal(asked.length, 4);
  for (const answer of [undefined, (): ResolveResult => ({ outcome: 'error', code: 'ERR_RESOLVE_DENIED', message: 'no' })]) {
    assert.deepEqual(await world({ isAway: true, ...(answer === undefined ? {} : { answer }) }).exec(), STARTED);
  }
});

test('ofExec() writes no value into the process file, and leaves it alone where it can', async () => {
  const { exec, file } = world();
  await exec();
  assert.deepEqual((JSON.parse(file()) as { env: string[] }).env, ENV);
  assert.equal(await exec(['A=b']), undefined);
  assert.equal(await exec(['ESC=$${purser://x}']), undefined);
  assert.deepEqual((JSON.parse(file()) as { env: string[] }).env, ['ESC=${purser://x}']);
  await assert.rejects(exec([...ENV, 'ESC=$${purser://x}', `NEW=${REF}`]), /variable NEW: only references/);
  assert.match(file(), /\$\$\{purser/, 'a refusal leaves the file as it was');
});

test('no value reaches the log', async () => {
  const { exec, logged } = world({ isAway: true });
  await exec();
  assert.match(logged(), /the core cannot say whether variables changed/);
  assert.doesNotMatch(logged(), /held|mine|aGVsZA/);
});

test('a strict container also gets the texts to show, and its warden, before it can exec', async () => {
  const { strict, wardens } = world();
  const body = await strict();
  assert.equal(wardens.count, 1);
  const shown = decodeEnvironment(body!.references!);
  assert.deepEqual(Object.keys(shown).sort(), Object.entries(decodeEnvironment(body!.values)).flatMap(([name, value]) => value === undefined ? [] : [name]).sort());
  assert.ok(Object.entries(shown).every(([name, text]) => ENV.includes(`${name}=${text}`)));
});
