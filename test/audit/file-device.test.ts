// FileAuditDevice: what is on disk, what a restart accepts, what tampering is called, and what a full or stolen file does.

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, linkSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, symlinkSync, truncateSync, writeFileSync, appendFileSync, readdirSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

import { AnchorRecord } from '../../src/audit/anchor.ts';
import { AppendFile } from '../../src/audit/append-file.ts';
import type { ProblemKind } from '../../src/audit/chain-walk.ts';
import { eventually } from '../eventually.ts';
import { auditFolder, CANARIES, logSome, sampleEntry } from './sample.ts';

const linesOf = (path: string) => readFileSync(path, 'utf8').split('\n').slice(0, -1);

test('open() begins a file of mode 0600 with a marker; entries follow as chained JSON lines', async (t) => {
  const { path, open } = auditFolder(t);
  const device = await open();
  await logSome(device, 2);
  await device.close();
  assert.equal(statSync(path).mode & 0o7777, 0o600);
  const lines = linesOf(path).map((line) => JSON.parse(line) as { type: string; chain: { seq: number } });
  assert.deepEqual(lines.map(({ type, chain }) => [type, chain.seq]), [['marker', 1], ['request', 2], ['response', 3], ['request', 4], ['response', 5]]);
});

test('no canary, in clear or base64, is in any byte of the file', async (t) => {
  const { path, open } = auditFolder(t);
  const device = await open();
  await logSome(device, 3);
  await device.close();
  const bytes = readFileSync(path, 'latin1');
  for (const canary of CANARIES) {
    assert.ok(!bytes.includes(canary), canary);
    assert.ok(!bytes.includes(Buffer.from(canary).toString('base64').slice(0, 12)), canary);
  }
});

test('hmacString() finds a known string in the file of this device, and differs between devices', async (t) => {
  const a = auditFolder(t);
  const device = await a.open();
  await logSome(device, 1);
  assert.match(device.hmacString('canary-response'), /^hmac-sha256:[0-9a-f]{64}$/);
  assert.ok(readFileSync(a.path, 'utf8').includes(device.hmacString('canary-response')));
  const other = await auditFolder(t).open();
  assert.notEqual(other.hmacString('x'), device.hmacString('x'));
  await device.close();
  await other.close();
});

test('log() resolves only once the line is in the file, and keeps the order of concurrent entries', async (t) => {
  const { path, open } = auditFolder(t);
  const device = await open();
  await Promise.all(Array.from({ length: 200 }, async (_, n) => {
    await device.log('request', sampleEntry(n));
    assert.ok(readFileSync(path, 'utf8').includes(`"id":"0000-${n}"`));
  }));
  const ids = linesOf(path).slice(1).map((line) => (JSON.parse(line) as { request: { id: string } }).request.id);
  assert.deepEqual(ids, Array.from({ length: 200 }, (_, n) => `0000-${n}`));
  assert.equal((await device.verify()).problem, undefined);
  await device.close();
  await assert.rejects(device.log('request', sampleEntry()), { code: 'ERR_AUDIT_REFUSED' });
});

test('the chain goes on over restarts, after a clean close and after a crash', async (t) => {
  const { open } = auditFolder(t);
  for (const isClean of [true, false, true]) {
    const device = await open();
    await logSome(device, 2);
    if (isClean) await device.close();
  }
  const device = await open();
  const report = await device.verify();
  assert.deepEqual([report.problem, report.lines, report.last?.seq, report.torn], [undefined, 13, 13, 0]);
  await device.close();
});

