// The spool under crashes: torn lines, cut files, lost answers, a full disk, a core that lost its place.

import assert from 'node:assert/strict';
import { appendFileSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, test } from 'node:test';
import { LedgerSpool } from '../../src/agent/ledger-spool.ts';
import type { NewUsageEntry, SpoolLimits } from '../../src/agent/ledger-spool.ts';
import { LedgerSender } from '../../src/agent/ledger-sender.ts';
import { CoreResponseError } from '../../src/client/response.ts';
import { isPurserError } from '../../src/lib/errors.ts';
import { usageBatchSchema } from '../../src/wire/node-protocol.ts';
import type { UsageBatch } from '../../src/wire/node-protocol.ts';
import { eventually } from '../eventually.ts';
import { recordedLog } from '../fakes/silent-log.ts';

const ID = 'a'.repeat(64);
const directories: string[] = [];
afterEach(() => { for (const directory of directories.splice(0)) rmSync(directory, { recursive: true, force: true }); });

function directory(): string {
  const path = mkdtempSync(join(tmpdir(), 'purser-spool-'));
  directories.push(path);
  return join(path, 'spool');
}

function released(): NewUsageEntry {
  return { type: 'released', time: new Date().toISOString(), container_id: ID, reason: 'exited' };
}

function opened(): NewUsageEntry {
  const time = new Date().toISOString();
  return { type: 'opened', time, container_id: ID, path: 'secret/a', version: 1, target: '/run/secrets/a', count: 1, first_time: time, last_time: time, process: { pid: 1, uid: 0, executable: '/bin/cat', name: 'cat' } };
}

async function open(path: string, limits: Partial<SpoolLimits> = {}) {
  const { log, lines } = recordedLog();
  return { spool: await LedgerSpool.open(path, log, limits), lines };
}

function fill(spool: LedgerSpool, count: number): void {
  for (let index = 0; index < count; index++) spool.append(released());
}

function segments(path: string): string[] {
  return readdirSync(path).filter((name) => name.endsWith('.ndjson')).sort();
}

/** A core as PROTOCOL.md 1.5 has it: counts a batch once, refuses a gap. */
function fakeCore() {
  const acknowledged = new Map<string, number>();
  const seen: { spool: string; seq: number }[] = [];
  return {
    acknowledged, seen,
    take(batch: UsageBatch): number {
      usageBatchSchema.parse(JSON.parse(JSON.stringify(batch)));
      const last = acknowledged.get(batch.spool) ?? 0;
      if ((batch.entries[0]?.seq ?? 0) > last + 1) throw new CoreResponseError(400, { code: 'ERR_NODE_LEDGER', errors: [`expected ${last + 1}`] }, undefined);
      for (const { seq } of batch.entries) if (seq > last) seen.push({ spool: batch.spool, seq });
      const next = Math.max(last, batch.entries.at(-1)?.seq ?? 0);
      acknowledged.set(batch.spool, next);
      return next;
    },
  };
}

test('LedgerSpool hands entries out in order, without gaps, until they are acknowledged', async () => {
  const path = directory();
  const { spool } = await open(path);
  fill(spool, 2500);
  const first = await spool.batch();
  assert.deepEqual([first?.entries.length, first?.entries[0]?.seq, first?.entries.at(-1)?.seq], [1000, 1, 1000]);
  assert.deepEqual(await spool.batch(), first, 'the same again as long as nothing is acknowledged');
  await spool.acknowledge(1000);
  assert.equal((await spool.batch())?.entries[0]?.seq, 1001);
  await spool.acknowledge(2500);
  assert.equal(await spool.batch(), undefined);
  assert.deepEqual(segments(path), [], 'acknowledged segments are deleted');
  spool.append(released());
  assert.equal((await spool.batch())?.entries[0]?.seq, 2501);
  spool.close();
});

test('LedgerSpool goes on where it was after a restart, with the same spool id', async () => {
  const path = directory();
  const { spool } = await open(path, { segmentBytes: 2000 });
  fill(spool, 40);
  const id = (await spool.batch())?.spool;
  await spool.acknowledge(25);
  spool.close();
  const { spool: next } = await open(path, { segmentBytes: 2000 });
  assert.equal(next.pending, 15);
  next.append(released());
  const seqs: number[] = [];
  for (let batch = await next.batch(); batch !== undefined; batch = await next.batch()) {
    assert.equal(batch.spool, id);
    seqs.push(...batch.entries.map(({ seq }) => seq));
    await next.acknowledge(seqs.at(-1) ?? 0);
  }
  assert.deepEqual(seqs, Array.from({ length: 16 }, (_, index) => 26 + index));
  next.close();
});

