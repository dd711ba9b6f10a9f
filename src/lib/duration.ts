// Durations as Vault's API takes and shows them: whole seconds (number or numeric string) or Go's notation
// (https://pkg.go.dev/time#ParseDuration) plus the unit `d`. Arithmetic is exact; what is finer than the result's unit
// rounds away from zero, so that a tiny lifetime never becomes 0, which means "no limit" in most places.

import { PurserError } from './errors.ts';

const NANOSECONDS = new Map([
  ['ns', 1n], ['us', 1_000n], ['µs', 1_000n], ['μs', 1_000n], ['ms', 1_000_000n], ['s', 1_000_000_000n],
  ['m', 60_000_000_000n], ['h', 3_600_000_000_000n], ['d', 86_400_000_000_000n],
]);
const PART = /(?:(\d+)(?:\.(\d*))?|\.(\d+))(ns|us|µs|μs|ms|s|m|h|d)/y;
/** Go's range: 63 bits of nanoseconds, about 292 years. */
const MAX_NANOSECONDS = (1n << 63n) - 1n;
const MAX_LENGTH = 64;

export interface DurationOptions {
  /** Accept `-1h` (KV's delete_version_after uses a negative duration for "off"). Default false. */
  readonly allowNegative?: boolean;
}

/**
 * Milliseconds in `value`: 90, "90", "90s", "1h30m", "1.5h", "500ms", "7d". The empty string is 0, as in Vault's API.
 * @throws ERR_DURATION_SYNTAX; the input is not quoted
 */
export function parseDuration(value: string | number, options: DurationOptions = {}): number {
  return roundUp(nanosecondsOf(value, options), 1_000_000n);
}

/** As parseDuration, in whole seconds. @throws ERR_DURATION_SYNTAX */
export function parseDurationSeconds(value: string | number, options: DurationOptions = {}): number {
  return roundUp(nanosecondsOf(value, options), 1_000_000_000n);
}

/** `milliseconds` in Go's notation, as Vault prints it: "0s", "500ms", "1.5s", "1h30m0s". */
export function formatDuration(milliseconds: number): string {
  if (!Number.isSafeInteger(milliseconds)) throw new RangeError('milliseconds must be a whole number');
  const sign = milliseconds < 0 ? '-' : '';
  const total = Math.abs(milliseconds);
  if (total === 0) return '0s';
  if (total < 1000) return `${sign}${total}ms`;
  const minutes = Math.floor(total / 60_000);
  const hours = Math.floor(minutes / 60);
  return `${sign}${hours > 0 ? `${hours}h` : ''}${minutes > 0 ? `${minutes % 60}m` : ''}${(total % 60_000) / 1000}s`;
}

function nanosecondsOf(value: string | number, options: DurationOptions): bigint {
  const text = String(value);
  if (text.length > MAX_LENGTH) throw malformed('it is too long');
  const [, sign, body] = /^([+-]?)(.*)$/s.exec(text) as unknown as [string, string, string];
  const magnitude = text === '' ? 0n : /^\d+$/.test(body) ? BigInt(body) * 1_000_000_000n : sumOfParts(body);
  if (magnitude > MAX_NANOSECONDS) throw malformed('it is longer than 292 years');
  if (sign === '-' && magnitude > 0n && options.allowNegative !== true) throw malformed('it is negative');
  return sign === '-' ? -magnitude : magnitude;
}

function sumOfParts(text: string): bigint {
  let sum = 0n;
  PART.lastIndex = 0;
  do {
    const match = PART.exec(text);
    if (match === null) throw malformed('it is not a number of seconds or a list of numbers with units');
    const [, whole = '', fraction = match[3] ?? '', , unit] = match;
    const scale = 10n ** BigInt(fraction.length);
    sum += (BigInt(whole + fraction) * (NANOSECONDS.get(unit as string) as bigint) + scale - 1n) / scale;
  } while (PART.lastIndex < text.length);
  return sum;
}

function roundUp(nanoseconds: bigint, unit: bigint): number {
  const away = nanoseconds < 0n ? -(unit - 1n) : unit - 1n;
  return Number((nanoseconds + away) / unit);
}

function malformed(reason: string): PurserError {
  return new PurserError('ERR_DURATION_SYNTAX', `the duration is malformed: ${reason}`,
    { hint: 'write seconds (3600) or a duration such as 90s, 1h30m or 7d' });
}
