// Walks the bytes of a JSON text once, before JSON.parse sees it, and refuses what would make parsing expensive or lossy:
// too deep, too many values, numbers that a double cannot hold. Linear time, constant memory, no tree. It does not decide
// whether the text is valid JSON; JSON.parse does that afterwards.

import { PurserError } from '../../lib/errors.ts';

export interface JsonLimits {
  /** Nested arrays and objects. */
  readonly maxDepth: number;
  /** Strings (keys too), numbers, literals, arrays and objects together. */
  readonly maxValues: number;
}

const MAX_NUMBER_LENGTH = 64;
/** Integers this short, without exponent, are always exact. */
const SAFE_DIGITS = 15;
const MAX_SIGNIFICANT_DIGITS = 17;

const QUOTE = 0x22, BACKSLASH = 0x5c, OPEN_ARRAY = 0x5b, CLOSE_ARRAY = 0x5d, OPEN_OBJECT = 0x7b, CLOSE_OBJECT = 0x7d, MINUS = 0x2d, ZERO = 0x30, NINE = 0x39, SMALL_A = 0x61, SMALL_Z = 0x7a;

/**
 * Checks `text` (the bytes of a JSON document) against `limits`.
 * @throws ERR_REQUEST_INVALID; the message names the limit, never the input
 */
export function checkJsonLimits(text: Uint8Array, limits: JsonLimits): void {
  let depth = 0;
  let values = 0;
  for (let index = 0; index < text.length; index++) {
    const byte = text[index]!;
    if (byte === QUOTE) { index = endOfString(text, index); values++; }
    else if (byte === OPEN_ARRAY || byte === OPEN_OBJECT) { depth++; values++; }
    else if (byte === CLOSE_ARRAY || byte === CLOSE_OBJECT) depth--;
    else if (byte === MINUS || (byte >= ZERO && byte <= NINE)) { index = endOfNumber(text, index); values++; }
    else if (byte >= SMALL_A && byte <= SMALL_Z) { index = endOfLiteral(text, index); values++; }
    if (depth > limits.maxDepth) throw new PurserError('ERR_REQUEST_INVALID', `the JSON body is nested more than ${limits.maxDepth} levels deep`);
    if (values > limits.maxValues) throw new PurserError('ERR_REQUEST_INVALID', `the JSON body has more than ${limits.maxValues} values`);
  }
}

/** Index of the closing quote, or of the last byte when there is none. */
function endOfString(text: Uint8Array, start: number): number {
  let index = start + 1;
  while (index < text.length && text[index] !== QUOTE) index += text[index] === BACKSLASH ? 2 : 1;
  return index;
}

function endOfLiteral(text: Uint8Array, start: number): number {
  let index = start + 1;
  while (index < text.length && text[index]! >= SMALL_A && text[index]! <= SMALL_Z) index++;
  return index - 1;
}

function endOfNumber(text: Uint8Array, start: number): number {
  let end = start + 1;
  let isInteger = true;
  for (; end < text.length; end++) {
    const byte = text[end]!;
    if (byte >= ZERO && byte <= NINE) continue;
    if (!(byte === 0x2e || byte === 0x2b || byte === MINUS || byte === 0x65 || byte === 0x45)) break;
    isInteger = false;
  }
  const length = end - start;
  if (!isInteger || length > SAFE_DIGITS) checkNumber(text, start, length, isInteger);
  return end - 1;
}

/** A secret must come back as it was sent; a number that a double would round is refused instead. */
function checkNumber(text: Uint8Array, start: number, length: number, isInteger: boolean): void {
  const digits = length > MAX_NUMBER_LENGTH ? '' : Buffer.from(text.subarray(start, start + length)).toString('latin1');
  const value = Number(digits);
  const significant = digits.replace(/[eE].*$/, '').replace(/[-.]/g, '').replace(/^0+/, '');
  const isExact = digits !== '' && Number.isFinite(value) && (isInteger ? Number.isSafeInteger(value) : significant.length <= MAX_SIGNIFICANT_DIGITS);
  if (!isExact) throw new PurserError('ERR_REQUEST_INVALID', 'a number in the JSON body is too large or too precise to be kept exactly', { hint: 'send it as a string' });
}