test('LedgerSpool does not give an acknowledged number again after everything was acknowledged and restarted', async () => {
  const path = directory();
  const { spool } = await open(path);
  fill(spool, 3);
  await spool.acknowledge(3);
  spool.close();
  const { spool: next } = await open(path);
  next.append(released());
  assert.equal((await next.batch())?.entries[0]?.seq, 4);
  next.close();
});

test('LedgerSpool cuts a torn last line off at every length, reports it, and goes on', async () => {
  const whole = JSON.stringify({ ...released(), seq: 4 });
  for (let length = 1; length <= whole.length; length += 7) {
    const path = directory();
    const { spool } = await open(path);
    fill(spool, 3);
    spool.close();
    appendFileSync(join(path, segments(path)[0] ?? ''), whole.slice(0, length));
    const { spool: next, lines } = await open(path);
    assert.equal(next.pending, 3);
    assert.match(JSON.stringify(lines()), /torn/);
    next.append(released());
    assert.deepEqual((await next.batch())?.entries.map(({ seq }) => seq), [1, 2, 3, 4]);
    next.close();
  }
});

test('LedgerSpool treats a last line of garbage with its newline as torn', async () => {
  const path = directory();
  const { spool } = await open(path);
  fill(spool, 2);
  spool.close();
  appendFileSync(join(path, segments(path)[0] ?? ''), '\0\0\0\0\n');
  const { spool: next } = await open(path);
  assert.equal(next.pending, 2);
  next.close();
});

test('LedgerSpool refuses damage that no crash explains, and changes nothing', async () => {
  const damages: [string, (path: string) => void][] = [
    ['a damaged line before whole ones', (path) => {
      const file = join(path, segments(path)[0] ?? '');
      const text = readFileSync(file, 'utf8');
      writeFileSync(file, text.replace('released', 'reXeased'));
    }],
    ['a missing segment', (path) => rmSync(join(path, segments(path)[1] ?? ''))],
    ['a cut segment that is not the last', (path) => truncateSync(join(path, segments(path)[0] ?? ''), 10)],
    ['a missing spool.json', (path) => rmSync(join(path, 'spool.json'))],
    ['a half-written spool.json', (path) => truncateSync(join(path, 'spool.json'), 20)],
    ['an empty spool.json', (path) => truncateSync(join(path, 'spool.json'), 0)],
  ];
  for (const [name, damage] of damages) {
    const path = directory();
    const { spool } = await open(path, { segmentBytes: 500 });
    fill(spool, 20);
    spool.close();
    damage(path);
    const before = readdirSync(path).map((file) => [file, statSync(join(path, file)).size]);
    await assert.rejects(open(path), (error) => isPurserError(error, 'ERR_STATE_CORRUPT') && error.hint !== undefined, name);
    assert.deepEqual(readdirSync(path).map((file) => [file, statSync(join(path, file)).size]), before, name);
  }
});

test('LedgerSpool drops opens first and then everything when it is full, counts them, and leaves no gap', async () => {
  const path = directory();
  const { spool, lines } = await open(path, { totalBytes: 4000, segmentBytes: 1000 });
  for (let index = 0; index < 40; index++) spool.append(opened());
  const dropped = spool.dropped;
  assert.ok(dropped > 0);
  spool.append(released());
  assert.equal(spool.dropped, dropped, 'a release still has room');
  fill(spool, 100);
  assert.ok(spool.dropped > dropped);
  assert.match(JSON.stringify(lines()), /usage entries are being dropped/);
  const core = fakeCore();
  for (let batch = await spool.batch(); batch !== undefined; batch = await spool.batch()) await spool.acknowledge(core.take(batch));
  assert.deepEqual(core.seen.map(({ seq }) => seq), core.seen.map((_, index) => index + 1));
  spool.close();
});