const swap = (lines: string[], i: number, j: number) => { [lines[i], lines[j]] = [lines[j] as string, lines[i] as string]; return lines; };
for (const { title, tamper, kind, line } of [
  { title: 'a removed line', tamper: (lines) => lines.toSpliced(4, 1), kind: 'removed', line: 5 },
  { title: 'removed first lines', tamper: (lines) => lines.slice(2), kind: 'removed', line: 1 },
  { title: 'two lines changed over', tamper: (lines) => swap(lines, 3, 4), kind: 'reordered', line: 4 },
  { title: 'a line moved to the end', tamper: (lines) => [...lines.toSpliced(2, 1), lines[2] as string], kind: 'reordered', line: 3 },
  { title: 'a repeated line', tamper: (lines) => lines.toSpliced(3, 0, lines[2] as string), kind: 'repeated', line: 4 },
  { title: 'an altered path', tamper: (lines) => lines.with(3, (lines[3] as string).replace('db/prod', 'db/test')), kind: 'altered', line: 4 },
  { title: 'an altered code', tamper: (lines) => lines.with(3, (lines[3] as string).replace(/.("\}\})$/, (_m, end: string) => `x${end}`)), kind: 'foreign', line: 4 },
  { title: 'a renumbered line', tamper: (lines) => lines.with(3, (lines[3] as string).replace('"seq":4', '"seq":9')), kind: 'removed', line: 4 },
  { title: 'a foreign line', tamper: (lines) => lines.toSpliced(3, 0, '{"time":"now"}'), kind: 'foreign', line: 4 },
  { title: 'an empty line', tamper: (lines) => lines.toSpliced(3, 0, ''), kind: 'foreign', line: 4 },
  { title: 'a cut end', tamper: (lines) => lines.slice(0, -2), kind: 'cut', line: 8 },
  { title: 'everything cut', tamper: () => [], kind: 'cut', line: 1 },
] as { title: string; tamper: (lines: string[]) => string[]; kind: ProblemKind; line: number }[]) {
  test(`verify() names ${title}: ${kind}`, async (t) => {
    const { path, open } = auditFolder(t);
    const device = await open();
    await logSome(device, 4);
    const { size } = statSync(path);
    writeFileSync(path, tamper(linesOf(path)).map((text) => `${text}\n`).join(''));
    const report = await device.verify();
    assert.deepEqual([report.problem?.kind, report.problem?.line], [kind, line]);
    if (statSync(path).size === size) await device.close();
    else await assert.rejects(device.close(), { code: 'ERR_AUDIT_CHAIN' });
  });
}

test('verify() notices every single altered byte of a file', async (t) => {
  const { path, open } = auditFolder(t);
  const device = await open();
  await device.log('request', { request: { id: '1', operation: 'read', path: 'p' } });
  const whole = readFileSync(path);
  for (let i = 0; i < whole.length; i++) {
    const altered = Buffer.from(whole);
    altered[i] = (altered[i] as number) ^ 1;
    writeFileSync(path, altered);
    assert.ok((await device.verify()).problem, `byte ${i}`);
  }
  writeFileSync(path, whole);
  assert.equal((await device.verify()).problem, undefined);
  await device.close();
});

for (const { title, damage } of [
  { title: 'is missing', damage: (path: string) => { rmSync(path); } },
  { title: 'was cut by a line', damage: (path: string) => { writeFileSync(path, `${linesOf(path).slice(0, -1).join('\n')}\n`); } },
  { title: 'was emptied', damage: (path: string) => { truncateSync(path); } },
  { title: 'was cut inside the last line', damage: (path: string) => { truncateSync(path, statSync(path).size - 5); } },
  { title: 'has another last line', damage: (path: string) => { writeFileSync(path, readFileSync(path, 'utf8').replace(/"mac":"(.)([^"]*)"\}\}\n$/, (_m, first: string, rest: string) => `"mac":"${first === '0' ? '1' : '0'}${rest}"}}\n`)); } },
  { title: 'goes on with a line that does not chain', damage: (path: string) => { appendFileSync(path, `${linesOf(path).at(-1)}\n`); } },
  { title: 'goes on with a forged line', damage: (path: string) => { appendFileSync(path, `{"type":"request","chain":{"seq":6,"mac":"${'a'.repeat(64)}"}}\n`); } },
]) {
  test(`open() refuses a file that ${title}, unless the operator has it replaced, which keeps the evidence`, async (t) => {
    const { directory, path, open } = auditFolder(t);
    const first = await open();
    await logSome(first, 2);
    await first.close();
    damage(path);
    const damaged = existsSync(path) ? readFileSync(path, 'utf8') : undefined;
    await assert.rejects(open(), { code: 'ERR_AUDIT_CHAIN' });
    assert.equal(existsSync(path) ? readFileSync(path, 'utf8') : undefined, damaged, 'a refused file is left as it is');

    const device = await open({ replaceDamaged: true });
    await logSome(device, 1);
    const report = await device.verify();
    assert.deepEqual([report.problem, report.first?.seq, report.last?.seq], [undefined, 5, 8]);
    const aside = readdirSync(directory).filter((name) => name.includes('.damaged-'));
    assert.deepEqual(aside.map((name) => readFileSync(join(directory, name), 'utf8')), damaged === undefined ? [] : [damaged]);
    await device.close();
    await (await open()).close();
  });
}

test('open() refuses a file that was there before the device', async (t) => {
  const { path, open } = auditFolder(t);
  writeFileSync(path, '{"chain":{"seq":1,"mac":"x"}}\nold log\n', { mode: 0o600 });
  await assert.rejects(open(), { code: 'ERR_AUDIT_CHAIN' });
  assert.ok(readFileSync(path, 'utf8').endsWith('old log\n'));
});

for (const torn of ['{"time":"2026', '{"a":1}\n{"b', '\0\0\0\0', '{"x":1}\n']) {
  test(`open() closes off ${JSON.stringify(torn)}, torn by a crash, with a marker that binds it`, async (t) => {
    const { path, open } = auditFolder(t);
    const crashed = await open();
    await logSome(crashed, 2);
    appendFileSync(path, torn);
    const device = await open();
    await logSome(device, 1);
    assert.ok(readFileSync(path, 'utf8').includes(torn), 'nothing is removed');
    const report = await device.verify();
    assert.deepEqual([report.problem, report.torn], [undefined, 1]);
    await device.close();
    const whole = readFileSync(path, 'utf8');
    const again = await open();
    for (const altered of [whole.replace(torn, torn.replace(/[^\n]/, '!')), whole.replace(torn.endsWith('\n') ? torn : `${torn}\n`, '')]) {
      writeFileSync(path, altered);
      const problem = (await again.verify()).problem;
      assert.ok(problem?.kind === 'altered' || problem?.kind === 'foreign', problem?.kind);
    }
    writeFileSync(path, whole);
    await again.close();
  });
}

test('open() completes a last line that lacks only its end', async (t) => {
  const { path, open } = auditFolder(t);
  const crashed = await open();
  await logSome(crashed, 2);
  truncateSync(path, statSync(path).size - 1);
  const device = await open();
  await logSome(device, 1);
  const report = await device.verify();
  assert.deepEqual([report.problem, report.torn, report.last?.seq], [undefined, 0, 7]);
  await device.close();
});

test('the anchor follows within 16,384 entries, so a later cut below it is found', async (t) => {
  const { path, open, view } = auditFolder(t);
  const crashed = await open();
  await Promise.all(Array.from({ length: 16_400 }, (_, n) => crashed.log('request', { request: { id: String(n), operation: 'read', path: 'p' } })));
  await eventually('the anchor', async () => (await (await AnchorRecord.open(view)).load()).head.seq > 16_000);
  writeFileSync(path, `${linesOf(path).slice(0, 16_000).join('\n')}\n`);
  await assert.rejects(open(), { code: 'ERR_AUDIT_CHAIN' });
});

test('an anchor that cannot be stored is reported, and entries go on', async (t) => {
  const { view, open } = auditFolder(t);
  const failures: unknown[] = [];
  const device = await open({ onFailure: (error) => failures.push(error) });
  view.failAfter(0);
  await Promise.all(Array.from({ length: 16_385 }, () => device.log('request', { request: { id: '1', operation: 'read', path: 'p' } })));
  await eventually('the report', () => failures.length > 0);
  await logSome(device, 1);
  view.failAfter(Infinity);
  await device.close();
});

test('reopen() goes on in a new file after a rotation, and both files prove whole', async (t) => {
  const { path, open } = auditFolder(t);
  const device = await open();
  await logSome(device, 2);
  await device.reopen();
  renameSync(path, `${path}.1`);
  await logSome(device, 1);
  const [, during] = await Promise.all([device.reopen(), logSome(device, 3)]);
  assert.equal(during, undefined);
  await logSome(device, 1);
  const [old, current] = [await device.verify('audit.log.1'), await device.verify()];
  assert.deepEqual([old.problem, current.problem], [undefined, undefined]);
  assert.deepEqual(current.first, old.last, 'the new file is chained to the old one');
  await device.close();
  await (await open()).close();
  await assert.rejects(device.verify('../audit.log'), { code: 'ERR_REQUEST_INVALID' });
});

test('reopen() refuses another file in its place and goes on in the old one', async (t) => {
  const { path, open } = auditFolder(t);
  const device = await open();
  renameSync(path, `${path}.1`);
  writeFileSync(path, 'something else\n', { mode: 0o600 });
  await assert.rejects(device.reopen(), { code: 'ERR_AUDIT_CHAIN' });
  await logSome(device, 1);
  rmSync(path);
  await device.reopen();
  await logSome(device, 1);
  assert.deepEqual([(await device.verify('audit.log.1')).problem, (await device.verify()).problem], [undefined, undefined]);
  await device.close();
});

test('a file shortened while in use is noticed soon, and every entry is refused until the operator moves it away', async (t) => {
  const { path, open } = auditFolder(t);
  const failures: unknown[] = [];
  const device = await open({ onFailure: (error) => failures.push(error) });
  truncateSync(path, 10);
  await logSome(device, 1);
  await eventually('the report', () => failures.length > 0);
  assert.equal(failures.length, 1);
  await assert.rejects(logSome(device, 1), { code: 'ERR_AUDIT_CHAIN' });
  renameSync(path, `${path}.1`);
  await device.reopen();
  await logSome(device, 1);
  assert.equal((await device.verify()).problem, undefined);
  await device.close();
});

for (const { title, prepare } of [
  { title: 'a symbolic link', prepare: (path: string, directory: string) => { writeFileSync(join(directory, 'victim'), ''); symlinkSync('victim', path); } },
  { title: 'a dangling symbolic link', prepare: (path: string) => { symlinkSync('/nowhere/at/all', path); } },
  { title: 'a file with a second name', prepare: (path: string, directory: string) => { writeFileSync(path, '', { mode: 0o600 }); linkSync(path, join(directory, 'second')); } },
  { title: 'a file that others may read', prepare: (path: string) => { writeFileSync(path, ''); chmodSync(path, 0o640); } },
  { title: 'an executable file', prepare: (path: string) => { writeFileSync(path, ''); chmodSync(path, 0o700); } },
  { title: 'a folder', prepare: (path: string) => { mkdirSync(path); } },
  { title: 'a pipe', prepare: (path: string) => { execFileSync('mkfifo', ['-m', '600', path]); } },
  { title: 'a file in a folder that everybody may write', prepare: (_path: string, directory: string) => { chmodSync(directory, 0o777); } },
]) {
  test(`open() refuses ${title}`, async (t) => {
    const { directory, path, open } = auditFolder(t);
    prepare(path, directory);
    await assert.rejects(open(), { code: 'ERR_AUDIT_FILE' });
  });
}

test('open() refuses a path outside the audit directory, also by way of a symbolic link', async (t) => {
  const { directory, open } = auditFolder(t);
  const inside = join(directory, 'inside');
  mkdirSync(inside);
  symlinkSync(directory, join(inside, 'link'));
  for (const path of [join(directory, 'a.log'), `${inside}/../a.log`, join(inside, 'link', 'a.log'), 'a.log', '/']) {
    await assert.rejects(open({ path, directory: inside }), { code: 'ERR_AUDIT_FILE' }, path);
  }
  assert.deepEqual(readdirSync(directory), ['inside']);
});

test('append() that fails and cannot be taken back breaks the file', async (t) => {
  const { directory, path } = auditFolder(t);
  const file = await AppendFile.open(path, directory, true);
  await file?.handle.close();
  for (let i = 0; i < 2; i++) assert.throws(() => { file?.append(Buffer.from('x')); }, { code: 'ERR_AUDIT_FILE' });
  assert.equal(file?.broken?.code, 'ERR_AUDIT_FILE');
});

test('a full disk refuses entries whole, and the chain goes on when there is space again', { skip: process.geteuid?.() === 0 ? false : 'needs root for a private mount namespace' }, (t) => {
  const { directory } = auditFolder(t);
  const script = join(import.meta.dirname, 'full-disk.ts');
  const result = spawnSync('unshare', ['--mount', '--propagation', 'private', 'sh', '-c',
    'mount -t tmpfs -o size=64k,mode=0700 tmpfs "$1" && exec "$2" --import tsx "$3" "$1"', 'sh', directory, process.execPath, script], { encoding: 'utf8', timeout: 300_000 });
  assert.equal(result.status, 0, result.stderr);
  const outcome = JSON.parse(result.stdout) as Record<string, unknown>;
  assert.equal(outcome['refusedCode'], 'ERR_AUDIT_FILE');
  assert.ok(Number(outcome['accepted']) > 5);
  assert.deepEqual(outcome['whileFull'], { size: outcome['sizeWhenFull'], isWhole: true });
  assert.deepEqual(outcome['afterwards'], { problem: null, torn: 0, requests: Number(outcome['accepted']) + 1 });
});
