import test from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { formatDuration, parseDuration, parseDurationSeconds } from '../../src/lib/duration.ts';
import { isPurserError } from '../../src/lib/errors.ts';

const VALID: readonly (readonly [string | number, number])[] = [
  [0, 0], [90, 90_000], ['', 0], ['0', 0], ['0s', 0], ['-0', 0], ['90', 90_000], ['+90', 90_000], ['90s', 90_000], ['1h30m', 5_400_000],
  ['500ms', 500], ['7d', 604_800_000], ['1d12h', 129_600_000], ['1.5h', 5_400_000], ['.5s', 500], ['1.s', 1000], ['30m1h', 5_400_000],
  ['0.1s', 100], ['4.35s', 4350], ['1us', 1], ['1µs', 1], ['1μs', 1], ['1ns', 1], ['1500us', 2], ['768h', 2_764_800_000], ['000001m', 60_000],
];

const INVALID: readonly (string | number)[] = [
  -1, 1.5, NaN, Infinity, 1e21, '-1', '-1s', '-7d', ' 1s', '1s ', '1 s', '1x', 's', 'd', '.', '.s', '-', '+', '--1', '1s-', '1h 30m', '1,5s', '1e3', '0x10', '٣s',
  '1S', '1w', '1y', '1.5', '\n', '1s\n', '300y', '9223372037', '106752d', '9'.repeat(65), `${'1s'.repeat(33)}`, 'hvs.CANARY',
];

test('parseDuration() reads seconds, Go durations and days as milliseconds', () => {
  for (const [input, expected] of VALID) assert.equal(parseDuration(input), expected, JSON.stringify(input));
});

test('parseDurationSeconds() rounds a part of a second up, so that no lifetime becomes 0', () => {
  for (const [input, expected] of [['500ms', 1], ['1500ms', 2], ['90', 90], ['1ns', 1], [0, 0]] as const) assert.equal(parseDurationSeconds(input), expected, String(input));
});

test('parseDuration() refuses everything else with ERR_DURATION_SYNTAX and does not quote it', () => {
  for (const input of INVALID) {
    assert.throws(() => parseDuration(input), (error: unknown) => isPurserError(error, 'ERR_DURATION_SYNTAX')
      && error.hint !== undefined && !error.message.includes('CANARY'), JSON.stringify(input));
  }
});

test('parseDuration() takes a negative duration only when the caller asks for it', () => {
  assert.equal(parseDuration('-1h', { allowNegative: true }), -3_600_000);
  assert.equal(parseDuration('-1ns', { allowNegative: true }), -1);
  assert.equal(parseDuration(-5, { allowNegative: true }), -5000);
});

test('formatDuration() writes what Go prints', () => {
  const table = [[0, '0s'], [1, '1ms'], [999, '999ms'], [1000, '1s'], [1500, '1.5s'], [60_000, '1m0s'], [5_400_000, '1h30m0s'], [2_764_800_000, '768h0m0s'], [3_600_001, '1h0m0.001s'], [-90_000, '-1m30s']] as const;
  for (const [input, expected] of table) assert.equal(formatDuration(input), expected);
  assert.throws(() => formatDuration(0.5), RangeError);
});

test('formatDuration() and parseDuration() are inverse', () => {
  fc.assert(fc.property(fc.integer({ min: -9_000_000_000_000, max: 9_000_000_000_000 }), (milliseconds) => {
    assert.equal(parseDuration(formatDuration(milliseconds), { allowNegative: true }), milliseconds);
  }));
});