test('LedgerSpool survives a full disk: nothing is thrown, whole lines stay, and it goes on when there is room', async (context) => {
  const path = directory();
  const { spool, lines } = await open(path);
  fill(spool, 2);
  const { default: fs } = await import('node:fs');
  const { syncBuiltinESMExports } = await import('node:module');
  const real = fs.writeSync;
  let budget = 30;
  // A device that takes part of a line and then is full, which is what ENOSPC looks like.
  fs.writeSync = ((fd: number, buffer: Buffer, offset: number, length: number, position: number) => {
    if (budget === 0) throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
    const take = Math.min(budget, length);
    budget -= take;
    return real(fd, buffer, offset, take, position);
  }) as typeof fs.writeSync;
  syncBuiltinESMExports();
  context.after(() => { fs.writeSync = real; syncBuiltinESMExports(); });
  fill(spool, 3);
  assert.equal(spool.dropped, 3);
  assert.match(JSON.stringify(lines()), /ENOSPC/);
  fs.writeSync = real;
  syncBuiltinESMExports();
  spool.append(released());
  assert.deepEqual((await spool.batch())?.entries.map(({ seq }) => seq), [1, 2, 3]);
  spool.close();
  const { spool: next } = await open(path);
  assert.equal(next.pending, 3);
  next.close();
});

test('LedgerSpool drops an entry that the core would refuse instead of standing still behind it', async () => {
  const { spool } = await open(directory());
  spool.append({ ...released(), container_id: 'short' } as NewUsageEntry);
  spool.append(released());
  assert.equal(spool.dropped, 1);
  assert.equal((await spool.batch())?.entries.length, 1);
  spool.close();
});

test('LedgerSpool writes files that only their owner can read', async () => {
  const path = directory();
  const { spool } = await open(path);
  fill(spool, 1);
  assert.equal(statSync(path).mode & 0o777, 0o700);
  for (const name of readdirSync(path)) assert.equal(statSync(join(path, name)).mode & 0o777, 0o600, name);
  spool.close();
});

test('LedgerSender counts every entry once over lost answers, failures and restarts', async () => {
  const path = directory();
  const core = fakeCore();
  let calls = 0;
  for (let life = 0; life < 4; life++) {
    const { spool } = await open(path, { segmentBytes: 3000 });
    const { log } = recordedLog();
    const sender = new LedgerSender({
      spool, log, gatherMs: 1, retryMs: 1, maxRetryMs: 2,
      send: async (batch) => {
        const call = calls++;
        if (call % 4 === 1) throw new Error('connection refused');
        const answer = core.take(batch);
        if (call % 3 === 0) throw new Error('the answer was lost');
        return answer;
      },
    });
    sender.start();
    for (let index = 0; index < 150; index++) {
      spool.append(released());
      sender.wake();
      if (index % 50 === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    }
    if (life === 3) await eventually('an empty spool', () => spool.pending === 0);
    await sender.stop(200);
    spool.close();
  }
  assert.equal(new Set(core.seen.map(({ spool }) => spool)).size, 1);
  assert.deepEqual(core.seen.map(({ seq }) => seq), Array.from({ length: 600 }, (_, index) => index + 1));
});

test('LedgerSender begins a new spool when the core was restored from before our place, and reports what is left', async () => {
  const { spool } = await open(directory());
  const { log, lines } = recordedLog();
  fill(spool, 10);
  await spool.acknowledge(7);
  const core = fakeCore();
  const sender = new LedgerSender({ spool, log, send: async (batch) => core.take(batch), gatherMs: 1, retryMs: 1, maxRetryMs: 1 });
  sender.start();
  await eventually('an empty spool', () => spool.pending === 0);
  await sender.stop(100);
  assert.deepEqual(core.seen.map(({ seq }) => seq), [1, 2, 3]);
  assert.ok(lines().length > 0);
  spool.close();
});

test('LedgerSpool begins a new spool when the core knows numbers that were never given', async () => {
  const { spool } = await open(directory());
  fill(spool, 3);
  const before = (await spool.batch())?.spool;
  await spool.acknowledge(9);
  const after = await spool.batch();
  assert.notEqual(after?.spool, before);
  assert.deepEqual(after?.entries.map(({ seq }) => seq), [1, 2, 3]);
  spool.close();
});
