import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { readVolumeOptions } from '../../../src/agent/volume/definition.ts';
import { VolumeDefinitions } from '../../../src/agent/volume/definitions.ts';
import { recordedLog } from '../../fakes/silent-log.ts';

const REF = 'purser://secret/db/prod#password';

test('readVolumeOptions() reads files with owner and mode', () => {
  assert.deepEqual(readVolumeOptions({ 'b.mode': '0440', b: 'se://secret/db/prod/password', a: REF, 'b.uid': '7', 'b.gid': '8', 'tls.crt': REF }), [
    { name: 'a', text: REF, uid: 0, gid: 0, mode: 0o444 }, { name: 'b', text: REF, uid: 7, gid: 8, mode: 0o440 }, { name: 'tls.crt', text: REF, uid: 0, gid: 0, mode: 0o444 },
  ]);
});

for (const [what, options, says] of [
  ['nothing', {}, /the volume has no file/],
  ['a value that is no reference', { a: 'hunter2' }, /option a: the value is not a reference/],
  ['an unknown option', { size: '10m' }, /option size: the value is not a reference/],
  ['a malformed reference', { a: 'purser://x?hunter2' }, /option a: the reference is malformed/],
  ['a name with a slash', { 'a/b': REF }, /an option: there is no such option/],
  ['a hidden name', { '.a': REF }, /option \.a: there is no such option/],
  ['no name', { '.uid': '1' }, /option \.uid: there is no such option/],
  ['a long name', { ['a'.repeat(129)]: REF }, /there is no such option/],
  ['an owner of no file', { a: REF, 'b.uid': '1' }, /option b\.uid: there is no option b/],
  ['a user by name', { a: REF, 'a.uid': 'root' }, /option a\.uid: the value is not a numeric id/],
  ['no user', { a: REF, 'a.gid': '4294967295' }, /option a\.gid: the value is not a numeric id/],
  ['set-id bits', { a: REF, 'a.mode': '4755' }, /option a\.mode: the value is not an octal mode/],
  ['too many files', Object.fromEntries(Array.from({ length: 257 }, (_, index) => [`f${index}`, REF])), /more than 256 files/],
] as const) {
  test(`readVolumeOptions() refuses ${what} and quotes no value`, () => {
    assert.throws(() => readVolumeOptions(options), (error: Error) => says.test(error.message) && !error.message.includes('hunter2'));
  });
}

test('a created volume is on disk, the same again is fine, another is refused, and a damaged one is reported', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'purser-volumes-'));
  const { log, text } = recordedLog();
  try {
    const first = await VolumeDefinitions.open(directory, log);
    await first.create('db', { a: REF });
    await first.create('db', { a: REF });
    await assert.rejects(first.create('db', { a: `${REF}2` }), /exists with other options/);
    await assert.rejects(first.create('../x', { a: REF }), /a volume name has/);
    assert.equal(statSync(join(directory, 'db.json')).mode & 0o777, 0o600);
    writeFileSync(join(directory, 'broken.json'), '{"format":1');
    const second = await VolumeDefinitions.open(directory, log);
    assert.deepEqual(second.all(), first.all());
    assert.match(text(), /broken\.json/);
    assert.equal(await second.remove('db'), true);
    assert.equal(await second.remove('db'), false);
    assert.deepEqual((await VolumeDefinitions.open(directory, log)).all(), []);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test('a volume says what is done after a rotation, in the words of the label, and keeps it', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'purser-volumes-'));
  const { log } = recordedLog();
  try {
    const first = await VolumeDefinitions.open(directory, log);
    await first.create('db', { a: REF, 'on-rotate': 'signal:SIGHUP', 'on-rotate.jitter': '2s' });
    await assert.rejects(first.create('db', { a: REF }), /exists with other options/);
    const expected = { action: { type: 'signal', signal: 'HUP' }, jitterMs: 2000 };
    assert.deepEqual((await VolumeDefinitions.open(directory, log)).get('db')?.onRotate, expected);
    assert.deepEqual(first.get('db')?.files.map(({ name }) => name), ['a']);
    for (const [options, says] of [
      [{ 'on-rotate': 'signal:HOP' }, /^option on-rotate: there is no signal of this name$/], [{ 'on-rotate': 'reload' }, /^option on-rotate: the value is no action$/],
      [{ 'on-rotate.jitter': '2s' }, /^option on-rotate\.jitter: there is no option on-rotate$/], [{ 'on-rotate': 'restart', 'on-rotate.jitter': '2 days' }, /^option on-rotate\.jitter: /],
    ] as const) await assert.rejects(first.create('x', { a: REF, ...options }), (error: Error) => says.test(error.message));
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
